"""The report: a run or a study on one page, in one file that needs nothing else.

    opening   a run folder that is whole, with its samples
    facts     what was done, as lines of text
    table     the rows of results.csv, as text and as numbers
    tiles     the few numbers on top
    against   p against the first row, where results.csv has another
    variants  the models of a run: opened, named, coloured
    explained attributions of every variant on the same samples
    scene     maps, spectra and attributions of a scene's pixels
    pictures  thumbnails and overlays of images
    likeness  CKA of layers
    packed    arrays as text
    page      the template and what is inlined
    study     a page on many runs
    study_pictures  where the networks of a study look

The page shows what was computed here; nothing is computed in the browser but what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hsi.errors import DataError, SettingsError, UserError, check_seed, one_of
from hsi.explain import METHODS
from hsi.files import write_text
from hsi.quiet import start_tensorflow
from hsi.report.opening import open_report_run
from hsi.runs import RUN_FILE, Run

REPORT = "report.html"


def write_report(
    folder: str | Path,
    *,
    methods: Sequence[str] = (),
    samples: int | None = None,
    output: str | Path | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Write the report of a run or of a study.

    Args:
        folder: of the run (with run.json), or of the study (with study.csv).
        methods: attribution methods that can be chosen on the page; none takes the defaults of
            scenes or images; of a study of images Grad-CAM, of other studies none are shown.
        samples: test samples that are explained; None takes the defaults.
        output: the file; None writes `report.html` into the folder.
        seed: of their choice; None takes that of the run.
        say: told of everything worth a line.

    Returns:
        The file, which appears whole or not at all.

    Raises:
        DataError: neither a run nor a study, or one that is not whole.
        SettingsError: an unknown method, fewer than one sample, or a seed that is none.
        OutputError: the file cannot be written.
    """
    folder = Path(folder)
    for method in methods:
        attributing = [name for name, found in METHODS.items() if found.kind == "attribution"]
        one_of(method, attributing, what="attribution method")
    if samples is not None and samples < 1:
        raise SettingsError(f"samples: expected 1 or more, got {samples}.")
    check_seed(seed or 0)
    path = Path(output) if output else folder / REPORT
    if path.is_dir():
        raise SettingsError(f"output: expected a file, {path} is a folder.")
    write_text(path, _page(folder, path, tuple(methods), samples, seed, say))
    say(f"Report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def _page(
    folder: Path,
    path: Path,
    methods: tuple[str, ...],
    samples: int | None,
    seed: int | None,
    say: Callable[[str], None],
) -> str:
    from hsi.report.study import STUDY_TABLE, study_page

    if (folder / STUDY_TABLE).is_file():
        return study_page(
            folder, beside=path.parent, methods=methods, samples=samples, seed=seed, say=say
        )
    if not (folder / RUN_FILE).is_file():
        what = "no such folder" if not folder.is_dir() else f"no {RUN_FILE} and no {STUDY_TABLE}"
        raise DataError(f"{folder}: expected the folder of a run or a study: {what}.")
    opened = open_report_run(folder, say=say)
    start_tensorflow()
    from hsi.report.run import run_page

    return run_page(opened, methods=methods, samples=samples, seed=seed, say=say)


def write_after(run: Run, *, say: Callable[[str], None] = print) -> Path | None:
    """Write the report of a run that has just ended, unless the one that is there is of this run.

    The run is whole without it, so what hinders a report is said and does no more.

    Returns:
        The file; None where there is none, as the last line that was said explains.
    """
    path = run.path(REPORT)
    if path.is_file() and path.stat().st_mtime_ns >= run.path(RUN_FILE).stat().st_mtime_ns:
        say(f"Report: {path}")
        return path
    try:
        return write_report(run.folder, say=say)
    except UserError as error:
        say(f"No report: {error}")
        return None
