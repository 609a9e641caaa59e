"""What moves values or computes shapes: RESHAPE, TRANSPOSE, CONCATENATION, PAD, SLICE and so on.

A file records its shapes for the batch it was converted with, mostly 1. Where a constant shape or
end holds that batch at the front it is widened to the batch of the evaluation; shapes that the
graph computes itself (SHAPE, STRIDED_SLICE, PACK) need no such care.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hsi.deploy.differentiable import rounding
from hsi.deploy.differentiable.call import Call
from hsi.deploy.differentiable.operators.fixed_point import interpolation
from hsi.errors import ModelError


def reshape(call: Call) -> tf.Tensor:
    """The same values, row-major, in another shape."""
    x = call.value(0)
    if call.given(1) and call.data(1) is None:
        return call.moved(tf.reshape(x, call.value(1)))
    target = (
        call.numbers(1) if call.given(1) else [int(n) for n in call.option("newShape", [])]
    ) or list(call.output().shape)
    return call.moved(tf.reshape(x, _batched(call, target)))


def _batched(call: Call, target: list[int]) -> tf.Tensor | list[int]:
    """A recorded target shape for the batch of this evaluation.

    Values are in row-major order with the samples first, so whatever the leading axis of the
    target holds (samples, or samples times something) grows with the batch.
    """
    if not target or call.tensor(0).data is not None or target[0] == -1:
        return target
    if -1 not in target:
        return [-1, *target[1:]] if 0 not in target[1:] else target
    return tf.stack([call.batch * target[0] // call.file_batch, *target[1:]])


def squeeze(call: Call) -> tf.Tensor:
    """Without axes of length 1; without a list, those that the file's output lacks."""
    axes = [int(n) for n in call.option("squeezeDims", [])]
    if not axes:
        shape = call.tensor(0).shape
        axes = [i for i, n in enumerate(shape) if n == 1]
        if len(shape) - len(axes) == len(call.output().shape) - 1 and 0 in axes:
            axes.remove(0)  # the batch
    return call.moved(tf.squeeze(call.value(0), axes))


def expand_dims(call: Call) -> tf.Tensor:
    """With a new axis of length 1."""
    return call.moved(tf.expand_dims(call.value(0), call.numbers(1)[0]))


def transpose(call: Call) -> tf.Tensor:
    """Axes in another order."""
    return call.moved(tf.transpose(call.value(0), call.numbers(1)))


def concatenation(call: Call) -> tf.Tensor:
    """Inputs behind each other along one axis; each is brought to the output's grid."""
    axis = int(call.option("axis"))
    return call.store(tf.concat(_widened(call, axis), axis))


def _widened(call: Call, axis: int) -> list[tf.Tensor]:
    """The inputs; constants of the file's batch are repeated for every sample."""
    computed = any(call.data(i) is None for i in range(len(call.operator.inputs)))
    found = []
    for i, value in enumerate(call.values):
        rank = len(value.shape)
        constant = call.data(i) is not None and computed
        if constant and rank > 1 and axis % rank and value.shape[0] == call.file_batch:
            repeats = tf.concat([[call.batch // call.file_batch], tf.ones(rank - 1, tf.int32)], 0)
            value = tf.tile(value, repeats)
        found.append(value)
    return found


def pack(call: Call) -> tf.Tensor:
    """Inputs along a new axis."""
    axis = int(call.option("axis"))
    return call.moved(tf.stack(call.values, axis))


def unpack(call: Call) -> list[tf.Tensor]:
    """One output per index of an axis."""
    return tf.unstack(call.value(0), num=len(call.operator.outputs), axis=int(call.option("axis")))


def split(call: Call) -> list[tf.Tensor]:
    """Equal parts along an axis (inputs: axis, values)."""
    return tf.split(call.value(1), len(call.operator.outputs), call.numbers(0)[0])


def split_v(call: Call) -> list[tf.Tensor]:
    """Parts of given sizes along an axis (inputs: values, sizes, axis)."""
    return tf.split(call.value(0), call.numbers(1), call.numbers(2)[0])


def pad(call: Call) -> tf.Tensor:
    """With zeros, or PADV2's constant, around."""
    value: tf.Tensor | float = 0.0
    x = call.value(0)
    if call.given(2):
        value = tf.reshape(call.value(2), [])
    elif not x.dtype.is_floating:
        value = tf.zeros([], x.dtype)
    return call.moved(tf.pad(x, _pairs(call, 1), constant_values=value))


def mirror_pad(call: Call) -> tf.Tensor:
    """With the values themselves, mirrored."""
    mode = "SYMMETRIC" if int(call.option("mode")) == 1 else "REFLECT"
    return call.moved(tf.pad(call.value(0), _pairs(call, 1), mode))


def _pairs(call: Call, i: int) -> list[list[int]]:
    numbers = call.numbers(i)
    if any(n < 0 for n in numbers):
        raise ModelError(f"{call.operator.label}: paddings below 0: {numbers}.")
    return np.reshape(numbers, (-1, 2)).tolist()


def shape_of(call: Call) -> tf.Tensor:
    """The shape, as computed for this batch."""
    kinds = {"int64": tf.int64}
    return tf.shape(call.value(0), kinds.get(call.output().dtype, tf.int32))


def strided_slice(call: Call) -> tf.Tensor:
    """NumPy's x[begin:end:stride]; an end that is the whole recorded axis stays the whole."""
    masks = {
        short: int(call.option(name))
        for short, name in (
            ("begin_mask", "beginMask"),
            ("end_mask", "endMask"),
            ("ellipsis_mask", "ellipsisMask"),
            ("new_axis_mask", "newAxisMask"),
            ("shrink_axis_mask", "shrinkAxisMask"),
        )
    }
    bounds = [call.data(i) for i in (1, 2, 3)]
    plain = not masks["ellipsis_mask"] and not masks["new_axis_mask"]
    if plain and all(b is not None for b in bounds):
        recorded = call.tensor(0).shape
        rows = zip(*(call.numbers(i) for i in (1, 2, 3)), recorded, strict=False)
        for axis, (begin, end, stride, size) in enumerate(rows):
            if (
                begin == 0
                and stride == 1
                and end == size
                and not masks["shrink_axis_mask"] >> axis & 1
            ):
                masks["end_mask"] |= 1 << axis
    y = tf.strided_slice(call.value(0), *(call.value(i) for i in (1, 2, 3)), **masks)
    return call.moved(y)


def slice_of(call: Call) -> tf.Tensor:
    """A box from `begin` of `size`; a size that is the whole recorded axis stays the whole."""
    begin, size = call.value(1), call.value(2)
    if call.data(1) is not None and call.data(2) is not None:
        numbers = zip(call.numbers(1), call.numbers(2), call.tensor(0).shape, strict=True)
        size = [-1 if b == 0 and s == n else s for b, s, n in numbers]
        begin = call.numbers(1)
    return call.moved(tf.slice(call.value(0), begin, size))


def gather(call: Call) -> tf.Tensor:
    """Chosen indices of an axis."""
    axis, batch_dims = int(call.option("axis")), int(call.option("batchDims"))
    return call.moved(tf.gather(call.value(0), call.value(1), axis=axis, batch_dims=batch_dims))


def fill(call: Call) -> tf.Tensor:
    """A shape full of one value (inputs: shape, value)."""
    return tf.fill(call.value(0), tf.reshape(call.value(1), []))


def broadcast_to(call: Call) -> tf.Tensor:
    """Repeated to a shape; the batch of the file becomes that of the evaluation."""
    shape = call.value(1)
    if call.data(1) is not None and call.data(0) is None:
        numbers = call.numbers(1)
        same = len(call.tensor(0).shape) == len(numbers) and numbers[0] == call.file_batch
        shape = tf.stack([call.batch if same else numbers[0], *numbers[1:]])
    return call.moved(tf.broadcast_to(call.value(0), shape))


def tile(call: Call) -> tf.Tensor:
    """Repeated along each axis."""
    return call.moved(tf.tile(call.value(0), call.value(1)))


def reverse(call: Call) -> tf.Tensor:
    """Axes back to front."""
    return call.moved(tf.reverse(call.value(0), call.numbers(1)))


def space_to_batch(call: Call) -> tf.Tensor:
    """Every block's pixels to samples of their own: how dilated convolutions are written."""
    y = tf.space_to_batch_nd(call.value(0), call.value(1), call.value(2))
    return call.moved(y)


def batch_to_space(call: Call) -> tf.Tensor:
    """The inverse of SPACE_TO_BATCH_ND."""
    y = tf.raw_ops.BatchToSpaceND(
        input=call.value(0), block_shape=call.value(1), crops=call.value(2)
    )
    return call.moved(y)


def space_to_depth(call: Call) -> tf.Tensor:
    """Blocks of pixels to channels."""
    return call.moved(tf.nn.space_to_depth(call.value(0), int(call.option("blockSize"))))


def depth_to_space(call: Call) -> tf.Tensor:
    """Channels to blocks of pixels."""
    return call.moved(tf.nn.depth_to_space(call.value(0), int(call.option("blockSize"))))


def resize_bilinear(call: Call) -> tf.Tensor:
    """To (rows, cols), between the four nearest pixels."""
    x = call.value(0)
    align, centres = (bool(call.option(name)) for name in ("alignCorners", "halfPixelCenters"))
    if call.output().dtype == "int16" and call.data(1) is not None and None not in x.shape[1:3]:
        # the kernel for 16 bits has weights of 10 bits, which is far coarser than its steps
        pairs = zip(x.shape[1:3], call.numbers(1), strict=True)
        rows, cols = (interpolation(n, m, align=align, centres=centres) for n, m in pairs)
        levels = tf.cast(call.levels(0), tf.float64)
        y = tf.einsum("ai,nijc,bj->nabc", rows, levels, cols) / 2**20
        return call.store_steps(y, rounding_=rounding.half_away)
    y = tf.raw_ops.ResizeBilinear(
        images=x, size=call.value(1), align_corners=align, half_pixel_centers=centres
    )
    return call.store(y)


def resize_nearest(call: Call) -> tf.Tensor:
    """To (rows, cols), the nearest pixel."""
    y = tf.raw_ops.ResizeNearestNeighbor(
        images=call.value(0),
        size=call.value(1),
        align_corners=bool(call.option("alignCorners", False)),
        half_pixel_centers=bool(call.option("halfPixelCenters", False)),
    )
    return call.moved(y)
