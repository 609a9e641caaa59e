"""Variants side by side on the same samples: the first is what the others are compared with.

TensorFlow is loaded only where a Keras model is among them, or their insides are looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.compare.columns import Compared, class_number, columns, details, pixel, plain
from hsi.compare.conclusion import conclusions
from hsi.compare.cost import BATCHES, Cost, costs_of
from hsi.compare.layers import LayerDifferences, layer_differences, output_step
from hsi.compare.outputs import FLOOR, LOGITS, SCORES, Judged, Outputs, compare_outputs, form_of
from hsi.compare.subjects import Common, Subject, open_subjects
from hsi.deploy.variant import Variant
from hsi.errors import ModelError, SettingsError, check_seed, one_of
from hsi.predict import scores

if TYPE_CHECKING:
    from hsi.compare.inside import Inside

WHAT = ("outputs", "cost", "layers", "explanations", "faithfulness", "representations")
INSIDE = WHAT[3:]
"""What looks into the networks, by gradients and activations."""

LAYER_SAMPLES = 256
"""Samples whose layers are compared, drawn at random; of fewer all."""

OF_SCORES = (
    "outputs: answers from 0 to 1 that do not sum up to 1, such as sigmoids, are no probabilities "
    "of classes: KL is that of their softmax."
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How variants are compared.

    Attributes:
        what: names in `WHAT`; empty takes outputs and cost, and the layers of a Keras model
            beside its own `.tflite`.
        batches, threads: of timing, the same for all; threads of `.tflite` predictions too.
        methods: of attribution; empty takes the default ones.
        retrained: the first variant's network trained from another seed, for a floor.
        seed: of every draw.
        trust: run the code that a model file holds.
    """

    what: tuple[str, ...] = ()
    batches: tuple[int, ...] = BATCHES
    threads: int = 1
    methods: tuple[str, ...] = ()
    retrained: Subject | None = None
    seed: int = 0
    trust: bool = False

    def check(self) -> Options:
        """Return the options if they are possible (`SettingsError`)."""
        for name in self.what:
            one_of(name, WHAT, what="comparison")
        for name, values in (("batch", self.batches), ("threads", (self.threads,))):
            for value in values:
                if value < 1:
                    raise SettingsError(f"{name}: expected 1 or more, got {value}.")
        check_seed(self.seed)
        return self


@dataclass(frozen=True, eq=False)
class Comparison:
    """Variants compared.

    Attributes:
        common: the samples.
        variants: the first, and the others as seen from it.
        options: how they were compared.
        notes: one line for each thing that the reader must know.
        inside: explanations, faithfulness and representations, where they were asked for.
    """

    common: Common
    variants: tuple[Compared, ...]
    options: Options
    notes: tuple[str, ...] = ()
    inside: Inside | None = field(default=None)

    @property
    def first(self) -> Compared:
        return self.variants[0]

    def rows(self) -> list[dict[str, Any]]:
        """A row a variant: the columns of results.csv in their units, then those of its own.

        `agreement` is 0..1; differences of OA are in points; what the first has not is None.
        """
        rows = [columns(compared, self.common) for compared in self.variants]
        if self.inside is not None:
            for row, more in zip(rows, self.inside.columns(len(rows)), strict=True):
                row.update(more)
        known = list(dict.fromkeys(name for row in rows for name in row))
        return [{name: row.get(name) for name in known} for row in rows]

    def sentences(self) -> list[str]:
        """What it says, computed from the rows."""
        return conclusions(self.rows())

    def record(self) -> dict[str, Any]:
        """Everything, as JSON has it: None for what is not known."""
        common = self.common
        found: dict[str, Any] = {
            "samples": {
                "data": common.name,
                "synthetic": common.synthetic,
                "part": common.part,
                "unit": common.unit,
                "count": len(common.keys),
                "blocks": None if common.blocks is None else len(np.unique(common.blocks)),
                "split": common.split,
                "leakage": common.leakage,
            },
            "reference": self.first.subject.name,
            "seed": self.options.seed,
            "variants": [
                {**row, **details(compared, common)}
                for row, compared in zip(self.rows(), self.variants, strict=True)
            ],
            "conclusions": self.sentences(),
            "notes": list(self.notes),
        }
        if self.inside is not None:
            found.update(self.inside.record())
        return plain(found)

    def parting_samples(self) -> list[dict[str, Any]]:
        """The samples on which a variant answers another class than the first: a row each.

        Pruning-identified exemplars (Hooker et al., "What do compressed deep neural networks
        forget?", 2019), of one pair of networks.
        """
        common, first, truth = self.common, self.first, self.common.truth
        found = []
        for compared in self.variants[1:]:
            for i in np.flatnonzero(compared.predicted != first.predicted):
                found.append(
                    {
                        "variant": compared.subject.name,
                        "sample": int(common.keys[i]),
                        **pixel(common, int(i)),
                        "true": class_number(common, None if truth is None else truth[i]),
                        "reference": class_number(common, first.predicted[i]),
                        "predicted": class_number(common, compared.predicted[i]),
                    }
                )
        return found


def compare(
    subjects: Sequence[Subject],
    common: Common,
    options: Options | None = None,
    *,
    say: Say = lambda line: None,
) -> Comparison:
    """Compare variants with the first of them.

    Args:
        subjects: at least two, no two of one name.
        common: the samples that all answer; see `hsi.compare.subjects`.
        options: what to compare, and how.
        say: told what is going on, a line a stage.

    Raises:
        SettingsError: fewer than two variants, or options out of range.
        ModelError: a file that does not open, other inputs or classes, answers that are not
            finite.
    """
    options = (options or Options()).check()
    if len(subjects) < 2:
        raise SettingsError(f"Expected at least two variants to compare, got {len(subjects)}.")
    variants = open_subjects(subjects, common, threads=options.threads, trust=options.trust)
    what = chosen(subjects, options.what)
    answers = [
        _answers(subject, variant, common)
        for subject, variant in zip(subjects, variants, strict=True)
    ]
    notes = [f"{v.path.name}: {v.note}." for v in variants if v.note]
    pairs = _pairs(subjects, answers, common, options)
    if any(pair.scale == SCORES for pair in pairs):
        notes.append(OF_SCORES)
    costs = _costs(subjects, variants, options, say) if "cost" in what else [None] * len(subjects)
    layers = _layers(subjects, variants, common, what, options, notes)
    compared = [
        Compared(
            subject,
            scored.argmax(axis=1),
            judged=_judged(pairs, place),
            outputs=pairs[place - 1] if place else None,
            cost=costs[place],
            layers=layers[place],
        )
        for place, (subject, scored) in enumerate(zip(subjects, answers, strict=True))
    ]
    inside = None
    if set(what) & set(INSIDE):
        from hsi.compare.inside import look_inside

        inside = look_inside(
            subjects,
            variants,
            common,
            what,
            methods=options.methods,
            retrained=options.retrained,
            seed=options.seed,
            say=say,
        )
        notes += inside.notes
    return Comparison(common, tuple(compared), options, tuple(dict.fromkeys(notes)), inside)


def chosen(subjects: Sequence[Subject], what: Sequence[str]) -> tuple[str, ...]:
    """What was asked for; else outputs and cost, and layers where a file is the first's own."""
    return tuple(what) or (WHAT[:3] if _own(subjects) else WHAT[:2])


def _own(subjects: Sequence[Subject]) -> list[int]:
    """Places of the files that were converted from the first."""
    first = subjects[0].path
    return [
        place
        for place, subject in enumerate(subjects)
        if place and subject.parent and subject.parent.exists() and first.samefile(subject.parent)
    ]


def _answers(subject: Subject, variant: Variant, common: Common) -> np.ndarray:
    """(n, classes) what a variant answers to the samples as it takes them."""
    found = scores(variant, subject.source, common.keys)
    bad = np.count_nonzero(~np.isfinite(found).all(axis=1))
    if bad:
        raise ModelError(
            f"{subject.path}: answers {bad} of {len(found)} samples with numbers that are not "
            "finite; the network is damaged, or was trained with too high a learning rate."
        )
    return found


def _pairs(
    subjects: Sequence[Subject],
    answers: Sequence[np.ndarray],
    common: Common,
    options: Options,
) -> list[Outputs]:
    """The first against each other."""
    steps = [_share_step(*each) for each in zip(subjects, answers, strict=True)]
    return [
        compare_outputs(
            answers[0],
            other,
            common.truth,
            blocks=common.blocks,
            floor=max((step / 2 for step in (steps[0], mine) if step), default=FLOOR),
            seed=options.seed,
        )
        for other, mine in zip(answers[1:], steps[1:], strict=True)
    ]


def _share_step(subject: Subject, answers: np.ndarray) -> float | None:
    """One step of the shares that a file answers; None where it answers logits, or in float."""
    return None if form_of(answers) == LOGITS else output_step(subject.path)


def _judged(pairs: Sequence[Outputs], place: int) -> Judged | None:
    against = pairs[max(place - 1, 0)].against
    return None if against is None else (against.second if place else against.first)


def _costs(
    subjects: Sequence[Subject], variants: Sequence[Variant], options: Options, say: Say
) -> list[Cost | None]:
    batches = ", ".join(map(str, options.batches))
    say(f"Timing {len(subjects)} files at batch {batches}, {options.threads} thread(s).")
    networks = {str(s.path): v.network for s, v in zip(subjects, variants, strict=True)}
    return [
        *costs_of(
            [subject.path for subject in subjects],
            networks=networks,
            batches=options.batches,
            threads=options.threads,
            trust=options.trust,
        )
    ]


def _layers(
    subjects: Sequence[Subject],
    variants: Sequence[Variant],
    common: Common,
    what: Sequence[str],
    options: Options,
    notes: list[str],
) -> list[LayerDifferences | None]:
    """The first's layers against each other's; by default those of its own converted files."""
    found: list[LayerDifferences | None] = [None] * len(subjects)
    if "layers" not in what:
        return found
    keys = common.keys[common.drawn(LAYER_SAMPLES, seed=options.seed)]
    asked = range(1, len(subjects)) if options.what else _own(subjects)
    for place in asked:
        subject = subjects[place]
        if subject.source.shape != subjects[0].source.shape:
            notes.append(f"layers: {subject.name} takes other inputs than {subjects[0].name}.")
            continue
        try:
            found[place] = layer_differences(
                variants[0],
                variants[place],
                subjects[0].source.gather(keys),
                second_inputs=subject.source.gather(keys),
            )
        except ModelError as error:
            notes.append(f"layers: {error}")
    return found
