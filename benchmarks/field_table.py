"""All networks of the field and the baselines on two real scenes and two splits, as one table.

    HSI_DATASETS=FOLDER python benchmarks/field_table.py [--epochs 12] [--seeds 3] [--minutes 20]

Salinas-A and the Indian Pines chip (rows 30 to 99, columns 25 to 94; four classes), pixels at
random and blocks with a gap. First a training step and the answer to some patches of every network
are timed; the cheapest come first, and one whose single cell would take longer than `--longest`
seconds is left out, which the table says. Then `hsi.evaluate` does the rest, scene after scene; the
same command again goes on where it was stopped. The table goes to
`benchmarks/results/field_table.{md,csv}`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kept_cells import pack, unpack

RESULTS = Path(__file__).parent / "results"
KEPT = RESULTS / "field_table_cells.tar.xz"
CHIP = "indian_pines_chip/Indian_subset.mat"
OTHERS = ("cao", "cao_pooled", "vgg", "compact", "simplenet_small")
SPLITS = ("random", "blocks")
SHARED = ("epochs", "batch_size", "block_size")
FEW, LONG = 4, 10.0
"""Patches that a network is timed on where a whole batch would take more than so many seconds."""


def scenes() -> dict[str, dict[str, str]]:
    """Name -> the settings that name its data."""
    from hsi import catalog
    from hsi.errors import DataError

    for folder in catalog.folders():
        chip = folder / CHIP
        if chip.is_file():
            return {
                "salinas_a": {"dataset": "salinas_a"},
                "indian_pines_chip": {
                    "dataset": f"{chip}:Indian_subset",
                    "labels": f"{chip}:Indian_subset_gt",
                    "like": "indian_pines",
                },
            }
    raise DataError(f"{CHIP}: not in the data folders; set HSI_DATASETS.")


def cell_seconds(name: str, data: Mapping[str, str], given: Any) -> float:
    """Processor seconds that one cell would take: training, testing and the map, estimated."""
    import tf_keras as keras

    from hsi.models import network
    from hsi.predict import compiled
    from hsi.samples import open_samples
    from hsi.settings import Settings

    chosen = network(name)
    settings = Settings(name, split="random", train_fraction=given.train_fraction, **data)
    samples = open_samples(settings, patch_size=chosen.patch_size, say=lambda line: None)
    part, test = samples.part("train"), samples.part("test").pixels
    model = chosen.build(samples.patches.shape, samples.classes, seed=0)
    model.compile(chosen.optimizer.make(chosen.learning_rate), "sparse_categorical_crossentropy")
    forward = compiled(model)

    def learn(count: int) -> object:
        inputs = samples.patches.gather(part.pixels[:count])
        return model.train_on_batch(inputs, part.classes[:count])

    def answer(count: int) -> object:
        return forward(samples.patches.gather(test[:count]))

    start = time.process_time()
    learn(FEW), answer(FEW)
    traced = time.process_time() - start
    learnt, answered = per_patch(learn, given.batch_size), per_patch(answer, 256)
    keras.backend.clear_session()
    answers = len(test) + samples.scene.rows * samples.scene.cols
    training, testing = given.epochs * len(part.pixels) * learnt, answers * answered
    print(f"{name:16} {traced:6.1f} s + {training:7.1f} s + {testing:7.1f} s", flush=True)
    return traced + training + testing


def per_patch(work: Callable[[int], object], batch: int) -> float:
    """Processor seconds of a patch in a batch; where that would take long, in a few patches."""
    for count in (FEW, batch):
        work(count)  # traced, for another size once more
        start = time.process_time()
        work(count)
        took = (time.process_time() - start) / count
        if took * batch > LONG:
            break
    return took


def costs(
    folder: Path, names: Sequence[str], data: Mapping[str, str], given: Any
) -> dict[str, float]:
    """Seconds of a cell of each network, timed once and kept: a resumed table is the same table."""
    from hsi.files import write_json

    path = folder / "costs.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in names:
        if name not in known:
            known[name] = cell_seconds(name, data, given)
            write_json(path, known)
    return known


def evaluate_scene(scene: str, data: dict[str, str], given: Any) -> Path:
    """Run what is not finished on a scene; its folder."""
    from hsi.evaluate import run_evaluation
    from hsi.evaluate.protocol import protocol_of
    from hsi.models import BASELINES, FIELD

    folder = given.output / scene
    folder.mkdir(parents=True, exist_ok=True)
    seconds = costs(folder, [*FIELD, *OTHERS], data, given)
    left_out = {
        name: f"a cell would take about {took:.0f} s of one core, over {given.longest:g} s"
        for name, took in seconds.items()
        if took > given.longest
    }
    ordered = sorted(seconds, key=lambda name: seconds[name])
    protocol = protocol_of(
        [*BASELINES, *ordered],
        splits=SPLITS,
        seeds=given.seeds,
        train_fraction=given.train_fraction,
        shared={**data, **{name: getattr(given, name) for name in SHARED}},
    )
    total = 6 * sum(took for name, took in seconds.items() if name not in left_out)
    print(f"{scene}: about {total / 60:.0f} minutes; left out: {left_out}", flush=True)
    run_evaluation(
        protocol,
        folder / "evaluation",
        resume=True,
        minutes=given.minutes,
        drop_models=True,
        left_out=left_out,
        say=lambda line: print(f"{scene} {line}", flush=True),
    )
    return folder / "evaluation"


def joined(folders: Mapping[str, Path]) -> None:
    """One table of all scenes, a row a network; and below it what each table says of itself."""
    from hsi.evaluate.files import LINE_COLUMNS
    from hsi.evaluate.writers import markdown_escaped
    from hsi.results import write_rows

    found = {
        scene: json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        for scene, folder in folders.items()
    }
    rows = [{"scene": scene, **line} for scene, whole in found.items() for line in whole["lines"]]
    RESULTS.mkdir(exist_ok=True)
    write_rows(RESULTS / "field_table.csv", rows, ("scene", *LINE_COLUMNS))
    places = [(scene, split) for scene in found for split in SPLITS]
    heads = ["network", "patch"]
    heads += [
        f"{scene}, {split}: {what}" for scene, split in places for what in ("OA %", "leakage %")
    ]
    heads += [
        f"{scene}: {what}" for scene in found for what in ("parameters", "training s", "map s")
    ]
    lines = [
        "# Networks of the field on two scenes",
        "",
        "Mean overall accuracy ± standard deviation over seeds; bold: the best of a column; n/a: "
        "not run, for the reason below. The few epochs favour networks that learn fast, so this is "
        "no ranking of what they can reach; times are of a machine that did other work beside. "
        "More columns and the protocol of each scene are below.",
        "",
        f"| {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (len(heads) - 1)}",
        *(f"| {' | '.join(row)} |" for row in _rows(found, places)),
    ]
    for scene, folder in folders.items():
        lines += ["", f"## {markdown_escaped(scene)}", ""]
        lines.append((folder / "table.md").read_text(encoding="utf-8").rstrip())
    (RESULTS / "field_table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Written: {RESULTS / 'field_table.md'}, {RESULTS / 'field_table.csv'}")


def _rows(
    found: Mapping[str, Mapping[str, Any]], places: Sequence[tuple[str, str]]
) -> list[list[str]]:
    """A row a network in the order of the first scene."""
    from hsi.evaluate.paper import NOTHING, amount_text, seconds_text

    known = {
        (scene, line["split"], line["network"]): line
        for scene, whole in found.items()
        for line in whole["lines"]
    }
    best = {
        place: max(line["oa"] for key, line in known.items() if key[:2] == place)
        for place in places
    }
    rows = []
    for name in dict.fromkeys(n for whole in found.values() for n in whole["protocol"]["networks"]):
        mine = [known.get((*place, name)) for place in places]
        first = next((line for line in mine if line), None)
        row = [f"`{name}`", str(first["patch_size"]) if first else NOTHING]
        for place, line in zip(places, mine, strict=True):
            row += _accuracy(line, best[place]) if line else [NOTHING, NOTHING]
        for scene in found:
            lines = [known[key] for key in known if key[0] == scene and key[2] == name]
            values = {
                column: float(np.mean([x[column] for x in lines if x[column] is not None]))
                if any(x[column] is not None for x in lines)
                else None
                for column in ("parameters", "training_seconds", "map_seconds")
            }
            row.append(amount_text(values["parameters"]))
            row += [seconds_text(values[name]) for name in ("training_seconds", "map_seconds")]
        rows.append(row)
    return rows


def _accuracy(line: Mapping[str, Any], best: float) -> list[str]:
    mean = f"{line['oa']:.2f}"
    mean = f"**{mean}**" if line["oa"] == best else mean
    spread = "n/a" if line["oa_sd"] is None else f"{line['oa_sd']:.2f}"
    seeds = "" if line["runs"] > 1 else " (1 seed)"
    return [f"{mean} ± {spread}{seeds}", f"{line['leakage']:.1f}"]


def main() -> None:
    """Time, evaluate, write the table."""
    from hsi.errors import DataError
    from hsi.quiet import start_tensorflow
    from hsi.runs import OUTPUTS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=16, help="of every network")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train_fraction", type=float, default=0.05)
    parser.add_argument("--block_size", type=int, default=6)
    parser.add_argument("--longest", type=float, default=40, help="processor seconds of a cell")
    parser.add_argument("--minutes", type=float, help="of a scene, after which no cell is begun")
    parser.add_argument("--output", type=Path, default=OUTPUTS / "evaluations" / "field_table")
    parser.add_argument("--kept", action="store_true", help="go on from the cells in results/")
    parser.add_argument("--only_costs", action="store_true", help="time the networks and stop")
    given = parser.parse_args()
    start_tensorflow()
    if given.only_costs:
        for scene, data in scenes().items():
            (given.output / scene).mkdir(parents=True, exist_ok=True)
            print(scene, costs(given.output / scene, _every(), data, given))
        return
    places = {scene: given.output / scene / "evaluation" for scene in scenes()}
    if given.kept:
        print(f"{unpack(KEPT, places)} cells from {KEPT}", flush=True)
    folders = {}
    for scene, data in scenes().items():
        try:
            folders[scene] = evaluate_scene(scene, data, given)
        except DataError as error:  # nothing finished yet, where --minutes ended it
            print(f"{scene}: {error}", flush=True)
    joined(folders)
    print(f"{pack(folders, KEPT)} cells in {KEPT}")


def _every() -> list[str]:
    from hsi.models import FIELD

    return [*FIELD, *OTHERS]


if __name__ == "__main__":
    main()
