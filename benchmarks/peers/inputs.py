"""What is explained: patches of the embedded scene, and photographs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from common import NETWORKS, NOISE
from turns import Size


def write_inputs(folder: Path, size: Size) -> dict[str, str]:
    """The file of each network; returns where the inputs come from."""
    cao, photographs = cao_inputs(size.samples["cao"]), photograph_inputs(size.samples["vgg16"])
    for name, inputs in (("cao", cao), ("vgg16", photographs[0])):
        rng = np.random.default_rng(0)
        spread = float(np.ptp(inputs, axis=(0, 1, 2)).mean())
        draws = rng.standard_normal((size.copies, *inputs.shape[1:]), dtype=np.float32)
        np.savez(
            folder / f"{name}.npz",
            inputs=inputs,
            classes=np.random.default_rng(1).integers(
                NETWORKS[name].classes, size=len(inputs), dtype=np.int32
            ),
            draws=(draws * np.float32(NOISE * spread)).astype(np.float32),
            spread=spread,
            walked=size.walked[name],
        )
    return {"cao": "patches of the embedded scene", "vgg16": photographs[1]}


def cao_inputs(n: int) -> np.ndarray:
    """(n, 5, 5, 200) standardised patches of the embedded scene."""
    from hsi.bands import apply, fit
    from hsi.patches import Patches
    from hsi.split import make_split
    from hsi.synthetic import synthetic_scene

    scene = synthetic_scene(seed=0)
    split = make_split(scene, method="random", patch_size=5)
    patches = Patches(apply(fit(scene.cube, split.train), scene.cube), 5)
    labelled = np.flatnonzero(scene.labels)
    chosen = np.random.default_rng(0).choice(labelled, n, replace=False)
    return np.ascontiguousarray(patches.gather(chosen), np.float32)


def photograph_inputs(n: int) -> tuple[np.ndarray, str]:
    """(n, 224, 224, 3) in the range that VGG16 was trained on, and what they are."""
    folder = Path(os.environ.get("HSI_DATASETS", "datasets")) / "imagenette2" / "val"
    by_class = [sorted(c.glob("*.JPEG")) for c in sorted(folder.glob("n*"))]
    files = [files[i] for i in range(n) for files in by_class if i < len(files)][:n]
    if len(files) == n:
        pixels = np.stack([photograph(file) for file in files])
        what = "photographs of Imagenette"
    else:
        pixels = np.random.default_rng(0).uniform(0, 255, (n, 224, 224, 3))
        what = "random images: HSI_DATASETS has no imagenette2/val"
    return (pixels[..., ::-1] - [103.939, 116.779, 123.68]).astype(np.float32), what


def photograph(file: Path) -> np.ndarray:
    """Its middle square as (224, 224, 3)."""
    from PIL import Image

    with Image.open(file) as image:
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((224, 224))
    return np.asarray(square, np.float64)
