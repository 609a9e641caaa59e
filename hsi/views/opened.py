"""Variants that are looked at: each opened with the samples that it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.compare.explained import nothing_there
from hsi.deploy.variant import Variant, load_variant
from hsi.errors import SettingsError
from hsi.views.image_set import ImageSetSubject, is_of_images, open_image_set_subject
from hsi.views.locate import Located
from hsi.views.photographs import ImageSubject, open_image_subject
from hsi.views.request import Request
from hsi.views.subject import Say, SceneSubject, open_scene_subject

if TYPE_CHECKING:
    import numpy as np

    from hsi.explain.score import Score

Subject = SceneSubject | ImageSetSubject | ImageSubject
_Made = SceneSubject | ImageSetSubject
"""Samples of a training: what a model was made for."""


@dataclass(frozen=True)
class Opened:
    """A variant with its samples.

    Attributes:
        variant: the model file.
        subject: its samples.
        space: what is attributed.
        nothing: (channels,) what stands for "nothing there" in it, the same for all that are looked
            at together; None where that is zero.
    """

    variant: Variant
    subject: Subject
    space: str
    nothing: np.ndarray | None = None

    @property
    def path(self) -> Path:
        return self.variant.path

    @property
    def recorded(self) -> str:
        """The variant's name in its run, "" where it is not on record."""
        run = self.subject.run
        entry = run.record["variants"].get(self.path.name) if run else None
        return str(entry["row"]["variant"]) if entry else ""

    @property
    def label(self) -> str:
        """A short name for a row of a figure."""
        return self.recorded or self.path.name

    @property
    def title(self) -> str:
        """File, variant and data in one line."""
        known = f" ({self.recorded})" if self.recorded else ""
        return f"{self.path.name}{known} on {self.subject.name}"

    @property
    def own(self) -> Score:
        """The score over what the network itself takes."""
        return self.variant.score

    @cached_property
    def score(self) -> Score:
        """The score over what is attributed."""
        return self.behind(self.own)

    def behind(self, model: Any) -> Score:
        """A network like this one, or its score, as a function of what is attributed."""
        from hsi.explain.prepared import through
        from hsi.explain.score import score_of

        if not isinstance(self.subject, SceneSubject):
            return score_of(model)
        return through(model, self.subject.samples.preparation, space=self.space)


def open_subjects(request: Request, found: Sequence[Located], *, say: Say) -> list[Subject]:
    """The samples of each file, those of one run only once in each form; loads no TensorFlow.

    Raises:
        SettingsError: files that were made for other samples than the first.
        UserError: whatever is wrong with the data.
    """
    if request.photographed:
        return [open_image_subject(request, found)] * len(found)
    known: dict[tuple[Path, bool], _Made] = {}
    subjects: list[_Made] = []
    for located in found:
        run = located.run
        same = (run.folder.resolve(), run.takes_counts(located.path.name)) if run else None
        subject = known.get(same) if same else None
        if subject is None:
            of_images = is_of_images(request, located)
            opener = open_image_set_subject if of_images else open_scene_subject
            subject = opener(request, located, say=say)
        if same:
            known[same] = subject
        subjects.append(subject)
        _check_same(subject, subjects[0], located, found[0])
    return [*subjects]


def open_variants(
    request: Request, found: Sequence[Located], subjects: Sequence[Subject]
) -> list[Opened]:
    """The networks, checked against their samples.

    Raises:
        ModelError: a file that does not open, or a network of other classes or other samples.
    """
    scenes = (subject.samples for subject in subjects if isinstance(subject, SceneSubject))
    nothing = nothing_there(scenes, request.space)
    opened = []
    for located, subject in zip(found, subjects, strict=True):
        variant = load_variant(located.path, trust=request.trust)
        subject.check_model(located.path, variant.input_shape, variant.classes)
        opened.append(Opened(variant, subject, request.space, nothing))
    return opened


def _check_same(subject: _Made, first: _Made, located: Located, other: Located) -> None:
    """Refuse to compare variants of other data, sizes, classes or components."""
    mine, its = subject.made_for(), first.made_for()
    for what in {**its, **mine}:
        if mine.get(what) != its.get(what):
            raise SettingsError(
                f"{located.path}: made for another {what} than {other.path} ({mine.get(what)}, "
                f"{its.get(what)}); only variants of the same samples can be compared."
            )
