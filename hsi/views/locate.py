"""Finding the model file that is meant, and the run that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsi.baselines import ENDING
from hsi.data_paths import absolute_spec
from hsi.deploy.tflite import TFLiteModel
from hsi.deploy.variant import TFLITE
from hsi.errors import ModelError, SettingsError
from hsi.models.files import read_config, stored_input_shape
from hsi.models.harmless import refuse_code
from hsi.pipeline.job import data_run
from hsi.runs import OUTPUTS, RUN_FILE, Run, open_run, recent_runs
from hsi.views.request import Request

MODEL_ENDINGS = (".h5", ".keras", TFLITE)
SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True)
class Located:
    """A model file that can be opened.

    Attributes:
        path: of the file.
        run: the run in whose folder it lies; None where there is none.
        input_shape: of a sample, None where free; None itself where the file does not tell.
        notes: what the user should know, a sentence each.
    """

    path: Path
    run: Run | None
    input_shape: tuple[int | None, ...] | None
    notes: tuple[str, ...] = ()


def locate(file: str, request: Request) -> Located:
    """The model file that is meant; loads no TensorFlow.

    A bare name that is not in the current folder is looked for in the runs under outputs/: the
    newest one that agrees with the options given is taken, and a note says which.

    Args:
        file: one of `request.files`.

    Raises:
        ModelError: no such file, or no model in it.
        SettingsError: options that contradict the run.
        DataError: a damaged run file beside the model.
    """
    path, notes = Path(file), []
    if not path.exists() and path.parent == Path() and len(path.parts) == 1:
        path = _in_outputs(file, request)
        notes.append(f"{file} is not in this folder; taken is {path}, of the newest run.")
    saved_model = (path / SAVED_MODEL).is_file()
    if path.is_dir() and not saved_model:
        raise ModelError(
            f"{path}: expected a model file, got a folder; {_known_files(path) or 'none in it'}."
        )
    if not path.exists():
        known = _known_files(path.parent)
        raise ModelError(f"{path}: no such model file{f'; there is {known}' if known else ''}.")
    shape = None if saved_model else _checked_shape(path, trust=request.trust)
    run = open_run(path.parent) if (path.parent / RUN_FILE).is_file() else None
    if run and (difference := contradiction(run, request)):
        raise SettingsError(f"{path}: {difference}; leave the option out.")
    return Located(path, run, shape, tuple(notes))


def _checked_shape(path: Path, *, trust: bool) -> tuple[int | None, ...] | None:
    """The shape of a sample that a file says it takes, from a file that runs no strange code."""
    if path.suffix.lower() == TFLITE:
        return TFLiteModel(path).input_shape
    if path.suffix.lower() == ENDING:
        raise ModelError(
            f"{path}: a baseline of scikit-learn, which has nothing to show; expected "
            "a network (.h5, .keras or .tflite)."
        )
    config = read_config(path)
    if not trust:
        refuse_code(config, path)
    return stored_input_shape(config)


def contradiction(run: Run, request: Request) -> str:
    """The first option that differs from what the run was made with; "" where none does.

    Raises:
        DataError: the models are quantized ones of an earlier run, and that is gone.
    """
    if request.model is None and not request.data:
        return ""
    settings = data_run(run).settings  # of the run that trained what this one quantized
    if request.model is not None and request.model != settings.model:
        return f"the run trained the model {settings.model}, the command says {request.model}"
    for name, given in request.data.items():
        known = [getattr(settings, name)]
        if name in ("dataset", "labels"):
            known.append(run.record.get("data", {}).get(name))
            given_forms, known = {absolute_spec(given)}, [absolute_spec(k) for k in known]
        elif name == "patch_size":
            known.append(run.record.get("split", {}).get("patch_size"))
            given_forms = {given}
        else:
            given_forms = {given}
        if not given_forms & set(known):
            return (
                f"the run was made with {name} {_in_words(getattr(settings, name))}, "
                f"the command says {_in_words(given)}"
            )
    return ""


def _in_words(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else f"{value}"


def _in_outputs(file: str, request: Request) -> Path:
    """The file of that name in the newest run that agrees with the request."""
    runs = recent_runs()
    holding = [run for run in runs if run.path(file).is_file()]
    for run in holding:
        if not contradiction(run, request):
            return run.path(file)
    if holding:
        raise SettingsError(
            f"{holding[0].path(file)}: {contradiction(holding[0], request)}; "
            "leave the option out, or give the path of another file."
        )
    if not runs:
        raise ModelError(
            f"{file}: no such model file, and no run under {OUTPUTS}/; "
            "make one with generate_model.py."
        )
    known = _known_files(runs[0].folder) or "no model yet"
    raise ModelError(
        f"{file}: no such model file here or in a run under {OUTPUTS}/; "
        f"the newest run, {runs[0].folder}, has {known}."
    )


def _known_files(folder: Path) -> str:
    if not folder.is_dir():
        return ""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in MODEL_ENDINGS and p.is_file())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
