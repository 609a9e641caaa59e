"""Sanity check of a method: does its map change when the network forgets what it learnt?

From the top down, layer after layer gets the weights that it would begin training with; after each
the map is compared with that of the intact network. A method that shows what the network has
learnt loses the likeness at once. One that keeps it draws edges of the input, and makes a damaged
network look unharmed: guided backpropagation, above all.

The score explained stays that of the classes explained on the intact network.

Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity checks for saliency maps", 2018.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compare.attributions import similarity
from hsi.compare.redraw import Block, blocks_of, redrawn
from hsi.errors import ModelError, SettingsError
from hsi.explain import attribute
from hsi.explain.score import score_of
from hsi.models.keras3 import from_keras3, is_keras3

UPPER = 3
"""How many layers from the top the verdict looks at first: few, so that a network is hardly
damaged at all further down."""

HARDLY, PARTLY = 0.4, 0.2
"""Rank correlations from which on a method "hardly notices" and "notices in part"."""


@dataclass(frozen=True, eq=False)
class SanityPage:
    """What randomising a network does to the maps of a method.

    Attributes:
        method: its name.
        layers: (steps,) names: the layer that each step randomises, from the top down; with it go
            the batch norms and the like behind it. Where steps were left out, the last layer.
        random: (steps,) how many layers with kernels are random at that step.
        signed: (steps, n) rank correlation with the map of the intact network, NaN where one of
            the two is constant.
        magnitude: (steps, n) the same of the magnitudes.
        maps: (steps + 1, rows, cols, channels) of the first sample, the intact network's first.
        classes: (n,) class indices explained.
        independent: whether each step randomises its layer alone; else all layers above it too.
        verdict: one sentence, made from the numbers.
        notes: one line for each thing that the reader must know.
    """

    method: str
    layers: tuple[str, ...]
    random: tuple[int, ...]
    signed: np.ndarray
    magnitude: np.ndarray
    maps: np.ndarray
    classes: np.ndarray
    independent: bool
    verdict: str
    notes: tuple[str, ...] = ()


def cascade(
    method: str,
    model: Any,
    inputs: np.ndarray,
    *,
    classes: int | np.ndarray | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    independent: bool = False,
    most_steps: int = 16,
    view: Callable[[keras.Model], Any] | None = None,
    **options: Any,
) -> SanityPage:
    """Compare maps before and after randomising the layers of a network, from the top down.

    Kernels are drawn anew by their layer's own initialiser, biases and statistics of batch norm go
    back to their first values. The model itself is never changed.

    Args:
        method: a name in `hsi.explain.METHODS` of kind "attribution".
        model: a functional or sequential model of `tf_keras`, or a live one of Keras 3.
        inputs: (n, rows, cols, channels) samples as the network takes them.
        classes: class index 0..k-1, one for all or (n,); None explains what the intact network
            predicts.
        seed: of the weights, and of whatever is random in the method.
        batch_size: most rows that pass through the network at once.
        independent: randomise one layer at a time, and leave those above it as they were learnt.
        most_steps: maps are made for at most so many steps, evenly spread over deep networks.
        view: makes what is explained of the copy, for example its score over the sensor's bands
            (`hsi.explain.prepared.through`); `inputs` are then in that space.
        options: of the method.

    Raises:
        ModelError: a network whose weights cannot be drawn anew (a `.tflite` file, for one), or
            inputs that do not fit it.
        SettingsError: unknown method or option, class out of range, no samples, no step.
    """
    if most_steps < 1:
        raise SettingsError(f"Expected at least 1 step, got {most_steps}.")
    clone = _clone(model, inputs, own=view is None)
    explained = clone if view is None else view(clone)

    def explain(wanted: int | np.ndarray | None) -> Any:
        return attribute(
            method, explained, inputs, classes=wanted, batch_size=batch_size, seed=seed, **options
        )

    blocks = blocks_of(clone)
    intact = explain(classes)
    maps, compared, notes = [intact.maps[0]], [], list(intact.notes)
    shown = _spread(len(blocks), most_steps)
    for number, block in enumerate(blocks, start=1):
        learnt = [variable.numpy() for variable in block.variables]
        notes += _randomise(block, seed=seed)
        if number in shown:
            found = explain(intact.classes).maps
            maps.append(found[0])
            compared.append(_likeness(intact.maps, found))
        if independent:
            for variable, value in zip(block.variables, learnt, strict=True):
                variable.assign(value)
    signed, magnitude = (np.stack(rows) for rows in zip(*compared, strict=True))
    random = tuple(1 if independent else number for number in shown)
    layers = tuple(blocks[number - 1].name for number in shown)
    return SanityPage(
        method, layers, random, signed, magnitude, np.stack(maps), intact.classes, independent,
        verdict(method, layers, random, signed, magnitude, independent=independent),
        (*notes, *_unknown(layers, signed)),
    )  # fmt: skip


def random_network(
    model: Any, inputs: np.ndarray, *, own: bool = True, seed: int = 0
) -> tuple[keras.Model, list[str]]:
    """A copy of a network with all weights as they were before training, and notes.

    Args:
        model: a functional or sequential model of `tf_keras`, or a live one of Keras 3.
        inputs: (n, ...) samples.
        own: whether these are the model's own, and not of a space before it.
        seed: of the weights.

    Raises:
        ModelError: a network whose weights cannot be drawn anew.
    """
    clone = _clone(model, inputs, own=own)
    return clone, [note for block in blocks_of(clone) for note in _randomise(block, seed=seed)]


def verdict(
    method: str,
    layers: Sequence[str],
    random: Sequence[int],
    signed: np.ndarray,
    magnitude: np.ndarray,
    *,
    independent: bool = False,
) -> str:
    """What the numbers of a `SanityPage` say, in one sentence.

    Medians over the samples count: of a cascade, with the upper layers random (`UPPER`, or as
    many as there are steps for); of single layers, over all of them.
    """
    curve, sizes = _medians(signed), _medians(magnitude)
    if np.isnan(curve).all():
        return f"{method} cannot be judged: every map of a random network is dead or constant"
    if independent:
        middle = float(np.nanmedian(curve))
        least, most = int(np.nanargmin(curve)), int(np.nanargmax(curve))
        return (
            f"{method} {_word(middle)}: rank correlation between {_short(curve[least])} "
            f"({layers[least]}) and {_short(curve[most])} ({layers[most]}) with one layer random"
        )
    upper = max((i for i, count in enumerate(random) if count <= UPPER), default=0)
    if np.isnan(curve[upper]):
        upper = int(np.flatnonzero(~np.isnan(curve))[0])
    still = "still " if curve[upper] >= PARTLY else ""
    count = random[upper]
    end = ""
    if upper < len(random) - 1:
        end = f", {_short(curve[-1])} when all {random[-1]} are"
        if np.isnan(curve[-1]):
            end = f"; with all {random[-1]} random the map is dead or constant"
    return (
        f"{method} {_word(curve[upper])}: rank correlation {still}{_short(curve[upper])} "
        f"(magnitudes {_short(sizes[upper])}) when the "
        f"{f'{count} upper layers are' if count > 1 else 'top layer is'} random{end}"
    )


def _word(correlation: float) -> str:
    if correlation >= HARDLY:
        return "hardly notices"
    return "notices in part" if correlation >= PARTLY else "notices"


def _short(value: float) -> str:
    """0.49 -> .49"""
    if np.isnan(value):
        return "unknown"
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)  # no -.00


def _medians(values: np.ndarray) -> np.ndarray:
    """(steps, n) -> (steps,) medians of what is known, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a step without any known value
        return np.nanmedian(values, axis=1)


def _clone(model: Any, inputs: np.ndarray, *, own: bool) -> keras.Model:
    """A copy with weights of its own, checked to answer like the model.

    `own` says whether the inputs are the model's own.
    """
    if is_keras3(model):
        return from_keras3(model)
    if not isinstance(model, keras.Model) or not getattr(model, "_is_graph_network", False):
        raise ModelError(
            f"Weights are drawn anew here: expected a functional or sequential Keras "
            f"model, got {type(model).__name__}; take the Keras model that it was made from."
        )
    score = score_of(model)
    if own:
        score.prepare(inputs)
    try:
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        for layer in clone._flatten_layers():
            if hasattr(layer, "finalize_state"):  # Normalization computes from its weights once
                layer.finalize_state()
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"Weights are drawn anew in a copy, and {model.name} cannot be copied: {first}"
        ) from error
    sizes = zip(score.input_shape, np.shape(inputs)[1:], strict=False)
    sample = np.random.default_rng(0).normal(size=(1, *(known or given for known, given in sizes)))
    wanted, got = (np.asarray(m(sample.astype("float32"), training=False)) for m in (model, clone))
    if not np.allclose(wanted, got, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ModelError(
            f"Weights are drawn anew in a copy, and the copy of {model.name} answers otherwise: "
            "expected layers that Keras can make again from their settings."
        )
    return clone


def _randomise(block: Block, *, seed: int) -> list[str]:
    values, notes = redrawn(block, seed=seed)
    for variable, value in zip(block.variables, values, strict=True):
        variable.assign(value)
    return notes


def _likeness(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = similarity(first, second, measures=("spearman", "spearman_magnitude"))
    return found["spearman"], found["spearman_magnitude"]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 1..count: the first `UPPER` and the last, the rest evenly."""
    if count <= most:
        return list(range(1, count + 1))
    first = list(range(1, min(UPPER, most - 1) + 1))
    rest = np.linspace(len(first), count, most - len(first) + 1)[1:]
    return [*first, *(int(number) for number in np.round(rest))]


def _unknown(layers: Sequence[str], signed: np.ndarray) -> list[str]:
    """A note for each step at which maps cannot be compared."""
    missing = np.isnan(signed).sum(axis=1)
    return [
        f"{layer}: {count} of {signed.shape[1]} maps are dead or constant there and left out"
        for layer, count in zip(layers, missing, strict=True)
        if count
    ]
