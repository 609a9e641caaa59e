"""Training and fine-tuning: one procedure for every network and every compressed variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.patches import Patches
from hsi.samples import Part

Progress = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number, from 1, and its losses and accuracies."""


@dataclass(frozen=True)
class History:
    """What training did.

    Attributes:
        losses, accuracies: one value an epoch, on training pixels.
        validation_losses, validation_accuracies: the same on validation pixels; empty without.
        best_epoch: whose weights the model now has, from 1.
    """

    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    validation_losses: tuple[float, ...]
    validation_accuracies: tuple[float, ...]
    best_epoch: int


class PatchBatches(keras.utils.Sequence):
    """Batches of patches and classes, gathered when Keras asks; shuffled anew every epoch."""

    def __init__(
        self, patches: Patches, part: Part, *, batch_size: int, seed: int, shuffle: bool
    ) -> None:
        super().__init__()
        self.patches, self.part, self.batch_size = patches, part, batch_size
        self._rng = np.random.default_rng(seed)
        self._shuffle = shuffle
        self._order = np.arange(len(part.pixels))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.patches.gather(self.part.pixels[chosen]), self.part.classes[chosen]

    def on_epoch_end(self) -> None:
        if self._shuffle:
            self._rng.shuffle(self._order)


def train(
    model: keras.Model,
    patches: Patches,
    training: Part,
    validation: Part,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    patience: int = 10,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> History:
    """Train a model in place with Adam on categorical cross-entropy.

    Stops when the validation loss has not fallen for `patience` epochs, and restores the weights
    of its best epoch; without validation pixels it runs all epochs. The same seed gives the same
    weights: shuffling, dropout and the order of sums are all fixed.

    Args:
        model: ends in a softmax over the classes.
        training, validation: pixels and their class indices; validation may be empty.
        callbacks: more Keras callbacks, for example TF-MOT's pruning step.
        progress: told of every epoch.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    keep = _KeepBest(patience) if len(validation.pixels) else None
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress and progress(epoch + 1, dict(logs or {}))
    )
    fed = PatchBatches(patches, training, batch_size=batch_size, seed=seed, shuffle=True)
    checked = (
        PatchBatches(patches, validation, batch_size=batch_size, seed=seed, shuffle=False)
        if keep
        else None
    )
    logs = model.fit(
        fed,
        validation_data=checked,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, *([keep] if keep else []), watch],
    ).history
    losses, accuracies, checked_losses, checked_accuracies = (
        tuple(float(v) for v in logs.get(name, ()))
        for name in ("loss", "accuracy", "val_loss", "val_accuracy")
    )
    best_epoch = keep.best_epoch if keep else len(losses)
    return History(losses, accuracies, checked_losses, checked_accuracies, best_epoch)


class _KeepBest(keras.callbacks.Callback):
    """Early stopping that restores the best epoch's weights also when no epoch stopped it."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.best_epoch = 0
        self._best_loss = float("inf")
        self._weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("val_loss", float("inf"))
        if loss < self._best_loss or self._weights is None:
            self._best_loss, self.best_epoch = loss, epoch + 1
            self._weights = self.model.get_weights()
        elif epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)
