"""The training stage, and the fine-tuning that others share with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi.errors import SettingsError
from hsi.files import atomic_path
from hsi.models.optimizers import ADAM
from hsi.parts import Part, Source
from hsi.pipeline.beginning import new_network
from hsi.pipeline.job import TRAINED, Job
from hsi.pipeline.pretraining import pretrain_model
from hsi.pipeline.recorded import check_unchanged
from hsi.pipeline.variants import record_keras, write_results
from hsi.progress import progress
from hsi.runs import open_run

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras as keras

    from hsi.parts import Augment
    from hsi.train import Objective

FINE_TUNING_SHARE = 0.3
"""Of the training's learning rate, for fine-tuning."""
MOST_EPOCHS = 200
"""Of one fine-tuning until convergence."""


@dataclass(frozen=True)
class Shown:
    """What a network is shown while it is trained.

    Attributes:
        source: makes inputs of the keys of both parts.
        training, validation: samples; validation may be empty.
        augment: changes each training batch at random.
        batch_size: samples a step.
    """

    source: Source
    training: Part
    validation: Part
    augment: Augment | None
    batch_size: int


def shown_as_usual(job: Job) -> Shown:
    """The samples of a job as they are, or moved as those of its set are."""
    samples = job.samples
    return Shown(
        samples.patches,
        samples.part("train"),
        samples.part("validation"),
        augment=job.augment,
        batch_size=job.settings.batch_size or job.network.batch_size,
    )


def check_validation(job: Job) -> None:
    """Refuse what validation samples decide where there are none: hours before it is decided.

    Raises:
        SettingsError: fine-tuning until convergence, or the best teacher of students.
    """
    settings = job.settings
    decided = {
        "until_convergence": settings.until_convergence,
        "distill_from best": bool(settings.distill) and settings.distill_from == "best",
    }
    asked = [name for name, wanted in decided.items() if wanted]
    if asked and not len(job.samples.part("validation").pixels):
        raise SettingsError(
            f"{asked[0]}: validation samples decide it, and there are none; raise "
            "--validation_fraction, or omit it."
        )


def train_model(job: Job) -> None:
    """Train the network and save it, unless that is done here or in the run to start from."""
    if job.run.variant(TRAINED) or _taken_over(job):
        return
    from hsi.models.files import save_model

    model, facts = trained_network(job)
    save_model(model, job.run.path(TRAINED))
    record_keras(job, TRAINED, model, variant="trained", **facts)


def trained_network(job: Job) -> tuple[keras.Model, dict[str, Any]]:
    """The network of the job, pretrained where asked for, and trained; and facts of both."""
    from tf_keras.models import clone_model

    from hsi.strategy import scope_of, strategy_of

    settings = job.settings
    strategy = strategy_of(settings.strategy)
    model = job.begun or new_network(settings, job.samples, say=job.say)
    facts: dict[str, Any] = {}
    if settings.pretrain != "none":
        facts["pretraining"] = pretrain_model(job, model)
    trained = model
    if strategy is not None:  # what comes after training is done by one device
        with scope_of(strategy):
            trained = clone_model(model)
        trained.set_weights(model.get_weights())
        job.say(f"Strategy {settings.strategy}: {strategy.num_replicas_in_sync} devices.")
    start = time.perf_counter()
    facts["history"] = fit_model(
        job,
        trained,
        epochs=settings.epochs,
        learning_rate=job.learning_rate,
        title=f"Training {job.network.name}",
        strategy=strategy,
    )
    facts["training_seconds"] = time.perf_counter() - start
    if trained is not model:
        model.set_weights(trained.get_weights())
    return model, facts


def _taken_over(job: Job) -> bool:
    """Copy the trained model of the run that the settings say to start from, if there is one.

    Raises:
        SettingsError: that run trained another network, or holds no finished one.
        DataError: its data or its split is not that of this run, though both have one name.
    """
    if job.settings.start_from is None:
        return False
    other = open_run(Path(job.settings.start_from))
    known = other.variant(TRAINED)
    if known is None:
        raise SettingsError(f"start_from {other.folder}: holds no finished {TRAINED}.")
    mine = job.settings.training_only().of_the_result()
    theirs = other.settings.training_only().of_the_result()
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise SettingsError(
                f"start_from {other.folder}: was trained with {name} = {theirs.get(name)}, here it "
                f"is {value}; start from a run of the same training."
            )
    check_unchanged(other, job.samples)
    with atomic_path(job.run.path(TRAINED)) as temporary:
        shutil.copyfile(other.path(TRAINED), temporary)
    row, facts = known["row"], {k: v for k, v in known.items() if k not in ("sha256", "row")}
    job.run.add_variant(TRAINED, row, **facts, taken_from=str(other.folder))
    write_results(job.run)
    job.say(f"Trained network taken from {other.folder}: OA {row['oa']:.2f} %.")
    return True


def fine_tune(
    job: Job,
    model: keras.Model,
    *,
    title: str,
    epochs: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train a compressed model on, at the lower rate; returns its history.

    At the full rate Adam's first steps, while it knows nothing of the gradients' size, throw a
    well-trained network off: on Salinas-A the loss rose a thousandfold in three epochs, and
    channels died that the next pruning step then took.

    Args:
        epochs: None takes `--prune_epochs`, or with `--until_convergence` at most 200: it ends
            when the validation loss has not fallen for `--patience` epochs.
    """
    if epochs is None:
        epochs = MOST_EPOCHS if job.settings.until_convergence else job.settings.prune_epochs
    rate = job.settings.prune_learning_rate or FINE_TUNING_SHARE * job.learning_rate
    return fit_model(
        job,
        model,
        epochs=epochs,
        learning_rate=rate,
        title=title,
        callbacks=callbacks,
        objective=job.teaching() if job.settings.teacher else None,
    )


def fit_model(
    job: Job,
    model: keras.Model,
    *,
    epochs: int,
    learning_rate: float,
    title: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    objective: Objective | None = None,
    shown: Shown | None = None,
    cosine: bool = False,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Any]:
    """Train or fine-tune a model on the training samples; returns its history as plain values.

    Args:
        shown: by default the samples of the job, as usual.
        objective, cosine, strategy: see `hsi.train.train`.
    """
    from hsi.train import train

    if not epochs:
        return {}
    shown = shown or shown_as_usual(job)
    with progress(title, epochs) as advance:
        history = train(
            model,
            shown.source,
            shown.training,
            shown.validation,
            epochs=epochs,
            batch_size=shown.batch_size,
            learning_rate=learning_rate,
            cosine=cosine,
            patience=job.settings.patience,
            seed=job.settings.seed,
            callbacks=callbacks,
            optimizer=ADAM if cosine else job.network.optimizer,  # a student is another network
            objective=objective,
            augment=shown.augment,
            strategy=strategy,
            progress=lambda epoch, logs: advance(epoch, _in_words(logs)),
        )
    if history.lost_epoch:
        job.say(
            f"{title}: the loss was no finite number in epoch {history.lost_epoch}, so training "
            f"ended; the weights are those of epoch {history.best_epoch}. A smaller learning rate "
            "would help."
        )
    return {name: _plain(value) for name, value in vars(history).items()}


def _in_words(logs: dict[str, float]) -> str:
    words = f"loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}"
    if "val_loss" in logs:
        words += f"; validation {logs['val_loss']:.3f}, {logs['val_accuracy']:.3f}"
    return words


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
