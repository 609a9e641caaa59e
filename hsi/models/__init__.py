"""The networks, in one visible table; reading it loads no TensorFlow.

Adding one: a module with `build(input_shape, classes)` and a row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi.errors import SettingsError, one_of
from hsi.models.optimizers import ADAM, Optimizer

if TYPE_CHECKING:
    import tf_keras as keras

Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """A network and the settings its authors, or our trials, use with it.

    Attributes:
        name: as on the command line; also the module in this package that builds it.
        summary: one line for lists.
        source: paper and year.
        patch_size: default side of the patches, in pixels.
        smallest_patch: the least side that its layers can take.
        learning_rate: default rate for the optimiser.
        batch_size: default samples a step.
        image_size: default side of images, in pixels; 0 for networks of patches alone.
        image_learning_rate: default rate on images; None takes `learning_rate`.
        has_width: whether `build` takes a factor of its channels.
        optimizer: what trains it.
    """

    name: str
    summary: str
    source: str
    patch_size: int
    smallest_patch: int
    learning_rate: float = 1e-3
    batch_size: int = 128
    image_size: int = 0
    image_learning_rate: float | None = None
    has_width: bool = False
    optimizer: Optimizer = ADAM

    def check_patch_size(self, patch_size: int) -> None:
        """Refuse patches that its layers cannot take (`SettingsError`)."""
        if patch_size < self.smallest_patch:
            raise SettingsError(
                f"{self.name}: expected a patch_size of {self.smallest_patch} or more, "
                f"got {patch_size}."
            )

    def build(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        width: float = 1.0,
        weights: str = "none",
        say: Say = print,
    ) -> keras.Model:
        """A new network with a softmax output of (n, classes); the same seed, the same weights.

        Args:
            width: factor of its channels, for networks that have one.
            weights: "none", "imagenet" or a model or weights file; see `hsi.models.pretrained`.
            say: told what of the weights was taken.

        Raises:
            DataError, DownloadError, ModelError: the weights are not there or do not fit.
            SettingsError: too small an input, a width that the network does not have, or a name of
                `BASELINES`.
        """
        if self.name in BASELINES:
            raise SettingsError(
                f"{self.name}: a baseline of scikit-learn, no network; expected one of "
                f"{', '.join(NETWORKS)}."
            )
        self.check_patch_size(min(input_shape[:2]))
        options = {} if width == 1 else {"width": self.check_width(width)}
        import tf_keras as keras

        from hsi.models import pretrained

        if weights == pretrained.IMAGENET:  # found or refused before anything is built
            chosen = pretrained.imagenet_weights(self.name, input_shape, width)
            pretrained.obtain(chosen, self.name, say=say)
            options |= chosen.options
        keras.utils.set_random_seed(seed)
        # Names that Keras counts up (input_1) must not depend on what was built before: they
        # stand in the file, and its size is one of the numbers.
        keras.backend.reset_uids()
        module = importlib.import_module(f"hsi.models.{self.name}")
        model = module.build(input_shape, classes, **options)
        if weights != pretrained.NONE:
            pretrained.load_weights(model, weights, width=width, say=say)
        return model

    def check_width(self, width: float) -> float:
        """The width, if the network has such widths (`SettingsError`)."""
        if not self.has_width:
            wide = ", ".join(name for name, other in NETWORKS.items() if other.has_width)
            raise SettingsError(f"width: {self.name} has one width alone; {wide} have others.")
        if not 0 < width <= 8:
            raise SettingsError(f"width: expected a factor above 0 and up to 8, got {width:g}.")
        return width


def _for_images(
    name: str,
    summary: str,
    source: str,
    *,
    patch_size: int = 9,
    learning_rate: float = 1e-3,
    image_size: int = 32,
) -> Network:
    """A network that takes images, and patches of any size as well."""
    return Network(
        name, summary, source, patch_size, 1, learning_rate,
        image_size=image_size, has_width=True,
    )  # fmt: skip


NETWORKS: dict[str, Network] = {
    row.name: row
    for row in (
        Network("cao", "two 3x3 convolutions, three dense layers", "Cao et al. 2018", 5, 5),
        Network("cao_pooled", "the same with max-pooling, as published", "Cao et al. 2018", 9, 7),
        Network(
            "compact",
            "1x1 and two 3x3 convolutions, about 8,000 weights: a student",
            "ours",
            5,
            5,
            3e-3,
            64,
            has_width=True,
        ),
        Network("vgg", "VGG16's blocks with batch norm", "Simonyan and Zisserman 2015", 5, 1, 3e-4),
        _for_images(
            "vgg16",
            "VGG16 with batch norm, for images",
            "Simonyan and Zisserman 2015",
            learning_rate=3e-4,
        ),
        _for_images(
            "vgg11",
            "VGG11 with batch norm, for images",
            "Simonyan and Zisserman 2015",
            learning_rate=3e-4,
        ),
        _for_images("densenet169", "169 layers in dense blocks", "Huang et al. 2017"),
        _for_images("densenet", "40 layers in dense blocks, growth 12", "Huang et al. 2017"),
        _for_images("simplenet", "thirteen plain convolutions, 5.48 M", "Hasanpour et al. 2016"),
        _for_images("simplenet_small", "the same at 0.31 M", "Hasanpour et al. 2016"),
        _for_images("mobilenetv2", "inverted residual blocks", "Sandler et al. 2018"),
    )
}

FIELD: dict[str, Network] = {
    row.name: row
    for row in (
        Network(
            "hu", "1-D convolution over a pixel's spectrum", "Hu et al. 2015",
            1, 1, 0.01, 100, optimizer=Optimizer("sgd"),
        ),
        Network(
            "hamida", "3-D convolutions, spectral ones in the place of pools",
            "Ben Hamida et al. 2018", 5, 3, 0.01, 100,
            optimizer=Optimizer("sgd", weight_decay=5e-4),
        ),
        Network(
            "lee", "1x1 and 3x3 side by side, two residual blocks", "Lee and Kwon 2016",
            5, 3, 1e-3, 100,
        ),
        Network(
            "chen", "three 3-D convolutions of large patches", "Chen et al. 2016",
            27, 25, 3e-3, 100, optimizer=Optimizer("sgd"),
        ),
        Network(
            "li", "two 3-D convolutions", "Li et al. 2017", 5, 5, 0.01, 100,
            optimizer=Optimizer("sgd", momentum=0.9, weight_decay=5e-4),
        ),
        Network(
            "he", "3-D convolutions at four spectral scales", "He et al. 2017", 7, 4, 0.01, 40,
            optimizer=Optimizer("adagrad", weight_decay=0.01),
        ),
        Network(
            "luo", "spectral vectors laid side by side as an image, 104 M", "Luo et al. 2018",
            3, 3, 0.1, 100, optimizer=Optimizer("sgd"),
        ),
        Network(
            "sharma", "three large 2-D convolutions of very large patches", "Sharma et al. 2016",
            65, 56, 0.05, 60, optimizer=Optimizer("sgd", weight_decay=5e-4),
        ),
        Network(
            "liu", "one convolution, supervised part alone", "Liu et al. 2017",
            9, 4, 1e-3, 100, optimizer=Optimizer("sgd"),
        ),
        Network(
            "boulch", "1-D encoder to three features, supervised part alone",
            "Boulch et al. 2017", 1, 1, 1e-3, 100, optimizer=Optimizer("sgd"),
        ),
        Network(
            "mou", "recurrent units over a pixel's spectrum", "Mou et al. 2017",
            1, 1, 1.0, 100, optimizer=Optimizer("adadelta"),
        ),
        Network(
            "santara", "BASS-Net: one spectral network over groups of bands",
            "Santara et al. 2017", 3, 1, 5e-4, 200,
        ),
        Network(
            "hybridsn", "3-D, then 2-D convolutions; made for 30 components", "Roy et al. 2020",
            25, 9, 1e-3, 256,
        ),
        Network(
            "nn", "three dense layers over a pixel's spectrum, 17 M", "Audebert et al. 2019",
            1, 1, 1e-4, 100,
        ),
        Network(
            "ssrn", "spectral, then spatial residual blocks", "Zhong et al. 2018",
            7, 3, 3e-4, 16, optimizer=Optimizer("rmsprop"),
        ),
        Network(
            "mixersenet", "light: depthwise mixers with squeeze-and-excitation",
            "Alkhatib et al. 2025", 9, 1, 5e-4, 64,
        ),
    )
}  # fmt: skip
"""The networks of the hyperspectral field: the DeepHyperX family and later ones."""

NETWORKS |= FIELD

BASELINES: dict[str, Network] = {
    row.name: row
    for row in (
        Network("svm", "support vectors with an RBF kernel, C 1", "Cortes and Vapnik 1995", 1, 1),
        Network(
            "svm_grid", "the same, C and gamma by cross-validation", "Cortes and Vapnik 1995", 1, 1
        ),
        Network("knn", "nearest neighbours, k by cross-validation", "Cover and Hart 1967", 1, 1),
        Network("sgd", "a linear machine by stochastic gradients", "Bottou 2010", 1, 1),
        Network("random_forest", "200 trees that vote", "Breiman 2001", 1, 1),
    )
}
"""Classifiers of scikit-learn (`hsi.baselines`): rows of the same results, but no networks."""


def network(name: str) -> Network:
    """The network of this name; `SettingsError` with the known and the closest name otherwise."""
    known = NETWORKS | BASELINES
    return known[one_of(name, known, what="model")]
