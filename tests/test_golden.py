"""Our maps against those of Captum on the same weights (`golden/make_captum.py` made the file).

Two definitions differ from Captum's on purpose, and the file stays where they agree:

- occlusion: where the strides do not end at the border, Captum's last window reaches out of the
  sample, so values there are covered by a smaller window; ours is moved back to end at the border;
- Grad-CAM and its guided form: Captum leaves a map at the size of its layer or brings it to that of
  the input by nearest neighbours unless told otherwise; ours is always interpolated linearly, with
  half-pixel centres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hsi import explain

NETWORKS = ("plain", "pooled")
LAYERS = [("plain", "conv_1"), ("pooled", "norm_1"), ("pooled", "relu_1"), ("pooled", "relu_2")]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parent / "golden" / "captum.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def settings(golden):
    names = ("points", "samples", "noise", "seed", "channel")
    return dict(zip(names, golden["settings"].tolist(), strict=True))


@pytest.fixture(scope="module")
def models(golden):
    import tf_keras as keras

    found = {"plain": plain(keras), "pooled": pooled(keras)}
    for name, model in found.items():
        count = len(model.get_weights())
        model.set_weights([golden[f"{name}/weights/{i}"] for i in range(count)])
        assert f"{name}/weights/{count}" not in golden
    return found


def plain(keras):
    """ReLUs fused into the convolutions, a softmax that has to be looked through."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((5, 5, 12)),
            layers.Conv2D(8, 3, activation="relu", name="conv_1"),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
            layers.Dense(4, activation="softmax"),
        ]
    )


def pooled(keras):
    """ReLUs in every form: a layer, an activation layer, fused into a dense layer."""
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same")(x)
    x = layers.MaxPooling2D(2)(layers.BatchNormalization(name="norm_1")(x))
    x = layers.ReLU(name="relu_1")(x)
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.MaxPooling2D(2)(layers.BatchNormalization()(x))
    x = layers.Activation("relu", name="relu_2")(x)
    x = layers.Dense(10, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(4)(x))


def check(ours, theirs):
    """Equal but for single precision, beside the largest value of each sample."""
    assert ours.shape == np.broadcast_shapes(ours.shape, theirs.shape)
    largest = np.abs(theirs).reshape(len(theirs), -1).max(axis=1)
    assert (largest > 0).all()
    error = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1) / largest
    assert (error < TOLERANCE).all(), error


def maps(golden, models, name, method, **options):
    """What we answer; in batches of 2, so that the last of the three samples has one of its own."""
    return explain.attribute(
        method,
        models[name],
        golden[f"{name}/inputs"],
        classes=golden[f"{name}/classes"],
        batch_size=2,
        **options,
    ).maps


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_same(golden, models, name):
    from hsi.explain.score import score_of

    logits = score_of(models[name]).logits(golden[f"{name}/inputs"])
    check(logits, golden[f"{name}/logits"])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "method", ["gradient", "input_times_gradient", "guided_backprop", "deconvnet"]
)
def test_maps_of_one_pass(golden, models, name, method):
    check(maps(golden, models, name, method), golden[f"{name}/maps/{method}"])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("baseline", ["zero", "given"])
def test_integrated_gradients(golden, models, settings, name, baseline):
    """At as many points as Captum took: more are not asked for."""
    found = maps(
        golden,
        models,
        name,
        "integrated_gradient",
        baseline=golden[f"{name}/baseline"] if baseline == "given" else baseline,
        points=int(settings["points"]),
        most_points=int(settings["points"]),
    )
    check(found, golden[f"{name}/maps/integrated_gradient.{baseline}"])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["smoothgrad", "smoothgrad_squared", "vargrad"])
def test_noisy_copies(golden, models, settings, name, method):
    """Captum's noise tunnel was given the noise that our seed stands for."""
    found = maps(
        golden,
        models,
        name,
        method,
        seed=int(settings["seed"]),
        samples=int(settings["samples"]),
        noise=settings["noise"],
    )
    check(found, golden[f"{name}/maps/{method}"])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["occlusion", "spectral_occlusion"])
@pytest.mark.parametrize("baseline", ["zero", "given"])
def test_occlusion(golden, models, name, method, baseline):
    rows, cols, channels, row_step, col_step, channel_step = golden[
        f"{name}/windows/{method}"
    ].tolist()
    options = {"channels": channels, "channel_stride": channel_step}
    if method == "occlusion":
        options |= {"size": (rows, cols), "stride": (row_step, col_step)}
    if baseline == "given":
        options["baseline"] = golden[f"{name}/baseline"]
    found = maps(golden, models, name, method, **options)
    check(found, golden[f"{name}/maps/{method}.{baseline}"])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
@pytest.mark.parametrize("method", ["gradcam", "gradcam_signed", "guided_gradcam"])
def test_maps_of_a_layer(golden, models, name, layer, method):
    """Captum's maps were interpolated as ours are; signed ones are those not cut off at zero."""
    options = {"positive": False} if method == "gradcam_signed" else {}
    found = maps(golden, models, name, method.removesuffix("_signed"), layer=layer, **options)
    check(found, golden[f"{name}/maps/{method}.{layer}"])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_layer_attention(golden, models, settings, name, layer):
    """Captum's guided backpropagation of a neuron, which is the mean of one feature map."""
    found = maps(
        golden, models, name, "layer_attention", layer=layer, channel=int(settings["channel"])
    )
    check(found, golden[f"{name}/maps/layer_attention.{layer}"])


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_activations(golden, models, name, layer):
    from hsi.explain.activation_map import activations

    (found,) = activations(models[name], golden[f"{name}/inputs"], layers=[layer])
    check(found.array, golden[f"{name}/maps/activation_map.{layer}"])


def test_every_stored_map_is_compared(golden):
    """The file holds nothing that no test above reads."""
    once = ["gradient", "input_times_gradient", "guided_backprop", "deconvnet"]
    once += ["smoothgrad", "smoothgrad_squared", "vargrad"]
    twice = ["integrated_gradient", "occlusion", "spectral_occlusion"]
    of_layers = ["gradcam", "gradcam_signed", "guided_gradcam", "layer_attention", "activation_map"]
    read = {f"{name}/maps/{method}" for name in NETWORKS for method in once}
    read |= {f"{n}/maps/{m}.{kind}" for n in NETWORKS for m in twice for kind in ("zero", "given")}
    read |= {f"{name}/maps/{m}.{layer}" for name, layer in LAYERS for m in of_layers}
    assert read == {key for key in golden if "/maps/" in key}
