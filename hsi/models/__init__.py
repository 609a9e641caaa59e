"""The networks, in one visible table; reading it loads no TensorFlow.

Adding one: a module with `build(input_shape, classes)` and a row here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi.errors import SettingsError, one_of

if TYPE_CHECKING:
    import tf_keras as keras


@dataclass(frozen=True)
class Network:
    """A network and the settings its authors, or our trials, use with it.

    Attributes:
        name: as on the command line; also the module in this package that builds it.
        summary: one line for lists.
        source: paper and year.
        patch_size: default side of the patches, in pixels.
        smallest_patch: the least side that its layers can take.
        learning_rate: default rate for Adam.
        batch_size: default samples a step.
    """

    name: str
    summary: str
    source: str
    patch_size: int
    smallest_patch: int
    learning_rate: float = 1e-3
    batch_size: int = 128

    def check_patch_size(self, patch_size: int) -> None:
        """Refuse patches that its layers cannot take (`SettingsError`)."""
        if patch_size < self.smallest_patch:
            raise SettingsError(
                f"{self.name}: expected a patch_size of {self.smallest_patch} or more, "
                f"got {patch_size}."
            )

    def build(self, input_shape: tuple[int, int, int], classes: int, *, seed: int) -> keras.Model:
        """A new network with a softmax output of (n, classes); the same seed, the same weights."""
        self.check_patch_size(min(input_shape[:2]))
        import tf_keras as keras

        keras.utils.set_random_seed(seed)
        module = importlib.import_module(f"hsi.models.{self.name}")
        return module.build(input_shape, classes)


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("cao", "two 3x3 convolutions, three dense layers", "Cao et al. 2018", 5, 5),
        Network("cao_pooled", "the same with max-pooling, as published", "Cao et al. 2018", 9, 7),
        Network("vgg", "VGG16's blocks with batch norm", "Simonyan and Zisserman 2015", 5, 1, 3e-4),
    )
}


def network(name: str) -> Network:
    """The network of this name; `SettingsError` with the known and the closest name otherwise."""
    return NETWORKS[one_of(name, NETWORKS, what="model")]
