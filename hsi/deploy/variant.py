"""A variant: one model file, Keras or `.tflite`, that predicts, has layers and has a gradient."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.baselines import ENDING
from hsi.deploy.tflite import TFLiteModel
from hsi.errors import ModelError

if TYPE_CHECKING:
    from hsi.explain.activation_map import LayerActivations
    from hsi.explain.layered import LayerInfo
    from hsi.explain.score import Score
    from hsi.predict import Forward

TFLITE = ".tflite"


class Variant:
    """One face for all forms of a network; made by `load_variant`.

    Calling it with a batch (n, ...) gives scores (n, classes) as the file gives them, mostly
    softmax; it is therefore a `hsi.predict.Forward`.

    Args:
        path: the file.
        input_shape: of one sample; None where free.
        classes: how many scores a sample gets.
        forward: a batch -> scores.
        network: the Keras model or the graph; None for a `.tflite`, which is only opened as a
            differentiable function when its score or its layers are asked for.
        sample_bytes: that a sample takes on its way through it; 0 where that is not known.
    """

    def __init__(
        self,
        path: Path,
        *,
        input_shape: tuple[int | None, ...],
        classes: int,
        forward: Callable[[np.ndarray], np.ndarray],
        network: Any = None,
        sample_bytes: int = 0,
    ) -> None:
        self.path, self.input_shape, self.classes = path, input_shape, classes
        self.network, self.sample_bytes = network, sample_bytes
        self._forward = forward

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(n, ...) float32 -> (n, classes) float32, all in one pass."""
        return self._forward(batch)

    def predict(self, inputs: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """(n, ...) samples -> (n, classes) scores, in batches.

        Raises:
            ModelError: samples of another shape, or none.
        """
        self._check(inputs)
        starts = range(0, len(inputs), batch_size)
        return np.concatenate([self(inputs[start : start + batch_size]) for start in starts])

    @cached_property
    def score(self) -> Score:
        """The logits, differentiable with respect to the input; loads TensorFlow.

        Raises:
            ModelError: a `.tflite` with an operator that has no differentiable form (named), or a
                baseline.
        """
        if self.path.suffix.lower() == ENDING:
            raise ModelError(
                f"{self.path}: a baseline of scikit-learn has no gradient and no layers; expected "
                "a network (.h5, .keras or .tflite)."
            )
        if self.network is None:
            from hsi.deploy.lite.layers import lite_score

            return lite_score(self.path)
        from hsi.explain.score import score_of

        return score_of(self.network)

    @property
    def note(self) -> str:
        """What its answers depend on beside the file; "" where that is nothing."""
        if self.network is None:
            return ""
        from hsi.models.precision import precision_note

        return precision_note(self.network)

    def layers(self, sample_shape: tuple[int, ...] | None = None) -> Sequence[LayerInfo]:
        """All layers in the order of execution, by the names that users give them.

        Args:
            sample_shape: of a sample, where the network leaves axes free.

        Raises:
            ModelError: a network that does not show its layers.
        """
        from hsi.explain.keras_layers import layered_of

        known = sample_shape or self.input_shape
        free = {i: 1 for i, size in enumerate(known) if size is None}
        shape = tuple(free.get(i, size) for i, size in enumerate(known))
        return layered_of(self.score, method="layers").describe(shape)  # type: ignore[arg-type]

    def activations(
        self, inputs: np.ndarray, layers: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> list[LayerActivations]:
        """What layers answer to samples; see `hsi.explain.activation_map.activations`."""
        from hsi.explain.activation_map import activations

        return activations(self.score, inputs, layers=layers, batch_size=batch_size)

    def _check(self, inputs: np.ndarray) -> None:
        wanted, got = self.input_shape, inputs.shape[1:]
        fits = len(wanted) == len(got) and all(
            w in (None, g) for w, g in zip(wanted, got, strict=True)
        )
        if not fits or not len(inputs):
            raise ModelError(
                f"{self.path}: expected samples of {sizes_text(wanted)}, as the model was made "
                f"for, got {len(inputs)} of {sizes_text(got)}."
            )


def load_variant(path: str | Path, *, trust: bool = False, threads: int = 1) -> Variant:
    """Open a model file for prediction, layers and gradients.

    Args:
        path: `.h5` or `.keras` of tf_keras or Keras 3, a SavedModel folder, `.tflite`, or the
            `.npz` of a baseline (`hsi.baselines`), which predicts and no more.
        trust: run the code that a Lambda layer holds; without it such a file is refused.
        threads: of the `.tflite` interpreter.

    Raises:
        ModelError: missing, damaged, no classifier with one input and one output of (samples,
            classes), two of them at least, or a file that would run a stranger's code.
    """
    variant = _load(Path(path), trust=trust, threads=threads)
    if variant.classes == 1:
        from hsi.models.files import too_few_classes

        raise too_few_classes(path, (None, 1))
    return variant


def _load(path: Path, *, trust: bool, threads: int) -> Variant:
    if path.suffix.lower() == TFLITE:
        lite = TFLiteModel(path, threads=threads)
        return Variant(
            path, input_shape=lite.input_shape, classes=lite.classes, forward=lite,
            sample_bytes=lite.sample_bytes,
        )  # fmt: skip
    if path.suffix.lower() == ENDING:
        from hsi.baselines import load

        fitted = load(path)
        return Variant(path, input_shape=fitted.shape, classes=fitted.total, forward=fitted)
    from hsi.models.files import load_model
    from hsi.predict import compiled

    model = load_model(path, trust=trust)
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not isinstance(inputs, tuple) or not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ModelError(
            f"{path}: expected a network with one input and one output of (samples, classes), "
            f"got an input of {inputs} and an output of {outputs}."
        )
    forward: Forward = compiled(model)
    shape, classes = inputs[1:], int(outputs[1] or 0)
    return Variant(path, input_shape=shape, classes=classes, forward=forward, network=model)


def sizes_text(shape: Sequence[int | None]) -> str:
    """(5, 5, None) -> "5 x 5 x any"."""
    return " x ".join("any" if s is None else str(s) for s in shape)


def sizes(path: str | Path) -> tuple[int, int]:
    """Bytes of a file, and of the file after gzip (level 9, no time stamp)."""
    data = Path(path).read_bytes()
    return len(data), len(gzip.compress(data, compresslevel=9, mtime=0))
