"""The score that is explained: the logit of a class (`hsi.explain.logit_view`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError, SettingsError
from hsi.explain.attribution import in_batches
from hsi.explain.logit_view import OUTPUT_ITSELF, look_through
from hsi.explain.walk import is_quicker, run
from hsi.models.keras3 import Twin, computes_here, is_keras3, twin_of
from hsi.models.precision import followed_single, precision_note
from hsi.models.saved_model import SavedGraph

PREDICTED = -1
"""Stands for "the class that the network predicts" where a class index is asked for."""


class Score:
    """Logits of a network as a differentiable function, with its compiled steps.

    One `Score` belongs to one model and is found by `score_of`; methods keep their compiled
    functions in it, so that each is traced once per model and shape.

    Attributes:
        network: the logit view (a `tf_keras` model), or the callable that was given.
        input_shape: shape of a sample, None where free; () where nothing is known.
        dtype: of the inputs that the network takes.
        notes: what a reader must know about the score.
        smooth: the same without the rounding that the network does, for what must integrate
            it; None for networks that do not round.
        answers: the same network as it answers, softmax included.
        black_box: the network takes and returns NumPy arrays and has no gradient: only methods
            that look at answers alone (occlusion, RISE) can explain it.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], tf.Tensor],
        *,
        input_shape: tuple[int | None, ...] = (),
        dtype: str = "float32",
        notes: Sequence[str] = (),
        black_box: bool = False,
        smooth: Callable[[], Score] | None = None,
        answers: Callable[[], Score] | None = None,
    ) -> None:
        self._make_smooth, self._make_answers = smooth, answers
        self.black_box = black_box
        self.network = network
        self.input_shape = input_shape
        self.dtype = dtype
        self.notes = tuple(notes)
        self._compiled: dict[str, Callable[..., Any]] = {}
        self._kept: dict[str, Any] = {}
        self._walks = is_quicker(network)

    @property
    def word(self) -> str:
        """What the score is: "logit", or "output" where nothing could be looked through."""
        return "output" if OUTPUT_ITSELF in self.notes else "logit"

    @cached_property
    def smooth(self) -> Score | None:
        return self._make_smooth() if self._make_smooth else None

    @cached_property
    def answers(self) -> Score:
        return self._make_answers() if self._make_answers else self

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Logits (n, classes), in inference mode."""
        if self._walks:
            return run(self.network, inputs)
        return self.plainly(inputs)

    def plainly(self, inputs: tf.Tensor) -> tf.Tensor:
        """The same, by the network's own layers and nothing else."""
        if isinstance(self.network, keras.Model):
            return self.network(inputs, training=False)
        return self.network(inputs)

    def compiled(
        self, name: str, build: Callable[[Score], Callable[..., Any]]
    ) -> Callable[..., Any]:
        """The compiled function of that name, built at its first use from `build(score)`.

        Raises:
            ModelError: the score of a black box, which cannot be compiled or differentiated.
        """
        if self.black_box:
            raise ModelError(
                f"{name} needs a differentiable network, this one is a black box; "
                "expected occlusion, spectral_occlusion or rise."
            )
        if name not in self._compiled:
            self._compiled[name] = tf.function(build(self))
        return self._compiled[name]

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at its first use and kept under that name."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(rows, ...) -> (rows, classes) logits, all rows in one pass; no gradient is needed."""
        if self.black_box:
            return np.asarray(self.network(inputs))
        return np.asarray(self.compiled("logits", _plain)(inputs))

    def prepare(self, inputs: np.ndarray) -> np.ndarray:
        """The samples in the type of the network.

        Raises:
            ModelError: another shape than the network takes.
            SettingsError: no samples.
        """
        inputs = np.asarray(inputs)
        if self.input_shape and (
            inputs.ndim != len(self.input_shape) + 1
            or any(
                want not in (None, got)
                for want, got in zip(self.input_shape, inputs.shape[1:], strict=True)
            )
        ):
            wanted = " x ".join("any" if s is None else str(s) for s in self.input_shape)
            got = " x ".join(map(str, inputs.shape[1:]))
            raise ModelError(
                f"Expected samples of {wanted} as the network takes them, got {got}; "
                "use the patch size and the bands or components of its training."
            )
        if len(inputs) == 0:
            raise SettingsError("Expected at least one sample to explain, got none.")
        return np.ascontiguousarray(inputs, self.dtype)


_SCORES: weakref.WeakKeyDictionary[Any, Score] = weakref.WeakKeyDictionary()
_ANSWERS: weakref.WeakKeyDictionary[Any, Score] = weakref.WeakKeyDictionary()
_TWINS: weakref.WeakKeyDictionary[Any, Twin] = weakref.WeakKeyDictionary()


def score_of(model: Any) -> Score:
    """The score of a model, built once and kept as long as the model lives.

    Args:
        model: a `tf_keras` model with one input and an output of (n, classes), of which one in half
            or mixed precision is rebuilt in float32 once and followed as it learns; a live model of
            Keras 3, which is rebuilt in `tf_keras` likewise; a `SavedGraph`;
            or a callable that maps a tensor (n, ...) to logits (n, classes) differentiably, or a
            `Score` around one, which then keeps what was compiled from one call to the next.

    Raises:
        ModelError: several inputs or outputs, or an output of another rank.
    """
    if isinstance(model, Score):
        return model
    if isinstance(model, SavedGraph):
        return Score(
            model, input_shape=model.input_shape[1:], dtype=model.dtype, notes=[OUTPUT_ITSELF]
        )
    if is_keras3(model):
        return _live_score(model)
    if not isinstance(model, keras.Model):
        return Score(model)
    model = followed_single(model)
    if model not in _SCORES:
        view, note = look_through(model)
        if view is model:  # nothing is known of its graph, and the cache must not hold its own key
            return Score(view, notes=[note])
        _SCORES[model] = Score(
            view,
            input_shape=tuple(view.inputs[0].shape[1:]),
            dtype=view.inputs[0].dtype.name,
            notes=[text for text in (precision_note(model), note) if text],
            answers=partial(_answering, model.inputs, model.outputs, model.name),
        )
    return _SCORES[model]


def answers_of(model: Any) -> Score:
    """The model as it answers, softmax included, so that its layers can be read.

    Args:
        model: as for `score_of`, but a `tf_keras` model may have any outputs.

    Raises:
        ModelError: several inputs, or a model that does not show its layers.
    """
    if not isinstance(model, keras.Model):
        return score_of(model).answers
    if not model.outputs or len(model.inputs) != 1:
        raise ModelError(
            f"Expected a functional or sequential model with one input, "
            f"got {type(model).__name__} {model.name!r}, whose layers cannot be reached."
        )
    model = followed_single(model)
    if model not in _ANSWERS:
        _ANSWERS[model] = _answering(model.inputs, model.outputs, model.name)
    return _ANSWERS[model]


def _answering(inputs: list[Any], outputs: list[Any], name: str) -> Score:
    # A view, not the model itself: the caches would then keep their own keys alive.
    return Score(
        keras.Model(inputs, outputs, name=f"{name}_answers"),
        input_shape=tuple(inputs[0].shape[1:]),
        dtype=inputs[0].dtype.name,
    )


def _live_score(model: Any) -> Score:
    """The score of a Keras 3 model, through its twin in `tf_keras`.

    One with a layer that has no counterpart is taken as it is, where TensorFlow is its backend.
    """
    try:
        if model not in _TWINS or not _TWINS[model].follow(model):
            _TWINS[model] = twin_of(model)
    except ModelError as error:
        if not computes_here(model):
            raise
        return Score(model, notes=[OUTPUT_ITSELF, f"its layers are not seen: {error}"])
    return score_of(_TWINS[model].model)


def chosen_classes(
    score: Score, inputs: np.ndarray, classes: int | np.ndarray | None, *, batch_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Class indices (n,) and their logits (n,); the predicted classes where `classes` is None.

    Raises:
        SettingsError: an index outside of the network's classes, or not one per sample.
    """
    (logits,) = in_batches(lambda x: [score.logits(x)], inputs, batch_size=batch_size)
    wanted = as_classes(classes, len(inputs))
    check_classes(wanted, logits.shape[1])
    wanted = np.where(wanted == PREDICTED, logits.argmax(axis=1), wanted)
    return wanted, np.take_along_axis(logits, wanted[:, None], axis=1)[:, 0]


def as_classes(classes: int | np.ndarray | None, n: int) -> np.ndarray:
    """One class index per sample, (n,) int32, `PREDICTED` where None was given.

    Raises:
        SettingsError: negative indices, no integers, or neither one nor n of them.
    """
    if classes is None:
        return np.full(n, PREDICTED, np.int32)
    wanted = np.asarray(classes)
    if not np.issubdtype(wanted.dtype, np.integer) or wanted.shape not in ((), (n,)):
        raise SettingsError(
            f"Expected one class index, or one for each of the {n} samples, as integers; "
            f"got shape {wanted.shape} of {wanted.dtype}."
        )
    if wanted.min() < 0:
        raise SettingsError(f"Expected class indices from 0, got {wanted.min()}.")
    return np.broadcast_to(wanted, n).astype(np.int32)


def check_classes(classes: np.ndarray, count: int) -> None:
    """Raise a `SettingsError` if an index is not below the network's number of classes."""
    if classes.max() >= count:
        raise SettingsError(
            f"Expected class indices from 0 to {count - 1}, as the network has {count} classes; "
            f"got {classes.max()}."
        )


def _plain(score: Score) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda inputs: score(inputs)
