"""The training stage, and the fine-tuning that others share with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.variants import record_keras
from hsi.progress import progress

if TYPE_CHECKING:
    import tf_keras as keras


def train_model(job: Job) -> None:
    """Train the network and save it, unless that is done."""
    if job.run.variant(TRAINED):
        return
    from hsi.models.files import save_model

    model = job.network.build(job.samples.patches.shape, job.classes, seed=job.settings.seed)
    history = fit_model(
        job, model, epochs=job.settings.epochs, title=f"Training {job.network.name}"
    )
    save_model(model, job.run.path(TRAINED))
    record_keras(job, TRAINED, model, variant="trained", history=history)


def fit_model(
    job: Job,
    model: keras.Model,
    *,
    epochs: int,
    title: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train or fine-tune a model on the training pixels; returns its history as plain values."""
    from hsi.train import fitting_batch_size, train

    if not epochs:
        return {}
    training = job.samples.part("train")
    usual = fitting_batch_size(job.network.batch_size, len(training.pixels))
    batch_size = job.settings.batch_size or usual
    with progress(title, epochs) as advance:
        history = train(
            model,
            job.samples.patches,
            training,
            job.samples.part("validation"),
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=job.settings.learning_rate or job.network.learning_rate,
            patience=job.settings.patience,
            seed=job.settings.seed,
            callbacks=callbacks,
            progress=lambda epoch, logs: advance(epoch, _in_words(logs)),
        )
    return {"batch_size": batch_size} | {k: _plain(v) for k, v in vars(history).items()}


def _in_words(logs: dict[str, float]) -> str:
    names = {"loss": "loss", "accuracy": "accuracy", "val_loss": "validation loss",
             "val_accuracy": "validation accuracy"}  # fmt: skip
    return ", ".join(f"{names[k]} {v:.3f}" for k, v in logs.items() if k in names)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
