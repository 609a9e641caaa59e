"""What a model shows without any sample: its filters, and its graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.deploy.variant import TFLITE
from hsi.errors import SettingsError
from hsi.quiet import start_tensorflow
from hsi.views.locate import Located
from hsi.views.output import Output
from hsi.views.request import Request
from hsi.views.subject import synthetic_line

if TYPE_CHECKING:
    from hsi.explain.filters import Filters
    from hsi.explain.model_graph import Node


def show(request: Request, located: Located, output: Output) -> list[Path]:
    """One figure, or one file of arrays."""
    data = _data(located)
    if data.get("synthetic"):
        output.say(synthetic_line(data["name"]))
    for note in located.notes:
        output.say(note)
    output.say(f"{located.path}: {request.method}.")
    start_tensorflow()
    if request.method == "filters":
        return [_filters(request, located, output)]
    return [_graph(request, located, output)]


def _filters(request: Request, located: Located, output: Output) -> Path:
    found = _open_filters(request, located)
    for note in found.notes:
        output.say(f"Note: {note}.")
    if request.format == "npz":
        return output.arrays({"layer": np.asarray(found.layer), "kernels": found.kernels})
    from hsi.plots.filters import filter_sheet

    figure = filter_sheet(
        found.kernels,
        layer=found.layer,
        **_bands(located, found),
        title=located.path.name,
        synthetic=bool(_data(located).get("synthetic")),
        note=" ".join(f"{note}." for note in found.notes),
    )
    return output.figure(figure, f"{request.stem}_{found.layer.replace('/', '_')}")


def _bands(located: Located, found: Filters) -> dict[str, Any]:
    """What the input channels of a first layer are, as its run tells; nothing for other layers."""
    if located.run is None or located.input_shape is None or found.kernels.ndim < 2:
        return {}
    data = _data(located)
    if not found.first or found.kernels.shape[-2] != located.input_shape[-1]:
        return {}
    if not data or data.get("kind") == "images":
        return {}
    numbers, waves = data["sensor_bands"], data["wavelengths_nm"]
    preparation = located.run.record.get("preparation", {})
    if preparation.get("band_selection") and not located.run.takes_counts(located.path.name):
        kept = preparation.get("chosen_bands")
        if kept is None:
            return {"unit": "component"}
        numbers = [band["band"] for band in kept]
        waves = None if waves is None else [band["wavelength_nm"] for band in kept]
    waves = None if waves is None else np.asarray(waves)
    return {"unit": "band", "bands": np.asarray(numbers), "wavelengths": waves}


def _data(located: Located) -> dict[str, Any]:
    """What the run's record says of its data; empty without a run."""
    found: dict[str, Any] = located.run.record.get("data", {}) if located.run else {}
    return found


def _open_filters(request: Request, located: Located) -> Filters:
    from hsi.explain.filters import filters

    layer = request.layers[0] if request.layers else None
    if located.path.suffix.lower() == TFLITE:
        from hsi.deploy.lite.graph import LiteKernels

        return filters(LiteKernels(located.path), layer=layer)
    from hsi.models.files import load_model

    return filters(load_model(located.path, trust=request.trust), layer=layer)


def _graph(request: Request, located: Located, output: Output) -> Path:
    if request.format == "npz":
        raise SettingsError("format: a graph is a picture; expected png, svg or pdf.")
    nodes = _open_graph(request, located)
    from hsi.plots.model_graph import model_graph

    total = sum(node.parameters for node in nodes)
    figure = model_graph(
        nodes,
        title=f"{located.path.name}: {len(nodes)} layers, {total:,} parameters",
        synthetic=bool(_data(located).get("synthetic")),
    )
    return output.figure(figure, request.stem)


def _open_graph(request: Request, located: Located) -> list[Node]:
    if located.path.suffix.lower() == TFLITE:
        from hsi.deploy.lite.graph import lite_graph

        return lite_graph(located.path)
    from hsi.explain.model_graph import graph
    from hsi.models.files import load_model

    return graph(load_model(located.path, trust=request.trust))
