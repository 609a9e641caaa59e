"""The tiles of a map, one after the other here or by the workers of a Dask cluster.

Workers open the scene and the model themselves and send labels back; this process alone writes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from hsi.classify.tile_work import TileAnswer, TileWork, classify_tile, forget
from hsi.cluster import client_of, losses
from hsi.errors import ModelError
from hsi.patches import Strip

if TYPE_CHECKING:
    from distributed import Client

Answers = Iterator[tuple[int, TileAnswer]]
"""Number of a tile and what became of it, in any order."""

AHEAD = 2
"""Tiles a worker has waiting beside the one it works on; answers of more would pile up."""


@contextmanager
def answers(
    work: TileWork,
    tiles: Sequence[tuple[int, Strip]],
    dtype: str,
    *,
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[Answers]:
    """The answers to tiles, by their numbers.

    Args:
        dtype: of the labels.
        workers: processes on this machine; one means this process.
        scheduler: address of an existing Dask cluster that sees the same files, instead.

    Raises:
        SettingsError: Dask is not installed, no cluster answers at that address, or it has no
            workers.
        ModelError: a worker died several times, or the cluster was lost.
    """
    if workers == 1 and scheduler is None:
        try:
            yield ((number, classify_tile(work, tile, dtype)) for number, tile in tiles)
        finally:
            forget()
        return
    with client_of(workers, scheduler) as client, closing(_there(client, work, tiles, dtype)) as it:
        yield it


def _there(
    client: Client, work: TileWork, tiles: Sequence[tuple[int, Strip]], dtype: str
) -> Generator[tuple[int, TileAnswer], None, None]:
    from distributed import KilledWorker, as_completed

    waiting, numbers = iter(tiles), {}
    done = as_completed()

    def send() -> None:
        for number, tile in waiting:
            future = client.submit(classify_tile, work, tile, dtype, pure=False)
            numbers[future] = number
            done.add(future)
            return

    for _ in range((1 + AHEAD) * max(1, len(client.scheduler_info()["workers"]))):
        send()
    for future in done:
        number = numbers.pop(future)
        try:
            answer = future.result()
            send()
        except losses() as error:
            raise ModelError(
                "the Dask cluster was lost; finished tiles are kept, and the same command goes on."
            ) from error
        except KilledWorker as error:
            raise ModelError(
                f"tile {number + 1}: its worker died several times (out of memory?); lower "
                "--memory, finished tiles are kept."
            ) from error
        yield number, answer
