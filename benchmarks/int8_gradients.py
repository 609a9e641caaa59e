"""What quantization does to what a network looks at: maps of a `.tflite` against its Keras model.

    python benchmarks/int8_gradients.py [--samples 64] [--epochs 8]

Every network is trained for a few epochs, on Salinas-A where `HSI_DATASETS` names a folder that
holds it, else on the embedded scene, and quantized in every mode. The same test samples, classes
and noise are explained on both; the rank correlations of their maps, every one of them, go to
`benchmarks/results/int8_gradients.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "int8_gradients.json"
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "smoothgrad": {"samples": 25},
    "integrated_gradient": {},
}
MEASURES = ("spearman", "spearman_magnitude")


def dataset() -> str:
    """Salinas-A where the user has it, else the embedded scene."""
    from hsi.catalog import CATALOG, SYNTHETIC, on_disk

    held = bool(os.environ.get("HSI_DATASETS")) and all(on_disk(CATALOG["salinas_a"]).values())
    return "salinas_a" if held else SYNTHETIC


def trained(name: str, *, data: str, epochs: int, seed: int) -> tuple[Any, Any]:
    """A network after a few epochs, and its samples; the split is blocks with a gap."""
    from hsi.models import network
    from hsi.samples import open_samples
    from hsi.settings import Settings
    from hsi.train import train

    chosen = network(name)
    settings = Settings(name, dataset=data, train_fraction=0.3, seed=seed).check()
    samples = open_samples(settings, patch_size=chosen.patch_size, say=lambda line: None)
    model = chosen.build(samples.patches.shape, len(samples.scene.classes), seed=seed)
    train(
        model,
        samples.patches,
        samples.part("train"),
        samples.part("validation"),
        epochs=epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        seed=seed,
    )
    return model, samples


def score_of_file(data: bytes) -> Any:
    """The differentiable score of a `.tflite` file in memory."""
    from hsi.deploy.lite.layers import lite_score

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        return lite_score(path)


def summary(values: np.ndarray) -> dict[str, Any]:
    """Median and range of what is known, how many maps were dead or constant, every value."""
    known = values[np.isfinite(values)]
    return {
        "median": float(np.median(known)) if len(known) else None,
        "lowest": float(known.min()) if len(known) else None,
        "highest": float(known.max()) if len(known) else None,
        "unknown": int(len(values) - len(known)),
        "values": [round(float(v), 5) if np.isfinite(v) else None for v in values],
    }


def measure(name: str, *, data: str, count: int, epochs: int, seed: int) -> dict[str, Any]:
    """Every mode of one network: agreement of its answers, similarity of its maps."""
    from hsi.compare.attributions import similarity
    from hsi.compress.quantize import quantize
    from hsi.explain import attribute
    from hsi.explain.score import chosen_classes, score_of
    from hsi.settings import QUANTIZATIONS

    model, samples = trained(name, data=data, epochs=epochs, seed=seed)
    test = samples.part("test")
    some = np.random.default_rng(seed).permutation(len(test.pixels))[:count]
    inputs = samples.patches.gather(test.pixels[some])
    classes, scores = chosen_classes(score_of(model), inputs, None, batch_size=64)

    def maps(of: Any, method: str) -> np.ndarray:
        return attribute(method, of, inputs, classes=classes, seed=seed, **METHODS[method]).maps

    wanted = {method: maps(model, method) for method in METHODS}
    modes: dict[str, Any] = {}
    for mode in QUANTIZATIONS:
        file = quantize(model, mode, calibration=samples.calibration(seed=seed))
        score = score_of_file(file)
        answers, _ = chosen_classes(score, inputs, None, batch_size=64)
        _, logits = chosen_classes(score, inputs, classes, batch_size=64)
        found = {m: similarity(wanted[m], maps(score, m), measures=MEASURES) for m in METHODS}
        modes[mode] = {
            "bytes": len(file),
            "same_class": float((answers == classes).mean()),
            "logit_error": float(np.abs(logits - scores).max() / np.abs(scores).max()),
            "methods": {
                method: {measure: summary(values) for measure, values in by.items()}
                for method, by in found.items()
            },
        }
        _print_rows(name, mode, modes[mode])
    return {
        "samples": len(inputs),
        "accuracy": float((classes == test.classes[some]).mean()),
        "patch": list(inputs.shape[1:]),
        "modes": modes,
    }


def _print_rows(name: str, mode: str, row: dict[str, Any]) -> None:
    for method, measures in row["methods"].items():
        found = measures["spearman"]
        cells = [found[key] for key in ("median", "lowest", "highest")]
        numbers = " ".join("    -  " if cell is None else f"{cell:7.3f}" for cell in cells)
        same = 100 * row["same_class"]
        print(f"{name:12} {mode:8} {method:20} {numbers} {found['unknown']:5d} {same:7.1f}")


def main() -> None:
    """Measure, print the table, write the JSON."""
    from hsi.models import NETWORKS
    from hsi.quiet import start_tensorflow
    from hsi.runs import machine, versions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--networks", nargs="+", choices=tuple(NETWORKS), default=("cao", "cao_pooled", "vgg")
    )
    given = parser.parse_args()
    start_tensorflow()
    data = dataset()
    print(f"Rank correlation of signed maps, {given.samples} test samples of {data}.")
    print(f"{'network':12} {'mode':8} {'method':20}  median  lowest highest  dead same class, %")
    found = {
        name: measure(name, data=data, count=given.samples, epochs=given.epochs, seed=given.seed)
        for name in given.networks
    }
    result = {
        "machine": machine(),
        "versions": versions(),
        "dataset": data,
        "epochs": given.epochs,
        "seed": given.seed,
        "options": METHODS,
        "networks": found,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {RESULTS}")


if __name__ == "__main__":
    main()
