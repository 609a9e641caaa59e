"""This project plans and prunes the networks of `keras.applications`, and trains them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras as keras
from plan_common import CLASSES, SIDE, Planner, serve

from hsi.compress.criteria import criterion
from hsi.compress.graph import channel_groups
from hsi.compress.plan.channels import plan_channels
from hsi.compress.schedule import choose_channels

NETWORKS = {
    "vgg16": keras.applications.VGG16, "densenet169": keras.applications.DenseNet169,
}  # fmt: skip


def trained_weights(model: keras.Model) -> int:
    """How many weights training changes; the statistics of batch norm are not among them."""
    return int(sum(np.prod(weight.shape) for weight in model.trainable_weights))


def make(name: str) -> Planner:
    keras.utils.set_random_seed(0)
    model = NETWORKS[name](weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES)

    def one_round(share: float) -> dict[str, Any]:
        start = time.perf_counter()
        groups = channel_groups(model)
        scores = criterion("l1")(model, (), groups).scores
        wanted = sum(int(share * group.channels) for group in groups)
        removal, _ = choose_channels(scores, groups, wanted, scope="layer")
        plan = plan_channels(model, removal)
        planned = time.perf_counter()
        smaller = plan.apply(model)
        applied = time.perf_counter()
        return {
            "plan_seconds": planned - start,
            "surgery_seconds": applied - planned,
            "parameters": trained_weights(smaller),
        }

    def step(batch: int) -> Callable[[], Any]:
        draw = np.random.default_rng(0)
        images = draw.standard_normal((batch, SIDE, SIDE, 3)).astype(np.float32)
        classes = draw.integers(0, CLASSES, batch)
        model.compile(keras.optimizers.Adam(1e-5), "sparse_categorical_crossentropy")
        return lambda: model.train_on_batch(images, classes)

    return Planner(one_round, step, trained_weights(model), ("tensorflow", "tf-keras", "hsi"))


if __name__ == "__main__":
    serve(make)
