"""Layers of a network as methods need them: their maps in the pass that gives the logits.

Grad-CAM differentiates the logit with respect to a feature map, guided backpropagation gives
every ReLU another gradient, VisualBackProp needs the maps of all convolutions. All three look into
the network, which `Layered` describes for whatever form the network has.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import tensorflow as tf

from hsi.errors import ModelError

Relu = Callable[[tf.Tensor], tf.Tensor]
"""Answers max(x, 0), and is free in its gradient."""


@dataclass(frozen=True)
class Window:
    """What a convolution sees at once, one number for each axis of its map.

    Attributes:
        kernel: extent, with dilation.
        strides: steps.
        before: padding before the first value.
        sizes: of the map that it reads.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class LayerInfo:
    """One layer as a user names it.

    Attributes:
        name: "outer/inner" in nested models, "name#2" where it is applied a second time.
        kind: its type, for example "Conv2D".
        shape: of its output for a sample, channels last; None where unknown.
        convolution: whether it is one.
        activated: name of the layer with its map after batch norm and activation.
        merged: the same, also after additions and concatenations that only it and others feed.
        window: of a convolution, where it is known.
        shown: whether it has weights or is an activation: worth a picture when all are asked for.
        aliases: other names for it; first those of layers that a converted file computes in one
            step with it, so that what comes out of the step stands for all of them.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    convolution: bool = False
    activated: str = ""
    merged: str = ""
    window: Window | None = None
    shown: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """Of the map, without the channels."""
        return self.shape[:-1]

    @property
    def flat(self) -> bool:
        """Whether the layer has a map, but of one position."""
        return bool(self.sizes) and all(size == 1 for size in self.sizes)


@runtime_checkable
class Layered(Protocol):
    """A network whose layers can be reached; the seam for forms other than Keras."""

    @property
    def relus(self) -> int:
        """How many ReLUs `with_relu` replaces, fused ones included."""

    @property
    def unreplaced(self) -> Sequence[str]:
        """Names of layers with a ReLU inside that cannot be replaced."""

    @property
    def against_input(self) -> tuple[str, tuple[int, ...]] | None:
        """A layer to which the channels of a sample are on another axis than the last, and the
        `Permute` that brings them there from the last; None where there is none."""

    def describe(self, sample_shape: tuple[int, ...]) -> Sequence[LayerInfo]:
        """All layers in the order of execution, for samples of this shape; channels last."""

    def forward(
        self, inputs: tf.Tensor, names: Sequence[str] = ()
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits (n, classes) and the outputs of these layers, all of *one* evaluation.

        The outputs have their channels last, in whichever order the layer keeps them. A tape that
        watches `inputs` must be able to differentiate the logits with respect to them, so they may
        not come from a second pass or out of a compiled function.
        """

    def with_relu(self, relu: Relu) -> Layered:
        """The same network, weights shared, with `relu` for every ReLU."""


def find_layer(infos: Sequence[LayerInfo], name: str) -> LayerInfo:
    """The layer of that name, or that the name is another one for.

    Raises:
        ModelError: there is none; the closest names are listed.
    """
    known = {info.name: info for info in infos}
    known = {alias: info for info in infos for alias in info.aliases} | known
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or list(known)[-8:]
    raise ModelError(
        f"The network has no layer {name!r}; the closest names are {', '.join(close)}."
    )


def map_layer(infos: Sequence[LayerInfo], name: str | None) -> tuple[LayerInfo, list[str]]:
    """The layer whose map is weighed, and a note where it tells no places apart.

    Args:
        infos: of the network.
        name: of a layer; None takes the last convolution with a map larger than 1 x 1, after the
            batch norm, activation and merging that follow it.

    Raises:
        ModelError: no such layer, a layer without a map, or no convolution at all.
    """
    if name is None:
        convolutions = [info for info in infos if info.convolution]
        if not convolutions:
            raise ModelError("Expected a network with convolutions, this one has none.")
        large = [info for info in convolutions if not info.flat]
        chosen = find_layer(infos, (large or convolutions)[-1].merged)
        if chosen.flat:
            return chosen, [
                f"every convolution's map is {_times(chosen)}: {chosen.name} tells no places "
                "apart, the map is constant"
            ]
        return chosen, [f"weighed is the {_times(chosen)} map of layer {chosen.name}"]
    chosen = find_layer(infos, name)
    if not chosen.sizes:
        with_maps = [info.name for info in infos if info.sizes and not info.flat]
        raise ModelError(
            f"Layer {name!r} ({chosen.kind}) has units and no map; expected a layer such as "
            f"{', '.join(with_maps[-3:]) or '(none has)'}."
        )
    notes = step_notes(chosen, name)
    if chosen.flat:
        notes.append(f"the map of layer {name} is {_times(chosen)}: it tells no places apart")
    return chosen, notes


def step_notes(chosen: LayerInfo, name: str) -> list[str]:
    """What must be said where a layer was found by another name than its own."""
    if name == chosen.name:
        return []
    return [f"layer {name} is computed in one step with {chosen.name}: taken is what comes of both"]


def _times(info: LayerInfo) -> str:
    return " x ".join("any" if size is None else str(size) for size in info.sizes)
