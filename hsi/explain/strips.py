"""Attributions of all the patches of a strip of a scene, with what neighbours share computed once.

The affine beginning of a network (`hsi.explain.affine`) that is a convolution answers to every
patch with a window of what it answers to the whole strip. So it goes forward once for the strip,
and no patch is cut:

    a = front(strip)        slopes of pixel q = d logit_c / d a  at the window of a around q
    map of pixel q = L' * slopes of pixel q

with L the linear part of the front. Each pixel is explained for its own class, so slopes and maps
are of each pixel on its own: they are what the method gives for its patch, nothing summed up over
the patches that hold it. Along the path of integrated gradients and under SmoothGrad's noise the
front stays out as it does for patches. Where the map is multiplied by the input (input times
gradient, integrated gradients), the windows of the strip under some pixels are read for that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from hsi import explain
from hsi.errors import ModelError
from hsi.explain import gradient, integrated_gradient
from hsi.explain.affine import TOLERANCE, WORTH, Split, split_of
from hsi.explain.attribution import Attribution, in_batches, make_attribution, rows_at_once
from hsi.explain.baselines import baseline_of
from hsi.explain.noise import noise_of
from hsi.explain.path import path_gradient
from hsi.explain.score import PREDICTED, Score
from hsi.explain.slopes import class_of, mean_slope
from hsi.patches import windows

AT_ONCE = 256
"""Pixels whose maps are in memory at once, or the batch size where that is more."""


@dataclass(frozen=True, eq=False)
class _Slopes:
    """What is found behind the front, for windows (n, rows, cols, channels) of its map.

    Attributes:
        values: slopes in the shape of the windows.
        classes, scores: (n,) explained.
        unsettled: (n,) whose map must be made from the patch, since it takes more points.
    """

    values: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    unsettled: np.ndarray


class StripAttributor:
    """One method on the patches of strips, each for the class predicted there.

    Args:
        method: gradient, input_times_gradient, smoothgrad or integrated_gradient.
        score: of the patches.
        shape: (p, p, channels) of a patch.
        options: of the method.
        batch_size: most rows (noisy copies, points of paths) at once; see
            `hsi.explain.attribution.rows_at_once`.
        seed: of the noise.

    Raises:
        ModelError: the method or the network does not go this way; the text says why.
    """

    def __init__(
        self,
        method: str,
        score: Score,
        shape: tuple[int, int, int],
        options: Mapping[str, Any],
        *,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if method not in _BEHIND:
            raise ModelError(f"{method} needs each patch on its own")
        self.method, self.shape = method, shape
        self.options = explain.options_of(method) | dict(options)
        self.batch_size = rows_at_once(shape, batch_size)
        self.seed, self.score = seed, score
        if method == "smoothgrad" and self.options["ranges"] is None:
            raise ModelError("without ranges of the channels the noise is that of some patches")
        self.split = _sliding_split(score, shape)
        self.behind = score.kept(
            f"behind the front {shape}", lambda: Score(self.split.rest, dtype=score.dtype)
        )
        self.size = _front(score, self.split, np.zeros((1, *shape), score.dtype)).shape[1:]
        self.origin = _origin(self)

    def __call__(self, around: np.ndarray) -> Iterator[tuple[np.ndarray, Attribution]]:
        """Attributions of the pixels of a strip, some at a time.

        Args:
            around: (rows + p - 1, cols + p - 1, channels), see `hsi.patches.Patches.around`.

        Yields:
            Flat numbers (n,) of pixels in the strip, and their maps (n, p, p, channels).
        """
        around = np.ascontiguousarray(around, self.score.dtype)
        side = self.shape[0]
        patches = windows(around, side, side)
        maps = windows(_front(self.score, self.split, around[None])[0], *self.size[:2])
        rows, cols = patches.shape[:2]
        step = self.batch_size * max(AT_ONCE // self.batch_size, 1)
        for start in range(0, rows * cols, step):
            pixels = np.arange(start, min(start + step, rows * cols))
            corners = np.divmod(pixels, cols)
            found = _BEHIND[self.method](self, maps[corners].reshape(-1, *self.size))
            inputs = patches[corners].reshape(-1, *self.shape) if self._multiplied else None
            yield pixels, self._attribution(found, inputs)

    @property
    def _multiplied(self) -> bool:
        """Whether a map is the product of the input, or its way from the baseline, and slopes."""
        return self.method in ("input_times_gradient", "integrated_gradient")

    def _attribution(self, found: _Slopes, inputs: np.ndarray | None) -> Attribution:
        """Maps of the patches, from the slopes behind the front and what they are times."""
        back = self.score.compiled(f"back from the front {self.shape}", self._back)
        (maps,) = in_batches(lambda s: [back(s)], found.values, batch_size=self.batch_size)
        if inputs is not None:
            maps = (inputs if self.origin is None else inputs - self.origin) * maps
            if found.unsettled.any():
                maps[found.unsettled] = self.by_patches(inputs[found.unsettled]).maps
        return make_attribution(
            maps, found.classes, found.scores, method=self.method,
            quantity="contribution" if self._multiplied else "gradient",
        )  # fmt: skip

    def _back(self, _: Score) -> Callable[[tf.Tensor], tf.Tensor]:
        # The way back through what is affine does not hang on the values that went forward.
        def back(slopes: tf.Tensor) -> tf.Tensor:
            nothing = tf.zeros([tf.shape(slopes)[0], *self.shape], slopes.dtype)
            return self.split.back(nothing, slopes)

        return back

    def by_patches(self, inputs: np.ndarray) -> Attribution:
        """The same of patches (n, p, p, channels), by the method itself."""
        return explain.attribute(
            self.method, self.score, inputs, batch_size=self.batch_size, seed=self.seed,
            **self.options,
        )  # fmt: skip


def _sliding_split(score: Score, shape: tuple[int, int, int]) -> Split:
    """The affine beginning of a network and its rest, the beginning proven to slide.

    Raises:
        ModelError: there is none, little of the work is in it, or its answer to a patch is no
            window of its answer to the image.
    """
    split = score.kept(f"split {shape}", lambda: split_of(score.network, shape))
    if split is None or score.smooth is not None:
        raise ModelError("the network does not begin with an affine layer")
    if split.share < WORTH:
        raise ModelError(f"only {100 * split.share:.2g} % of the work can be shared by neighbours")
    side = shape[0]
    image = np.random.default_rng(0).normal(size=(side + 2, side + 2, shape[2]))
    image = image.astype(score.dtype)
    wanted = _front(score, split, windows(image, side, side).reshape(-1, *shape))
    try:
        found = _front(score, split, image[None])
    except (ValueError, ModelError, tf.errors.OpError):  # a layer that takes patches alone
        found = np.empty(0)
    if wanted.ndim != 4 or found.shape != (1, *(n + 2 for n in wanted.shape[1:3]), wanted.shape[3]):
        raise ModelError("its first layer is no convolution with stride 1 and without padding")
    found = windows(found[0], *wanted.shape[1:3]).reshape(wanted.shape)
    if not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max()):
        raise ModelError("its first layer sees the borders of each patch")
    return split


def _front(score: Score, split: Split, images: np.ndarray) -> np.ndarray:
    """(n, rows, cols, channels) -> its answer; traced once for all sizes."""
    spec = tf.TensorSpec([None, None, None, images.shape[-1]], images.dtype)
    front = score.kept(
        "front of strips", lambda: tf.function(split.front, input_signature=[spec], autograph=False)
    )
    return np.asarray(front(images))


def _origin(work: StripAttributor) -> np.ndarray | None:
    """The baseline (1, p, p, channels) that all patches have; None where none is needed."""
    baseline = work.options.get("baseline")
    if baseline is None:
        return None
    if isinstance(baseline, str) and baseline != "zero":
        raise ModelError(f"the baseline {baseline!r} is another one for each patch")
    return baseline_of(np.zeros((1, *work.shape), work.score.dtype), baseline)


def _plain(work: StripAttributor, given: np.ndarray) -> _Slopes:
    """Of the logit at the windows themselves."""
    found = gradient.attribute(work.behind, given, batch_size=work.batch_size)
    return _Slopes(found.maps, found.classes, found.scores, np.zeros(len(given), bool))


def _noisy(work: StripAttributor, given: np.ndarray) -> _Slopes:
    """The mean over the noisy copies that each patch would get."""
    # Noise asks for the shape of the patches alone: nothing is made of them here.
    inputs = np.broadcast_to(np.zeros((), work.score.dtype), (len(given), *work.shape))
    options = {name: work.options[name] for name in ("samples", "noise", "ranges")}
    drawn = noise_of(inputs, seed=work.seed, **options)
    step = work.behind.compiled("noisy slopes", _noisy_step)
    values, classes = np.zeros(given.shape), np.full(len(given), PREDICTED, np.int32)
    logits: np.ndarray | None = None
    for group in drawn.groups(work.score, work.split, inputs, batch_size=work.batch_size):
        slopes, found, explained = in_batches(
            lambda a, c, group=group: step(
                a, c, group.shifts, group.weights, group.count, group.at_once
            ),
            given,
            classes,
            batch_size=work.batch_size,
        )
        values += slopes
        if logits is None:
            logits, classes = found, explained
    assert logits is not None
    scores = np.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
    return _Slopes(values.astype(given.dtype), classes, scores, np.zeros(len(given), bool))


def _noisy_step(score: Score) -> Callable[..., list[tf.Tensor]]:
    def step(
        given: tf.Tensor,
        wanted: tf.Tensor,
        shifts: tf.Tensor,
        weights: tf.Tensor,
        count: tf.Tensor,
        at_once: tf.Tensor,
    ) -> list[tf.Tensor]:
        logits = score(given)
        classes, _ = class_of(logits, wanted)
        slopes = mean_slope(
            score, given, lambda i, j: shifts[i:j][:, None], weights, classes, count, at_once
        )
        return [slopes, logits, classes]

    return step


def _path(work: StripAttributor, given: np.ndarray) -> _Slopes:
    """The mean along the way from the baseline.

    Whether the points are enough is seen behind the front as it is at the patches: there, too, the
    contributions sum to the difference of the scores.
    """
    options, wanted = work.options, np.full(len(given), PREDICTED, np.int32)
    assert work.origin is not None
    origins = np.broadcast_to(_front(work.score, work.split, work.origin), given.shape)
    path = path_gradient(
        work.behind, given, origins, wanted, options["points"], batch_size=work.batch_size
    )
    difference = path.at_inputs.astype(np.float64) - path.at_origins
    total = ((given - origins) * path.gradient).reshape(len(given), -1).sum(1, dtype=np.float64)
    largest = np.maximum(np.abs(path.at_inputs), np.abs(path.at_origins))
    floor = integrated_gradient.ROUNDING * np.maximum(largest, 1e-30)
    error = np.abs(total - difference) / np.maximum(np.abs(difference), floor)
    return _Slopes(path.gradient, path.classes, path.at_inputs, error > options["tolerance"])


_BEHIND: dict[str, Callable[[StripAttributor, np.ndarray], _Slopes]] = {
    "gradient": _plain,
    "input_times_gradient": _plain,
    "smoothgrad": _noisy,
    "integrated_gradient": _path,
}
"""The methods that go this way."""
