"""Weights as they were before training: drawn anew by each layer's own initialiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError
from hsi.explain.model_graph import named_layers


@dataclass(frozen=True, eq=False)
class Block:
    """A layer with a kernel, and the layers behind it that have weights but no kernel.

    Attributes:
        name: of the layer with the kernel.
        number: of the block from the input, from 0; part of what its new weights hang on.
        variables: all weights that are drawn anew.
        initializers: one for each variable; None where the layer names none.
    """

    name: str
    number: int
    variables: tuple[tf.Variable, ...]
    initializers: tuple[Callable[..., Any] | None, ...]


def blocks_of(model: keras.Model) -> list[Block]:
    """The blocks of a network from the top (the scores) down; nested models are opened.

    Raises:
        ModelError: a network without weights, or one that does not show its layers.
    """
    names: list[str] = []
    groups: list[list[tuple[tf.Variable, Any]]] = []
    has_kernel: list[bool] = []
    seen: set[int] = set()
    for name, layer in named_layers(model):
        found = [pair for pair in _initialised(layer) if id(pair[0]) not in seen]
        seen.update(id(variable) for variable, _ in found)
        if not found:
            continue
        kernel = any(variable.shape.rank >= 2 for variable, _ in found)
        if groups and (not kernel or not has_kernel[-1]):
            # What comes before the first kernel goes with it, and has its name.
            groups[-1] += found
            if kernel:
                names[-1], has_kernel[-1] = name, True
            continue
        names.append(name)
        groups.append(found)
        has_kernel.append(kernel)
    if not groups:
        raise ModelError(f"Expected a network with weights, {model.name} has none.")
    blocks = [
        Block(name, i, tuple(v for v, _ in group), tuple(start for _, start in group))
        for i, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
    return blocks[::-1]


def _initialised(layer: Any) -> list[tuple[tf.Variable, Callable[..., Any] | None]]:
    """The weights of a layer and of what is inside of it, with their initialisers.

    Counters and masks, which are not trained and have no initialiser, are left out.
    """
    found: dict[int, tuple[tf.Variable, Callable[..., Any] | None]] = {}
    for part in layer._flatten_layers():
        for name, value in vars(part).items():
            if not isinstance(value, tf.Variable) or not value.dtype.is_floating:
                continue
            start = getattr(part, f"{name}_initializer", None)
            if start is None:  # depthwise_kernel has its depthwise_initializer
                start = getattr(part, f"{name.removesuffix('_kernel')}_initializer", None)
            if callable(start) or value.trainable:
                found.setdefault(id(value), (value, start if callable(start) else None))
    for value in layer.trainable_weights:  # such as a layer of one's own keeps in a list
        if value.dtype.is_floating:
            found.setdefault(id(value), (value, None))
    return list(found.values())


def redrawn(block: Block, *, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """New values for the variables of a block, the same for the same seed; with notes.

    An initialiser's own seed is not used: it may be the one that the learnt weights began with,
    and those would come back. Where there is no initialiser, or it makes a kernel of one value
    only, the learnt values are shuffled.
    """
    values, notes = [], []
    pairs = zip(block.variables, block.initializers, strict=True)
    for i, (variable, start) in enumerate(pairs):
        own = np.random.SeedSequence([seed, block.number, i])
        value = None if start is None else _drawn(start, variable, int(own.generate_state(1)[0]))
        if value is None or (value.ndim >= 2 and np.ptp(value) == 0):
            learnt = variable.numpy()
            value = np.random.default_rng(own).permutation(learnt.ravel()).reshape(learnt.shape)
            notes.append(f"{block.name}: no initialiser draws {variable.name}, it is shuffled")
        values.append(value)
    return values, notes


def _drawn(start: Any, variable: tf.Variable, seed: int) -> np.ndarray | None:
    """What an initialiser draws; None for a function, whose draws no seed fixes."""
    if not hasattr(start, "get_config"):
        return None
    config = start.get_config()
    if "seed" in config:
        start = type(start).from_config({**config, "seed": seed % 2**31})
    return np.asarray(start(variable.shape, dtype=variable.dtype))
