"""The start without labels of a run's network: what it looks at, and what run.json says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.image_sets.samples import ImageSamples
from hsi.parts import AnySamples, Augment
from hsi.pipeline.job import Job
from hsi.progress import progress
from hsi.samples import Samples

if TYPE_CHECKING:
    import tf_keras as keras


def pretrain_model(job: Job, model: keras.Model) -> dict[str, Any]:
    """Train a network's features in place by SimCLR; returns facts of it as plain values.

    Of a scene all pixels are looked at whose patches hold no test pixel, of images those of the
    training part and those that `train_fraction` leaves out of it.

    Raises:
        DataError, ModelError: see `hsi.pretrain.simclr`.
    """
    from hsi.pretrain import simclr

    keys, views = looked_at(job.samples)
    epochs = job.settings.pretrain_epochs
    job.say(f"Pretraining by simclr: {len(keys)} {job.samples.unit}s, none of the test, no labels.")
    with progress("Pretraining", epochs) as advance:
        history = simclr(
            model,
            job.samples.patches,
            keys,
            augment=views,
            epochs=epochs,
            seed=job.settings.seed,
            progress=lambda epoch, logs: advance(
                epoch, f"loss {logs['loss']:.3f}, found {logs['accuracy']:.3f}"
            ),
        )
    return {
        "method": "simclr",
        "samples": len(keys),
        "losses": list(history.losses),
        "found": list(history.accuracies),
    }


def looked_at(samples: AnySamples) -> tuple[np.ndarray, Augment]:
    """Numbers of the samples that a start without labels may see, and how their views are made."""
    from hsi.pretrain.keys import away_from_test
    from hsi.pretrain.views import black_of, image_views, patch_views

    if isinstance(samples, ImageSamples):
        keys = np.union1d(samples.part("train").pixels, samples.left_out)
        return keys, image_views(moved=samples.augment)
    assert isinstance(samples, Samples)  # there are no others
    keys, without = away_from_test(samples.split), samples.scene.no_data
    if without is not None:
        keys = keys[~without.ravel()[keys]]
    return keys, patch_views(black=black_of(samples.preparation))
