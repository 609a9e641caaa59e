"""Where the boxes of a network's graph stand: depth downwards, branches side by side.

Each layer stands as deep as its longest path from an input. The longest path through the network
takes the first lane; what branches off goes into the nearest lane that is free all the way, and so
does every connection that jumps over layers, so no line crosses a box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hsi.errors import SettingsError


@dataclass(frozen=True)
class Wire:
    """A connection from one layer to another.

    Attributes:
        source, target: names.
        lane: where it runs down between them.
        first, last: depths of the rows that it runs through; last < first where it runs through
            none, from one row to the next.
    """

    source: str
    target: str
    lane: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of the boxes and lines of a graph.

    Attributes:
        depths: name -> row, from 0.
        lanes: name -> lane, from 0.
        wires: every connection.
    """

    depths: Mapping[str, int]
    lanes: Mapping[str, int]
    wires: tuple[Wire, ...]

    @property
    def rows(self) -> int:
        return max(self.depths.values()) + 1


def layout(inputs: Mapping[str, Sequence[str]]) -> Layout:
    """Places for a graph.

    Args:
        inputs: name of each layer -> names of the layers that it reads.

    Raises:
        SettingsError: no layer, one that reads a layer that does not exist, or a loop.
    """
    depths = _depths(inputs)
    outputs: dict[str, list[str]] = {name: [] for name in inputs}
    for name, read in inputs.items():
        for source in dict.fromkeys(read):
            outputs[source].append(name)
    lanes: dict[str, int] = {}
    taken = _Taken()
    for chain in _chains(inputs, outputs, depths):
        # A branch needs its lane from the row after its source to the row before its target.
        before = [depths[s] + 1 for s in inputs[chain[0]]]
        after = [depths[t] - 1 for t in outputs[chain[-1]]]
        first, last = min([depths[chain[0]], *before]), max([depths[chain[-1]], *after])
        lane = taken.take(first, last, owner=f"branch of {chain[0]}")
        for name in chain:
            lanes[name] = lane
            taken.put(lane, depths[name])
    wires: list[Wire] = []
    pairs = [(s, t) for t, read in inputs.items() for s in dict.fromkeys(read)]
    for source, target in sorted(pairs, key=lambda p: depths[p[1]] - depths[p[0]]):
        wire = Wire(source, target, lanes[target], depths[source] + 1, depths[target] - 1)
        if wire.first <= wire.last:
            options = (replace(wire, lane=lane) for lane in (lanes[source], lanes[target]))
            own = [w for w in options if taken.empty(w) and _clear(w, wires)]
            if own:
                wire = own[0]
            else:
                lane = taken.take(wire.first, wire.last, owner=f"lines of {source}")
                wire = replace(wire, lane=lane)
        wires.append(wire)
    return Layout(depths, lanes, tuple(wires))


def _depths(inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    if not inputs:
        raise SettingsError("Expected a network with at least one layer, got none.")
    depths: dict[str, int] = {}
    waiting = dict(inputs)
    while waiting:
        ready = [name for name, read in waiting.items() if all(s in depths for s in read)]
        if not ready:
            name, read = next(iter(waiting.items()))
            unknown = [s for s in read if s not in inputs]
            raise SettingsError(
                f"Layer {name!r} reads {unknown[0]!r}, which is no layer of the network."
                if unknown
                else f"Expected a network without loops; layer {name!r} is in one."
            )
        for name in ready:
            depths[name] = max((depths[s] + 1 for s in waiting.pop(name)), default=0)
    return depths


def _clear(wire: Wire, others: Sequence[Wire]) -> bool:
    """Whether the lines that it would lie on all come from its source, or all go to its target."""
    along = [
        w for w in others
        if w.lane == wire.lane and w.first <= wire.last and wire.first <= w.last
    ]  # fmt: skip
    return all(w.source == wire.source for w in along) or all(
        w.target == wire.target for w in along
    )


def _chains(
    inputs: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Sequence[str]],
    depths: Mapping[str, int],
) -> list[list[str]]:
    """The longest path first, then what is left, chain after chain from the top."""
    end = max(depths, key=lambda name: depths[name])
    path = [end]
    while inputs[path[-1]]:
        path.append(max(inputs[path[-1]], key=lambda name: depths[name]))
    chains = [path[::-1]]
    used = set(path)
    for name in sorted(depths, key=lambda n: depths[n]):
        if name in used:
            continue
        chain = [name]
        used.add(name)
        while following := [n for n in outputs[chain[-1]] if n not in used]:
            chain.append(min(following, key=lambda n: depths[n]))
            used.add(chain[-1])
        chains.append(chain)
    return chains


class _Taken:
    """Which rows of each lane are taken, by whom, and which hold a box."""

    def __init__(self) -> None:
        self._spans: list[list[tuple[int, int, str]]] = []
        self._boxes: set[tuple[int, int]] = set()

    def take(self, first: int, last: int, *, owner: str) -> int:
        """The leftmost lane that is free, or the owner's already, from first to last row."""
        lane = 0
        while lane < len(self._spans) and not self._free(lane, first, last, owner):
            lane += 1
        if lane == len(self._spans):
            self._spans.append([])
        self._spans[lane].append((first, last, owner))
        return lane

    def put(self, lane: int, row: int) -> None:
        """A box stands there."""
        self._boxes.add((lane, row))

    def empty(self, wire: Wire) -> bool:
        """Whether its rows are part of one branch's span, and hold no box of it."""
        within = any(a <= wire.first and wire.last <= b for a, b, _ in self._spans[wire.lane])
        rows = range(wire.first, wire.last + 1)
        return within and not any((wire.lane, row) in self._boxes for row in rows)

    def _free(self, lane: int, first: int, last: int, owner: str) -> bool:
        if any((lane, row) in self._boxes for row in range(first, last + 1)):
            return False
        return all(last < a or first > b or who == owner for a, b, who in self._spans[lane])
