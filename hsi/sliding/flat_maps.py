"""Maps of whole images laid flat, and the dense layers behind them.

A dense layer that reads a patch's map laid flat is a convolution as large as that map. Layers
without an activation between them are one linear map: their kernels are multiplied first where that
is less work for a pixel (`cao` at patch 9: 5000 values to 200 to 100 units to the classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from hsi.sliding.slid_maps import SlidMap, convolved


@dataclass(frozen=True, eq=False)
class FlatMap:
    """A map laid flat, and the one linear map that the dense layers behind it have been so far.

    Attributes:
        map: of which every patch's window is a row.
        kernel: (values of a window, units), or None where no layer came yet.
        bias: (units,), or None.
    """

    map: SlidMap
    kernel: tf.Tensor | None = None
    bias: tf.Tensor | None = None

    def takes(self, layer: Any) -> bool:
        """Whether a dense layer is best multiplied with those before it."""
        if self.kernel is None:
            return True
        values, units = (int(size) for size in self.kernel.shape)
        more = int(layer.kernel.shape[-1])
        return values * more <= values * units + units * more

    def with_dense(self, layer: Any) -> FlatMap:
        """Behind one more dense layer, its activation left out."""
        kernel = tf.identity(layer.kernel)
        bias = None if layer.bias is None else tf.identity(layer.bias)
        if self.kernel is None:
            return FlatMap(self.map, kernel, bias)
        if self.bias is not None:
            moved = tf.linalg.matvec(kernel, self.bias, transpose_a=True)
            bias = moved if bias is None else moved + bias
        return FlatMap(self.map, self.kernel @ kernel, bias)

    def laid_out(self) -> tuple[tf.Tensor, int, int]:
        """(patches, values), or units behind dense layers; multiply-adds and values for a pixel.

        Without a layer every patch's window is copied out.
        """
        if self.kernel is None:
            size = self.map.positions * self.map.channels
            return tf.reshape(self.map.windows(), [-1, size]), 0, size
        units = int(self.kernel.shape[-1])
        shape = [len(self.map.rows), len(self.map.cols), self.map.channels, units]
        sums, macs = convolved(self.map, tf.reshape(self.kernel, shape))
        values = tf.reshape(sums.forms[0][0], [-1, units])
        held = self.map.count + sums.count
        return values if self.bias is None else tf.nn.bias_add(values, self.bias), macs, held
