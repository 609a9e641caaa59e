"""A start without labels: a network learns to tell samples apart before it learns their classes.

    keys        which pixels of a scene may be looked at
    views       samples changed at random: what must stay recognisable
    contrast    what the two views of a sample are pulled together by
    features    the network without its class scores

SimCLR: Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual
representations", 2020 (arXiv 2002.05709). Of every sample in a batch two views are made; the
features of the two, sent through two dense layers that are thrown away afterwards, shall be nearer
to each other than to those of any other sample. Where few pixels are labelled and many are not, the
network starts from what the others have in common.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hsi.errors import DataError, SettingsError
from hsi.parts import Augment, Source
from hsi.pretrain.contrast import found, nt_xent
from hsi.pretrain.features import feature_model
from hsi.train import History, Progress

BATCH_SIZE = 64
TEMPERATURE = 0.5
LEARNING_RATE = 1e-3
PROJECTED = 128
"""Values that the features are projected to, as in the paper."""

Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def simclr(
    model: keras.Model,
    source: Source,
    keys: np.ndarray,
    *,
    augment: Augment,
    epochs: int = 20,
    batch_size: int = BATCH_SIZE,
    temperature: float = TEMPERATURE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    progress: Progress | None = None,
) -> History:
    """Train all layers of a network in place but the one of its class scores; no labels are used.

    The scores' layer stays as it was made. What is left over of an epoch after the last whole
    batch waits for another epoch: with fewer samples to tell apart the task would be an easier
    one. The same seed gives the same weights.

    Args:
        model: ends in a dense layer and its softmax.
        source: of patches or images.
        keys: (n,) of the samples to look at: see `hsi.pretrain.keys` for those of a scene.
        augment: makes a view of each sample of a batch; see `hsi.pretrain.views`.
        batch_size: samples a step, each of which is told apart from all others; those that are
            there if fewer.
        temperature: above 0; the smaller, the more the nearest other samples count.
        learning_rate: of Adam.

    Returns:
        Losses (NT-Xent), and as accuracies the share of views whose nearest other is of the same
        sample; nothing is validated.

    Raises:
        DataError: fewer than two samples.
        ModelError: the network does not end in a dense layer.
        SettingsError: a batch of one, a temperature or a number of epochs that cannot be; or a
            loss that is no finite number.
    """
    _check(keys, epochs, batch_size, temperature)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    features = feature_model(model)
    step = _step(features, temperature, learning_rate)
    order, rng = np.array(keys), np.random.default_rng(seed)
    size = min(batch_size, len(order))
    curve = []
    for epoch in range(epochs):
        rng.shuffle(order)
        values = []
        for index in range(len(order) // size):
            batch = source.gather(order[index * size : (index + 1) * size])
            chances = np.random.default_rng((seed, epoch, index))
            views = (tf.convert_to_tensor(augment(batch, chances)) for _ in range(2))
            values.append([float(value) for value in step(*views)])
        loss, accuracy = np.mean(values, axis=0)
        if not np.isfinite(loss):
            raise SettingsError(
                f"learning_rate: the loss of simclr was no finite number in epoch {epoch + 1}, at "
                f"a rate of {learning_rate:g} in batches of {size}; give a smaller rate."
            )
        curve.append((float(loss), float(accuracy)))
        if progress:
            progress(epoch + 1, {"loss": curve[-1][0], "accuracy": curve[-1][1]})
    losses, accuracies = zip(*curve, strict=True)
    return History(losses, accuracies, (), (), epochs)


def _step(features: keras.Model, temperature: float, learning_rate: float) -> Step:
    """One compiled step of Adam on two views (n, rows, cols, channels); its loss and accuracy."""
    width = int(features.output.shape[-1])
    # Not one model of both: the network may call its own layers by the names that these get.
    head = keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(PROJECTED),
        ]
    )
    weights = features.trainable_variables + head.trainable_variables
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(weights)

    @tf.function(input_signature=[tf.TensorSpec(features.input.shape, tf.float32)] * 2)
    def step(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            both = head(features(tf.concat([first, second], axis=0), training=True))
            loss = nt_xent(*tf.split(both, 2), temperature=temperature)
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss, found(*tf.split(both, 2))

    return step


def _check(keys: np.ndarray, epochs: int, batch_size: int, temperature: float) -> None:
    if len(keys) < 2:
        raise DataError(
            f"simclr: expected two samples or more to tell apart, got {len(keys)}; with --split "
            f"blocks more pixels lie away from those of the test."
        )
    if batch_size < 2:
        raise SettingsError(
            f"batch_size: expected 2 or more for simclr, which tells the samples of a batch "
            f"apart, got {batch_size}."
        )
    if epochs < 1:
        raise SettingsError(f"pretrain_epochs: expected 1 or more, got {epochs}.")
    if not temperature > 0:
        raise SettingsError(f"temperature: expected above 0, got {temperature:g}.")
