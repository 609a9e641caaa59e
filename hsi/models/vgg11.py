"""VGG11's eight convolutions with batch norm, for images and patches of any size."""

from __future__ import annotations

import tf_keras as keras

from hsi.models.vgg_blocks import VGG11, build_vgg


def build(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    width: float = 1.0,
    batch_norm: bool = True,
) -> keras.Model:
    """(n, rows, cols, channels) -> (n, classes) softmax.

    Args:
        width: factor of all channels but the classes.
        batch_norm: False for the plain network, as the published ImageNet weights are of.
    """
    return build_vgg(
        input_shape, classes, blocks=VGG11, name="vgg11", width=width, batch_norm=batch_norm
    )
