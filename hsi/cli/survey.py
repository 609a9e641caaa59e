"""`python -m hsi survey`: ask people which explanation is more reasonable, and what they see."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.cli.parser import Parser
from hsi.explain import METHODS

if TYPE_CHECKING:
    from hsi.survey.analyse import Analysis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this verb."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=Parser
    )
    make = actions.add_parser("make", help="sheets, a questionnaire and a key from a run")
    make.add_argument("folder", metavar="RUN", help="the folder of a run")
    make.add_argument(
        "--variants",
        metavar="NAME,NAME[,...]",
        help="as results.csv names them, or files; the first is compared with each other "
        "(default: the trained one and the most pruned)",
    )
    known = [name for name, method in METHODS.items() if method.kind == "attribution"]
    make.add_argument(
        "--method", default="gradcam", metavar="METHOD", help=f"one of {', '.join(known)}"
    )
    make.add_argument("--images", type=int, default=20, metavar="N", help="how many (default: 20)")
    make.add_argument(
        "--questions",
        metavar="KIND,KIND",
        help="recognition, preference (default: both; of a scene preference)",
    )
    make.add_argument("--picture", default="overlay", help="overlay or occlusion, for preference")
    make.add_argument(
        "--percent", type=float, default=10.0, help="most important pixels (default: 10)"
    )
    make.add_argument(
        "--cover",
        default="rest",
        help="rest: only the most important pixels stay visible (default); top: these are covered",
    )
    make.add_argument(
        "--choices", type=int, default=10, metavar="N", help="classes to choose from, at most"
    )
    make.add_argument(
        "--base_url", default="", metavar="URL", help="of the sheets, for a crowd platform"
    )
    make.add_argument("--output", metavar="DIR", help="a new folder (default: RUN/survey)")
    make.add_argument("--seed", type=int, default=0, help="of images, sides and orders")
    analyse = actions.add_parser("analyse", help="what the answers say")
    analyse.add_argument("files", metavar="FILE", nargs="+", help="answers, as CSV")
    analyse.add_argument("--key", metavar="FILE", help="key.json (default: near the answers)")
    analyse.add_argument("--output", metavar="DIR", help="default: `analysis` beside the key")
    analyse.add_argument("--seed", type=int, default=0, help="of bootstrap and permutations")


def run(arguments: argparse.Namespace) -> int:
    """Make a survey or analyse its answers; 0 on success.

    Raises:
        UserError: whatever is wrong with the run, the options or the answers.
    """
    return _make(arguments) if arguments.action == "make" else _analyse(arguments)


def _make(arguments: argparse.Namespace) -> int:
    from hsi.survey.design import Choices
    from hsi.survey.make import make_survey

    choices = Choices(
        variants=_words(arguments.variants),
        method=arguments.method,
        images=arguments.images,
        kinds=_words(arguments.questions),
        picture=arguments.picture,
        percent=arguments.percent,
        covered=arguments.cover,
        most_choices=arguments.choices,
        base_url=arguments.base_url,
        seed=arguments.seed,
    )
    output = Path(arguments.output) if arguments.output else None
    made = make_survey(Path(arguments.folder), choices, output=output)
    key = made.key
    print(f"Survey {key.survey}: {len(key.questions)} questions on {', '.join(key.variants)}.")
    print(f"Questionnaire, one file a rater opens: {made.page}")
    print(f"Each rater answers {len(key.forms[0])} of them; {len(key.forms)} form(s).")
    print(f"Sheets and tables for a crowd platform: {made.folder}")
    print(f"Which side is which variant, not for raters: {made.folder / 'key.json'}")
    if not arguments.base_url:
        print("Note: the tables hold names of sheets; --base_url makes them addresses.")
    return 0


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _analyse(arguments: argparse.Namespace) -> int:
    from hsi.survey.analyse import analyse_survey, write_analysis

    analysis, key_file = analyse_survey(
        [Path(name) for name in arguments.files],
        key_file=Path(arguments.key) if arguments.key else None,
        seed=arguments.seed,
    )
    folder = Path(arguments.output) if arguments.output else key_file.parent / "analysis"
    written = write_analysis(analysis, folder)
    _print(analysis)
    print(f"Written: {', '.join(map(str, written))}")
    return 0


def _print(analysis: Analysis) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    answers, record = analysis.answers, analysis.record()
    if record["synthetic"]:
        print("SYNTHETIC scene: generated data, not a measurement.")
    left_out = f", {answers.missing} missing, {answers.rejected} rejected"
    console.print(
        f"Survey {analysis.key.survey}: {len(answers.given)} answers of {answers.raters} raters"
        f"{left_out if answers.missing or answers.rejected else ''}.",
        markup=False,
        highlight=False,
    )
    if "preferences" in record:
        _table(
            "Which explanation is more reasonable? Difference: for the other less for the first",
            [_preference_cells(row) for row in record["preferences"]],
        )
        left = record["left_share_of_decided"]
        console.print(
            f"Left side: {_percent(left)} of the votes for a side.", markup=False, highlight=False
        )
    if "recognition" in record:
        found = record["recognition"]
        _table("What is recognised?", [_recognition_cells(row) for row in found["variants"]])
        console.print(escape(_test_line(found["cochran_q"])), highlight=False)
        _table("Pairs, by image", [_pair_cells(row) for row in found["pairs"]])


def _table(title: str, rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    table = Table(title=title, caption="intervals: 95 %, clustered by image and by rater")
    for name in rows[0]:
        words = name in ("first", "other", "variant", "class")
        table.add_column(name, justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.values()))  # names are no markup
    console.print(table)


def _preference_cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "first": row["first"],
        "other": row["other"],
        "class": _class(row),
        "votes": str(row["votes"]),
        "first : equal : other": f"{row['for_first']} : {row['for_neither']} : {row['for_other']}",
        "difference, points": _interval(row, "difference", 100),
        "p": _p(row["p"]),
        "p (Holm)": _p(row["p_holm"]),
        "images": str(row["images"]),
        "alpha": _interval(row, "alpha", 1),
    }


def _recognition_cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "variant": row["variant"],
        "class": _class(row),
        "votes": str(row["votes"]),
        "recognised %": _interval(row, "share", 100),
        "by chance %": f"{100 * row['chance']:.0f}",
        "images": str(row["images"]),
        "alpha": _interval(row, "alpha", 1),
    }


def _pair_cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "first": row["first"],
        "other": row["other"],
        "images": str(row["images"]),
        "only first : only other": f"{row['only_first']} : {row['only_other']}",
        "p (McNemar)": _p(row["p"]),
        "p (Holm)": _p(row["p_holm"]),
        "difference of shares, points": _interval(row, "difference", 100),
    }


def _class(row: Mapping[str, Any]) -> str:
    return "all" if row["class"] is None else f"{row['class']} {row['class_name']}"


def _test_line(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "No test: fewer than two images were answered under every variant."
    return (
        f"Cochran's Q = {test['q']:.3g} with {test['degrees']} degree(s) of freedom, p = "
        f"{_p(test['p'])} (by permutation {_p(test['p_permuted'])}), {test['images']} images, "
        f"{test['informative']} of them not the same under every variant."
    )


def _interval(row: Mapping[str, Any], column: str, scale: float) -> str:
    value, low, high = (row[name] for name in (column, f"{column}_low", f"{column}_high"))
    if value is None:
        return ""
    digits = 1 if scale == 100 else 2
    text = f"{scale * value:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def _percent(value: Mapping[str, Any]) -> str:
    if value["value"] is None:
        return "no share"
    known = {"share": value["value"], "share_low": value["low"], "share_high": value["high"]}
    return f"{_interval(known, 'share', 100)} %"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
