"""The graph of a network as a plain list of nodes: what a picture of it is drawn from.

Nodes are named as everywhere in `hsi.explain`: "outer/inner" for a layer of a model nested in the
model, "name#2" where a layer is applied a second time. `hsi.deploy.lite.graph` gives the same for
a `.tflite` file. Importing this loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hsi.errors import ModelError


@dataclass(frozen=True)
class Node:
    """One step of a network.

    Attributes:
        name: unique in its graph.
        kind: type of the layer or operator, for example "Conv2D" or "CONV_2D"; the function's name
            where a layer only calls one.
        shape: of its output for a sample (the first of several), None where free.
        parameters: how many it brings; where weights are shared the first node has them all.
        inputs: names of the nodes that it reads, in order.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    parameters: int
    inputs: tuple[str, ...]


def graph(model: Any) -> list[Node]:
    """The nodes of a `tf_keras` model in the order of execution, inputs included.

    Nested models with one input and one output are opened; others stay one node.

    Args:
        model: functional or sequential.

    Raises:
        ModelError: a model that does not show its layers.
    """
    _check_shows_layers(model)
    found: list[Node] = []
    _walk(model, "", {}, set(), found)
    return found


def named_layers(model: Any) -> list[tuple[str, Any]]:
    """(name, layer) of each layer in the order of execution, each layer once; inputs left out.

    Raises:
        ModelError: a model that does not show its layers.
    """
    _check_shows_layers(model)
    seen: set[int] = set()
    found = []
    for name, layer in _layers(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            found.append((name, layer))
    return found


def _check_shows_layers(model: Any) -> None:
    if not getattr(model, "_is_graph_network", False):
        raise ModelError(
            f"Expected a functional or sequential Keras model, got {type(model).__name__}, whose "
            "layers cannot be reached."
        )


def _layers(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    from hsi.explain.walk import named_nodes, opens

    for name, node in named_nodes(model):
        if node.is_input:
            continue
        if opens(node):
            yield from _layers(node.layer, f"{prefix}{name}/")
        else:
            yield prefix + name, node.layer


def _walk(
    model: Any, prefix: str, made_by: dict[str, str], counted: set[int], found: list[Node]
) -> None:
    """Append the nodes of a model to `found`.

    Args:
        prefix: of its names.
        made_by: id of a symbolic tensor -> name of the node it comes from; is filled. It knows
            the input of a nested model beforehand.
        counted: ids of the weights that an earlier node has brought; is filled.
    """
    from hsi.explain.walk import named_nodes, opens

    for name, node in named_nodes(model):
        if node.is_input and prefix:
            continue
        inputs = () if node.is_input else tuple(made_by[i] for i in node.flat_input_ids)
        if opens(node):
            made_by[str(id(node.layer.inputs[0]))] = inputs[0]
            _walk(node.layer, f"{prefix}{name}/", made_by, counted, found)
            made_by[node.flat_output_ids[0]] = made_by[str(id(node.layer.outputs[0]))]
            continue
        found.append(_node(prefix + name, node, inputs, counted))
        made_by.update(dict.fromkeys(node.flat_output_ids, prefix + name))


def _node(name: str, node: Any, inputs: tuple[str, ...], counted: set[int]) -> Node:
    layer, output = node.layer, node.outputs
    if isinstance(output, list | tuple | dict):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    new = [w for w in layer.weights if id(w) not in counted]
    counted.update(map(id, new))
    return Node(
        name,
        getattr(layer, "symbol", "") or type(layer).__name__,
        tuple(output.shape[1:]),
        sum(int(w.shape.num_elements()) for w in new),
        tuple(dict.fromkeys(inputs)),
    )
