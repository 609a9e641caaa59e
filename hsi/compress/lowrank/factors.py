"""A network with factorised layers in place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import tf_keras as keras

from hsi.compress.calls import Call, copy_layer
from hsi.compress.fold.draft import Draft, Layer, filled
from hsi.compress.fold.kernels import PLAIN, kernel_layer, weights_of
from hsi.compress.fold.merges import Cost, cost
from hsi.compress.lowrank.methods import METHODS, Method, Parts, Ranks, method_for
from hsi.compress.lowrank.ranks import (
    Budget,
    Energy,
    Ratio,
    Rule,
    check,
    energy_rank,
    highest_energy,
    ratio_rank,
)
from hsi.compress.lowrank.table import Replaced, Row
from hsi.errors import ModelError, one_of


def factorise(
    model: keras.Model,
    *,
    rank: Rule,
    method: str = "tucker2",
    layers: Iterable[str] | None = None,
) -> Replaced:
    """A new model whose kernels are products of smaller ones, and the table of what was done.

    Dense layers and 1 x 1 convolutions become two (SVD); other convolutions a 1 x 1, one of their
    own taps on fewer channels, and a 1 x 1 (`tucker2`), or a column and a row of taps (`spatial`,
    2-D only); see `hsi.compress.lowrank.kernels` for the sources. A layer changes only where that
    saves multiply-accumulates and takes no more parameters. The last of the layers in its place
    has its name, bias and activation. Grouped convolutions and layers called twice stay.

    Args:
        rank: `Energy`, `Ratio` or `Budget`.
        method: "tucker2", "spatial", or "svd", which leaves convolutions with several taps.
        layers: names of those that may change; None for all.

    Raises:
        SettingsError: an unknown method or layer, or a share that is none.
        ModelError: no graph of layers, or a budget that cannot be met.
    """
    one_of(method, METHODS, what="method")
    check(rank)
    draft = Draft(model)
    found = _candidates(draft, method)
    if layers is not None:
        chosen = {one_of(name, [c.call.name for c in found], what="layer") for name in layers}
        found = [candidate for candidate in found if candidate.call.name in chosen]
    ranks = _ranks(rank, found, draft)
    rows = []
    for candidate, own in zip(found, ranks, strict=True):
        row, kernels = candidate.row(own)
        rows.append(row)
        if kernels:
            parts = candidate.method.parts(candidate.kernel.shape, own)
            draft.exchange([candidate.call], _layers(draft, candidate.call, kernels, parts))
    return Replaced(draft.model(), tuple(rows))


@dataclass(frozen=True)
class Candidate:
    """A layer that can be factorised, with the singular values that decide on its ranks."""

    call: Call
    method: Method
    kernel: np.ndarray
    spectra: tuple[np.ndarray, ...]
    before: Cost

    def cost(self, ranks: Ranks) -> Cost:
        """What the small layers cost at these ranks."""
        parts = self.method.parts(self.kernel.shape, ranks)
        into, out = (shapes[0][:-1] for shapes in (self.call.input_shapes, self.call.output_shapes))
        macs = sum(
            prod(shape) * _positions(into, out, [carrier <= part for carrier in parts.carriers])
            for part, shape in enumerate(parts.shapes)
        )
        bias = self.kernel.shape[-1] if self.call.layer.use_bias else 0
        return Cost(sum(map(prod, parts.shapes)) + bias, macs)

    def cheapest(self, ranks: Ranks) -> Ranks:
        """Of these ranks and higher ones that need fewer layers the cheapest; () if none pays."""
        options = self.method.options(self.kernel.shape, ranks)
        costs = {option: self.cost(option) for option in options}
        paying = [
            option
            for option, own in costs.items()
            if own.macs < self.before.macs and own.parameters <= self.before.parameters
        ]
        return min(paying, key=lambda o: (costs[o].macs, costs[o].parameters), default=())

    def at_energy(self, share: float) -> Ranks:
        return self.cheapest(tuple(energy_rank(values, share) for values in self.spectra))

    def row(self, ranks: Ranks) -> tuple[Row, list[np.ndarray]]:
        """What is done at these ranks, and the kernels; none where the layer stays."""
        name = self.call.name
        if not ranks:
            return Row(name, "", (), self.before, self.before, 0.0), []
        made = self.method.kernels(self.kernel, ranks)
        error = relative_error(self.kernel, self.method.rebuilt(made))
        return Row(name, self.method.name, ranks, self.before, self.cost(ranks), error), made


def relative_error(kernel: np.ndarray, rebuilt: np.ndarray) -> float:
    """Frobenius norm of the difference, as a share of the kernel's."""
    size = float(np.linalg.norm(kernel))
    return float(np.linalg.norm(kernel - rebuilt)) / size if size else 0.0


def _candidates(draft: Draft, method: str) -> list[Candidate]:
    found = []
    for call in draft.calls:
        layer = call.layer
        if type(layer) not in PLAIN or not kernel_layer(call) or not draft.once(call):
            continue
        if getattr(layer, "groups", 1) > 1:
            continue
        (kernel,), _ = weights_of(layer)
        if chosen := method_for(kernel.shape, method):
            if not np.isfinite(kernel).all():
                raise ModelError(f"layer {call.name!r}: expected finite weights, got NaN or inf.")
            found.append(Candidate(call, chosen, kernel, chosen.spectra(kernel), cost(call)))
    return found


def _ranks(rule: Rule, found: Sequence[Candidate], draft: Draft) -> list[Ranks]:
    match rule:
        case Energy(share):
            return [candidate.at_energy(share) for candidate in found]
        case Ratio(share):
            return [
                candidate.cheapest(tuple(ratio_rank(values, share) for values in candidate.spectra))
                for candidate in found
            ]
        case Budget(_, of):
            whole = sum(getattr(own, of) for own in _each_layer(draft))

            def cost_at(energy: float) -> int:
                return whole - sum(_saved(candidate, energy, of) for candidate in found)

            spectra = [values for candidate in found for values in candidate.spectra]
            energy = highest_energy(spectra, cost_at, whole, rule)
            return [candidate.at_energy(energy) for candidate in found]


def _each_layer(draft: Draft) -> list[Cost]:
    """Costs of all calls; the parameters of a shared layer counted once."""
    seen: set[str] = set()
    costs = []
    for call in draft.calls:
        own = cost(call)
        costs.append(Cost(0, own.macs) if call.name in seen else own)
        seen.add(call.name)
    return costs


def _saved(candidate: Candidate, energy: float, of: str) -> int:
    ranks = candidate.at_energy(energy)
    if not ranks:
        return 0
    return int(getattr(candidate.before, of) - getattr(candidate.cost(ranks), of))


def _layers(draft: Draft, call: Call, kernels: Sequence[np.ndarray], parts: Parts) -> list[Layer]:
    """The small layers, built, in their order."""
    layers: list[Layer] = []
    shape = call.input_shapes[0]
    _, bias = weights_of(call.layer)
    for part, kernel in enumerate(kernels):
        last = part == len(kernels) - 1
        changes = _settings(call.layer, kernel, [carrier == part for carrier in parts.carriers])
        name = call.name if last else draft.free(f"{call.name}_part{part + 1}")
        if not last:
            changes["use_bias"] = False
        layer = copy_layer(call.layer, name, changes)
        if not last:
            layer.activation = keras.activations.linear
        arrays = [kernel, bias] if last and bias is not None else [kernel]
        layers.append(filled(layer, shape, arrays))
        shape = tuple(layer.compute_output_shape((None, *shape)))[1:]
    return layers


def _settings(layer: Layer, kernel: np.ndarray, carries: Sequence[bool]) -> dict[str, object]:
    """Settings of a small layer; strides and dilation along the axes whose taps it has."""
    if type(layer) is keras.layers.Dense:
        return {"units": kernel.shape[-1]}
    axes = range(kernel.ndim - 2)
    return {
        "filters": kernel.shape[-1],
        "kernel_size": kernel.shape[:-2],
        "strides": tuple(layer.strides[axis] if carries[axis] else 1 for axis in axes),
        "dilation_rate": tuple(layer.dilation_rate[axis] if carries[axis] else 1 for axis in axes),
    }


def _positions(into: Sequence[int | None], out: Sequence[int | None], there: Sequence[bool]) -> int:
    """Positions of a small layer's output: of the whole's where its taps and strides are done."""
    if not there:  # dense: as many as come in
        return prod(size or 1 for size in into)
    sizes = zip(into, out, there, strict=True)
    return prod((new if done else old) or 1 for old, new, done in sizes)
