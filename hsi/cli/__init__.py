"""The command line: words in, a job started, errors on one line. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

from hsi.cli.parser import Parser, guarded
from hsi.version import __version__


@guarded
def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m hsi VERB`."""
    from hsi.cli import bits, classify, compare, datasets, evaluate, report, study, survey

    parser = Parser(prog="python -m hsi", description=__doc__)
    parser.add_argument("--version", action="version", version=f"hsi {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    verb = verbs.add_parser("datasets", help="list the public scenes, and fetch them")
    datasets.add_arguments(verb)
    verb.set_defaults(run=datasets.run)
    verb = verbs.add_parser("study", help="many runs over a grid of settings")
    study.add_arguments(verb)
    verb.set_defaults(run=study.run)
    verb = verbs.add_parser("classify", help="the class of every pixel of a scene, as a map")
    classify.add_arguments(verb)
    verb.set_defaults(run=classify.run)
    verb = verbs.add_parser("evaluate", help="networks over seeds and splits, as a table")
    evaluate.add_arguments(verb)
    verb.set_defaults(run=evaluate.run)
    verb = verbs.add_parser("compare", help="model files against the first, on the same samples")
    compare.add_arguments(verb)
    verb.set_defaults(run=compare.run)
    verb = verbs.add_parser("bits", help="accuracy of a model in other bit widths")
    bits.add_arguments(verb)
    verb.set_defaults(run=bits.run)
    verb = verbs.add_parser("survey", help="ask people which explanation is more reasonable")
    survey.add_arguments(verb)
    verb.set_defaults(run=survey.run)
    verb = verbs.add_parser("report", help="a run or a study on one page")
    report.add_arguments(verb)
    verb.set_defaults(run=report.run)
    chosen = parser.parse_args(arguments)
    return chosen.run(chosen)
