"""A scene larger than the memory, mapped: peak memory, pixels a second, killed once and resumed.

    python benchmarks/large_scene.py --gigabytes 20 [--workers 1 2] [--memory 2G]

An ENVI file of int16, band-sequential, is made sparse on the disk: zeros but for some blocks with
spectra, so that it takes a small share of its size. A `cao` with few channels (`--filters`, random
weights) maps it in a process of its own (`python -m hsi classify`). Its memory and that of its
workers is read from `/proc` ten times a second (so on Linux only): `peak_gb` is the largest
resident set of one process, `together_gb` the largest sum of all of them at one moment, shared
pages counted once. One more run is killed with SIGKILL when some tiles are finished and started
again: its map must be the same, bit by bit.
Written to `benchmarks/results/large_scene.json`; the scene and the maps are removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "large_scene.json"
BANDS = 200
BLOCK = 64
"""Side of the blocks with spectra, in pixels; a twentieth of the scene's blocks holds some."""


def make_scene(folder: Path, gigabytes: float) -> tuple[Path, int, int]:
    """The header, rows and columns of a sparse scene; about square."""
    pixels = int(gigabytes * 2**30 / (2 * BANDS))
    cols = int(pixels**0.5) // BLOCK * BLOCK
    rows = pixels // cols
    rng = np.random.default_rng(0)
    path = folder / "large.img"
    with path.open("wb") as file:
        file.truncate(rows * cols * BANDS * 2)
        for top in range(0, rows - BLOCK, 20 * BLOCK):
            for band in range(BANDS):
                values = rng.integers(200, 4000, (BLOCK, cols), dtype=np.int16)
                file.seek(2 * (band * rows * cols + top * cols))
                file.write(values.tobytes())
    waves = ", ".join(f"{wave:.1f}" for wave in np.linspace(400, 2500, BANDS))
    header = folder / "large.hdr"
    header.write_text(
        f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = {BANDS}\ndata type = 2\n"
        f"interleave = bsq\nbyte order = 0\nheader offset = 0\nwavelength units = nm\n"
        f"wavelength = {{{waves}}}\n",
        encoding="utf-8",
    )
    return header, rows, cols


def make_model(folder: Path, filters: int) -> Path:
    """A run with a small untrained `cao`: its preparation is fitted on random spectra."""
    import tf_keras as keras
    from tf_keras import layers

    from hsi.models.files import save_model
    from hsi.pipeline.job import TRAINED, open_job
    from hsi.settings import Settings

    rng = np.random.default_rng(1)
    np.savez(
        folder / "small.npz",
        cube=rng.integers(0, 4000, (40, 40, BANDS)).astype(np.int16),
        wavelength=np.linspace(400, 2500, BANDS),
        labels=rng.integers(0, 10, (40, 40)).astype(np.uint8),
    )
    settings = Settings(
        model="cao", dataset=f"{folder / 'small.npz'}:cube", split="random", train_fraction=0.5,
        labels=f"{folder / 'small.npz'}:labels", output=str(folder / "run"), drop_bands=("none",),
    ).check()  # fmt: skip
    job = open_job(settings, say=lambda line: None)
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((5, 5, BANDS)),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(job.classes, activation="softmax"),
        ]
    )
    save_model(network, job.run.path(TRAINED))
    return job.run.path(TRAINED)


def started(scene: Path, model: Path, output: Path, memory: str, workers: int) -> Any:
    command = [sys.executable, "-m", "hsi", "classify", str(scene), "--model", str(model)]
    command += ["-o", str(output), "--memory", memory, "--workers", str(workers)]
    return subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)


def finished(output: Path) -> int:
    """How many tiles the journal of a map says are finished."""
    journal = output.with_name(f".{output.name}.journal")
    return max(0, len(journal.read_text().splitlines()) - 1) if journal.is_file() else 0


class MemoryOfTree(threading.Thread):
    """Watches the memory of a process and of all that descend from it, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.largest = 0
        """Bytes: the largest resident set that one of the processes ever had."""
        self.together = 0
        """Bytes: the largest sum at one moment; a page shared by two counts half for each."""

    def run(self) -> None:
        while found := [memory for pid in _tree(self.pid) if (memory := _memory(pid))]:
            self.largest = max(self.largest, *(resident for resident, _ in found))
            self.together = max(self.together, sum(share for _, share in found))
            time.sleep(0.1)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # It ended while we looked.
            continue
    return found


def _memory(pid: int) -> tuple[int, int] | None:
    """The highest resident set so far and the proportional share now; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        shares = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    resident = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    share = re.search(r"^Pss:\s+(\d+) kB", shares, re.MULTILINE)
    return (int(resident[1]) * 1024, int(share[1]) * 1024) if resident and share else None


def measured(scene: Path, model: Path, output: Path, memory: str, workers: int) -> dict[str, Any]:
    """One whole run: seconds, and the peaks of memory of its processes."""
    start = time.perf_counter()
    process = started(scene, model, output, memory, workers)
    watch = MemoryOfTree(process.pid)
    watch.start()
    said = process.communicate()[0]
    seconds = time.perf_counter() - start
    watch.join()
    if process.returncode:
        raise SystemExit(said)
    return {
        "seconds": seconds, "peak_bytes": watch.largest, "together_bytes": watch.together,
        "said": said.splitlines(),
    }  # fmt: skip


def killed_and_resumed(
    scene: Path, model: Path, output: Path, memory: str, tiles: int
) -> dict[str, Any]:
    """A run that is killed when so many tiles are finished, and the one that goes on."""
    process = started(scene, model, output, memory, 1)
    while process.poll() is None and finished(output) < tiles:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = finished(output)
    again = measured(scene, model, output, memory, 1)
    return {"finished_when_killed": kept, **again}


def main() -> None:
    """Measure, print, write the JSON."""
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--no_kill", action="store_true", help="leave out the killed run")
    parser.add_argument("--folder", type=Path, help="for the scene; on a disk with sparse files")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="large_scene", dir=asked.folder))
    try:
        model = make_model(folder, asked.filters)
        scene, rows, cols = make_scene(folder, asked.gigabytes)
        stat = scene.with_suffix(".img").stat()
        result: dict[str, Any] = {
            "machine": machine(), "versions": versions(), "rows": rows, "cols": cols,
            "bands": BANDS, "bytes": stat.st_size, "bytes_on_disk": stat.st_blocks * 512,
            "filters": asked.filters, "memory": asked.memory, "runs": {}, "figures": {},
        }  # fmt: skip
        print(f"{rows} x {cols} x {BANDS}: {stat.st_size / 2**30:.1f} GB, on the disk "
              f"{stat.st_blocks * 512 / 2**30:.2f} GB", flush=True)  # fmt: skip
        digests = {}
        for workers in asked.workers:
            output = folder / f"map_{workers}.tif"
            run = measured(scene, model, output, asked.memory, workers)
            result["runs"][f"workers_{workers}"] = run
            digests[f"workers_{workers}"] = hashlib.sha256(output.read_bytes()).hexdigest()
            _figures(result["figures"], f"workers_{workers}", run, rows * cols)
        if not asked.no_kill:
            output = folder / "map_killed.tif"
            run = killed_and_resumed(scene, model, output, asked.memory, tiles=3)
            result["runs"]["killed"] = run
            digests["killed"] = hashlib.sha256(output.read_bytes()).hexdigest()
            _figures(result["figures"], "resumed", run, None)
            result["figures"]["tiles_kept"] = run["finished_when_killed"]
        result["same_file"] = {name: digest == digests[f"workers_{asked.workers[0]}"]
                               for name, digest in digests.items()}  # fmt: skip
        print("same file:", result["same_file"])
        asked.output.parent.mkdir(exist_ok=True)
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"Written: {asked.output}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _figures(figures: dict[str, float], name: str, run: dict[str, Any], pixels: int | None) -> None:
    found = {
        "seconds": run["seconds"],
        "peak_gb": run["peak_bytes"] / 2**30,
        "together_gb": run["together_bytes"] / 2**30,
    }
    if pixels:
        found["pixels_per_second"] = pixels / run["seconds"]
    for what, value in found.items():
        figures[f"{name}_{what}"] = value
        print(f"{name:12}{what:20}{value:14,.2f}", flush=True)


if __name__ == "__main__":
    main()
