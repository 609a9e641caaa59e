"""Were methods of band reduction bad, or was it that they were fitted anew for every use?

    HSI_DATASETS=FOLDER python benchmarks/refitting.py [--seeds 0 1 2] [--methods PCA ica ...]

Some programs fit their reducer again wherever they need components: before training, before
testing, before drawing. Here `cao` is trained once behind each method, and its test pixels are then
prepared

- `once`: by the preparation that it was trained behind, as this project does;
- `another seed`: by one fitted again on the same training pixels, as a stochastic method is without
  a fixed seed;
- `other pixels`: by one fitted again, with the same seed, on the test pixels, as where each use
  fits on the data at hand.

Salinas-A, a tenth of the pixels of each class at random, eight epochs. OA on the test pixels in
percent goes to `benchmarks/results/refitting.{json,md}`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
COMPONENTS, EPOCHS = 20, 8
WAYS = ("once", "another seed", "other pixels")
OTHER_SEED = 1000
"""Added to the seed of a run, for the second fit."""


def measured(method: str, seed: int, dataset: str) -> dict[str, Any]:
    """OA of one network, its test pixels prepared in three ways."""
    from hsi.models import network
    from hsi.parts import Part
    from hsi.samples import open_samples
    from hsi.settings import Settings
    from hsi.train import train

    components = 5 if method == "lda" else COMPONENTS
    settings = Settings(
        "cao", dataset=dataset, split="random", train_fraction=0.1, validation_fraction=0,
        band_selection=method, components=components, seed=seed, epochs=EPOCHS,
    ).check()  # fmt: skip
    samples = open_samples(settings, patch_size=5, say=lambda line: None)
    model = network("cao").build(samples.patches.shape, samples.classes, seed=seed)
    nothing = Part(np.empty(0, int), np.empty(0, int))
    train(model, samples.patches, samples.part("train"), nothing, epochs=EPOCHS, seed=seed)
    found = {"once": oa(model, samples, samples.preparation)}
    for way, mask, its_seed in (
        ("another seed", samples.split.train, seed + OTHER_SEED),
        ("other pixels", samples.split.test, seed),
    ):
        found[way] = oa(model, samples, fitted_again(samples, settings, mask, its_seed))
    return {"method": method, "components": components, "seed": seed, "oa": found}


def fitted_again(samples: Any, settings: Any, mask: np.ndarray, seed: int) -> Any:
    """The same method, on these pixels."""
    from hsi import bands

    return bands.fit(
        samples.scene.cube,
        mask,
        scaling=settings.scaling,
        band_selection=settings.band_selection,
        components=settings.components,
        labels=samples.scene.labels,
        seed=seed,
    )


def oa(model: Any, samples: Any, preparation: Any) -> float:
    """Percent of the test pixels that the network gets right, prepared so."""
    from hsi import bands
    from hsi.patches import Patches
    from hsi.predict import compiled, scores

    patches = Patches(bands.apply(preparation, samples.scene.cube), samples.patches.patch_size)
    test = samples.part("test")
    answers = scores(compiled(model), patches, test.pixels).argmax(axis=1)
    return 100 * float((answers == test.classes).mean())


def lines_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line of the table for each method: mean over seeds, and the least of them."""
    lines = [
        "| method | components | " + " | ".join(WAYS) + " |",
        "|---|---|" + "---|" * len(WAYS),
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        cells = []
        for way in WAYS:
            values = [row["oa"][way] for row in mine]
            cells.append(f"{statistics.mean(values):.1f} ({min(values):.1f})")
        lines.append(f"| `{method}` | {mine[0]['components']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, write after each method, print the table."""
    from hsi.bands import REDUCERS
    from hsi.quiet import start_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="salinas_a")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(REDUCERS), choices=list(REDUCERS))
    arguments = parser.parse_args()
    start_tensorflow()
    import sklearn
    import tensorflow as tf

    facts = {
        "dataset": arguments.dataset, "epochs": EPOCHS, "machine": platform.processor(),
        "scikit-learn": sklearn.__version__, "tensorflow": tf.__version__,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for method in arguments.methods:
        start = time.perf_counter()
        for seed in arguments.seeds:
            rows.append(measured(method, seed, arguments.dataset))
        print(f"{lines_of(rows)[-1]}  {time.perf_counter() - start:.0f} s", flush=True)
        whole = json.dumps({**facts, "rows": rows}, indent=1) + "\n"
        (RESULTS / "refitting.json").write_text(whole, encoding="utf-8")
    text = "\n".join(lines_of(rows)) + "\n"
    said = "OA on test pixels, %: mean over seeds, in brackets the least.\n\n"
    (RESULTS / "refitting.md").write_text(said + text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
