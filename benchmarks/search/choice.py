"""The smallest and the fastest file that are as good, and what each step gave.

Chosen on validation pixels; whether that holds is then seen on test pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.candidates import LOW_RANK, PRUNED, STUDENT, TRAINED, Candidate

MARGIN = 1.0
"""Points of OA that a file may lose."""
LEVEL = 0.05
"""McNemar's p below which two files differ."""


@dataclass(frozen=True)
class Family:
    """Means that are searched together.

    Attributes:
        kinds: of networks.
        bytes_goal, latency_goal: factors against the trained float file.
    """

    name: str
    kinds: tuple[str, ...]
    bytes_goal: float
    latency_goal: float


FAMILIES = (
    Family("prune_fold_quantize", (TRAINED, PRUNED), 60, 20),
    Family("everything", (TRAINED, PRUNED, LOW_RANK, STUDENT), 600, 100),
)


def within(candidates: Sequence[Candidate], kinds: Sequence[str]) -> list[Candidate]:
    """Those of these kinds that lose no more than the margin on validation pixels.

    The baseline is always one of them.
    """
    least = baseline_of(candidates).validation_oa - MARGIN
    return [c for c in candidates if c.kind in kinds and c.validation_oa >= least - 1e-9]


def baseline_of(candidates: Sequence[Candidate]) -> Candidate:
    """The float file of the trained network as it is."""
    return next(c for c in candidates if c.is_baseline)


def smallest(candidates: Sequence[Candidate]) -> Candidate:
    """Of the fewest bytes; of equal ones the better on validation pixels."""
    return min(candidates, key=lambda c: (c.bytes, -c.validation_oa))


def reaching(
    candidates: Sequence[Candidate], family: Family, milliseconds: Mapping[int, Mapping[str, float]]
) -> Candidate | None:
    """The best on validation pixels of those that reach all goals.

    Of files that are right on as many pixels the one of the least cross-entropy, which still tells
    files apart where nearly all are right on all validation pixels; of equal ones the smaller.
    """
    baseline, found = baseline_of(candidates), []
    for c in candidates:
        timed = c.kind in family.kinds and all(c.file in at for at in milliseconds.values())
        if timed:
            least = ratios(c, baseline, milliseconds)
            if least.pop("bytes_ratio") >= family.bytes_goal and all(
                ratio >= family.latency_goal for ratio in least.values()
            ):
                found.append(c)
    return min(found, key=lambda c: (-c.validation_oa, c.validation_loss, c.bytes), default=None)


def fastest(candidates: Sequence[Candidate], milliseconds: Mapping[str, float]) -> Candidate:
    """Of the shortest time a call."""
    return min(candidates, key=lambda c: milliseconds[c.file])


def seen_on_test(chosen: Candidate, baseline: Candidate) -> dict[str, Any]:
    """What a choice made on validation pixels is worth on test pixels.

    It holds where it loses no more than the margin and is not significantly worse.
    """
    gained = chosen.test_oa - baseline.test_oa
    p = 1.0 if chosen.mcnemar_p is None else chosen.mcnemar_p
    differs = p < LEVEL
    return {
        "trained_oa": baseline.test_oa,
        "oa": chosen.test_oa,
        "difference": gained,
        "mcnemar_p": p,
        "within_margin": gained >= -MARGIN - 1e-9,
        "significantly_worse": differs and gained < 0,
        "significantly_better": differs and gained > 0,
        "holds": gained >= -MARGIN - 1e-9 and not (differs and gained < 0),
    }


def choices_of(
    candidates: Sequence[Candidate], milliseconds: Mapping[int, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """For each family the smallest file, the fastest at each batch size, the best at the goals.

    Args:
        milliseconds: batch -> file -> ms a call, of all that are good enough.
    """
    baseline, found = baseline_of(candidates), []
    for family in FAMILIES:
        good = within(candidates, family.kinds)
        picked = [("smallest", None, smallest(good))]
        picked += [("fastest", b, fastest(good, taken)) for b, taken in milliseconds.items()]
        if best := reaching(candidates, family, milliseconds):
            picked.append(("best at the goals", None, best))
        for what, batch, chosen in picked:
            found.append(
                {
                    "family": family.name,
                    "what": what,
                    "batch": batch,
                    "file": chosen.file,
                    "name": chosen.name,
                    "bytes": chosen.bytes,
                    "validation_oa": chosen.validation_oa,
                    "trained_validation_oa": baseline.validation_oa,
                    **seen_on_test(chosen, baseline),
                    **ratios(chosen, baseline, milliseconds),
                }
            )
    return found


def ratios(
    chosen: Candidate, baseline: Candidate, milliseconds: Mapping[int, Mapping[str, float]]
) -> dict[str, Any]:
    """Bytes and ms of the baseline over those of a file, above 1 where the file is better."""
    return {
        "bytes_ratio": baseline.bytes / chosen.bytes,
        **{
            f"latency_ratio_batch_{batch}": taken[baseline.file] / taken[chosen.file]
            for batch, taken in milliseconds.items()
        },
    }


def ladder_of(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Step -> file, from the trained network to the smallest pruned one and the smallest student.

    Steps whose file is not there are left out.
    """
    whole = baseline_of(candidates)
    steps = {"trained, float32": whole}
    rungs: list[tuple[str, str | None, bool, str]] = [
        ("int8 alone", whole.network, False, "int8"),
        ("folded", whole.network, True, "float32"),
        ("folded, int8", whole.network, True, "int8"),
    ]
    for kind in (PRUNED, LOW_RANK, STUDENT):
        good = [c for c in within(candidates, [kind, TRAINED]) if c.kind == kind]
        network = smallest(good).network if good else None
        rungs += [(kind, network, False, "float32"), (f"{kind}, folded", network, True, "float32")]
        for mode in ("dynamic", "int8"):
            folded = any(c.network == network and c.folded for c in candidates)
            rungs.append((f"{kind}{', folded' * folded}, {mode}", network, folded, mode))
    for step, network, folded, mode in rungs:
        wanted = (network, folded, mode)
        for candidate in candidates:
            if (candidate.network, candidate.folded, candidate.mode) == wanted:
                steps[step] = candidate
    return steps
