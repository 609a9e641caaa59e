"""A classifier of patches over a whole image in one pass, instead of once for every patch.

Neighbouring patches share most of their pixels, and a layer without padding answers the same for
both where they overlap. So such layers are slid over the image once (`hsi.sliding.slid_maps` says
where a patch's own values are found in what they answer):

- a convolution without padding, and what looks at one position at a time; 3-D convolutions and
  pools too (`hsi.sliding.slid_volumes`), padded or not along the spectrum;
- pooling, also with padding; global pooling becomes pooling over the size of the patch's map;
- dense layers behind a map laid flat, which are a convolution as large as the patch's map; those
  without an activation between them are multiplied with each other first where that is less work.

A layer that cannot be slid (a convolution with padding, most reshaping) takes the windows of the
map, one for each patch, and from there on the network runs as it does on patches: exact for every
layer. In networks for small patches little work is left there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import ModelError
from hsi.explain.walk import all_nodes, run
from hsi.sliding import slid_layers, slid_maps, slid_volumes
from hsi.sliding.flat_maps import FlatMap
from hsi.sliding.slid_maps import SlidMap


class FullyConvolutional:
    """A patch classifier that is slid over images; made by `fully_convolutional`.

    Attributes:
        patch_size: side of the patches.
        cut: name of the layer from which on every patch has its own window; "" where none has
            one of more than one position.
        values: most values (of 4 bytes) that a layer reads and makes for a pixel; what a strip of
            pixels takes in memory is about this times their number.
        macs: multiply-adds of its convolutions and dense layers for a pixel, without the margins
            of images; those of layers after `cut` are not counted.
    """

    def __init__(self, model: keras.Model, patch_size: int) -> None:
        self._model, self.patch_size = model, patch_size
        self.cut, self.values, self.macs = "", 0, 0
        channels = model.inputs[0].shape[-1]
        spec = tf.TensorSpec((None, None, None, channels), model.inputs[0].dtype)
        self._compiled = tf.function(self._traced, input_signature=[spec], autograph=False)
        self._compiled.get_concrete_function()

    def __call__(self, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        """(n, rows, cols, channels) -> (n, rows - p + 1, cols - p + 1, classes) for patches p x p.

        What is at (i, j) is what the model answers to the patch with its corner there.
        """
        return self._compiled(tf.cast(images, self._model.inputs[0].dtype))

    def _traced(self, images: tf.Tensor) -> tf.Tensor:
        walk = _Walk(self._model, images, self.patch_size)
        scores = walk.answers()
        self.cut, self.values, self.macs = walk.cut, walk.values, walk.macs
        rows, cols = (tf.shape(images)[axis] - self.patch_size + 1 for axis in (1, 2))
        return tf.reshape(scores, [-1, rows, cols, scores.shape[-1]])


def fully_convolutional(model: keras.Model, patch_size: int) -> FullyConvolutional:
    """The same network, weights shared, over images of any size.

    Args:
        model: functional or sequential, (n, p, p, channels) -> (n, classes).
        patch_size: p.

    Raises:
        ModelError: its layers do not allow it, or nothing would be gained; the text says why.
    """
    if not getattr(model, "_is_graph_network", False):
        raise ModelError("it is no graph of layers")
    shape, answers = model.inputs[0].shape, model.outputs[0].shape
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(shape) != 4 or len(answers) != 2:
        raise ModelError("it does not map patches to scores")
    if any(size not in (None, patch_size) for size in shape[1:3]):
        raise ModelError(f"it takes patches of {shape[1]} x {shape[2]} pixels")
    read = [tensor for _, node in all_nodes(model) for tensor in node.keras_inputs]
    if any(tensor.dtype != model.inputs[0].dtype for tensor in read):
        raise ModelError("its layers compute in several types")
    return FullyConvolutional(model, patch_size)


class _Walk:
    """One evaluation of a model on an image: which of its tensors are maps of the image."""

    def __init__(self, model: keras.Model, images: tf.Tensor, patch_size: int) -> None:
        self.cut, self.values, self.macs = "", 0, 0
        self._model, self._images = model, images
        self._slid = False
        self._known: dict[int, tuple[tf.Tensor, SlidMap | FlatMap]] = {}
        # The image itself stands for its map; the other tensors of maps are made by `_stands_for`.
        self._known[id(images)] = images, slid_maps.whole(images, patch_size)

    def answers(self) -> tf.Tensor:
        """(patches, classes)"""
        scores = run(self._model, self._images, stand_in=self._stand_in)
        found = self._found(scores)
        return self._laid_out(found) if isinstance(found, FlatMap) else scores

    def _stand_in(self, name: str, layer: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            tensors = [item for item in tf.nest.flatten((args, kwargs)) if tf.is_tensor(item)]
            maps = [self._found(tensor) for tensor in tensors]
            if any(maps):
                made = self._slide(name, layer, args, maps, kwargs) if all(maps) else None
                if made is not None:
                    return made
                args, kwargs = tf.nest.map_structure(
                    lambda item: self._windows(item, name), (args, kwargs)
                )
            outputs = layer(*args, **kwargs)
            self._count(*args, outputs)
            if type(layer) is keras.layers.Dense:
                self.macs += int(layer.kernel.shape.num_elements())
            return outputs

        return call

    def _slide(
        self, name: str, layer: Any, args: Any, maps: Sequence[Any], kwargs: dict[str, Any]
    ) -> tf.Tensor | None:
        """A tensor that stands for what the layer makes of maps; None where it cannot be slid."""
        first = maps[0]
        if isinstance(first, FlatMap):
            return self._after_flat(layer, first) if len(maps) == 1 else None
        if any(isinstance(found, FlatMap) for found in maps):
            return None
        if type(layer) is keras.layers.Flatten:
            if not self._slid:
                raise _needs_borders(name)
            return self._stands_for(FlatMap(first.reshaped([first.channels])))
        found = self._slid_map(layer, args, maps, kwargs)
        if found is None:
            return None
        self._count(*maps, found)
        if type(layer) in slid_layers.ALL_GLOBAL_POOLS and not layer.keepdims:
            return tf.reshape(found.forms[0][0], [-1, found.channels])
        return self._stands_for(found)

    def _slid_map(
        self, layer: Any, args: Any, maps: Sequence[SlidMap], kwargs: dict[str, Any]
    ) -> SlidMap | None:
        kind, first = type(layer), maps[0]
        if getattr(layer, "data_format", "channels_last") not in ("channels_last", None):
            return None
        if kind is keras.layers.Reshape:
            return slid_layers.relaid(layer, first)
        if len(first.shape) == 2 and len(maps) == 1:
            volumes = slid_volumes.slide(layer, first)
            if volumes is not None:
                self._slid |= kind is keras.layers.Conv3D
                self.macs += volumes[1]
                return volumes[0]
        if kind in slid_layers.CONVOLUTIONS and (
            layer.padding == "valid" or set(layer.kernel_size) == {1}
        ):
            found = self._convolved(layer, first)
            self._slid |= found is not None
            return found
        if kind in slid_layers.POOLS:
            same = layer.padding == "same"
            return slid_maps.pooled(
                first, layer.pool_size, layer.strides, slid_layers.POOLS[kind], same=same
            )
        if kind in slid_layers.GLOBAL_POOLS:
            size = len(first.rows), len(first.cols)
            return slid_maps.pooled(first, size, (1, 1), slid_layers.GLOBAL_POOLS[kind])
        if kind is keras.layers.Cropping2D:
            return slid_maps.cropped(first, *layer.cropping)
        rank = 3 + len(first.shape)
        if len(maps) == 1 and (
            kind in slid_layers.ELEMENTWISE or slid_layers.at_each_position(layer, rank)
        ):
            self._slid |= kind is keras.layers.Dense
            if kind is keras.layers.Dense:
                columns = first.count // first.shape[-1]
                self.macs += columns * int(layer.kernel.shape.num_elements())
            return first.mapped(lambda values: layer(values, **_options(kwargs)))
        alike = all(found.axes == first.axes for found in maps)
        alike &= all(len(found.shape) == len(first.shape) for found in maps)
        if kind in slid_layers.MERGES and alike and getattr(layer, "axis", -1) % rank >= 3:
            return slid_maps.joined(layer, maps)
        return None

    def _convolved(self, layer: Any, given: SlidMap) -> SlidMap | None:
        window, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
        steps = slid_maps.even_steps(given, window, dilation)
        if steps is not None:
            twin = copy.copy(layer)  # on the same weights; set past Keras, which would track it
            vars(twin)["strides"], vars(twin)["dilation_rate"] = (1, 1), steps
            kernels = [weight for weight in layer.weights if len(weight.shape) == 4]
            self.macs += sum(int(kernel.shape.num_elements()) for kernel in kernels)
            return slid_maps.evenly_convolved(given, window, strides, dilation, twin)
        if type(layer) is not keras.layers.Conv2D or layer.groups != 1:
            return None
        sums, macs = slid_maps.convolved(given, tf.identity(layer.kernel), strides, dilation)
        self.macs += macs
        return sums.mapped(lambda values: _finished(layer, values))

    def _after_flat(self, layer: Any, given: FlatMap) -> tf.Tensor | None:
        """What a layer makes of a map laid flat; None where it takes it as it is."""
        if type(layer) in slid_layers.NOTHING:
            return self._stands_for(given)
        if type(layer) is not keras.layers.Dense or not given.takes(layer):
            return None
        found = given.with_dense(layer)
        if layer.activation is keras.activations.linear:
            return self._stands_for(found)
        outputs = self._laid_out(found)
        return outputs if layer.activation is None else layer.activation(outputs)

    def _laid_out(self, given: FlatMap) -> tf.Tensor:
        values, macs, held = given.laid_out()
        self.macs += macs
        self.values = max(self.values, held)
        return values

    def _windows(self, item: Any, name: str) -> Any:
        """Of a map the window of every patch (patches, rows, cols, channels); others stay."""
        found = self._found(item)
        if found is None:
            return item
        if not self._slid:
            raise _needs_borders(name)
        map_ = found.map if isinstance(found, FlatMap) else found
        if map_.positions > 1 and getattr(found, "kernel", None) is None:
            self.cut = self.cut or name
        return self._laid_out(found) if isinstance(found, FlatMap) else found.windows()

    def _found(self, item: Any) -> SlidMap | FlatMap | None:
        """The map that a tensor stands for."""
        known = self._known.get(id(item))
        return known[1] if known else None

    def _stands_for(self, found: SlidMap | FlatMap) -> tf.Tensor:
        """A new tensor for a map; both are held, so that its id stays its own."""
        map_ = found.map if isinstance(found, FlatMap) else found
        tensor = tf.identity(map_.forms[0][0])
        self._known[id(tensor)] = tensor, found
        return tensor

    def _count(self, *tensors: Any) -> None:
        """Keep the largest number of values that a layer reads and makes for a pixel."""
        total = 0
        for item in tf.nest.flatten(tensors):
            if isinstance(item, SlidMap):
                total += item.count
            elif tf.is_tensor(item):
                total += int(np.prod([size or 1 for size in item.shape[1:]]))
        self.values = max(self.values, total)


def _needs_borders(name: str) -> ModelError:
    return ModelError(f"{name} needs the borders of each patch, before any convolution")


def _options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a layer is told beside its input."""
    return {name: value for name, value in kwargs.items() if name == "training"}


def _finished(layer: Any, values: tf.Tensor) -> tf.Tensor:
    """Bias and activation of a convolution."""
    if layer.use_bias:
        values = tf.nn.bias_add(values, layer.bias)
    return values if layer.activation is None else layer.activation(values)
