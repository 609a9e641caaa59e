"""The embedded scene: a generated stretch of farmland, for work without any download.

It is generated, and every output that uses it says so. It is made to be *like* the Indian Pines
scene (Baumgardner, Biehl and Landgrebe 2015, doi:10.4231/R7RX991C): its size, its bands, about its
class sizes, and its difficulty for a classifier of single pixels. It is no substitute for it:
figures reached here say nothing about any real field.

How hard it is (seeds 0 to 7): an RBF SVM of single pixels, C = 100, trained on 10 % random pixels,
reaches 81 to 88 % of the others, and 68 to 74 % in other blocks than those it was trained in;
averaging 3 x 3 neighbours first adds about 4 points. Its most frequent mistake is `HARD_PAIR`.

What is modelled, in the order of the code:

1. Land: sections between roads, cut recursively into fields of irregular outline with grass
   margins; woods; a creek with its bank; farmsteads. Some fields stay unlabelled, and so do
   roads, margins and the remainder of fields that "nobody surveyed".
2. Mixing: every pixel is a linear mixture of pure materials (Keshava and Mustard 2002, IEEE
   Signal Processing Magazine 19(1)), `hsi.spectra.endmembers`. The shares vary about those of
   the land cover as a logistic-normal variable in three parts: per field (sowing date, residue
   left, vigour), in patches that cross field borders (soils, moisture, vigour), and per pixel
   (gaps, row ends). The shares are drawn on a grid FINE times finer than the pixels and gathered
   by a Gaussian point spread function, so that pixels on borders are mixtures of both sides.
3. Light: sun, gases and scattering as in `hsi.spectra`; a gradient across the swath and gentle
   relief. Counts are 1000 + 500 times the radiance in microwatt/(cm^2 nm sr), the scale in which
   the Indian Pines cube was published.
4. Noise: Gaussian, independent in pixels and bands, of about the size found by regressing the
   bands of a part of the Indian Pines scene on their neighbours, away from the steep sides of
   absorption bands: strongest at 400 nm, weak in the short-wave infrared, growing with the
   signal in part.
5. The bands in which the air's water absorbs all light are left out, as in the corrected scene.

Not modelled: shadows cast by objects, adjacency effects, angular effects of crop rows, stripes,
dead pixels, errors of the labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from hsi import spectra
from hsi.errors import SettingsError
from hsi.scene import Scene
from hsi.version import __version__

SIZE = 145
"""Rows and columns."""
FINE = 3
"""Points of the land model along one side of a pixel."""
REMOVED_BANDS = (*range(104, 109), *range(150, 164), 220)
"""1-based numbers of the water bands, of 220 (corrected Indian Pines)."""
HARD_PAIR = (2, 3)
"""The two classes that are hard to tell apart: they differ in the residue left, and by little."""

_SENSOR_WAVELENGTHS = np.linspace(400.0, 2500.0, 220)
_KEPT = np.setdiff1d(np.arange(220), np.array(REMOVED_BANDS) - 1)
_SUN_ELEVATION = np.deg2rad(61.0)
_PSF_SIGMA = 0.5  # pixels: a full width at half maximum of 1.2 pixels


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


def synthetic_scene(*, seed: int = 0) -> Scene:
    """Generate the embedded scene: 145 x 145 pixels, 200 bands, 16 classes.

    The same seed gives the same bytes (with the same versions of numpy and scipy).

    Args:
        seed: 0 or more; another seed is another farm of the same kind.

    Returns:
        A scene with `cube` (145, 145, 200) uint16 in counts and `labels` (145, 145) uint8.

    Raises:
        SettingsError: a negative seed.
    """
    if seed < 0:
        raise SettingsError(f"The embedded scene needs a seed of 0 or more, got {seed}.")
    streams = np.random.SeedSequence(seed).spawn(3)
    land_rng, mixing_rng, light_rng = (np.random.Generator(np.random.PCG64(s)) for s in streams)
    land = lay_out(land_rng)
    cube = observe(mix(land, mixing_rng), light_rng)
    return Scene(
        name="synthetic",
        cube=cube,
        labels=land.labels,
        class_names={number: COVERS[number - 1].name for number in range(1, CLASSES + 1)},
        wavelengths=_SENSOR_WAVELENGTHS[_KEPT],
        removed_bands=REMOVED_BANDS,
        sensor="AVIRIS-like (generated)",
        source=f"generated by hsi {__version__}, hsi.synthetic, seed {seed}; not a real place",
        sha256=hashlib.sha256(cube.tobytes() + land.labels.tobytes()).hexdigest(),
        synthetic=True,
    )


# Land


def lay_out(rng: np.random.Generator) -> Land:
    """Draw roads, fields, woods and the creek, and decide what grows where and is labelled."""
    axis = (np.arange(SIZE * FINE) + 0.5) / FINE
    down, right = (a - SIZE / 2 for a in np.meshgrid(axis, axis, indexing="ij"))
    bend = [_upsample(1.2 * _smooth(rng, 14.0)) for _ in range(2)]  # no border is quite straight
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
    ragged = far.min(0) + _upsample(4.5 * _smooth(rng, 5.0))
    wanted = 1.3 * COVERS[_WOODS].pixels / SIZE**2
    return np.where(ragged < np.quantile(ragged, wanted), far.argmin(0), -1)


def _creek(down: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 in the creek, 1, 2, 3 on stretches of its bank, -1 elsewhere."""
    y, x = (down, right) if rng.random() < 0.5 else (right, down)
    phase = rng.uniform(0, 2 * np.pi, 2)
    course = rng.uniform(-25, 25) + 9 * np.sin(x / 15 + phase[0]) + 3 * np.sin(x / 6 + phase[1])
    off = np.abs(y - course)
    stretch = 1 + np.clip(((x / SIZE + 0.5) * 3).astype(int), 0, 2)
    bank = np.where(off < 4.2 + _upsample(1.0 * _smooth(rng, 5.0)), stretch, -1)
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


# Mixing


def mix(land: Land, rng: np.random.Generator) -> np.ndarray:
    """Shares of the materials, (SIZE, SIZE, materials) float32, each pixel summing to 1."""
    materials = list(spectra.endmembers(_SENSOR_WAVELENGTHS))
    typical = np.array([[c.shares.get(m, 1e-9) for m in materials] for c in COVERS])
    spread = np.array([[c.field, c.patch, c.pixel] for c in COVERS], np.float32)[land.covers]
    base = np.log(typical)[land.covers].astype(np.float32)
    base += spread[:, :1] * rng.standard_normal(base.shape, np.float32)
    patch, pixel = (spread[land.parcels, k] for k in (1, 2))
    shares = np.empty((len(materials), SIZE, SIZE), np.float32)
    total = np.zeros((SIZE, SIZE), np.float32)
    weights = np.empty((len(materials), *land.parcels.shape), np.float32)
    for index, material in enumerate(materials):
        scale = 9.0 if "soil" in material else 3.0  # soils reach further than a crop's vigour
        weights[index] = base[land.parcels, index]
        weights[index] += patch * _upsample(_smooth(rng, scale))
        weights[index] += pixel * _upsample(rng.standard_normal((SIZE, SIZE), np.float32))
    np.exp(weights, out=weights)
    weights /= weights.sum(0)
    for index in range(len(materials)):
        shares[index] = _gather(weights[index])
        total += shares[index]
    return np.ascontiguousarray(np.moveaxis(shares / total, 0, -1))


def _gather(fine: np.ndarray) -> np.ndarray:
    """What a pixel sees of the fine grid: the Gaussian point spread function, then sampling."""
    middle = slice(FINE // 2, None, FINE)
    rows = gaussian_filter1d(fine, _PSF_SIGMA * FINE, axis=0, truncate=3.0)[middle]
    return gaussian_filter1d(rows, _PSF_SIGMA * FINE, axis=1, truncate=3.0)[:, middle]


def _smooth(rng: np.random.Generator, scale: float) -> np.ndarray:
    """(SIZE, SIZE) noise of unit variance, correlated over `scale` pixels."""
    noise = gaussian_filter(rng.standard_normal((SIZE, SIZE), np.float32), scale, mode="wrap")
    return noise / noise.std()


def _upsample(image: np.ndarray) -> np.ndarray:
    return image.repeat(FINE, 0).repeat(FINE, 1)


# Light and noise


def noise_deviation(wavelengths: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise at a middling signal, in counts."""
    visible = 32 + 160 * np.exp(-(wavelengths - 400) / 14)
    infrared = 5 + 9 / (1 + np.exp((wavelengths - 1500) / 60))
    return np.where(wavelengths < 1260, visible, infrared)


def observe(shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts of the sensor, (SIZE, SIZE, 200) uint16, from shares of materials."""
    w = _SENSOR_WAVELENGTHS[_KEPT]
    across = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, :]
    relief = gaussian_filter(rng.standard_normal((SIZE, SIZE), np.float32), 11.0, mode="wrap")
    slope = np.gradient(relief / relief.std(), axis=1)
    light = 1 + 0.035 * across * rng.choice([-1, 1]) + 0.025 * slope / slope.std()
    direct = spectra.solar_irradiance(w) * np.sin(_SUN_ELEVATION) / np.pi * spectra.transmittance(w)

    # Summed by material, not as a matrix product: a BLAS may sum in another order on other threads.
    cube = np.zeros((SIZE, SIZE, len(w)), np.float32)
    lit = shares * light[:, :, None].astype(np.float32)
    for index, reflectance in enumerate(spectra.endmembers(w).values()):
        cube += lit[:, :, index, None] * (500 * direct * reflectance).astype(np.float32)
    haze = (1 + 0.03 * across * rng.choice([-1, 1]))[:, :, None].astype(np.float32)
    cube += haze * (500 * spectra.path_radiance(w)).astype(np.float32)

    noise = rng.standard_normal(cube.shape, np.float32)
    noise *= noise_deviation(w).astype(np.float32) * np.sqrt(0.4 + cube / (cube.mean((0, 1)) / 0.6))
    cube += 1000 + noise
    return np.clip(np.rint(cube), 0, 65535).astype(np.uint16)
