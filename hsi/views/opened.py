"""Variants that are looked at: each opened with the samples that it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.deploy.variant import Variant, load_variant
from hsi.errors import SettingsError
from hsi.views.locate import Located
from hsi.views.photographs import ImageSubject, open_image_subject
from hsi.views.request import Request
from hsi.views.subject import Say, SceneSubject, open_scene_subject

if TYPE_CHECKING:
    from hsi.explain.score import Score

Subject = SceneSubject | ImageSubject


@dataclass(frozen=True)
class Opened:
    """A variant with its samples.

    Attributes:
        variant: the model file.
        subject: its samples.
        space: what is attributed.
    """

    variant: Variant
    subject: Subject
    space: str

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

        if isinstance(self.subject, ImageSubject):
            return score_of(model)
        return through(model, self.subject.samples.preparation, space=self.space)


def open_subjects(request: Request, found: Sequence[Located], *, say: Say) -> list[Subject]:
    """The samples of each file, those of one run only once; loads no TensorFlow.

    Raises:
        SettingsError: files that were made for other samples than the first.
        UserError: whatever is wrong with the data.
    """
    if request.photographed:
        return [open_image_subject(request, found[0].input_shape)] * len(found)
    known: dict[Path | None, SceneSubject] = {}
    subjects: list[Subject] = []
    for located in found:
        folder = located.run.folder.resolve() if located.run else None
        if folder is None or folder not in known:
            known[folder] = open_scene_subject(request, located, say=say)
        subjects.append(known[folder])
        _check_same(known[folder], subjects[0], located, found[0])
    return subjects


def open_variants(
    request: Request, found: Sequence[Located], subjects: Sequence[Subject]
) -> list[Opened]:
    """The networks, checked against their samples.

    Raises:
        ModelError: a file that does not open, or a network of other classes or other samples.
    """
    opened = []
    for located, subject in zip(found, subjects, strict=True):
        variant = load_variant(located.path, trust=request.trust)
        subject.check_model(located.path, variant.input_shape, variant.classes)
        opened.append(Opened(variant, subject, request.space))
    return opened


def _check_same(subject: SceneSubject, first: Subject, located: Located, other: Located) -> None:
    """Refuse to compare variants of other scenes, patches, classes or components."""
    assert isinstance(first, SceneSubject)
    here, there = subject.scene, first.scene
    differing = {
        "scene": (here.name, there.name),
        "shape": (here.cube.shape, there.cube.shape),
        "hash of the data": (here.sha256, there.sha256),
        "classes": (here.classes, there.classes),
        "patch size": (subject.samples.patches.patch_size, first.samples.patches.patch_size),
    }
    if subject.of_components or first.of_components:
        differing["components"] = (
            _components(subject), _components(first),
        )  # fmt: skip
    for what, (mine, its) in differing.items():
        if mine != its:
            raise SettingsError(
                f"{located.path}: made for another {what} than {other.path} ({mine}, {its}); "
                "only variants of the same samples can be compared."
            )


def _components(subject: SceneSubject) -> tuple[str, int, float]:
    fitted = subject.samples.preparation
    return fitted.reducer, fitted.channels, float(np.abs(fitted.components).sum())
