"""What numbers say, in plain sentences that are computed from them.

A row is a variant: the columns of results.csv by their names and in their units (accuracies,
`target` and `sparsity` in percent), and where they are known

    agreement, samples, unit, parting   how often it answers as the reference, and where not
    oa_difference(_low, _high)          OA less the reference's in points, interval of blocks
    layers, layer_relative, layer_steps, layer_worst      layer by layer, see `hsi.compare.layers`
    attention_nm                        centre of its attributions along the spectrum
    attention_shift_nm(_low, _high)     that less the reference's, paired by samples
    attention_distance_nm(_low)         how far apart the two are, mean of the magnitudes
    attention_floor_nm                  that distance of a network trained anew from another seed

The first row is the reference. What a row lacks is not spoken of. P values are of single tests:
correcting them for their number would call more of them "not distinguishable".
"""

from __future__ import annotations

from collections.abc import Sequence

from hsi.compare.series import series_of
from hsi.compare.wording import (
    LEVEL,
    Row,
    counted,
    known,
    number,
    oa_text,
    p_text,
    percent,
    ratio,
    signed,
    times,
)


def conclusions(rows: Sequence[Row]) -> list[str]:
    """Sentences on how variants differ from the first, the most important first.

    Variants of one folder that were pruned alike and differ in how much (`target`) are one series
    and spoken of together; any other is spoken of by itself.

    Example:
        >>> first = {"variant": "trained", "oa": 99.0}
        >>> pruned = {"variant": "pruned_40", "oa": 98.9, "mcnemar_p": 0.41}
        >>> print(*conclusions([first, pruned]), sep="\\n")
        The accuracy of pruned_40 is not distinguishable from that of trained (OA 98.90 % and
        99.00 %, p = .41).
    """
    if len(rows) < 2:
        return []
    first, *others = rows
    series, single = series_of(others)
    found = []
    for name, group in series:
        found += [_series_accuracy(name, group, first), _series_attention(name, group, first)]
    for row in single:
        found += [_accuracy(row, first), _agreement(row, first)]
        found += [_cost(row, first), _layers(row, first), _attention(row, first)]
    for name, group in series:
        found.append(_series_cost(name, group, first))
    return [sentence for sentence in found if sentence]


def _told_apart(row: Row) -> bool | None:
    p = number(row.get("mcnemar_p"))
    return None if p is None else p < LEVEL


def _worse(row: Row, first: Row) -> str:
    return "lower" if float(row["oa"]) < float(first["oa"]) else "higher"


def _series_accuracy(name: str, group: Sequence[Row], first: Row) -> str:
    """Up to which step the accuracy is that of the reference."""
    group = [row for row in group if known(row, "mcnemar_p", "oa", "target")]
    if not group or not known(first, "oa"):
        return ""
    differing = [row for row in group if _told_apart(row)]
    if not differing:
        last = group[-1]
        return (
            f"Up to {percent(last['target'])} of the {name}, the most that was tried, the "
            f"accuracy is not distinguishable from that of {first['variant']} (OA "
            f"{oa_text(last)} and {oa_text(first)}, {p_text(float(last['mcnemar_p']))})."
        )
    before = group[: group.index(differing[0])]
    start = differing[0]
    said = (
        f"OA {oa_text(start)} instead of {oa_text(first)}, {p_text(float(start['mcnemar_p']))}"
        f"{_blocks(start)}"
    )
    again = _turned(group[len(before) + 1 :], start, first)
    if not before:
        return (
            f"Already at {percent(start['target'])} of the {name} the accuracy is "
            f"{_worse(start, first)} than that of {first['variant']} ({said}){again}."
        )
    return (
        f"Up to {percent(before[-1]['target'])} of the {name} the accuracy is not "
        f"distinguishable from that of {first['variant']} "
        f"({p_text(float(before[-1]['mcnemar_p']))}); at {percent(start['target'])} it is "
        f"{_worse(start, first)} ({said}){again}."
    )


def _turned(group: Sequence[Row], start: Row, first: Row) -> str:
    """Later steps that do not go on as the first one that differs began."""
    alike = [row for row in group if not _told_apart(row)]
    apart = [row for row in group if _told_apart(row)]
    turned = [row for row in apart if _worse(row, first) != _worse(start, first)]
    said = ""
    for rows, word in ((alike, "not distinguishable again"), (turned, "")):
        if rows:
            steps = ", ".join(percent(row["target"]) for row in rows)
            said += f"; at {steps} it is {word or _worse(rows[0], first)}"
    return said


def _blocks(row: Row) -> str:
    """Where redrawn blocks see no difference although single samples do."""
    if not known(row, "oa_difference_low", "oa_difference_high"):
        return ""
    low, high = float(row["oa_difference_low"]), float(row["oa_difference_high"])
    if low > 0 or high < 0:
        return ""
    return (
        f", though within {signed(low)} to {signed(high)} points where whole blocks of the "
        "scene are redrawn"
    )


def _accuracy(row: Row, first: Row) -> str:
    if not known(row, "oa", "mcnemar_p") or not known(first, "oa"):
        return ""
    numbers = f"OA {oa_text(row)} and {oa_text(first)}, {p_text(float(row['mcnemar_p']))}"
    if _told_apart(row):
        return (
            f"The accuracy of {row['variant']} is {_worse(row, first)} than that of "
            f"{first['variant']} ({numbers}{_blocks(row)})."
        )
    return (
        f"The accuracy of {row['variant']} is not distinguishable from that of "
        f"{first['variant']} ({numbers})."
    )


def _agreement(row: Row, first: Row) -> str:
    if not known(row, "agreement", "samples", "parting"):
        return ""
    unit, count, parting = row.get("unit") or "sample", int(row["samples"]), int(row["parting"])
    both = f"{row['variant']} and {first['variant']}"
    if parting == 0:
        return f"{both} answer the same class for all of {count:,} {unit}s."
    right = ""
    if known(row, "only_first", "only_second"):
        right = (
            f"; there {first['variant']} alone is right {counted(row['only_first'])}, "
            f"{row['variant']} alone {counted(row['only_second'])}"
        )
    return f"{both} part on {parting:,} of {count:,} {unit}s{right}."


def _cost(row: Row, first: Row) -> str:
    parts = []
    size, time = ratio(row, first, "bytes"), ratio(row, first, "latency_ms")
    if size is not None:
        equal = 0.995 < size < 1.005
        parts.append(
            f"its file is {'of the same size' if equal else times(size, 'smaller', 'larger')}"
        )
    if time is not None:
        parts.append(_speed(row, first, time))
    if not parts:
        return ""
    return f"{row['variant']} against {first['variant']}: {', and '.join(parts)}."


def _speed(row: Row, first: Row, factor: float) -> str:
    batch = int(row.get("batch") or 1)
    where = f"at batch {batch}"
    if as_fast(row, first):
        return f"a call {where} takes as long, as far as the intervals tell"
    both = f"({float(row['latency_ms']):.3g} instead of {float(first['latency_ms']):.3g} ms)"
    return f"a call {where} is {times(factor, 'faster', 'slower')} {both}"


def as_fast(row: Row, first: Row) -> bool:
    """Whether the intervals of both latencies are known and overlap."""
    bounds = ("latency_low", "latency_high")
    if not (known(row, *bounds) and known(first, *bounds)):
        return False
    (low, high), (first_low, first_high) = (
        [float(each[bound]) for bound in bounds] for each in (row, first)
    )
    return low <= first_high and first_low <= high


def _series_cost(name: str, group: Sequence[Row], first: Row) -> str:
    """What the largest step whose accuracy is kept saves."""
    kept = []
    for row in group:
        if _told_apart(row) is not False:
            break
        kept.append(row)
    row = kept[-1] if kept else group[-1]
    saved = _cost(row, first)
    if not saved:
        return ""
    which = "the most that keeps the accuracy" if kept else "the most that was tried"
    _, _, said = saved.partition(": ")
    return f"At {percent(row['target'])} of the {name}, {which}, {said}"


def _layers(row: Row, first: Row) -> str:
    if not known(row, "layers"):
        return ""
    start = f"{row['variant']} and {first['variant']} have {int(row['layers'])} layers in common"
    worst = f"(the farthest: {row.get('layer_worst')})"
    if known(row, "layer_steps"):
        return (
            f"{start}, which differ by at most {float(row['layer_steps']):.3g} quantization steps "
            f"{worst}."
        )
    if known(row, "layer_relative"):
        far = f"{float(row['layer_relative']):.1e}"
        return f"{start}, which differ by at most {far} of their range {worst}."
    return ""


def _elsewhere(row: Row) -> bool:
    """Whether attention differs by more than another seed makes it, where that is known; else
    whether its centre has shifted."""
    if known(row, "attention_distance_nm", "attention_floor_nm"):
        least = number(row.get("attention_distance_nm_low"))
        far = float(row["attention_distance_nm"]) if least is None else least
        return far > float(row["attention_floor_nm"])
    return _shifted(row) is True


def _shifted(row: Row) -> bool | None:
    """Whether the interval of the shift leaves zero out; None where it is not known."""
    if not known(row, "attention_shift_nm_low", "attention_shift_nm_high"):
        return None
    return float(row["attention_shift_nm_low"]) > 0 or float(row["attention_shift_nm_high"]) < 0


def _apart(row: Row) -> str:
    """ " (312 nm apart sample by sample, 40 nm with another seed alone)"."""
    said = []
    if known(row, "attention_distance_nm"):
        said.append(f"{float(row['attention_distance_nm']):.0f} nm apart sample by sample")
    if known(row, "attention_floor_nm"):
        said.append(f"{float(row['attention_floor_nm']):.0f} nm with another seed alone")
    return f" ({', '.join(said)})" if said else ""


def _where(row: Row, first: Row) -> str:
    """ "moves from 700 nm to 1012 nm (...)", or that it does not."""
    there, here = f"{float(row['attention_nm']):.0f} nm", f"{float(first['attention_nm']):.0f} nm"
    if _elsewhere(row) and _shifted(row) is not False:
        return f"moves from {here} to {there}{_apart(row)}"
    if _elsewhere(row):
        return (
            f"differs from sample to sample, its mean does not: {there}, before {here}{_apart(row)}"
        )
    how = "moves no more than another seed moves it"
    if not known(row, "attention_floor_nm"):
        how = "does not move measurably"
    return f"{how}: {there}, before {here}{_apart(row)}"


def _attention(row: Row, first: Row) -> str:
    if not known(row, "attention_nm") or not known(first, "attention_nm"):
        return ""
    return f"The attention of {row['variant']} {_where(row, first)}."


def _series_attention(name: str, group: Sequence[Row], first: Row) -> str:
    """From which step on the attention is elsewhere."""
    group = [row for row in group if known(row, "attention_nm", "target")]
    if not group or not known(first, "attention_nm"):
        return ""
    still = [i for i, row in enumerate(group) if not _elsewhere(row)]
    start = still[-1] + 1 if still else 0
    last = group[-1]
    if start == len(group):
        upto = f"Up to {percent(last['target'])} of the {name}"
        return f"{upto} the attention {_where(last, first)}."
    since = f"From {percent(group[start]['target'])} of the {name} on the attention"
    if start == len(group) - 1:
        return f"{since} {_where(last, first)}."
    there = f"{float(last['attention_nm']):.0f} nm"
    return (
        f"{since} {_where(group[start], first)}; at {percent(last['target'])} it is at "
        f"{there}{_apart(last)}."
    )
