"""Batches of the same samples for two networks, and what their layers answer to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.deploy.variant import Variant
from hsi.errors import SettingsError

if TYPE_CHECKING:
    from hsi.explain.activation_map import LayerActivations
    from hsi.explain.layered import LayerInfo

LEAST = 4
"""Samples of a batch: HSIC_1 is not defined for fewer."""

MOST_ROWS, FEWEST_ROWS, HELD = 256, 8, 2**26
"""Samples of a batch, and the values of all layers together that they may have."""

Batches = np.ndarray | Iterable[np.ndarray]
"""Samples (n, ...), drawn into batches here; or batches of samples in random order."""


def paired_batches(
    inputs: Batches, second_inputs: Batches | None, *, batch_size: int, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of the same samples for two networks.

    Arrays are drawn into batches at random, whose sizes differ by one sample at most; what comes
    in batches is passed on as it is.

    Args:
        inputs, second_inputs: see `compare_representations`.
        batch_size: most samples of a batch, at least 4.
        seed: of the draw.

    Raises:
        SettingsError: too few samples or too small batches, different numbers of samples, or an
            array beside batches.
    """
    if not isinstance(inputs, np.ndarray):
        if isinstance(second_inputs, np.ndarray):
            raise SettingsError("Expected batches for both networks, got an array for the second.")
        if second_inputs is None:
            yield from ((batch, batch) for batch in inputs)
            return
        try:
            yield from zip(inputs, second_inputs, strict=True)
        except ValueError as error:
            raise SettingsError("Expected as many batches for both networks.") from error
        return
    other = inputs if second_inputs is None else second_inputs
    if not isinstance(other, np.ndarray) or len(other) != len(inputs):
        raise SettingsError(
            f"Expected the same {len(inputs)} samples for the second network, got "
            f"{len(other) if isinstance(other, np.ndarray) else 'batches'}."
        )
    if len(inputs) < LEAST or batch_size < LEAST:
        raise SettingsError(
            f"Expected at least {LEAST} samples in batches of at least {LEAST}, got "
            f"{len(inputs)} in batches of {batch_size}."
        )
    # Never a part of fewer than `LEAST`: of 5 samples in batches of 4 one batch is made.
    parts = max(1, min(-(-len(inputs) // batch_size), len(inputs) // LEAST))
    order = np.random.default_rng(seed).permutation(len(inputs))
    for rows in np.array_split(order, parts):
        yield inputs[rows], other[rows]


def rows_for(first: Any, second: Any, inputs: Batches, second_inputs: Batches | None) -> int:
    """Samples of a batch, so that what all layers answer to them can be held at once.

    Arguments as of `compare_representations`; small batches make CKA less sure, not biased.
    """
    if not isinstance(inputs, np.ndarray):
        return MOST_ROWS
    other = inputs if second_inputs is None else second_inputs
    values = 0
    for network, samples in ((first, inputs), (second, other)):
        if network is not None and isinstance(samples, np.ndarray):
            infos = infos_of(network, samples.shape[1:])
            values += sum(prod(s or 1 for s in info.shape) for info in infos if info.shown)
    return min(MOST_ROWS, max(FEWEST_ROWS, HELD // max(values, 1)))


def infos_of(network: Any, sample_shape: tuple[int, ...]) -> Sequence[LayerInfo]:
    """The layers of a network; see `hsi.explain.layered.Layered.describe`."""
    from hsi.explain.keras_layers import layered_of
    from hsi.explain.score import answers_of

    score = answers_of(network.score if isinstance(network, Variant) else network)
    return layered_of(score, method="compare").describe(sample_shape)


def layers_of(
    network: Any, batch: np.ndarray, layers: Sequence[str] | None
) -> list[LayerActivations]:
    """What layers answer to a batch; see `hsi.explain.activation_map.activations`."""
    from hsi.explain.activation_map import activations

    score = network.score if isinstance(network, Variant) else network
    return activations(score, batch, layers=layers)
