"""The training stage, and the fine-tuning that others share with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.variants import record_keras
from hsi.progress import progress
from hsi.settings import percent_name

if TYPE_CHECKING:
    import tf_keras as keras

FINE_TUNING_SHARE = 0.3
"""Of the training's learning rate, for fine-tuning."""


def train_model(job: Job) -> None:
    """Train the network and save it, unless that is done."""
    if job.run.variant(TRAINED):
        return
    from hsi.models.files import save_model

    model = job.network.build(job.samples.patches.shape, job.classes, seed=job.settings.seed)
    title = f"Training {job.network.name}"
    history = fit_model(
        job, model, epochs=job.settings.epochs, learning_rate=job.learning_rate, title=title
    )
    save_model(model, job.run.path(TRAINED))
    record_keras(job, TRAINED, model, variant="trained", history=history)


def fine_tune(
    job: Job,
    model: keras.Model,
    *,
    target: float,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train a pruned model on, at the lower rate; returns its history.

    At the full rate Adam's first steps, while it knows nothing of the gradients' size, throw a
    well-trained network off: on Salinas-A the loss rose a thousandfold in three epochs, and
    channels died that the next pruning step then took.
    """
    epochs = job.settings.prune_epochs
    rate = job.settings.prune_learning_rate or FINE_TUNING_SHARE * job.learning_rate
    title = f"Fine-tuning {percent_name(target)} %"
    return fit_model(
        job, model, epochs=epochs, learning_rate=rate, title=title, callbacks=callbacks
    )


def fit_model(
    job: Job,
    model: keras.Model,
    *,
    epochs: int,
    learning_rate: float,
    title: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train or fine-tune a model on the training pixels; returns its history as plain values."""
    from hsi.train import train

    if not epochs:
        return {}
    with progress(title, epochs) as advance:
        history = train(
            model,
            job.samples.patches,
            job.samples.part("train"),
            job.samples.part("validation"),
            epochs=epochs,
            batch_size=job.settings.batch_size or job.network.batch_size,
            learning_rate=learning_rate,
            patience=job.settings.patience,
            seed=job.settings.seed,
            callbacks=callbacks,
            progress=lambda epoch, logs: advance(epoch, _in_words(logs)),
        )
    return {name: _plain(value) for name, value in vars(history).items()}


def _in_words(logs: dict[str, float]) -> str:
    words = f"loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}"
    if "val_loss" in logs:
        words += f"; validation {logs['val_loss']:.3f}, {logs['val_accuracy']:.3f}"
    return words


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
