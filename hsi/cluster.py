"""A Dask cluster: processes on this machine, or one that is there already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsi.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def client_of(workers: int, scheduler: str | None) -> Iterator[Client]:
    """A client of so many processes here, or of the cluster at an address instead.

    Raises:
        SettingsError: Dask is not installed, or no cluster answers at that address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SettingsError(
            "--workers and --scheduler need Dask: pip install 'hsi[cluster]'."
        ) from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"scheduler: no Dask cluster answers at {scheduler}: {error}."
            ) from error
        with client:
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
