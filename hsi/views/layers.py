"""Methods that show what the layers of a network answer: one figure a layer and sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hsi import explain
from hsi.views import draw
from hsi.views.arrays import activation_arrays
from hsi.views.look import Look

if TYPE_CHECKING:
    from hsi.explain.activation_map import LayerActivations


def show(look: Look) -> list[Path]:
    """Figures of the input and of every layer, or one file of arrays."""
    module = explain.load(look.request.method)
    layers: list[LayerActivations] = module.activations(
        look.first.own,
        look.chosen.inputs,
        layers=look.request.layers or None,
        batch_size=look.request.batch_size,
    )
    for layer in layers:
        look.say(
            f"{layer.layer} ({layer.kind}): {len(layer.dead)} channels, "
            f"{int(layer.dead.sum())} zero in every sample shown"
        )
    if look.request.format == "npz":
        return [look.write_arrays(activation_arrays(layers))]
    samples = len(look.chosen.keys)
    look.output.check_one(
        len(layers) * samples,
        f"{len(layers)} layers of {samples} sample{'s' if samples > 1 else ''}",
        else_=", or one --layer and one --pixel",
    )
    output = module.layer_names(look.first.own, look.chosen.inputs.shape[1:])[-1]
    written = []
    for place in range(samples):
        stem = look.stem(place)
        if look.request.output_file is None:
            figure = draw.tiles(look, {}, [place])
            written.append(look.write_figure(figure, f"{stem}_00_input"))
        for number, layer in enumerate(layers, start=1):
            figure = draw.activation(look, layer, place, last=layer.layer == output)
            name = layer.layer.replace("/", "_")
            written.append(look.write_figure(figure, f"{stem}_{number:02d}_{name}"))
    return written
