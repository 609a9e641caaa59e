"""An honest comparison of networks: seeds, splits side by side, tests, a table for a paper.

    protocol   networks x splits x seeds x amounts of training pixels -> cells
    division   which pixels train and test, for cells to be compared
    testable   cells whose split leaves nothing to test
    running    a cell is run by the stages of generate_model.py; its map is timed
    results    what finished cells found, with their answers at the test pixels
    seeds      means and standard deviations
    pairs      McNemar's test of every pair of networks
    caption    the protocol in words
    paper      the table, a row a network
    writers    ... in LaTeX and Markdown
    files      all that is written

A finished cell is never repeated, a killed one is taken up where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsi.errors import DataError, OutputError, SettingsError
from hsi.evaluate.protocol import EvaluationCell, Protocol, cells_of
from hsi.files import remove_remains

if TYPE_CHECKING:
    from hsi.evaluate.files import Written
    from hsi.evaluate.paper import PaperTable


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        table: as a paper prints it.
        written: its files.
        missing: cell -> why it is not in the table.
    """

    table: PaperTable
    written: Written
    missing: dict[str, str]


def run_evaluation(
    protocol: Protocol,
    folder: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    drop_models: bool = False,
    left_out: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> Evaluation:
    """Run every cell that is not finished, then write the tables of all that are.

    Args:
        protocol: checked.
        folder: of the evaluation; made where it is not there.
        resume: go on with what is in the folder; networks, splits, seeds and amounts may be added.
        minutes: 0 or more, after which no further cell is begun; None for no limit.
        drop_models: delete each model file once its answers are kept.
        left_out: network -> why its cells that are not finished are not run; said in the table.
        say: told of every cell.

    Raises:
        DataError: bad data, or a scene or label maps that changed since cells were run, found
            before anything is run; or no cell could be run.
        OutputError: the folder holds something and `resume` is not set.
        SettingsError: settings that no run can have, other ones than the folder was begun with, or
            minutes that are no time.
    """
    from hsi.evaluate.files import write_evaluation
    from hsi.evaluate.results import read_results
    from hsi.evaluate.running import drop_model, is_finished, placed, run_cells

    _check_minutes(minutes)
    if not resume and _holds_results(folder):
        raise OutputError(
            f"{folder}: exists already and is not touched; choose another --output, or go on with "
            "it by --resume."
        )
    remove_remains(folder)
    cells = placed(cells_of(protocol), folder)
    waiting = [cell for cell in cells if not is_finished(cell)]
    say(f"{len(cells)} cells, {len(cells) - len(waiting)} of them finished already.")
    named = left_out or {}
    missing = {cell.name: named[cell.network] for cell in waiting if cell.network in named}
    asked = [cell for cell in waiting if cell.name not in missing]
    finished = [cell for cell in cells if cell not in waiting]
    for cell in finished if drop_models else ():
        drop_model(cell)
    missing |= _untestable(protocol, asked, finished, say)
    able = [cell for cell in waiting if cell.name not in missing]
    # Where time runs out in a network, its splits shall have been run from the same seeds.
    able.sort(key=lambda cell: (protocol.networks.index(cell.network), cell.seed))
    missing |= run_cells(able, folder, minutes=minutes, drop_models=drop_models, say=say)
    done = [cell for cell in cells if cell.name not in missing]
    if not done:
        raise DataError(f"no cell could be run: {next(iter(missing.values()))}")
    table, written = write_evaluation(protocol, read_results(done), missing, folder)
    return Evaluation(table, written, missing)


def _check_minutes(minutes: float | None) -> None:
    if minutes is not None and not minutes >= 0:  # nan is neither more nor less
        raise SettingsError(f"minutes: expected 0 or more, got {minutes:g}.")


def _holds_results(folder: Path) -> bool:
    """Whether something is there but the logs of cells that could not even be begun."""
    from hsi.evaluate.running import LOGS

    if not folder.exists():
        return False
    return not folder.is_dir() or any(path.name != LOGS for path in folder.iterdir())


def _untestable(
    protocol: Protocol,
    cells: list[EvaluationCell],
    finished: list[EvaluationCell],
    say: Callable[[str], None],
) -> dict[str, str]:
    if not cells:
        return {}
    from hsi.evaluate.testable import untestable
    from hsi.samples import open_selected_scene

    scene = open_selected_scene(cells[0].settings, say=say)
    missing = untestable(protocol, scene, cells, finished=finished, say=say)
    for name, reason in missing.items():
        say(f"{name}: {reason}")
    return missing
