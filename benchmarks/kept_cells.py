"""Finished cells of evaluations in one small file, from which another machine can go on.

Kept of a cell are its record, the division of the pixels and the answers at the test pixels. Arrays
stand in the file uncompressed: networks of one division share most of their bytes, which one
compression over all finds.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

RECORD, SPLIT, ANSWERS = "run.json", "split.npz", "predictions.npz"


def pack(evaluations: Mapping[str, Path], archive: Path) -> int:
    """Write the finished cells of evaluations (name -> folder); how many there are."""
    from hsi.files import atomic_path

    count = 0
    with atomic_path(archive) as temporary, tarfile.open(temporary, "w:xz") as file:
        for name, folder in evaluations.items():
            for cell in sorted(path.parent for path in folder.glob(f"cells/*/{ANSWERS}")):
                count += 1
                for kept in (SPLIT, ANSWERS, RECORD):
                    data = (cell / kept).read_bytes()
                    entry = tarfile.TarInfo(f"{name}/{cell.name}/{kept}")
                    data = data if kept == RECORD else _expanded(data)
                    entry.size = len(data)
                    file.addfile(entry, io.BytesIO(data))
    return count


def unpack(archive: Path, evaluations: Mapping[str, Path]) -> int:
    """Bring back cells that are not there yet; how many."""
    return sum(_bring(*entry, evaluations) for entry in _entries(archive))


def _bring(name: str, cell: str, kept: str, data: bytes, evaluations: Mapping[str, Path]) -> bool:
    """One file of a cell; whether that completes it. The record, which comes last, says so."""
    folder = evaluations[name] / "cells" / cell
    if (folder / RECORD).is_file():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / kept).write_bytes(data if kept == RECORD else _compressed(data))
    return kept == RECORD


def _entries(archive: Path) -> Iterator[tuple[str, str, str, bytes]]:
    with tarfile.open(archive, "r:xz") as file:
        for entry in file:
            found = file.extractfile(entry)
            name, cell, kept = entry.name.split("/")
            if found is None or ".." in (name, cell) or kept not in (RECORD, SPLIT, ANSWERS):
                raise ValueError(f"{archive}: {entry.name} is no file of a cell")
            yield name, cell, kept, found.read()


def _expanded(data: bytes) -> bytes:
    return _saved(np.savez, data)


def _compressed(data: bytes) -> bytes:
    """As it was: NumPy's files of the same arrays are the same, so the record's hash holds."""
    return _saved(np.savez_compressed, data)


def _saved(save: object, data: bytes) -> bytes:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    file = io.BytesIO()
    save(file, **arrays)  # type: ignore[operator]
    return file.getvalue()
