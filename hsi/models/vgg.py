"""VGG16's thirteen convolutions, sized for patches: `vgg16` under its earlier name."""

from __future__ import annotations

import tf_keras as keras

from hsi.models.vgg_blocks import VGG16, build_vgg


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """(n, patch, patch, channels) -> (n, classes) softmax, for any patch size."""
    return build_vgg(input_shape, classes, blocks=VGG16, name="vgg")
