"""tf-keras-vis, from an environment of its own; all samples at once unless they are cut."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest import mock

import keras
import numpy as np
from common import NETWORKS, Contestant, Job, keras_model, serve, sliced
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation
from tf_keras_vis.utils.scores import CategoricalScore


def same_noise(draws: np.ndarray) -> AbstractContextManager[Callable[..., np.ndarray]]:
    def normal(mean: float, deviation: object, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(draws[:, None], shape)

    return mock.patch("numpy.random.normal", normal)


def make(name: str) -> Contestant:
    network = NETWORKS[name]
    model = keras_model(keras, network)
    plain = Saliency(model)
    guided = Saliency(model, model_modifier=GuidedBackpropagation(), clone=True)
    cam = Gradcam(model)
    signed = {"keepdims": True, "normalize_map": False, "gradient_modifier": None}

    def score(job: Job) -> CategoricalScore:
        return CategoricalScore(job.classes.tolist())

    def slopes(job: Job, rows: int | None, explainer: Saliency = plain) -> np.ndarray:
        return sliced(job, rows, lambda part: explainer(score(part), part.inputs, **signed))

    def smoothgrad(job: Job, rows: int | None) -> np.ndarray:
        options = {**signed, "smooth_samples": job.copies, "smooth_noise": job.share()}
        return sliced(job, rows, lambda part: plain(score(part), part.inputs, **options))

    def gradcam(job: Job, rows: int | None) -> np.ndarray:
        options = {"penultimate_layer": network.layer, "normalize_cam": False}
        return sliced(job, rows, lambda part: cam(score(part), part.inputs, **options)[..., None])

    return Contestant(
        {
            "gradient": slopes,
            "smoothgrad": smoothgrad,
            "gradcam": gradcam,
            "guided_backprop": lambda job, rows: slopes(job, rows, guided),
        },
        ("tf-keras-vis", "tensorflow", "keras"),
        {
            "smoothgrad": "noise given; its own is a share of the range of each sample",
            "gradcam": "enlarged with corners aligned",
        },
        same_noise,
    )


if __name__ == "__main__":
    serve(make)
