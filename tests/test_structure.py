"""The shape of the sources: imports point one way, heavy packages stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

LEVELS = (
    "errors version",
    "files file_names quiet georeference",
    "progress scene composite metrics nonnegative results parts cluster",
    "download readers writers public_scenes synthetic catalog split patches bands images published "
    "image_sets",
    "models",
    "settings data_paths",
    "samples",
    "train predict sliding explain pretrain strategy baselines",
    "compress deploy",
    "compare",
    "plots",
    "runs",
    "pipeline views report survey classify",
    "study evaluate",
    "cli",
    "__main__",
)
"""The parts of `hsi`, level by level; a part imports from its own level and earlier ones only."""

LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts.split()}
LAZY = (
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow_model_optimization",
    "ai_edge_litert",
    "ai_edge_quantizer",
)
ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "hsi").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))


def module_of(path: Path) -> str:
    """hsi/plots/__init__.py -> hsi.plots"""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, *, of: str = "text") -> tuple[tuple[str, int], ...]:
    """Every module that a source imports, with the line; names of modules in full.

    Of its whole "text"; of what can "run", which is not what stands under `if TYPE_CHECKING`; or
    of what runs at "import", which is not what stands in functions either.
    """
    return tuple(_imports(path, of))


def _imports(path: Path, of: str) -> Iterator[tuple[str, int]]:
    tree = parsed(path)
    package = module_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in _nodes(tree, of):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in MODULES else base), node.lineno


def _nodes(tree: ast.AST, of: str) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if of == "import" and function:
            continue
        if of != "text" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _nodes(ast.Module(node.orelse, []), of)
            continue
        yield node
        yield from _nodes(node, of)


def part_of(module: str) -> str:
    """hsi.plots.maps -> plots"""
    return module.split(".")[1]


def ours(path: Path) -> list[tuple[str, int]]:
    return [(m, line) for m, line in imports(path) if m.startswith("hsi.")]


def run_by(module: str) -> set[str]:
    """Every module, of ours and of others, that importing a module of ours runs."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in MODULES:
            waiting.extend(found for found, _ in imports(MODULES[name], of="import"))
            parts = name.split(".")
            waiting.extend(".".join(parts[:n]) for n in range(1, len(parts)))
    return seen


def test_every_part_is_in_the_list_of_levels():
    parts = {part_of(m) for m in MODULES if m != "hsi"}
    assert parts - set(LEVEL_OF) == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_point_one_way(path):
    if module_of(path) == "hsi":
        assert {m for m, _ in ours(path)} <= {"hsi.version", "hsi.errors"}
        return
    here = part_of(module_of(path))
    for module, line in ours(path):
        there = part_of(module)
        assert LEVEL_OF.get(there, 99) <= LEVEL_OF.get(here, 99), (
            f"{path.relative_to(ROOT)}:{line} imports {module}: {there} comes after {here}"
        )


def test_explain_knows_nothing_of_compression_and_compress_nothing_of_explanation():
    for path in SOURCES:
        forbidden = {"explain": {"compress"}, "compress": {"explain"}}
        if module_of(path) != "hsi":
            found = {part_of(m) for m, _ in ours(path)}
            assert not found & forbidden.get(part_of(module_of(path)), set()), path


def test_there_are_no_import_cycles():
    """Between modules, function-level imports included."""
    graph = {m: {f for f, _ in imports(p) if f in MODULES and f != m} for m, p in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for found in sorted(graph[module]):
                visit(found, (*trail, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_parts_import_each_other_in_one_direction():
    """No cycle between whole packages either, where each file alone would pass."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module != "hsi":
            here = part_of(module)
            graph.setdefault(here, set()).update({part_of(m) for m, _ in ours(path)} - {here})
    for here, found in graph.items():
        for there in found:
            assert here not in graph.get(there, set()), f"{here} and {there} import each other"


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_matplotlib_is_imported_in_plots_alone(path):
    if "plots" not in path.relative_to(ROOT).parts:
        found = {m.split(".")[0] for m, _ in imports(path, of="run")}
        assert not found & {"matplotlib", "pylab"}


def test_no_source_imports_tensorflow_by_keras_other_names():
    """tf_keras by that name: `tensorflow.keras` is another Keras, which TF-MOT does not take."""
    for path in [*SOURCES, *SCRIPTS]:
        for module, line in imports(path):
            names = module.split(".")
            assert names[0] != "keras", f"{path}:{line}"
            assert names[:2] != ["tensorflow", "keras"], f"{path}:{line}"
        text = path.read_text(encoding="utf-8")
        assert "tf.keras" not in text, path
        assert "TF_USE_LEGACY_KERAS" not in text, path


LIGHT = [
    m
    for m in MODULES
    if m == "hsi"
    or LEVEL_OF.get(part_of(m), 99) < LEVEL_OF["models"]
    or part_of(m) in ("cli", "__main__")
] + ["hsi.models", "hsi.models.files", "hsi.settings", "hsi.samples", "hsi.runs", "hsi.predict"]


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_light_module_runs_no_heavy_one(module):
    heavy = {m for m in run_by(module) if m.split(".")[0] in (*LAZY, "matplotlib")}
    assert not heavy


def test_the_walk_over_imports_sees_what_python_loads():
    """The reading of the sources above, checked against the interpreter itself."""
    code = (
        "import sys, hsi, hsi.cli, hsi.catalog, hsi.settings, hsi.samples, hsi.deploy.tflite;"
        f"print(sorted(set(sys.modules) & {set(LAZY) | {'matplotlib'}!r}));"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'hsi'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy, loaded = done.stdout.strip().splitlines()
    assert heavy == "[]"
    starts = ("hsi.cli", "hsi.catalog", "hsi.settings", "hsi.samples", "hsi.deploy.tflite")
    walked = set.union(*(run_by(m) for m in starts))
    assert set(ast.literal_eval(loaded)) == {m for m in walked if m.split(".")[0] == "hsi"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path):
    loaders = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
    assert not [m for m, _ in imports(path) if m.split(".")[0] in loaders]
    for name, call in calls(path):
        where = f"{path.relative_to(ROOT)}:{call.lineno}: {name}"
        assert name not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), where
        for keyword in call.keywords:
            if keyword.arg in ("allow_pickle", "shell", "enable_unsafe_deserialization"):
                assert ast.unparse(keyword.value) == "False", f"{where} {keyword.arg}"
            if keyword.arg == "safe_mode":
                # `trust` is False unless the user wrote --trust.
                allowed = ("True", "not trust") if path.name == "files.py" else ("True",)
                assert ast.unparse(keyword.value) in allowed, f"{where} {keyword.arg}"


def test_every_load_of_numpy_files_says_that_it_takes_no_pickle():
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("np.load", "numpy.load"):
                options = {k.arg: ast.unparse(k.value) for k in call.keywords}
                assert options.get("allow_pickle") == "False", f"{path}:{call.lineno}"


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_drawers_no_stars_no_bare_excepts(path):
    assert not {"utils", "util", "helpers", "misc", "common"} & {
        part.removesuffix(".py") for part in path.relative_to(ROOT).parts
    }
    for node in ast.walk(parsed(path)):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            assert "*" not in {alias.name for alias in node.names}, where
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, where


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_every_module_says_what_it_is_for(path):
    tree = parsed(path)
    assert not tree.body or ast.get_docstring(tree)
