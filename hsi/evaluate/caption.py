"""The protocol in words: what a reader must know to judge or repeat the numbers of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hsi.evaluate.pairs import LEVEL, TEST
from hsi.evaluate.protocol import GIVEN, Protocol
from hsi.evaluate.seeds import tests_apart

Facts = Mapping[str, Any]


def caption(protocol: Protocol, cells: Sequence[Facts], record: Mapping[str, Any]) -> str:
    """Data set, hash, splits with gap, pixels, epochs, seeds, leakage, machine, versions.

    Args:
        cells: the numbers of the table's cells, as of `hsi.evaluate.seeds.with_common`.
        record: `run.json` of one of them.
    """
    sentences = [
        _data(record["data"], record["classes"]),
        *(
            _split(protocol, name, group, record["settings"])
            for name in protocol.splits
            if (group := [cell for cell in cells if cell["split"] == name])
        ),
        _training(cells, record["settings"]),
        _seeds(protocol),
        "OA: overall accuracy; AA: mean recall of the classes that are tested; kappa: Cohen's; F1: "
        "its mean over these classes; leakage: share of test pixels whose patch holds a training "
        "pixel.",
        *_common(cells),
        *(_tests() if len(protocol.networks) > 1 else ()),
        _costs(cells),
    ]
    return " ".join(sentences)


def _data(data: Mapping[str, Any], classes: Sequence[Facts]) -> str:
    rows, cols, bands = data["shape"]
    warning = " (SYNTHETIC scene, generated, not a measurement)" if data["synthetic"] else ""
    return (
        f"{data['name']}{warning}, {rows} x {cols} pixels, {bands} bands, {len(classes)} classes, "
        f"sha256 {data['sha256'][:12]}."
    )


def _split(
    protocol: Protocol, name: str, cells: Sequence[Facts], settings: Mapping[str, Any]
) -> str:
    words = {
        "random": "random pixels of each class",
        "blocks": f"blocks of {settings['block_size']} x {settings['block_size']} pixels with a "
        f"gap of half a patch ({_range(cells, 'gap')} pixels)",
        GIVEN: "the given label maps",
    }[name]
    per_class = [n for cell in cells for n in cell["training_by_class"]]
    return (
        f"Split {name}: {words}; {_drawn(protocol, name, cells)}"
        f"{_range(cells, 'training')} pixels train ({min(per_class)} to {max(per_class)} of a "
        f"class) and {_range(cells, 'validation')} validate; {_range(cells, 'test')} test; leakage "
        f"{_range(cells, 'leakage', 1)} %."
    )


def _drawn(protocol: Protocol, name: str, cells: Sequence[Facts]) -> str:
    """How much is drawn for training and validation: of pixels exactly, of blocks as they fall."""
    amount = protocol.in_words(protocol.chosen)
    if name == GIVEN:
        return ""
    if name == "blocks":
        return (
            f"whole blocks are drawn, as near to {amount} as they allow{_realised(protocol, cells)}"
            ", of which "
        )
    fewer = protocol.per_class and any(
        cell["training"] + cell["validation"] < protocol.chosen * len(cell["training_by_class"])
        for cell in cells
    )
    return f"{'at most ' if fewer else ''}{amount} are drawn, of which "


def _realised(protocol: Protocol, cells: Sequence[Facts]) -> str:
    """ " (8.1 to 23.0 % of a class, 11.2 % of all)", where it is on record."""
    known = [cell for cell in cells if cell["drawn_by_class"] and cell["labelled_by_class"]]
    if not known:
        return ""
    pairs = [(cell["drawn_by_class"], cell["labelled_by_class"]) for cell in known]
    if protocol.per_class:
        return f" ({_ends([count for drawn, _ in pairs for count in drawn])} of a class)"
    shares = [100 * n / all_ for pair in pairs for n, all_ in zip(*pair, strict=True)]
    whole = [100 * sum(drawn) / sum(labelled) for drawn, labelled in pairs]
    return f" ({_ends(shares, 1)} % of a class, {_ends(whole, 1)} % of all)"


def _training(cells: Sequence[Facts], settings: Mapping[str, Any]) -> str:
    named = {
        "patch_size": "patch size", "batch_size": "batch size", "learning_rate": "learning rate",
    }  # fmt: skip
    own = [word for name, word in named.items() if settings[name] is None]
    asked = [f"{word} {settings[name]:g}" for name, word in named.items() if settings[name]]
    patience = (
        f" (patience {settings['patience']})" if any(cell["validation"] for cell in cells) else ""
    )
    reduced = settings["band_selection"]
    bands = f", reduced to {settings['components']} by {reduced}" if reduced else ""
    scaled = f"bands scaled: {settings['scaling']}{bands}"
    if all(cell["epochs"] is None for cell in cells):  # baselines alone
        return f"B{scaled[1:]}."
    others, said = ", ".join(["optimiser", *own]), ", ".join([*asked, scaled])
    return (
        f"Networks: at most {settings['epochs']} epochs{patience}; {others}: each network's own; "
        f"{said}."
    )


def _seeds(protocol: Protocol) -> str:
    if protocol.seeds == 1:
        return "One seed (0): no standard deviation (n/a)."
    return (
        f"Mean and standard deviation (n - 1) over seeds 0 to {protocol.seeds - 1}, each of which "
        "draws split, first weights and order of samples anew."
    )


def _common(cells: Sequence[Facts]) -> list[str]:
    apart = [cell for cell in cells if tests_apart(cell)]
    if not apart:
        return []
    said = [
        f"{name} {_range([cell for cell in apart if cell['split'] == name], 'test_common')}"
        for name in dict.fromkeys(cell["split"] for cell in apart)
    ]
    names = {cell["split"] for cell in apart}
    some = any(cell["test_common"] is None for cell in cells if cell["split"] in names)
    seeds = ", over the seeds that all of them have" if some else ""
    return [
        "Networks of larger patches keep a wider gap, so they test on fewer pixels that lie "
        f"farther off; OA common: on those that test in all networks ({', '.join(said)} pixels)"
        f"{seeds}."
    ]


def _tests() -> list[str]:
    return [
        f"{TEST}. As best: seeds in which a network is not significantly worse (p of {LEVEL:g} or "
        "more, or right alone on more pixels) than that of the highest mean OA, of the seeds "
        "tested. Bold: the best mean of a column."
    ]


def _costs(cells: Sequence[Facts]) -> str:
    return (
        "MACs: multiply-accumulates for one sample. Training (its graph compiled, of baselines the "
        "search of their settings) and map (the whole scene): seconds of wall-clock time, "
        f"medians over seeds and their mean over the row's splits, on {_machines(cells)}."
    )


def _machines(cells: Sequence[Facts]) -> str:
    """On what the cells ran; how many on each, where they were not all on one."""
    counts = Counter(cell["machine"] for cell in cells)
    if len(counts) == 1:
        return next(iter(counts))
    listed = " or ".join(
        f"{name} ({count:,} of {len(cells):,} cells)" for name, count in counts.most_common()
    )
    return f"{listed}; times of different machines do not compare"


def _range(cells: Sequence[Facts], name: str, digits: int = 0) -> str:
    """ "5", or "5 to 9"."""
    return _ends([cell[name] for cell in cells], digits)


def _ends(values: Sequence[float], digits: int = 0) -> str:
    low, high = (f"{end(values):,.{digits}f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"
