"""The classes of one tile, by this process or by a worker that has opened the scene itself."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hsi.classify.made_for import MadeFor, chosen_bands, made_for
from hsi.classify.scenes import open_mapped
from hsi.classify.tiles import Input, read_tile
from hsi.deploy.variant import Variant, load_variant
from hsi.errors import DataError, ModelError
from hsi.patches import Strip
from hsi.predict import Way, scene_scores, way_of
from hsi.quiet import start_tensorflow
from hsi.readers.raster import Raster

ONE_AT_A_TIME = threading.Lock()
"""Held while a tile is worked on. The threads of a Dask worker share one network, and a `.tflite`
interpreter gives wrong scores to two at once; a tile each would be more than `--memory`, too."""


@dataclass(frozen=True)
class TileWork:
    """What a worker needs to know; plain values.

    Attributes:
        scene: as `open_mapped` takes it.
        model: path of the model file.
        batch_size: patches at once, where they have to be cut.
        threads: of a `.tflite` interpreter.
        scores: whether the scores are kept.
        trust: run the code that a model file holds.
        stamp: changes when a file does, so that a process opens it again.
    """

    scene: str
    model: str
    batch_size: int
    threads: int
    scores: bool
    trust: bool
    stamp: str


@dataclass(frozen=True, eq=False)
class TileAnswer:
    """What became of a tile.

    Attributes:
        labels: (rows, cols) published numbers; 0 without data.
        scores: (rows, cols, classes) float32, or None where they are not kept.
        checksum: of the raw pixels with their margin.
        way: how they went through the network, in words.
    """

    labels: np.ndarray
    scores: np.ndarray | None
    checksum: int
    way: str


@dataclass(frozen=True, eq=False)
class _Opened:
    raster: Raster
    model: MadeFor
    variant: Variant
    way: Way
    input: Input
    sizes: list[int]


def classify_tile(work: TileWork, tile: Strip, dtype: str) -> TileAnswer:
    """Read a tile, prepare it and classify every pixel of it; other threads wait meanwhile.

    Raises:
        UserError: the scene or the model cannot be read or do not fit each other.
    """
    with ONE_AT_A_TIME:
        return _classified(work, tile, dtype)


def _classified(work: TileWork, tile: Strip, dtype: str) -> TileAnswer:
    opened = _opened(work)
    _check_sizes(opened.raster, opened.sizes)
    raw = read_tile(opened.raster, tile, opened.model.patch_size)
    checksum = zlib.crc32(raw.data)
    patches, valid = opened.input.patches(raw, tile)
    del raw
    numbers = np.asarray(opened.model.classes, dtype)
    labels = np.zeros((tile.rows, tile.cols), dtype)
    count = opened.variant.classes
    kept = np.empty((tile.rows, tile.cols, count), np.float32) if work.scores else None
    said: list[str] = []
    strips = scene_scores(
        opened.variant, patches, way=opened.way, batch_size=work.batch_size, say=said.append
    )
    for strip, scores in strips:
        labels[strip.place] = numbers[scores.argmax(axis=-1)]
        if kept is not None:
            kept[strip.place] = scores
    labels[~valid] = 0
    return TileAnswer(labels, kept, checksum, said[0] if said else "")


def checksum_of(tile: Strip, model: MadeFor, raster: Raster) -> int:
    """Of the raw pixels that a tile is made of."""
    return zlib.crc32(read_tile(raster, tile, model.patch_size).data)


def forget() -> None:
    """Let the scene and the network of this process go."""
    _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(work: TileWork) -> _Opened:
    """The scene and the network, opened once in a process."""
    raster = open_mapped(work.scene, say=lambda line: None).raster
    model = made_for(work.model, trust=work.trust)
    if model.needs_tensorflow:
        start_tensorflow()
    variant = load_variant(model.path, trust=work.trust, threads=work.threads)
    check_variant(variant, model)
    given = Input(
        (raster.rows, raster.cols),
        chosen_bands(model, raster),
        model.preparation,
        model.patch_size,
        model.fill,
        raster.no_data,
    )
    way = way_of(variant, model.patch_size)
    return _Opened(raster, model, variant, way, given, sizes_of(raster))


def sizes_of(raster: Raster) -> list[int]:
    """Bytes of each of its files."""
    return [path.stat().st_size for path in raster.files]


def _check_sizes(raster: Raster, sizes: list[int]) -> None:
    """Refuse a file that was cut since it was opened: a memory map would end the process."""
    for path, before, now in zip(raster.files, sizes, sizes_of(raster), strict=True):
        if now < before:
            raise DataError(
                f"{path}: has {now} bytes, it had {before} when it was opened; give the whole "
                "file back, finished tiles are kept."
            )


def check_variant(variant: Variant, model: MadeFor) -> None:
    """Refuse a file that takes other patches or tells other classes apart than its run says."""
    wanted = (model.patch_size, model.patch_size, model.channels)
    shape = variant.input_shape
    fits = len(shape) == 3 and all(s in (None, w) for s, w in zip(shape, wanted, strict=True))
    if not fits or variant.classes != len(model.classes):
        raise ModelError(
            f"{model.path}: takes samples of {shape} and tells {variant.classes} classes apart; "
            f"its run says {wanted} and {len(model.classes)}."
        )
