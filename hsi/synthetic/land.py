"""The ground of the embedded scene: which land lies where, what it is made of, what is labelled.

Sections between roads are cut recursively into fields of irregular outline with grass margins;
over them lie woods, and a creek with its bank. Some fields stay unlabelled, and so do roads,
margins and the remainder of fields that "nobody surveyed". What grows where is drawn so that each
class gets about the number of pixels that it has in the Indian Pines scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

SIZE = 145
"""Rows and columns."""
FINE = 3
"""Points of the land model along one side of a pixel."""


@dataclass(frozen=True)
class Cover:
    """A kind of land: what it is made of, and how much that varies.

    Attributes:
        name: of the class, or of the background.
        shares: material -> typical share; they need not sum to 1.
        pixels: how many pixels are labelled with it; 0 for background.
        field, patch, pixel: standard deviation of the log share from field to field, in patches
            and from pixel to pixel.
    """

    name: str
    shares: Mapping[str, float]
    pixels: int = 0
    field: float = 0.24
    patch: float = 0.2
    pixel: float = 0.28


def _ground(share: float) -> dict[str, float]:
    """Bare ground of this share in all, as a mixture of the soils of the area."""
    mixture = {"black soil": 0.35, "pale soil": 0.35, "eroded soil": 0.15, "wet soil": 0.15}
    return {name: share * part for name, part in mixture.items()}


def _crop(plant: str, green: float, stubble: str, residue: float) -> dict[str, float]:
    """A row crop in June: some green, residue of last year's crop, bare ground, shadows."""
    return {
        plant: green, "yellow leaves": 0.02, stubble: residue, "shadow": 0.08,
        **_ground(0.9 - green - residue),
    }  # fmt: skip


COVERS = (
    Cover("Alfalfa", {"clover": 0.7, "sward": 0.12, "shadow": 0.08, **_ground(0.1)}, 54),
    Cover("Corn, no till", _crop("maize", 0.20, "bean stubble", 0.34), 1434),
    Cover("Corn, minimum till", _crop("maize", 0.20, "bean stubble", 0.28), 834),
    Cover("Corn, clean till", _crop("maize", 0.24, "bean stubble", 0.07), 234),
    Cover("Pasture", {"grass": 0.6, "yellow leaves": 0.1, "straw": 0.06, **_ground(0.18)}, 497),
    Cover(
        "Grass and trees along the creek",
        {"sward": 0.5, "tree crowns": 0.3, "shadow": 0.12, **_ground(0.06)}, 747, 0.25, 0.5, 0.5,
    ),
    Cover("Pasture, mown", {"grass": 0.4, "straw": 0.2, **_ground(0.3)}, 26),
    Cover("Hay, windrowed", {"clover": 0.3, "straw": 0.4, "sward": 0.1, **_ground(0.15)}, 489),
    Cover("Oats", {"green ears": 0.6, "sward": 0.05, "shadow": 0.05, **_ground(0.25)}, 22),
    Cover("Soybean, no till", _crop("bean", 0.09, "maize stubble", 0.48), 968),
    Cover("Soybean, minimum till", _crop("bean", 0.09, "maize stubble", 0.22), 2468),
    Cover("Soybean, clean till", _crop("bean", 0.09, "maize stubble", 0.06), 614),
    Cover("Wheat", {"ripening ears": 0.6, "green ears": 0.2, "shadow": 0.05, **_ground(0.1)}, 212),
    Cover(
        "Woods", {"tree crowns": 0.72, "sward": 0.06, "shadow": 0.2, **_ground(0.02)},
        1294, 0.2, 0.3, 0.35,
    ),
    Cover(
        "Farmstead: buildings, grass, drives",
        {"sward": 0.35, "tree crowns": 0.12, "stone": 0.14, "steel": 0.06, "red roof": 0.1,
         "asphalt": 0.08, "shadow": 0.08, **_ground(0.08)}, 380, 0.3, 1.2, 0.9,
    ),
    Cover(
        "Gravel yard with steel bins",
        {"stone": 0.5, "steel": 0.25, "asphalt": 0.08, "shadow": 0.08, **_ground(0.05)},
        95, 0.2, 0.7, 0.6,
    ),
    Cover("paved road", {"asphalt": 0.7, "stone": 0.1, "grass": 0.2}),
    Cover("gravel road", {"stone": 0.55, "grass": 0.25, **_ground(0.2)}),
    Cover("field margin", {"grass": 0.5, "sward": 0.2, "straw": 0.1, **_ground(0.2)}),
    Cover("creek", {"water": 0.7, "wet soil": 0.1, "tree crowns": 0.1, "shadow": 0.1}),
    Cover("fallow", {"straw": 0.15, "grass": 0.15, "bean stubble": 0.2, **_ground(0.45)}),
    Cover("weeds", {"sward": 0.3, "yellow leaves": 0.2, "straw": 0.1, **_ground(0.35)}),
)  # fmt: skip
"""Classes 1..16 in order, then the background."""

CLASSES = sum(cover.pixels > 0 for cover in COVERS)
_COVER = {cover.name: index for index, cover in enumerate(COVERS)}
_BANK = _COVER["Grass and trees along the creek"]
_WOODS = _COVER["Woods"]
_LARGEST_SMALL = 100  # classes up to this size live on one strip or yard each


@dataclass(frozen=True)
class Land:
    """The ground before any light falls on it.

    Attributes:
        parcels: (SIZE * FINE, SIZE * FINE) int, the number of the field, wood, road ...
        covers: (number of parcels,) int, its index in `COVERS`.
        labels: (SIZE, SIZE) uint8, published numbers, 0 where unlabelled.
    """

    parcels: np.ndarray
    covers: np.ndarray
    labels: np.ndarray


def lay_out(rng: np.random.Generator) -> Land:
    """Draw roads, fields, woods and the creek, and decide what grows where and is labelled."""
    axis = (np.arange(SIZE * FINE) + 0.5) / FINE
    down, right = (a - SIZE / 2 for a in np.meshgrid(axis, axis, indexing="ij"))
    bend = [
        upsample(1.2 * smooth_noise(rng, 14.0)) for _ in range(2)
    ]  # no border is quite straight
    turn = np.deg2rad(rng.uniform(3, 9) * rng.choice([-1, 1]))
    u = np.cos(turn) * down + np.sin(turn) * right + bend[0]
    v = np.cos(turn) * right - np.sin(turn) * down + bend[1]

    fixed = ["field margin", "paved road", "gravel road", "creek"]
    parcels = _fields(u, v, rng, first=len(fixed))
    fields = int(parcels.max()) + 1
    woods, banks = _woods(down, right, rng), _creek(down, right, rng)
    parcels = np.where(woods >= 0, fields + woods, parcels)
    first_bank = fields + int(woods.max()) + 1
    parcels = np.where(banks > 0, first_bank + banks - 1, parcels)
    parcels[banks == 0] = fixed.index("creek")

    covers = np.full(int(parcels.max()) + 1, -1)
    covers[: len(fixed)] = [_COVER[name] for name in fixed]
    covers[fields:first_bank] = _WOODS
    covers[first_bank:] = _BANK
    labels = _assign(parcels, covers, rng)
    return Land(parcels, covers, labels)


def _fields(u: np.ndarray, v: np.ndarray, rng: np.random.Generator, *, first: int) -> np.ndarray:
    """Number the fields from `first`; 0 is margin, 1 and 2 are roads."""
    parcels = np.zeros(u.shape, int)
    far = 0.75 * SIZE
    cuts = [
        [-far, *(np.array([-0.17, 0.17]) * SIZE + rng.uniform(-9, 9, 2)), far] for _ in range(2)
    ]
    number = first
    strips = [cover.pixels for cover in COVERS if 0 < cover.pixels <= _LARGEST_SMALL]
    for top, bottom in zip(cuts[0], cuts[0][1:], strict=False):
        for left, right in zip(cuts[1], cuts[1][1:], strict=False):
            inside = (u > top) & (u <= bottom) & (v > left) & (v <= right)
            lean = rng.uniform(-0.16, 0.16, 2)
            here = u[inside], v[inside]
            across = here[0] + lean[0] * (here[1] - (left + right) / 2)
            along = here[1] + lean[1] * (here[0] - (top + bottom) / 2)
            strip = strips.pop() if strips else 0
            found = np.zeros(len(across), int)
            for a, b, c, d in _cut((top, bottom, left, right), strip, rng):
                margin = rng.uniform(0.1, 0.6)
                edge = np.minimum.reduce([across - a, b - across, along - c, d - along])
                found[edge > margin] = number
                number += 1
            parcels[inside] = found
    for lines, position in zip(cuts, (u, v), strict=True):
        for line in lines[1:-1]:
            width = rng.uniform(0.4, 0.75)
            parcels[np.abs(position - line) < width] = rng.integers(1, 3)
    return parcels


_Box = tuple[float, float, float, float]


def _cut(box: _Box, strip: int, rng: np.random.Generator) -> list[_Box]:
    """Cut a section into fields, and one off for a class of `strip` pixels where that is not 0."""
    todo, done = [box], []
    while todo:
        a, b, c, d = todo.pop()
        area = (b - a) * (d - c)
        if area < np.clip(rng.lognormal(np.log(420), 0.5), 180, 900):
            done.append((a, b, c, d))
            continue
        share = rng.uniform(0.32, 0.68)
        if (b - a) * rng.uniform(0.7, 1.4) > d - c:
            middle = a + share * (b - a)
            todo += [(a, middle, c, d), (middle, b, c, d)]
        else:
            middle = c + share * (d - c)
            todo += [(a, b, c, middle), (a, b, middle, d)]
    if strip:
        a, b, c, d = done.pop(int(rng.integers(len(done))))
        # A strip of two pixels' width loses about as much again to its borders.
        width = min(max(3.2, (1.6 * strip + 20) / (b - a)), 0.6 * (d - c))
        done += [(a, b, c, c + width), (a, b, c + width, d)]
    return done


def _woods(down: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0, 1, 2 in three woods of ragged outline, -1 elsewhere."""
    quarters = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])[rng.permutation(4)[:3]]
    centres = quarters * rng.uniform(0.12, 0.42, (3, 2)) * SIZE
    radii = rng.uniform(0.7, 1.3, 3)
    far = np.stack(
        [np.hypot(down - y, right - x) / r for (y, x), r in zip(centres, radii, strict=True)]
    )
    ragged = far.min(0) + upsample(4.5 * smooth_noise(rng, 5.0))
    wanted = 1.3 * COVERS[_WOODS].pixels / SIZE**2
    return np.where(ragged < np.quantile(ragged, wanted), far.argmin(0), -1)


def _creek(down: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 in the creek, 1, 2, 3 on stretches of its bank, -1 elsewhere."""
    y, x = (down, right) if rng.random() < 0.5 else (right, down)
    phase = rng.uniform(0, 2 * np.pi, 2)
    course = rng.uniform(-25, 25) + 9 * np.sin(x / 15 + phase[0]) + 3 * np.sin(x / 6 + phase[1])
    off = np.abs(y - course)
    stretch = 1 + np.clip(((x / SIZE + 0.5) * 3).astype(int), 0, 2)
    bank = np.where(off < 4.2 + upsample(1.0 * smooth_noise(rng, 5.0)), stretch, -1)
    return np.where(off < 0.45, 0, bank)


def _assign(parcels: np.ndarray, covers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give every field (-1 in `covers`, filled in place) its cover; return the labels.

    A pixel can carry a label where two thirds of it or more lie in one parcel.
    """
    blocks = parcels.reshape(SIZE, FINE, SIZE, FINE).swapaxes(1, 2).reshape(SIZE, SIZE, -1)
    main = blocks[:, :, FINE * FINE // 2]
    main = np.where((blocks == main[:, :, None]).mean(2) > 0.66, main, 0)
    sizes = np.bincount(main.ravel(), minlength=len(covers))
    labels = np.zeros((SIZE, SIZE), np.uint8)
    free = [int(p) for p in rng.permutation(np.flatnonzero(covers < 0)) if sizes[p] > 0]
    small_first = sorted(
        range(CLASSES), key=lambda k: (COVERS[k].pixels > _LARGEST_SMALL, -COVERS[k].pixels)
    )
    for kind in small_first:
        own = [int(p) for p in np.flatnonzero(covers == kind)]
        wanted = COVERS[kind].pixels
        chosen = own or _choose(free, sizes, wanted)
        for parcel in chosen:
            covers[parcel] = kind
            where = np.flatnonzero(main.ravel() == parcel)  # row by row: the rest is one side
            if rng.random() < 0.5:
                where = where[np.argsort(where % SIZE, kind="stable")]
            labels.ravel()[where[:wanted]] = kind + 1
            wanted -= min(wanted, len(where))
    rest = [_COVER[name] for name in ("fallow", "weeds", "Pasture", "Soybean, minimum till")]
    rest += [_COVER[name] for name in ("Corn, no till", "Corn, minimum till", "Soybean, no till")]
    empty = np.flatnonzero(covers < 0)
    covers[empty] = rng.choice(rest, len(empty))
    return labels


def _choose(free: list[int], sizes: np.ndarray, wanted: int) -> list[int]:
    """Take fields for `wanted` pixels out of `free`: several, unless the class is small."""
    chosen: list[int] = []
    missing = wanted
    while missing > 0 and free:
        most = missing if wanted <= _LARGEST_SMALL else min(missing, 0.6 * wanted)
        fits = [p for p in free if 0.3 * most < sizes[p] <= most]
        enough = sorted((p for p in free if sizes[p] >= missing), key=lambda p: sizes[p])
        if enough and (wanted <= _LARGEST_SMALL or not fits):
            take = enough[0]
        else:
            take = fits[0] if fits else max(free, key=lambda p: sizes[p])
        free.remove(take)
        chosen.append(take)
        missing -= int(sizes[take])
    return chosen


def smooth_noise(rng: np.random.Generator, scale: float) -> np.ndarray:
    """(SIZE, SIZE) noise of unit variance, correlated over `scale` pixels."""
    noise = gaussian_filter(rng.standard_normal((SIZE, SIZE), np.float32), scale, mode="wrap")
    return noise / noise.std()


def upsample(image: np.ndarray) -> np.ndarray:
    """An image of pixels on the fine grid of the land model, unsmoothed."""
    return image.repeat(FINE, 0).repeat(FINE, 1)
