"""A Dask cluster: processes on this machine, or one that is there already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsi.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

WAIT = 60
"""Seconds that a cluster has for its first worker."""


@contextmanager
def client_of(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of so many processes here, or of the cluster at an address instead.

    Raises:
        SettingsError: Dask is not installed, no cluster answers at that address, or it has no
            workers.
    """
    try:
        from distributed import Client, LocalCluster
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise SettingsError(
            "--workers and --scheduler need Dask: pip install 'hsi[cluster]'."
        ) from error
    if scheduler is not None:
        # Of a lost scheduler Dask logs tracebacks; who asked for the client hears of it anyway.
        with (
            silence_logging_cmgr(logging.CRITICAL, root="distributed.client"),
            _connected(scheduler) as client,
        ):
            yield client
        return
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
    with cluster, Client(cluster) as client:
        yield client


def _connected(scheduler: str) -> Client:
    """A client of a cluster that has a worker (`SettingsError`): tasks would wait for one."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"scheduler: no Dask cluster answers at {scheduler}: {error}."
        ) from error
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except OSError as error:  # a TimeoutError is one
        client.close()
        raise SettingsError(
            f"scheduler: the Dask cluster at {scheduler} has no workers after {WAIT} seconds; "
            f"start one: dask worker {scheduler}."
        ) from error
    return client


def losses() -> tuple[type[BaseException], ...]:
    """What Dask raises of a task whose cluster has gone away."""
    from distributed import CancelledError
    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    return CancelledError, ClosedClientError, CommClosedError
