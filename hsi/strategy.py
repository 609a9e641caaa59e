"""One network trained on several devices or machines at once (`tf.distribute`).

Every worker takes its share of every batch, in the order of a single worker, and the gradients of
the shares are summed: the loss curve is that of one worker, up to rounding. Two kinds of layer see
their own share alone and so make a difference: batch norm takes its statistics from it, and dropout
draws for it.

A worker of `multi_worker` is a process of its own, started by the user with the same command and
its place in the environment variable TF_CONFIG:

    {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
     "task": {"type": "worker", "index": 0}}

The first one is the chief; it alone writes files and goes on after training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hsi.errors import SettingsError, one_of
from hsi.settings import STRATEGIES

if TYPE_CHECKING:
    import tensorflow as tf

DEFAULT, MIRRORED, MULTI_WORKER = STRATEGIES
VARIABLE = "TF_CONFIG"
EXAMPLE = (
    '{"cluster": {"worker": ["127.0.0.1:2222", "127.0.0.1:2223"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Place:
    """Of one worker among all.

    Attributes:
        index: from 0; the chief is 0.
        addresses: host:port of every worker.
    """

    index: int
    addresses: tuple[str, ...]

    @property
    def is_chief(self) -> bool:
        return self.index == 0


class Batches(Protocol):
    """Batches that can be asked for in shares, such as `hsi.train.PatchBatches`."""

    def __len__(self) -> int: ...

    def share(self, index: int, number: int, of: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, targets and weights of share `number` of batch `index`."""

    def on_epoch_end(self) -> None: ...


def place_of(name: str) -> Place:
    """Where this process stands among the workers; alone unless the strategy is multi_worker.

    Reads the environment alone and loads no TensorFlow.

    Raises:
        SettingsError: an unknown strategy, or a TF_CONFIG that is missing or says something else.
    """
    if one_of(name, STRATEGIES, what="strategy") != MULTI_WORKER:
        return Place(0, ("localhost",))
    text = os.environ.get(VARIABLE)
    if not text:
        raise SettingsError(
            f"strategy {name}: expected the workers in {VARIABLE}, such as {EXAMPLE}; "
            f"it is not set."
        )
    try:
        config = json.loads(text)
        addresses, task = config["cluster"]["worker"], config["task"]
        kind, index = task["type"], task["index"]
    except (ValueError, KeyError, TypeError) as error:
        raise _not_understood(text) from error
    right = isinstance(addresses, list) and all(isinstance(a, str) for a in addresses)
    whole = isinstance(index, int) and not isinstance(index, bool)
    if not (right and whole and kind == "worker" and set(config["cluster"]) == {"worker"}):
        raise _not_understood(text)
    if not 0 <= index < len(addresses):
        raise SettingsError(
            f"{VARIABLE}: expected an index of 0 to {len(addresses) - 1} for {len(addresses)} "
            f"workers, got {index}."
        )
    return Place(index, tuple(addresses))


def _not_understood(text: str) -> SettingsError:
    return SettingsError(f"{VARIABLE}: expected workers alone, such as {EXAMPLE}; got {text}.")


@cache
def strategy_of(name: str) -> tf.distribute.Strategy | None:
    """The strategy of this name, the same object at every call; None is one device, as always.

    A worker of `multi_worker` waits here until all others are there. TensorFlow takes its place
    among workers only before anything has been computed: call this first.

    Raises:
        SettingsError: see `place_of`, or TensorFlow is at work already.
    """
    place_of(name)
    if name == DEFAULT:
        return None
    import tensorflow as tf

    if name == MIRRORED:
        return tf.distribute.MirroredStrategy()
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except RuntimeError as error:
        raise SettingsError(
            f"strategy {name}: TensorFlow has begun to compute in this process already; start a "
            f"process of its own for it."
        ) from error


def scope_of(strategy: tf.distribute.Strategy | None) -> AbstractContextManager[object]:
    """Inside, a network is made, or compiled, for a strategy."""
    return nullcontext() if strategy is None else strategy.scope()


def feed(strategy: tf.distribute.Strategy, batches: Batches) -> tf.distribute.DistributedDataset:
    """Endless shares of batches, epoch after epoch: for `fit` with `len(batches)` steps an epoch.

    Each device takes the share of its number of every batch. Nothing is sharded behind our back:
    what a function of the worker gives is taken as it is.
    """
    import tensorflow as tf

    signature = tuple(
        tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in batches.share(0, 0, 1)
    )

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        total = context.num_replicas_in_sync
        here = total // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def endless() -> Iterator[tuple[np.ndarray, ...]]:
            while True:
                for index in range(len(batches)):
                    for number in range(first, first + here):
                        yield batches.share(index, number, total)
                batches.on_epoch_end()

        return tf.data.Dataset.from_generator(endless, output_signature=signature)

    return strategy.distribute_datasets_from_function(of_worker)


def share_bounds(size: int, number: int, of: int) -> tuple[int, int, float]:
    """Which samples of a batch are a share, first and last + 1, and what each weighs.

    Keras takes the mean over each share and then over all shares; the weight len(share) * of /
    size makes that the mean over the batch, where shares differ by one sample. Of a batch smaller
    than the number of shares, some are its last sample at no weight, since layers cannot take an
    empty one.
    """
    start, stop = size * number // of, size * (number + 1) // of
    if start == stop:
        return size - 1, size, 0.0
    return start, stop, (stop - start) * of / size
