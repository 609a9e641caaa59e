"""Training and fine-tuning: one procedure for every network and every compressed variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras.optimizers.schedules import CosineDecay

from hsi.errors import SettingsError
from hsi.models.long_kernels import by_fourier
from hsi.models.optimizers import ADAM, Optimizer
from hsi.parts import Augment, Part, Source
from hsi.predict import batches
from hsi.strategy import feed, scope_of, share_bounds

Progress = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number, from 1, and its losses and accuracies."""

MEAN_LOSS = "mean_loss"
"""In Keras's logs, where several devices train: there its own `loss` is of weighted shares."""
ASKED_AT_ONCE = 256
"""Samples whose targets an objective is asked for in one call."""


@dataclass(frozen=True)
class History:
    """What training did.

    Attributes:
        losses, accuracies: one value an epoch, on training pixels.
        validation_losses, validation_accuracies: the same on validation pixels; empty without.
        best_epoch: whose weights the model now has, from 1.
        lost_epoch: in which a loss was no finite number any more, so that training ended; it is in
            none of the losses. None where there was none.
    """

    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    validation_losses: tuple[float, ...]
    validation_accuracies: tuple[float, ...]
    best_epoch: int
    lost_epoch: int | None = None


class Objective(Protocol):
    """What a network is trained for, where that is not cross-entropy alone."""

    def targets(self, inputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What the loss of a batch is given in the place of its class indices (n,)."""

    def loss(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Of each sample, (n,)."""

    def accuracy(self, targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """1 for each sample whose class is found, (n,)."""


class PatchBatches(keras.utils.Sequence):
    """Batches of samples and classes, gathered when Keras asks; shuffled anew every epoch.

    Args:
        patches: of a scene, or the images of a set.
        augment: changes each batch; its chances depend on the seed, the epoch and the batch alone.
        objective: makes targets of the classes; without `augment` a sample's inputs are the same in
            every epoch, and it is asked once, here.
    """

    def __init__(
        self,
        patches: Source,
        part: Part,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augment: Augment | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self._objective = objective
        self.patches, self.part, self.batch_size = patches, part, batch_size
        self._rng = np.random.default_rng(seed)
        self._augment, self._seed, self._epoch = augment, seed, -1  # the first epoch is 0
        self._shuffle = shuffle
        self._order = np.arange(len(part.pixels))
        self._targets = (
            _asked(objective, patches, part) if objective and not augment else part.classes
        )
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._taken(index, slice(None))

    def share(self, index: int, number: int, of: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Share `number` of batch `index`, and its samples' weights; see `hsi.strategy`."""
        size = min(self.batch_size, len(self._order) - index * self.batch_size)
        start, stop, weight = share_bounds(size, number, of)
        return *self._taken(index, slice(start, stop)), np.full(stop - start, weight, np.float32)

    def _taken(self, index: int, part: slice) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        if self._augment:  # its chances are those of the whole batch
            rng = np.random.default_rng((self._seed, self._epoch, index))
            inputs = self._augment(self.patches.gather(self.part.pixels[chosen]), rng)[part]
            classes = self.part.classes[chosen[part]]
            return inputs, self._objective.targets(inputs, classes) if self._objective else classes
        return self.patches.gather(self.part.pixels[chosen[part]]), self._targets[chosen[part]]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        if self._shuffle:
            self._rng.shuffle(self._order)


def _asked(objective: Objective, patches: Source, part: Part) -> np.ndarray:
    """The objective's targets of all samples, in their order: (n, ...)."""
    order = batches(np.arange(len(part.pixels)), ASKED_AT_ONCE)
    return np.concatenate(
        [objective.targets(patches.gather(part.pixels[k]), part.classes[k]) for k in order]
    )


def train(
    model: keras.Model,
    patches: Source,
    training: Part,
    validation: Part,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    cosine: bool = False,
    patience: int = 10,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    optimizer: Optimizer = ADAM,
    augment: Augment | None = None,
    objective: Objective | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> History:
    """Train a model in place on categorical cross-entropy.

    Stops when the validation loss has not fallen for `patience` epochs, and restores the weights
    of its best epoch; without validation pixels, or with `cosine`, it runs all epochs and keeps the
    last weights. The same seed gives the same weights: shuffling, dropout and the order of sums are
    all fixed.

    Args:
        model: ends in a softmax over the classes.
        patches: of a scene, or the images of a set.
        training, validation: pixels and their class indices; validation may be empty.
        cosine: let the learning rate fall to zero over all epochs, rate * (1 + cos(pi * done)) / 2
            (Loshchilov and Hutter 2017, arXiv 1608.03983).
        callbacks: more Keras callbacks, for example TF-MOT's pruning step.
        progress: told of every epoch.
        optimizer: whose steps are taken, at that rate.
        augment: changes each training batch at random; see `hsi.image_sets.augment`.
        objective: what to train for instead, such as `hsi.compress.distill.Distillation`.
        strategy: of several devices or workers, in whose scope the model was made; see
            `hsi.strategy`.

    Raises:
        SettingsError: a loss was no finite number, and no earlier epoch was validated.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    fed = PatchBatches(
        patches,
        training,
        batch_size=batch_size,
        seed=seed,
        shuffle=True,
        augment=augment,
        objective=objective,
    )
    checked = None
    if len(validation.pixels):
        checked = PatchBatches(
            patches,
            validation,
            batch_size=batch_size,
            seed=seed,
            shuffle=False,
            objective=objective,
        )
    rate = CosineDecay(learning_rate, epochs * len(fed)) if cosine else learning_rate
    with scope_of(strategy):
        _compile(model, optimizer.make(rate), objective, shared=strategy is not None)
    keep = _KeepBest(patience) if checked and not cosine else None
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress and progress(epoch + 1, _of_samples(logs))
    )
    finite = _WhileFinite()
    shared = [_Penalties(len(fed.part.pixels), batch_size)] if strategy else []
    with by_fourier(model):
        logs = model.fit(
            **_feeding(strategy, fed, checked),
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, *shared, *([keep] if keep else []), watch, finite],
        ).history
    lost = finite.lost_epoch
    if lost and not (keep and keep.best_epoch):
        raise SettingsError(
            f"learning_rate: the loss was no finite number in epoch {lost}, at a rate of "
            f"{learning_rate:g} in batches of {batch_size}; give a smaller rate."
        )
    whole = lost - 1 if lost else epochs
    losses, accuracies, checked_losses, checked_accuracies = (
        tuple(float(v) for v in _of_samples(logs).get(name, ())[:whole])
        for name in ("loss", "accuracy", "val_loss", "val_accuracy")
    )
    best_epoch = keep.best_epoch if keep else len(losses)
    return History(losses, accuracies, checked_losses, checked_accuracies, best_epoch, lost)


def _feeding(
    strategy: tf.distribute.Strategy | None, fed: PatchBatches, checked: PatchBatches | None
) -> dict[str, Any]:
    """What `fit` is given, of whole batches or of shares; shares are endless."""
    if strategy is None:
        return {"x": fed, "validation_data": checked}
    feeding = {"x": feed(strategy, fed), "steps_per_epoch": len(fed)}
    if checked:
        feeding |= {"validation_data": feed(strategy, checked), "validation_steps": len(checked)}
    return feeding


def _compile(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    objective: Objective | None,
    *,
    shared: bool,
) -> None:
    # A step that makes the optimiser's variables would be traced twice, once with and once without.
    optimizer.build(model.trainable_variables)
    loss = objective.loss if objective else keras.losses.SparseCategoricalCrossentropy()
    if shared:
        found = objective.accuracy if objective else keras.metrics.sparse_categorical_accuracy
        lost = objective.loss if objective else keras.losses.sparse_categorical_crossentropy
        counted = [_Counted(found, name="accuracy"), _Counted(lost, name=MEAN_LOSS)]
        model.compile(optimizer=optimizer, loss=loss, weighted_metrics=counted)
        return
    accuracy = (
        keras.metrics.MeanMetricWrapper(objective.accuracy, name="accuracy")
        if objective
        else keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    )
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy])


class _Counted(keras.metrics.MeanMetricWrapper):
    """A mean over samples, each counted once; one of no weight stands in for an empty share."""

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        counts = None if sample_weight is None else tf.cast(sample_weight > 0, tf.float32)
        return super().update_state(y_true, y_pred, counts)


def _of_samples(logs: dict[str, Any] | None) -> dict[str, Any]:
    """Keras's logs, with the losses that are means over samples."""
    values = dict(logs or {})
    for loss, mean in (("loss", MEAN_LOSS), ("val_loss", f"val_{MEAN_LOSS}")):
        if mean in values:
            values[loss] = values.pop(mean)
    return values


class _Penalties(keras.callbacks.Callback):
    """Adds weight penalties to the mean losses of samples, as Keras's own losses hold them."""

    def __init__(self, samples: int, batch_size: int) -> None:
        super().__init__()
        self._samples, self._batch_size = samples, batch_size
        self._sum = 0.0

    def _now(self) -> float:
        # A penalty on activations is of a share alone, and no number between two batches.
        found = [loss for loss in self.model.losses if not tf.is_symbolic_tensor(loss)]
        return float(sum(float(loss) for loss in found))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._sum = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        size = min(self._batch_size, self._samples - batch * self._batch_size)
        self._sum += size * self._now()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {} if logs is None else logs
        values[MEAN_LOSS] += self._sum / self._samples
        if f"val_{MEAN_LOSS}" in values:
            values[f"val_{MEAN_LOSS}"] += self._now()


class _WhileFinite(keras.callbacks.Callback):
    """End at the first epoch whose losses are not all finite numbers: none after it would be."""

    lost_epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        losses = [value for name, value in (logs or {}).items() if name.endswith("loss")]
        if not np.isfinite(losses).all():
            self.lost_epoch = epoch + 1
            self.model.stop_training = True


class _KeepBest(keras.callbacks.Callback):
    """Early stopping that restores the best epoch's weights also when no epoch stopped it."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.best_epoch = 0
        self._best_loss = float("inf")
        self._weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = _of_samples(logs).get("val_loss", float("inf"))
        if loss < self._best_loss:  # which one that is no number is not
            self._best_loss, self.best_epoch = loss, epoch + 1
            self._weights = self.model.get_weights()
        elif epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)
