"""Maps of a whole image that hold the maps of all its patches, and what layers make of them.

What a patch's own map holds at its position i is found in the map of the image at

    row of the patch's corner + offset of position i

along each axis. Offsets are i at first; after a layer with strides they lie further apart, and the
layers after it read values as far apart as that (dilation; the "filter rarefaction" of Long,
Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", 2015).

A pooling with padding ("same") answers differently at the last position of a patch, where its
window lies half on the padding. No single map of the image holds both answers, so such a map comes
in several *forms*, each the answer of one kind of window, and a position names its form and its
offset. A convolution behind it adds up what its taps make of each form; what several kinds of
windows share is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import tensorflow as tf

Axis = tuple[tuple[int, int], ...]
"""For every position of a patch's map along an axis: the number of its form, and its offset."""

Taps = tuple[tuple[int, int, int], ...]
"""What one kind of window reads: the tap, the form and the offset from its first value."""

Forms = tuple[tuple[tf.Tensor, ...], ...]

Join = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True, eq=False)
class SlidMap:
    """The maps of all patches of images.

    Attributes:
        forms: by row form and column form, (n, patch rows + reach, patch cols + reach, *shape);
            the reach of a form is the largest offset of its positions.
        rows, cols: the positions of a patch's map.
        size: rows and columns of patches in an image.
    """

    forms: Forms
    rows: Axis
    cols: Axis
    size: tuple[tf.Tensor, tf.Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values at a position: (channels,), of volumes (depth, channels)."""
        return tuple(int(size) for size in self.forms[0][0].shape[3:])

    @property
    def channels(self) -> int:
        """Values at a position."""
        return prod(self.shape)

    @property
    def count(self) -> int:
        """How many values it holds for a pixel."""
        return self.channels * sum(map(len, self.forms))

    @property
    def positions(self) -> int:
        """How many a patch's map has."""
        return len(self.rows) * len(self.cols)

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.rows, self.cols

    def mapped(self, work: Callable[[tf.Tensor], tf.Tensor]) -> SlidMap:
        """The map after a layer that looks at one position at a time."""
        forms = tuple(tuple(work(values) for values in line) for line in self.forms)
        return SlidMap(forms, self.rows, self.cols, self.size)

    def reshaped(self, shape: Sequence[int]) -> SlidMap:
        """With the values at each position laid out as `shape`."""

        def work(values: tf.Tensor) -> tf.Tensor:
            return tf.reshape(values, tf.concat([tf.shape(values)[:3], shape], axis=0))

        return self.mapped(work)

    def windows(self) -> tf.Tensor:
        """The map of every patch: (patches, rows, cols, *shape)."""
        parts = [
            self._part(self._part(self.forms[across][along], 1, down), 2, right)
            for across, down in self.rows
            for along, right in self.cols
        ]
        shape = [-1, len(self.rows), len(self.cols), *self.shape]
        return tf.reshape(tf.stack(parts, axis=3) if len(parts) > 1 else parts[0], shape)

    def _part(self, values: tf.Tensor, axis: int, start: int) -> tf.Tensor:
        return _cut(values, axis, start, self.size[axis - 1])


def whole(images: tf.Tensor, patch_size: int) -> SlidMap:
    """Images (n, rows, cols, channels) as the map that holds their patches."""
    rows, cols = (tf.shape(images)[axis] - patch_size + 1 for axis in (1, 2))
    axis = tuple((0, offset) for offset in range(patch_size))
    return SlidMap(((images,),), axis, axis, (rows, cols))


def joined(work: Callable[[list[tf.Tensor]], tf.Tensor], maps: Sequence[SlidMap]) -> SlidMap:
    """Maps of the same positions, merged by a layer."""
    first = maps[0]
    forms = tuple(
        tuple(work([item.forms[i][j] for item in maps]) for j in range(len(first.forms[0])))
        for i in range(len(first.forms))
    )
    return SlidMap(forms, first.rows, first.cols, first.size)


def pooled(
    given: SlidMap, window: Sequence[int], strides: Sequence[int], join: Join, *, same: bool = False
) -> SlidMap:
    """Maximum, or mean where `join` adds, over windows of the patch's map.

    Args:
        same: whether windows may lie half on padding, which counts for nothing.
    """
    row_taps, rows = _kinds(given.rows, window[0], strides[0], same=same)
    col_taps, cols = _kinds(given.cols, window[1], strides[1], same=same)
    columns = list(zip(*given.forms, strict=True))
    tall = [
        [_joined(given, 1, column, taps, join, _reach(rows, i)) for column in columns]
        for i, taps in enumerate(row_taps)
    ]
    forms = [
        [_joined(given, 2, line, taps, join, _reach(cols, j)) for j, taps in enumerate(col_taps)]
        for line in tall
    ]
    if join is tf.add:
        forms = [
            [
                values / (len(down) * len(right))
                for values, right in zip(line, col_taps, strict=True)
            ]
            for line, down in zip(forms, row_taps, strict=True)
        ]
    return SlidMap(tuple(map(tuple, forms)), rows, cols, given.size)


def cropped(given: SlidMap, rows: tuple[int, int], cols: tuple[int, int]) -> SlidMap:
    """Without so many positions at the beginning and end of each axis."""
    forms, axes = given.forms, []
    for axis, before, after in ((1, *rows), (2, *cols)):
        old = given.axes[axis - 1]
        kept = old[before : len(old) - after]
        first = kept[0][1]
        new = tuple((form, offset - first) for form, offset in kept)
        used = sorted({form for form, _ in new})
        size = given.size[axis - 1]

        def part(values: tf.Tensor, form: int, axis: int = axis, new: Axis = new,
                 first: int = first, size: tf.Tensor = size) -> tf.Tensor:  # fmt: skip
            return _cut(values, axis, first, size + _reach(new, form))

        if axis == 1:
            forms = tuple(tuple(part(values, form) for values in forms[form]) for form in used)
        else:
            forms = tuple(tuple(part(line[form], form) for form in used) for line in forms)
        axes.append(tuple((used.index(form), offset) for form, offset in new))
    return SlidMap(forms, axes[0], axes[1], given.size)


def even_steps(
    given: SlidMap, window: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int] | None:
    """How far apart windows read, down and right; None where they read several forms or unevenly.

    An ordinary convolution, dilated as far, does the same.
    """
    found = []
    for axis, reads, apart in zip(given.axes, window, dilation, strict=True):
        kinds = _kinds(axis, reads, 1, apart)[0]
        runs = _runs(kinds[0])
        if len(kinds) > 1 or len(runs) > 1:
            return None
        found.append(runs[0].step)
    return found[0], found[1]


def evenly_convolved(
    given: SlidMap,
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    layer: Callable[[tf.Tensor], tf.Tensor],
) -> SlidMap:
    """After a layer that has convolved with stride 1 and `even_steps`; strides are done here."""
    values, axes = layer(given.forms[0][0]), []
    for axis in (1, 2):
        i = axis - 1
        new = _kinds(given.axes[i], window[i], strides[i], dilation[i])[1]
        # What a patch's windows do not reach any more at its end is cut off.
        values = _cut(values, axis, 0, given.size[i] + _reach(new, 0))
        axes.append(new)
    return SlidMap(((values,),), axes[0], axes[1], given.size)


def convolved(
    given: SlidMap,
    kernel: tf.Tensor,
    strides: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
) -> tuple[SlidMap, int]:
    """The sums of a convolution (rows, cols, channels, filters), and its multiply-adds a pixel.

    Taps that read the same form in several kinds of windows are multiplied once.
    """
    row_taps, rows = _kinds(given.rows, kernel.shape[0], strides[0], dilation[0])
    col_taps, cols = _kinds(given.cols, kernel.shape[1], strides[1], dilation[1])
    row_runs, col_runs = _shared(row_taps), _shared(col_taps)
    sums: dict[tuple[_Run, _Run], tf.Tensor] = {}

    def multiplied(down: _Run, right: _Run) -> tf.Tensor:
        key = down.key, right.key
        if key not in sums:
            part = kernel[down.first : down.end, right.first : right.end]
            apart = (down.step, right.step)
            values = given.forms[down.form][right.form]
            sums[key] = _product(values, part, apart)
        return sums[key]

    def added(i: int, j: int) -> tf.Tensor:
        parts = []
        for down in row_runs[i]:
            for right in col_runs[j]:
                values = multiplied(down, right)
                values = _cut(values, 1, down.offset, given.size[0] + _reach(rows, i))
                parts.append(_cut(values, 2, right.offset, given.size[1] + _reach(cols, j)))
        return tf.add_n(parts) if len(parts) > 1 else parts[0]

    forms = tuple(tuple(added(i, j) for j in range(len(col_runs))) for i in range(len(row_runs)))
    taps = sum((down.end - down.first) * (right.end - right.first) for down, right in sums)
    macs = taps * int(kernel.shape[2]) * int(kernel.shape[3])
    return SlidMap(forms, rows, cols, given.size), macs


@dataclass(frozen=True)
class _Run:
    """Neighbouring taps of a window that read one form evenly.

    Attributes:
        first, end: the taps.
        form, offset: what the first of them reads.
        step: how far apart they read.
    """

    first: int
    end: int
    form: int
    offset: int
    step: int

    @property
    def key(self) -> _Run:
        """Equal for runs whose products are the same, but for where they begin."""
        return _Run(self.first, self.end, self.form, 0, self.step)


def _kinds(
    axis: Axis, window: int, stride: int, dilation: int = 1, *, same: bool = False
) -> tuple[tuple[Taps, ...], Axis]:
    """The kinds of windows along an axis, and the axis of what a layer answers to them."""
    size, extent, before = len(axis), (window - 1) * dilation + 1, 0
    count = (size - extent) // stride + 1
    if same:
        count = -(-size // stride)
        before = max((count - 1) * stride + extent - size, 0) // 2
    kinds: dict[Taps, int] = {}
    places = []
    for start in range(-before, count * stride - before, stride):
        read = [(tap, start + tap * dilation) for tap in range(window)]
        read = [(tap, place) for tap, place in read if 0 <= place < size]
        base = axis[read[0][1]][1]
        taps = tuple((tap, axis[place][0], axis[place][1] - base) for tap, place in read)
        places.append((kinds.setdefault(taps, len(kinds)), base))
    return tuple(kinds), tuple(places)


def _runs(taps: Taps, ends: frozenset[int] = frozenset()) -> list[_Run]:
    """The taps of a window in runs as long as they go, none of which passes one of `ends`."""
    found: list[list[tuple[int, int, int]]] = []
    for tap in taps:
        run = found[-1] if found else []
        fits = bool(run) and tap[1] == run[-1][1] and tap[0] not in ends
        if fits and len(run) > 1:
            fits = tap[2] - run[-1][2] == run[1][2] - run[0][2]
        if fits:
            run.append(tap)
        else:
            found.append([tap])
    return [
        _Run(run[0][0], run[-1][0] + 1, run[0][1], run[0][2],
             run[1][2] - run[0][2] if len(run) > 1 else 1)
        for run in found
    ]  # fmt: skip


def _shared(kinds: Sequence[Taps]) -> list[list[_Run]]:
    """The runs of every kind of window, divided alike, so that kinds have runs in common."""
    ends = frozenset(run.first for taps in kinds for run in _runs(taps))
    return [_runs(taps, ends) for taps in kinds]


def _product(values: tf.Tensor, kernel: tf.Tensor, apart: tuple[int, int]) -> tf.Tensor:
    return tf.nn.conv2d(values, kernel, 1, "VALID", dilations=apart)


def _joined(
    given: SlidMap, axis: int, forms: Sequence[tf.Tensor], taps: Taps, join: Join, reach: int
) -> tf.Tensor:
    length = given.size[axis - 1] + reach
    return reduce(join, [_cut(forms[form], axis, offset, length) for _, form, offset in taps])


def _cut(values: tf.Tensor, axis: int, start: int, length: tf.Tensor) -> tf.Tensor:
    """So many rows (axis 1) or columns (axis 2) from `start` on."""
    part = slice(start, start + length)
    return values[:, part] if axis == 1 else values[:, :, part]


def _reach(axis: Axis, form: int) -> int:
    return max(offset for found, offset in axis if found == form)
