"""What a network would cost without some of its channels, without building it.

A weight has lengths that follow the number of channels that come into its layer, or that leave it,
and lengths that do not. Which follow which, the layer's own rule says
(`hsi.compress.layers`): it is asked once what it makes of one channel in, and of one channel out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call
from hsi.compress.compensation import without_room
from hsi.compress.cost import COUNTS
from hsi.compress.graph import ChannelMap, Removal, removed_ids
from hsi.compress.layers import rule_for
from hsi.compress.space import Kept


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        kind: the type of the layer.
        channels: of its output.
        parameters, macs: as `hsi.compress.cost` counts them for a whole network.
    """

    layer: str
    kind: str
    channels: int
    parameters: int
    macs: int


class CostModel:
    """Costs of a network for any removal; exact, and cheap to ask many times.

    Args:
        compensated: count the biases too that `compensation.compensate` adds for a removal.
    """

    def __init__(self, channels: ChannelMap, *, compensated: bool = False) -> None:
        self._map = channels
        self._roomless = without_room(channels.graph) if compensated else frozenset()
        self._ids = 1 + max((int(ids.max()) for ids in channels.ids.values()), default=0)
        self._weights: dict[str, _Weights] = {}
        for call in channels.graph.calls:
            if call.layer.weights and call.name not in self._weights:
                self._weights[call.name] = _Weights(call)

    def layers(self, removal: Removal) -> list[LayerCost]:
        """Every layer with weights, in the order of the network.

        A layer that is called twice stands there once and counts its operations twice.

        Raises:
            ModelError: an unknown group or channel, or a spatial input size that is not fixed.
        """
        stays = self._stays(removal)
        rows: dict[str, LayerCost] = {}
        for call, inputs, outputs in self._sizes(stays):
            weights = self._weights[call.name]
            before = rows.get(call.name)
            count = COUNTS.get(type(call.layer))
            macs = count(replace(call, layer=weights.layer(inputs, outputs))) if count else 0
            parameters = self._count(call, inputs, outputs)
            rows[call.name] = LayerCost(
                call.name,
                type(call.layer).__name__,
                outputs,
                before.parameters if before else parameters,
                macs + (before.macs if before else 0),
            )
        return list(rows.values())

    def parameters(self, removal: Removal) -> int:
        """Equal to `cost.parameters` of the network without these channels."""
        sizes = self._sizes(self._stays(removal))
        return sum({call.name: self._count(call, i, o) for call, i, o in sizes}.values())

    def macs(self, removal: Removal) -> int:
        """Equal to `cost.macs` of the network without these channels."""
        return sum(row.macs for row in self.layers(removal))

    def _count(self, call: Call, inputs: int, outputs: int) -> int:
        """Parameters of a layer with so many channels in and out."""
        weights = self._weights[call.name]
        grown = call.name in self._roomless and inputs < weights.inputs
        return weights.count(inputs, outputs) + (outputs if grown else 0)

    def _stays(self, removal: Removal) -> np.ndarray:
        stays = np.ones(self._ids, bool)
        stays[removed_ids(self._map, removal)] = False
        return stays

    def _sizes(self, stays: np.ndarray) -> Iterable[tuple[Call, int, int]]:
        """Each call of a layer with weights, with the channels that come in and go out."""
        ids = self._map.ids
        for call in self._map.graph.calls:
            if call.name in self._weights:
                inputs = int(stays[ids[call.inputs[0]]].sum())
                yield call, inputs, int(stays[ids[call.outputs[0]]].sum())


class _Weights:
    """The shapes of a layer's weights as a function of its channels."""

    def __init__(self, call: Call) -> None:
        self._layer = call.layer
        self._shapes = [np.array(weight.shape, int) for weight in call.layer.weights]
        self.inputs = int(call.input_shapes[0][-1] or 0)
        self._outputs = int(call.output_shapes[0][-1] or 0)
        self._per_input = self._slopes(call, self.inputs, 0)
        self._per_output = self._slopes(call, self._outputs, 1)

    def shapes(self, inputs: int, outputs: int) -> list[np.ndarray]:
        gone_in, gone_out = self.inputs - inputs, self._outputs - outputs
        return [
            shape - gone_in * per_input - gone_out * per_output
            for shape, per_input, per_output in zip(
                self._shapes, self._per_input, self._per_output, strict=True
            )
        ]

    def count(self, inputs: int, outputs: int) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes(inputs, outputs))

    def layer(self, inputs: int, outputs: int) -> Any:
        return _StandIn(self._layer, self.shapes(inputs, outputs))

    def _slopes(self, call: Call, channels: int, side: int) -> list[np.ndarray]:
        """By how much each length of each weight falls for a channel that goes."""
        if channels < 2:
            return [np.zeros_like(shape) for shape in self._shapes]
        masks = [np.ones(self.inputs, bool), np.ones(self._outputs, bool)]
        masks[side][1:] = False
        others = tuple(np.ones(int(shape[-1] or 0), bool) for shape in call.input_shapes[1:])
        kept = Kept((masks[0], *others), masks[1])
        made = rule_for(call.layer).weights(_StandIn(call.layer, self._shapes), kept)
        return [
            (shape - np.array(one.shape, int)) // (channels - 1)
            for shape, one in zip(self._shapes, made, strict=True)
        ]


class _StandIn:
    """A layer with weights of other shapes and no values; its settings are the layer's own."""

    def __init__(self, layer: keras.layers.Layer, shapes: Iterable[np.ndarray]) -> None:
        self._layer = layer
        # One byte seen from everywhere: asking a rule about a large kernel takes no memory for it.
        self.weights = [np.broadcast_to(np.zeros((), np.int8), tuple(shape)) for shape in shapes]

    @property
    def kernel(self) -> np.ndarray:
        return self.weights[0]

    def get_weights(self) -> list[np.ndarray]:
        return list(self.weights)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)
