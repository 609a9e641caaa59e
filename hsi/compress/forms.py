"""The eight forms of a patch: mirrored and turned, all of them shown, each as a sample of its own.

What lies in a patch has no up or down, and a teacher can be asked about every form. Showing all
eight, and not one drawn at random as `hsi.patches.turned` does, leaves the inputs of a student the
same in every epoch: its teacher is asked once about each.
"""

from __future__ import annotations

import numpy as np

from hsi.parts import Part, Source

FORMS = 8


class EightForms:
    """A source (`hsi.parts.Source`) of every form: key = 8 * key of the sample + form, 0..7.

    Args:
        source: of square inputs.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input: (rows, cols, channels)."""
        return self._source.shape

    def gather(self, pixels: np.ndarray, /) -> np.ndarray:
        """(n,) keys -> (n, rows, cols, channels) float32, prepared; a new array."""
        samples, forms = np.divmod(np.asarray(pixels, np.int64), FORMS)
        return in_forms(self._source.gather(samples), forms)


def in_forms(batch: np.ndarray, forms: np.ndarray) -> np.ndarray:
    """Each patch (n, side, side, channels) in its form, 0..7 (n,); 0 is the patch as it is."""
    count, side, _, channels = batch.shape
    here = np.arange(side * side).reshape(side, side)
    grids = [mirrored for turned in (here, here.T) for mirrored in (turned, turned[::-1])]
    places = np.stack([grid for one in grids for grid in (one, one[:, ::-1])]).reshape(FORMS, -1)
    pixels = batch.reshape(count, side * side, channels)
    return pixels[np.arange(count)[:, None], places[forms]].reshape(batch.shape)


def in_every_form(part: Part) -> Part:
    """The samples for `EightForms`, each in all of its forms."""
    pixels = FORMS * np.repeat(part.pixels, FORMS) + np.tile(np.arange(FORMS), len(part.pixels))
    return Part(pixels, np.repeat(part.classes, FORMS))


def as_they_are(part: Part) -> Part:
    """The samples for `EightForms`, each as it is."""
    return Part(FORMS * part.pixels, part.classes)
