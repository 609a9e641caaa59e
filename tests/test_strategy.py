"""Several devices or workers train one network: the loss curve is that of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tf_keras as keras
from tf_keras import layers
from tf_keras.regularizers import L2

from hsi.errors import SettingsError
from hsi.parts import Part
from hsi.patches import Patches
from hsi.pipeline import generate, train_beside
from hsi.settings import Settings
from hsi.strategy import place_of, scope_of, share_bounds, strategy_of
from hsi.train import PatchBatches, train

TWO = {"cluster": {"worker": ["127.0.0.1:2222", "127.0.0.1:2223"]}}


def toy() -> tuple[Patches, Part, Part]:
    """A small scene; the last batch of 32 is a single sample of 97: one of two shares is empty."""
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=400)
    cube = rng.normal(size=(3, 4))[classes].reshape(20, 20, 4) + rng.normal(size=(20, 20, 4))
    pixels = rng.permutation(400)
    parts = [Part(p, classes[p]) for p in (pixels[:97], pixels[97:136])]
    return Patches(cube, 3), parts[0], parts[1]


def mirrored(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An augmentation whose chances depend on where in the batch a sample stands."""
    return np.where(rng.random((len(batch), 1, 1, 1)) < 0.5, batch[:, ::-1], batch)


def curve(strategy: object = None) -> tuple[dict[str, tuple[float, ...]], list[np.ndarray]]:
    """Losses and accuracies of four epochs, and the weights after them."""
    patches, training, validation = toy()
    with scope_of(strategy):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((3, 3, 4)),
                layers.Conv2D(6, 3, activation="relu", kernel_regularizer=L2(0.01)),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ]
        )
    history = train(
        model, patches, training, validation,
        epochs=4, batch_size=32, learning_rate=1e-2, seed=3, augment=mirrored, strategy=strategy,
    )  # fmt: skip
    return vars(history), model.get_weights()


# Shares


@pytest.mark.parametrize("size", [1, 2, 3, 7, 32])
@pytest.mark.parametrize("of", [1, 2, 3, 5])
def test_the_weighted_means_of_shares_are_the_mean_of_the_batch(size, of):
    values = np.random.default_rng(size).normal(size=size)
    means, seen = [], []
    for number in range(of):
        start, stop, weight = share_bounds(size, number, of)
        assert stop > start
        means.append(np.mean(weight * values[start:stop]))
        seen += list(range(start, stop)) if weight else []
    assert np.mean(means) == pytest.approx(values.mean())
    assert seen == list(range(size))


def test_shares_put_together_are_the_batch():
    patches, training, _ = toy()
    fed = PatchBatches(patches, training, batch_size=32, seed=0, shuffle=True, augment=mirrored)
    for index in range(3):
        inputs, classes = fed[index]
        shares = [fed.share(index, number, 3) for number in range(3)]
        np.testing.assert_array_equal(np.concatenate([s[0] for s in shares]), inputs)
        np.testing.assert_array_equal(np.concatenate([s[1] for s in shares]), classes)


# Places


def test_a_strategy_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match="Did you mean 'mirrored'"):
        place_of("mirorred")


@pytest.mark.parametrize("name", ["default", "mirrored"])
def test_one_process_alone_is_the_chief(name, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "nonsense")
    assert place_of(name).is_chief
    assert strategy_of("default") is None


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_reads_its_place(index, monkeypatch):
    config = {**TWO, "task": {"type": "worker", "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    place = place_of("multi_worker")
    assert (place.index, place.is_chief) == (index, index == 0)
    assert place.addresses == ("127.0.0.1:2222", "127.0.0.1:2223")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "it is not set"),
        ("{", "workers alone"),
        ("[]", "workers alone"),
        (json.dumps(TWO), "workers alone"),
        (json.dumps({**TWO, "task": {"type": "ps", "index": 0}}), "workers alone"),
        (json.dumps({**TWO, "task": {"type": "worker", "index": "0"}}), "workers alone"),
        (json.dumps({**TWO, "task": {"type": "worker", "index": 2}}), "index of 0 to 1"),
    ],
)
def test_a_place_that_cannot_be_read_is_one_line(config, said, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(SettingsError, match=said) as caught:
        place_of("multi_worker")
    assert "\n" not in str(caught.value)


# Curves

SCRIPT = """
import json, sys
sys.path[:0] = [{tests!r}, {root!r}]
import numpy as np, tensorflow as tf
{strategy}
from test_strategy import curve
history, weights = curve(strategy)
print(json.dumps([history, [w.tolist() for w in weights]]))
"""
DEVICES = """
devices = tf.config.list_physical_devices("CPU")[:1]
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
WORKERS = """
from hsi.strategy import strategy_of
strategy = strategy_of("multi_worker")
assert strategy.num_replicas_in_sync == 2
"""


def started(root, strategy: str, config: object = None) -> subprocess.Popen[str]:
    code = SCRIPT.format(tests=str(root / "tests"), root=str(root), strategy=strategy)
    environment = os.environ | ({"TF_CONFIG": json.dumps(config)} if config else {})
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def assert_the_curve_of_one(processes: list[subprocess.Popen[str]]) -> None:
    alone, weights = curve()
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, error) in zip(processes, said, strict=True):
        assert process.returncode == 0, error[-2000:]
        together, theirs = json.loads(out.splitlines()[-1])
        assert together["best_epoch"] == alone["best_epoch"]
        for name in ("losses", "validation_losses", "accuracies", "validation_accuracies"):
            assert len(together[name]) == 4
            np.testing.assert_allclose(together[name], alone[name], atol=1e-4)
        for mine, other in zip(weights, theirs, strict=True):
            np.testing.assert_allclose(other, mine, atol=1e-4)


@pytest.mark.slow
def test_two_workers_give_the_curve_of_one(root):
    """Processes that talk over the loopback, the smallest cluster there is."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    assert_the_curve_of_one(
        [
            started(root, WORKERS, {"cluster": cluster, "task": {"type": "worker", "index": i}})
            for i in range(2)
        ]
    )


@pytest.mark.slow
def test_two_devices_of_one_process_give_the_curve_of_one(root):
    assert_the_curve_of_one([started(root, DEVICES)])


# Who writes


@pytest.mark.slow
def test_a_worker_beside_the_chief_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    settings = Settings(model="cao", dataset="synthetic", train_fraction=0.02, epochs=1)
    train_beside(settings, say=said.append)
    assert said[-1] == "The network is trained; the chief goes on."
    assert list(tmp_path.iterdir()) == []


def test_only_the_chief_makes_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({**TWO, "task": {"type": "worker", "index": 1}}))
    settings = Settings(model="cao", strategy="multi_worker", output=str(tmp_path / "run"))
    with pytest.raises(SettingsError, match="not the chief"):
        generate(settings)
    assert list(tmp_path.iterdir()) == []
