"""Every network of the field through everything: what works, and why what does not.

    python benchmarks/field_networks.py [--networks hu lee ...] [--bands 48] [--epochs 1]

Each network is trained for an epoch on a few pixels of the embedded scene with few bands, 40 % of
its channels are pruned (removed, and masked: both must answer the same), half of its weights are
zeroed, it is quantized (int8 and dynamic range, with what stays in float), and the Keras model
and the int8 file are explained by the gradient and by Grad-CAM. The table and the reasons go to
`benchmarks/results/field_networks.{md,csv,json}`.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
SIDES = {"sharma": 57}
"""Patches smaller than the network's own, where that would take minutes."""
SAMPLES = 16
"""Test samples that are compared and explained."""
CELLS = (
    "train", "prune", "magnitude", "dynamic", "int8", "gradient", "gradcam", "gradient int8",
    "gradcam int8",
)  # fmt: skip
OK = "ok"


@dataclass
class Case:
    """A network on its samples, and what became of it.

    Attributes:
        files: mode -> bytes of the `.tflite` file.
        cells: name -> what it came to; begins with "ok" where it worked.
    """

    name: str
    model: Any
    samples: Any
    inputs: np.ndarray
    files: dict[str, bytes] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)

    def logits(self, model: Any) -> np.ndarray:
        """(n, classes) of the compared samples, before the softmax."""
        from hsi.explain.logit_view import logit_model

        return logit_model(model)(self.inputs, training=False).numpy()


def prepared(name: str, *, scene: Any, pixels: int, seed: int) -> Case:
    """A new network and few samples of a scene: random split, scaled per band."""
    from hsi import bands
    from hsi.models import network
    from hsi.patches import Patches
    from hsi.samples import Samples
    from hsi.split import Amount, make_split

    chosen = network(name)
    size = SIDES.get(name, chosen.patch_size)
    split = make_split(
        scene, method="random", amount=Amount(0.1, pixels), validation_fraction=0.0,
        patch_size=size, block_size=10, seed=seed,
    )  # fmt: skip
    preparation = bands.fit(scene.cube, split.train, scaling="standard", seed=seed)
    patches = Patches(bands.apply(preparation, scene.cube), size)
    samples = Samples(scene, split, preparation, patches)
    model = chosen.build(patches.shape, samples.classes, seed=seed)
    test = samples.part("test").pixels
    some = np.random.default_rng(seed).permutation(len(test))[:SAMPLES]
    return Case(name, model, samples, patches.gather(test[some]))


def train_cell(case: Case, epochs: int) -> str:
    """An epoch or a few with the network's own optimiser; the loss must stay finite."""
    from tf_keras.losses import SparseCategoricalCrossentropy

    from hsi.models import network

    row, part = network(case.name), case.samples.part("train")
    inputs = case.samples.patches.gather(part.pixels)
    case.model.compile(row.optimizer.make(row.learning_rate), SparseCategoricalCrossentropy())
    losses = case.model.fit(
        inputs, part.classes, batch_size=min(row.batch_size, 32), epochs=epochs, verbose=0
    ).history["loss"]
    if not np.isfinite(losses[-1]):
        return f"loss {losses[-1]}"
    return f"{OK}, loss {losses[-1]:.2f}"


def prune_cell(case: Case) -> str:
    """40 % of the channels of convolutions (of dense layers where there are none), both ways."""
    from hsi.compress.cost import parameters
    from hsi.compress.criteria import criterion, normalised
    from hsi.compress.graph import channel_groups
    from hsi.compress.masking import mask_channels
    from hsi.compress.schedule import choose_channels
    from hsi.compress.surgery import remove_channels

    found = channel_groups(case.model)
    groups = [group for group in found if group.convolutional] or found
    total = sum(group.channels for group in groups)
    if not total:
        return "no channels: no convolution's can go"
    scores = normalised(criterion("l1")(case.model, (), groups).scores)
    removal, _ = choose_channels(scores, groups, int(0.4 * total))
    smaller = remove_channels(case.model, removal)
    masked, removed = (case.logits(m) for m in (mask_channels(case.model, removal), smaller))
    apart = float(np.abs(masked - removed).max() / np.abs(masked).max())
    gone = sum(map(len, removal.values()))
    if apart > 1e-4:
        return f"masked and removed differ by {apart:.1g}"
    shares = parameters(smaller) / parameters(case.model)
    kind = "" if groups[0].convolutional else " of dense layers"
    return f"{OK}, {gone} of {total}{kind}, {1 - shares:.0%} of the parameters"


def magnitude_cell(case: Case) -> str:
    """Half of every kernel's weights zero, and still so after an epoch with them held."""
    import tf_keras as keras

    from hsi.compress.magnitude import prune_magnitude, sparsity_of

    part = case.samples.part("train")
    some = slice(0, 32)

    def tune(model: Any, callbacks: Any) -> None:
        model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
        inputs = case.samples.patches.gather(part.pixels[some])
        model.fit(inputs, part.classes[some], verbose=0, callbacks=list(callbacks))

    kernels = sparsity_of(prune_magnitude(case.model, 0.5, fine_tune=tune)).kernels
    low = min(kernels.values())
    return f"{OK}, {len(kernels)} kernels" if low > 0.45 else f"a kernel has {low:.0%} zeros"


def quantize_cell(case: Case, mode: str) -> str:
    """The file, the share of samples with the same class, and what it computes in float."""
    from hsi.compress.quantize import quantize
    from hsi.deploy.islands import float_summary
    from hsi.deploy.tflite import TFLiteModel

    calibration = case.samples.patches.gather(case.samples.part("train").pixels[:32])
    content = quantize(case.model, mode, calibration=calibration)
    case.files[mode] = content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        found = TFLiteModel(path)(case.inputs)
    wanted = case.model(case.inputs, training=False).numpy()
    apart = float(np.abs(found - wanted).max())
    return f"{OK}, scores within {apart:.2f}; {float_summary(content).split(': ', 1)[1]}"


def explain_cell(case: Case, method: str, mode: str = "") -> str:
    """A finite map that is not all zero; of an int8 file its likeness to the Keras model's."""
    from scipy.stats import spearmanr

    from hsi.deploy.lite.layers import lite_score
    from hsi.explain import attribute

    inputs = case.inputs[:4]
    classes = case.model(inputs, training=False).numpy().argmax(axis=1)
    keras_maps = attribute(method, case.model, inputs, classes=classes)
    if not mode:
        maps = keras_maps.maps
        if not np.isfinite(maps).all() or not np.abs(maps).any():
            return "a map is all zero or not finite"
        notes = [note for note in keras_maps.notes if "no places" in note]
        return f"{OK}{', ' + notes[0] if notes else ''}"
    if mode not in case.files:
        return f"no {mode} file"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(case.files[mode])
        found = attribute(method, lite_score(path), inputs, classes=classes).maps
    pairs = zip(keras_maps.maps, found, strict=True)
    likeness = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]
    known = [value for value in likeness if np.isfinite(value)]
    return f"{OK}, rank correlation {np.median(known):.2f}" if known else f"{OK}, constant maps"


def tried(case: Case, name: str, cell: Callable[[], str]) -> None:
    """Fill a cell; whatever goes wrong is its text."""
    from hsi.errors import UserError

    start = time.perf_counter()
    try:
        case.cells[name] = cell()
    except UserError as error:
        text = str(error)
        short = f"{text[:200]} ..." if len(text) > 200 else text  # some list all that they know
        case.cells[name] = f"refused: {short}"
    except Exception as error:  # a defect somewhere: the table is there to show it
        first = (str(error).strip().splitlines() or [""])[0][:300]
        case.cells[name] = f"FAILED: {type(error).__name__}: {first}"
    took = time.perf_counter() - start
    print(f"{case.name:11} {name:14} {took:6.1f} s  {case.cells[name][:160]}", flush=True)


def run_case(case: Case, epochs: int) -> None:
    """Every cell of a network."""
    tried(case, "train", lambda: train_cell(case, epochs))
    tried(case, "prune", lambda: prune_cell(case))
    tried(case, "magnitude", lambda: magnitude_cell(case))
    for mode in ("dynamic", "int8"):
        tried(case, mode, lambda mode=mode: quantize_cell(case, mode))
    for method in ("gradient", "gradcam"):
        tried(case, method, lambda method=method: explain_cell(case, method))
        tried(case, f"{method} int8", lambda method=method: explain_cell(case, method, "int8"))


def written(rows: dict[str, dict[str, Any]]) -> None:
    """The three files."""
    from hsi.runs import machine, versions

    RESULTS.mkdir(exist_ok=True)
    whole = {"machine": machine(), "versions": versions(), "networks": rows}
    path = RESULTS / "field_networks.json"
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    with (RESULTS / "field_networks.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "patch", "parameters", *CELLS])
        for name, row in rows.items():
            cells = [row["cells"].get(cell, "") for cell in CELLS]
            writer.writerow([name, row["patch"], row["parameters"], *cells])
    lines = [f"| network | {' | '.join(CELLS)} |", "|---" * (len(CELLS) + 1) + "|"]
    reasons = []
    for name, row in rows.items():
        short = []
        for cell in CELLS:
            text = row["cells"].get(cell, "")
            short.append("yes" if text.startswith(OK) else "no")
            if not text.startswith(OK):
                reasons.append(f"- `{name}`, {cell}: {text}")
        lines.append(f"| `{name}` | {' | '.join(short)} |")
    text = "\n".join([*lines, "", *reasons])
    (RESULTS / "field_networks.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def main() -> None:
    """Run every network, write the table as it grows."""
    from hsi.models import FIELD, NETWORKS
    from hsi.quiet import start_tensorflow
    from hsi.synthetic import synthetic_scene

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(FIELD))
    parser.add_argument("--bands", type=int, default=48)
    parser.add_argument("--pixels", type=int, default=6, help="training pixels of each class")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start_tensorflow()
    scene = synthetic_scene(seed=given.seed)
    wanted = np.linspace(1, scene.bands, given.bands).round().astype(int)
    scene = scene.drop_bands(sorted(set(range(1, scene.bands + 1)) - set(wanted.tolist())))
    path = RESULTS / "field_networks.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.is_file() else {}
    for name in given.networks:
        case = prepared(name, scene=scene, pixels=given.pixels, seed=given.seed)
        run_case(case, given.epochs)
        rows[name] = {
            "patch": case.samples.patches.patch_size,
            "bands": given.bands,
            "parameters": case.model.count_params(),
            "cells": case.cells,
        }
        written({name: rows[name] for name in NETWORKS if name in rows})


if __name__ == "__main__":
    main()
