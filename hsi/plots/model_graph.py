"""The graph of a network: a box for each layer, an arrow for each connection."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from hsi.errors import SettingsError
from hsi.explain.model_graph import Node
from hsi.plots import add_note, new_figure
from hsi.plots.graph_layout import Layout, Wire, layout
from hsi.plots.words import shortened, wrapped

MOST_LAYERS = 1500
"""In one picture; it would be too large to be looked at."""

FAMILIES = {
    "convolution": ("#C9E0F2", r"conv"),
    "dense": ("#F8DDBF", r"dense$|fully_?connected"),
    "pooling": ("#CBEBDD", r"pool|^mean$"),
    "merging": ("#EBD0E2", r"^(add|concat|mul|sub|average$|maximum$|minimum$)"),
    "activation, normalisation": ("#EFEFEF", r"activation|relu|elu$|norm|softmax|dropout"),
    "other": ("#FFFFFF", r""),
}
"""Family of layers -> its colour, and what is looked for in the names of its kinds, in order."""

_WIDTH, _HEIGHT, _PITCH = 2.35, 0.37, 0.62  # inches: of a box, and from row to row
_GUTTER, _NARROW = 0.22, 0.16  # between boxes; of a lane that has lines alone
_SINGLE = 26  # rows that stand in one column
_SHAPE = 1.6  # width by height that a folded picture comes near to
_ENTRY = 1.8  # inches of an entry of the legend
_LINE = "#555555"


GraphNode = Node
"""A layer as its box shows it: name, kind, shape of its output, parameters, what it reads."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Where rows and lanes are drawn, in inches from the top left.

    Attributes:
        fold: rows of a column.
        lanes: per column: lane -> x of its middle.
    """

    fold: int
    lanes: Sequence[Mapping[int, float]]
    width: float

    def column(self, row: int) -> int:
        return row // self.fold

    def x(self, row: int, lane: int) -> float:
        return self.lanes[self.column(row)][lane]

    def y(self, row: int) -> float:
        return (row % self.fold + 0.5) * _PITCH + 0.3

    @property
    def height(self) -> float:
        return self.fold * _PITCH + 0.6


def model_graph(
    nodes: Sequence[GraphNode],
    *,
    title: str = "",
    synthetic: bool = False,
    note: str = "",
) -> Figure:
    """The network from its inputs at the top to its outputs, branches side by side.

    A layer stands as deep as the longest path to it. Deep networks are folded into columns, read
    from the left; a letter says where a line goes on in the next column.

    Args:
        nodes: the layers, in any order.
        title: of the figure: the file, how many layers and parameters.

    Raises:
        SettingsError: no layer, more than `MOST_LAYERS`, two of one name, one that reads what is
            not there, or a loop.
    """
    names = [node.name for node in nodes]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"Expected layers with names of their own, got {twice!r} twice.")
    if len(nodes) > MOST_LAYERS:
        raise SettingsError(
            f"Expected at most {MOST_LAYERS} layers for a picture, got {len(nodes)}; "
            "draw a nested model by itself."
        )
    plan = layout({node.name: node.inputs for node in nodes})
    places = _places(plan)
    used = [name for name in FAMILIES if any(_family(node.kind) == name for node in nodes)]
    width = max(places.width, 5.6)
    per_line = max(1, int(width / _ENTRY))
    head = 0.3 * -(-len(used) // per_line)
    figure = new_figure(width + 0.3, places.height + head + 1.0)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(places.height, -head), aspect="equal")
    _draw_legend(axes, used, per_line, head)
    shift = (width - places.width) / 2
    _draw_wires(axes, plan, places, shift)
    for node in nodes:
        row = plan.depths[node.name]
        _draw_box(axes, node, places.x(row, plan.lanes[node.name]) + shift, places.y(row))
    if title:
        figure.suptitle(wrapped(title, width, size=12.5), fontsize=12)
    folded = (
        f"Read in {len(places.lanes)} columns from the left; a letter says where a line goes on."
        if len(places.lanes) > 1
        else ""
    )
    add_note(figure, "  ".join(p for p in (folded, note) if p), synthetic=synthetic)
    return figure


def _places(plan: Layout) -> _Places:
    """Rows folded into columns, and the lanes of each column as wide as what stands in them."""
    usual = _WIDTH + _GUTTER * 2
    wide = usual * (1 + max(plan.lanes.values()) / 2)
    fold = plan.rows
    if plan.rows > _SINGLE:
        fold = max(_SINGLE, math.ceil(math.sqrt(plan.rows * wide / (_SHAPE * _PITCH))))
        fold = math.ceil(plan.rows / math.ceil(plan.rows / fold))  # columns of one height
    columns: list[dict[int, float]] = []
    x = 0.0
    for start in range(0, plan.rows, fold):
        rows = range(start, start + fold)
        boxes = {plan.lanes[name] for name, depth in plan.depths.items() if depth in rows}
        lines = {w.lane for w in plan.wires if w.first - 1 <= rows[-1] and w.last + 1 >= start}
        middles = {}
        x += _GUTTER
        for lane in sorted(boxes | lines):
            width = _WIDTH + _GUTTER if lane in boxes else _NARROW
            middles[lane] = x + width / 2
            x += width
        columns.append(middles)
        x += _GUTTER
    return _Places(fold, columns, x)


def _family(kind: str) -> str:
    return next(name for name, (_, part) in FAMILIES.items() if re.search(part, kind.lower()))


def _draw_legend(axes: Axes, used: Sequence[str], per_line: int, head: float) -> None:
    for place, name in enumerate(used):
        line, column = divmod(place, per_line)
        x, y = 0.15 + _ENTRY * column, -head + 0.3 * line
        axes.add_patch(
            Rectangle(
                (x, y), 0.2, 0.15, facecolor=FAMILIES[name][0], edgecolor=_LINE, linewidth=0.6
            )
        )
        axes.text(x + 0.27, y + 0.075, name, fontsize=8.5, va="center")


def _draw_box(axes: Axes, node: GraphNode, x: float, y: float) -> None:
    box = FancyBboxPatch(
        (x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.06", facecolor=FAMILIES[_family(node.kind)][0],
        edgecolor=_LINE, linewidth=0.7, zorder=3, label=node.name,
    )  # fmt: skip
    axes.add_patch(box)
    shape = " x ".join("any" if size is None else str(size) for size in node.shape) or "scalar"
    count = f", {node.parameters:,} par." if node.parameters else ""
    axes.text(x, y - 0.075, shortened(node.name, 36), fontsize=7.5, fontweight="bold",
              ha="center", va="center", zorder=4)  # fmt: skip
    axes.text(x, y + 0.085, shortened(f"{node.kind}  {shape}{count}", 46), fontsize=6.6,
              ha="center", va="center", zorder=4)  # fmt: skip


def _draw_wires(axes: Axes, plan: Layout, places: _Places, shift: float) -> None:
    letters: dict[tuple[str, int], str] = {}
    for wire in plan.wires:
        paths, marks = _paths(wire, plan, places)
        for path in paths:
            axes.plot(
                [x + shift for x, _ in path], [y for _, y in path], color=_LINE, linewidth=0.9,
                solid_joinstyle="round", zorder=2, label=f"{wire.source} -> {wire.target}",
            )  # fmt: skip
        (x0, y0), (x1, y1) = paths[-1][-2:]
        axes.annotate(
            "", (x1 + shift, y1), (x0 + shift, min(y0, y1 - 0.02)), zorder=2,
            arrowprops={"arrowstyle": "-|>", "color": _LINE, "linewidth": 0.9,
                        "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        for x, y in marks:
            key = (wire.source, wire.lane)
            letter = letters.setdefault(key, _letter(len(letters)))
            axes.text(
                x + shift, y, letter, fontsize=6.5, ha="center", va="center", zorder=5,
                bbox={"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": _LINE,
                      "linewidth": 0.6},
            )  # fmt: skip


def _paths(
    wire: Wire, plan: Layout, places: _Places
) -> tuple[list[list[tuple[float, float]]], list[tuple[float, float]]]:
    """The line of a connection, a piece for each column, and where its letter stands.

    It leaves a box downwards, crosses to its lane in the upper part of the space between two
    rows, and comes back in the lower part, so that what leaves and what comes do not run together.
    """
    start, end = plan.depths[wire.source], plan.depths[wire.target]
    gap = _PITCH - _HEIGHT
    xs, ys = places.x(start, plan.lanes[wire.source]), places.y(start) + _HEIGHT / 2
    xt, yt = places.x(end, plan.lanes[wire.target]), places.y(end) - _HEIGHT / 2
    first, last = places.column(start), places.column(end)
    marks: list[tuple[float, float]] = []
    paths = []
    for column in range(first, last + 1):
        lane = places.lanes[column][wire.lane]
        path = [(lane, 0.1)]
        if column == first:
            path = [(xs, ys), (xs, ys + 0.35 * gap), (lane, ys + 0.35 * gap)]
        else:
            marks.append((lane, 0.1))
        if column == last:
            path += [(lane, yt - 0.35 * gap), (xt, yt - 0.35 * gap), (xt, yt)]
        else:
            path.append((lane, places.height - 0.1))
            marks.append((lane, places.height - 0.1))
        paths.append(path)
    return paths, marks


def _letter(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    turn, place = divmod(number, 26)
    return (_letter(turn - 1) if turn else "") + chr(ord("A") + place)
