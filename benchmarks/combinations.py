"""Which choices of pruning go together: network, criterion, granularity and scope, carried out.

    python benchmarks/combinations.py [--networks cao vgg ...]

Every network of `hsi.models` at its smallest (images: the 8 x 8 digits, a quarter of the channels
where the network has widths; scenes: the embedded one behind 8 components) with random weights is
planned, masked and really pruned in every combination: half of the channels or of the weights, two
of four, or half of the 4 x 4 blocks. Of channels the masked network must answer as the smaller one
does, of weights the zeros must be those of the plan; else the run fails. What the program refuses
stands in the table in its own words. Written are
`benchmarks/results/combinations.csv` and `.md`; rows of networks that are not named stay.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
GRANULARITIES = ("channel", "weight", "2:4", "4x4")
SHARE = 0.5
BATCH, SAMPLES = 32, 64
LARGEST = 1e-4
"""Most that masked and removed may differ, as a share of the range of the logits."""
COLUMNS = (
    "network", "criterion", "granularity", "scope", "result", "parameters_left", "difference",
    "seconds", "reason",
)  # fmt: skip
"""`parameters_left` in percent, zeros not counted; `difference` of channels as `LARGEST`, of
weights the share of zeros that are not those of the plan."""

Row = dict[str, Any]


@dataclass
class Case:
    """A network with samples for it; scores are computed once a criterion.

    Attributes:
        inputs, classes: (n, rows, cols, channels) training samples and their class indices.
    """

    name: str
    model: Any
    inputs: np.ndarray
    classes: np.ndarray

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self.inputs), BATCH):
            yield self.inputs[start : start + BATCH], self.classes[start : start + BATCH]


def open_case(name: str) -> Case:
    """The smallest form of a network, with random weights and statistics."""
    import tf_keras as keras

    from hsi.models import NETWORKS
    from hsi.samples import open_images, open_samples
    from hsi.settings import Settings

    network = NETWORKS[name]
    if network.image_size:
        samples: Any = open_images(Settings(name, dataset="digits"), size=None, say=_nothing)
    else:
        settings = Settings(name, dataset="synthetic", band_selection="PCA", components=8)
        samples = open_samples(settings, patch_size=network.patch_size, say=_nothing)
    width = {"width": 0.25} if network.has_width else {}
    model = network.build(samples.patches.shape, samples.classes, seed=0, **width)
    draw = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            beta, mean = draw.normal(0, 0.1, (2, *size))
            layer.set_weights(
                [draw.uniform(0.5, 1.5, size), beta, mean, draw.uniform(0.5, 2, size)]
            )
    train = samples.part("train")
    some = draw.permutation(len(train.pixels))[:SAMPLES]
    inputs = samples.patches.gather(train.pixels[some])
    return Case(name, model, inputs, train.classes[some])


def _nothing(line: str) -> None:
    """The samples need no introduction here."""


def combine(case: Case) -> Iterator[Row]:
    """A row for every combination."""
    from hsi.compress.criteria import CRITERIA
    from hsi.compress.schedule import SCOPES
    from hsi.errors import UserError

    for criterion in CRITERIA:
        known: dict[str, Any] = {}
        for granularity in GRANULARITIES:
            for scope in SCOPES:
                row: Row = dict(
                    zip(COLUMNS, (case.name, criterion, granularity, scope), strict=False)
                )
                start = time.perf_counter()
                try:
                    left, difference = carry_out(case, criterion, granularity, scope, known)
                    row |= {"result": "ran", "parameters_left": left, "difference": difference}
                except UserError as refusal:
                    row |= {"result": "refused", "reason": str(refusal)}
                yield row | {"seconds": time.perf_counter() - start}


def carry_out(
    case: Case, criterion: str, granularity: str, scope: str, known: dict[str, Any]
) -> tuple[float, float]:
    """Plan, mask and apply one combination; what is left in percent, and how far off it is.

    Raises:
        UserError: the program refuses it.
    """
    from hsi.pipeline.choices import check_compression
    from hsi.settings import Settings

    chosen = {"criterion": criterion, "granularity": granularity, "scope": scope}
    check_compression(Settings(case.name, prune=True, schedule="one_shot", **chosen).check())
    run = channels if granularity == "channel" else weights
    left, difference = run(case, criterion, granularity, scope, known)
    if not difference <= LARGEST:
        raise AssertionError(f"{case.name}, {chosen}: masked and removed differ by {difference}.")
    return left, difference


def channels(
    case: Case, criterion: str, granularity: str, scope: str, known: dict[str, Any]
) -> tuple[float, float]:
    """Half of the channels of convolutions: masked, and removed."""
    from hsi.compress.cost import parameters
    from hsi.compress.criteria import CRITERIA, normalised
    from hsi.compress.criteria import criterion as scoring
    from hsi.compress.graph import channel_groups
    from hsi.compress.plan.channels import plan_channels
    from hsi.compress.schedule import choose_channels

    groups = [group for group in channel_groups(case.model) if group.convolutional]
    if "channels" not in known:
        known["channels"] = scoring(criterion)(case.model, case.batches(), groups).scores
    scores = known["channels"]
    if scope == "global" and not CRITERIA[criterion].comparable:
        scores = normalised(scores)
    wanted = int(SHARE * sum(group.channels for group in groups))
    removal, _ = choose_channels(scores, groups, wanted, scope=scope)
    plan = plan_channels(case.model, removal)
    masked, smaller = plan.mask(case.model), plan.apply(case.model)
    one, other = (_logits(model, case.inputs[:BATCH]) for model in (masked, smaller))
    difference = float(np.abs(one - other).max() / np.ptp(one))
    return 100 * parameters(smaller) / parameters(case.model), difference


def _logits(model: Any, inputs: np.ndarray) -> np.ndarray:
    """Scores before the softmax, which hides differences; it is taken off the model for good."""
    from tf_keras.activations import linear

    last = model.get_layer(model.output_names[0])
    if not hasattr(last, "activation"):
        raise TypeError(f"{model.name}: expected a network that ends with a softmax activation.")
    last.activation = linear
    return np.asarray(model(inputs, training=False), np.float64)


def weights(
    case: Case, criterion: str, granularity: str, scope: str, known: dict[str, Any]
) -> tuple[float, float]:
    """Half of the weights, or of their blocks."""
    from hsi.compress.criteria import weight_criterion
    from hsi.compress.magnitude import sparsity_of
    from hsi.compress.plan.weights import plan_weights

    if "weights" not in known:
        known["weights"] = weight_criterion(criterion)(case.model, case.batches())
    share = None if ":" in granularity else SHARE
    plan = plan_weights(case.model, known["weights"], share, granularity=granularity, scope=scope)
    found = sparsity_of(plan.apply(case.model))
    masks = plan.masks or {}
    differences = [abs(found.kernels[name] - float((~masks[name]).mean())) for name in masks]
    return 100 * (1 - found.overall), max(differences)


def markdown(rows: list[Row]) -> str:
    """Network by criterion: the granularities that ran, in either scope; then the refusals."""
    criteria = list(dict.fromkeys(row["criterion"] for row in rows))
    lines = [f"| network | {' | '.join(criteria)} |", "|---" * (len(criteria) + 1) + "|"]
    for network in dict.fromkeys(row["network"] for row in rows):
        cells = [_cell(rows, network, criterion) for criterion in criteria]
        lines.append(f"| `{network}` | {' | '.join(cells)} |")
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if row["result"] == "refused":
            reasons.setdefault(row["reason"], []).append(row)
    lines += ["", "Refused:", ""]
    for reason, those in reasons.items():
        networks = list(dict.fromkeys(f"`{row['network']}`" for row in those))
        units = list(dict.fromkeys(row["granularity"] for row in those))
        every = len(networks) == len({row["network"] for row in rows})
        where = "every network" if every else ", ".join(networks)
        lines.append(f"- {those[0]['criterion']}, {', '.join(units)}; {where}: {reason}")
    return "\n".join(lines) + "\n"


def _cell(rows: list[Row], network: str, criterion: str) -> str:
    ran = [
        granularity
        for granularity in GRANULARITIES
        if all(
            row["result"] == "ran"
            for row in rows
            if (row["network"], row["criterion"], row["granularity"])
            == (network, criterion, granularity)
        )
    ]
    return "all" if len(ran) == len(GRANULARITIES) else ", ".join(ran) or "none"


def main() -> None:
    """Run every combination, write the table after every network."""
    from hsi.models import NETWORKS
    from hsi.quiet import start_tensorflow
    from hsi.results import write_rows

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder")
    asked = parser.parse_args()
    start_tensorflow()
    import tf_keras as keras

    table = asked.output / "combinations.csv"
    rows: list[Row] = _earlier(table)
    for name in asked.networks:
        keras.backend.clear_session()
        start = time.perf_counter()
        mine = list(combine(open_case(name)))
        rows = [row for row in rows if row["network"] != name] + mine
        rows.sort(key=lambda row: tuple(NETWORKS).index(row["network"]))
        ran = [row for row in mine if row["result"] == "ran"]
        worst = max((row["difference"] for row in ran), default=0.0)
        print(
            f"{name:16} {len(ran):3} ran, {len(mine) - len(ran):3} refused, largest difference "
            f"{worst:.1e}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        asked.output.mkdir(exist_ok=True)
        write_rows(table, rows, COLUMNS)
        (asked.output / "combinations.md").write_text(markdown(rows), encoding="utf-8")
    print(f"Written: {table} and .md")


def _earlier(table: Path) -> list[Row]:
    """Rows of networks that an earlier run went through."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
