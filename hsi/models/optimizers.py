"""What a network is trained with where its authors did not take Adam; loads no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi.errors import one_of

if TYPE_CHECKING:
    import tf_keras as keras

OPTIMIZERS: dict[str, str] = {
    "adam": "Adam",
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "rmsprop": "RMSprop",
}
"""Name -> its class in `tf_keras.optimizers`."""

FROM_NOTHING = {"initial_accumulator_value": 0.0, "epsilon": 1e-20}
"""Adagrad as Duchi et al. 2011 define it and networks of the field were trained with it: sums of
squares begin at 0. Keras begins at 0.1, which makes steps of small gradients many times shorter.
Its epsilon is under the root."""


@dataclass(frozen=True)
class Optimizer:
    """An optimiser and its settings but for the rate.

    Attributes:
        name: a key of `OPTIMIZERS`.
        momentum: of SGD alone.
        weight_decay: share of each weight that goes at each step, times the rate.
    """

    name: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0

    def make(self, learning_rate: float) -> keras.optimizers.Optimizer:
        """A new one, without state.

        Raises:
            SettingsError: an unknown name.
        """
        import tf_keras as keras

        kind = getattr(
            keras.optimizers, OPTIMIZERS[one_of(self.name, OPTIMIZERS, what="optimizer")]
        )
        options = {"momentum": self.momentum} if self.momentum else {}
        options |= FROM_NOTHING if self.name == "adagrad" else {}
        return kind(learning_rate, weight_decay=self.weight_decay or None, **options)

    def __str__(self) -> str:
        """As in lists: SGD, momentum 0.9, weight decay 0.0005."""
        parts = [OPTIMIZERS.get(self.name, self.name)]
        parts += [f"momentum {self.momentum:g}"] if self.momentum else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        return ", ".join(parts)


ADAM = Optimizer()
