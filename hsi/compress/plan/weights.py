"""A plan of weight pruning: what share of each kernel would become zero, before anything does.

The shapes of the network stay, so masking and applying are one thing: `mask` and `apply` both give
the network with zeros in it, equal by construction. Masks are not saved, they are made again from
scores (`with_scores`): the same scores and shares give the same masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi.compress.granularity import parse_granularity
from hsi.compress.plan.channels import Choices
from hsi.compress.plan.layout import layout
from hsi.compress.plan.network import check_network, describe
from hsi.compress.plan.table import FLOAT32, Row, Table
from hsi.errors import SettingsError
from hsi.files import write_text

if TYPE_CHECKING:
    import tf_keras as keras


@dataclass(frozen=True)
class WeightPlan:
    """Which share of which kernels would become zero.

    Attributes:
        sparsity: layer name -> share of its units (weights, or blocks) that go, 0..1 (1 excluded).
            Layers that are not there keep all their weights, as do those with 0. For n:m only
            that and the share of the pattern can stand there.
        kernels: layer name -> number of weights, for every kernel of the network.
        choices: how the plan came about; its granularity is `weight`, `2:4`, `4x4` ...
        network: the network that it is for (`network.describe`).
        notes: what the user should know, a sentence each.
        masks: layer name -> True where a weight stays; None until `with_scores`.
    """

    sparsity: Mapping[str, float]
    kernels: Mapping[str, int]
    choices: Choices
    network: tuple[str, ...]
    notes: tuple[str, ...] = ()
    masks: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)

    def with_scores(self, model: keras.Model, scores: Mapping[str, np.ndarray]) -> WeightPlan:
        """The plan with masks made from scores: layer name -> array of its kernel's shape.

        Raises:
            ModelError: another network than the plan's, or scores that do not fit it.
            SettingsError: a layer of the plan without scores.
        """
        from hsi.compress.weights import choose_weights, shares_gone

        check_network(self.network, model)
        missing = [layer for layer in self.sparsity if layer not in scores]
        if missing:
            raise SettingsError(f"{missing[0]}: expected scores of its weights, got none.")
        shares = {layer: share for layer, share in self.sparsity.items() if share > 0}
        name = self.choices.granularity
        fixed = parse_granularity(name).kind == "n:m"
        wanted = {layer: scores[layer] for layer in shares}
        masks = choose_weights(model, wanted, None if fixed else shares, granularity=name)
        for layer, share in shares_gone(model, masks, granularity=name).items():
            if fixed and abs(share - shares[layer]) > 1e-6:
                raise SettingsError(
                    f"{layer}: granularity {name} takes {share:g} of its weights; expected that, "
                    f"or 0 to keep them all, got {shares[layer]:g}."
                )
        return replace(self, masks=masks)

    def mask(self, model: keras.Model) -> keras.Model:
        """A copy of the network with zeros where weights go; the same as `apply`.

        Raises:
            ModelError: another network than the plan's.
            SettingsError: a plan without masks.
        """
        from hsi.compress.weights import apply_masks

        check_network(self.network, model)
        return apply_masks(model, self._masks())

    def apply(self, model: keras.Model) -> keras.Model:
        """The network as it is deployed: with zeros in it, and nothing that holds them."""
        return self.mask(model)

    def table(self, model: keras.Model) -> Table:
        """What the plan leaves; `parameters_left` are those that are not made zero.

        Raises: as `mask`; also where the spatial size of the input is not fixed.
        """
        from hsi.compress.calls import walk
        from hsi.compress.cost import COUNTS

        check_network(self.network, model)
        gone = {name: int((~mask).sum()) for name, mask in self._masks().items()}
        rows: dict[str, Row] = {}
        for call in walk(model).calls:
            if not call.layer.weights:
                continue
            size, channels = int(call.layer.count_params()), int(call.output_shapes[0][-1] or 0)
            macs = COUNTS[type(call.layer)](call) if type(call.layer) in COUNTS else 0
            macs += rows[call.name].macs if call.name in rows else 0
            left = size - gone.get(call.name, 0)
            kind = type(call.layer).__name__
            rows[call.name] = Row(call.name, kind, channels, channels, size, left, macs, macs)
        room = FLOAT32 * sum(row.parameters for row in rows.values())
        return Table(tuple(rows.values()), room, room)

    def text(self, model: keras.Model | None = None) -> str:
        """The plan for reading; with the model (and masks), what it leaves."""
        lines = [f"Plan: {self.choices.text()}"]
        if model is None or self.masks is None:
            block = parse_granularity(self.choices.granularity).kind == "block"
            units = ", counted in blocks," if block else ""
            lines += [
                f"  {name}: {share:.1%} of {self.kernels[name]:,} weights{units} become zero"
                for name, share in self.sparsity.items()
            ]
        else:
            lines.append(self.table(model).text())
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])

    def save(self, path: str | Path) -> None:
        """Write the plan, without its masks, as JSON; `files.read_plan` reads it.

        Raises:
            OutputError: the file cannot be written.
        """
        record = {
            "plan": "weights",
            **asdict(self.choices),
            "sparsity": dict(self.sparsity),
            "kernels": dict(self.kernels),
            "network": list(self.network),
            "notes": list(self.notes),
        }
        write_text(path, layout(record))

    def _masks(self) -> Mapping[str, np.ndarray]:
        if self.masks is None:
            raise SettingsError(
                "The plan has no masks: expected scores of the weights first (with_scores)."
            )
        return self.masks


def plan_weights(
    model: keras.Model,
    scores: Mapping[str, np.ndarray],
    sparsity: float | Mapping[str, float] | None,
    *,
    granularity: str = "weight",
    scope: str = "layer",
    keep: Iterable[str] = (),
    criterion: str = "",
    schedule: str = "one_shot",
    target: str = "",
    notes: Iterable[str] = (),
) -> WeightPlan:
    """The plan to make these weights zero; arguments and errors as `weights.choose_weights`."""
    from hsi.compress.weights import choose_weights, kernel_layers, shares_gone

    masks = choose_weights(model, scores, sparsity, granularity=granularity, scope=scope, keep=keep)
    return WeightPlan(
        shares_gone(model, masks, granularity=granularity),
        {name: int(np.prod(k.kernel.shape)) for name, k in kernel_layers(model).items()},
        Choices(criterion, granularity, scope, schedule, target),
        describe(model),
        tuple(notes),
        masks,
    )
