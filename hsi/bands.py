"""Preparation of a cube: clipping, scaling and band reduction, fitted on training pixels only.

What is fitted is a handful of arrays. They are stored beside the model (`.npz`, no pickle) and
applied the same way by every later command, so that the axes of a reducer never change.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hsi.errors import DataError, SettingsError, one_of
from hsi.nonnegative import non_negative_weights

SCALINGS = ("standard", "minmax", "none")
REDUCERS = ("none", "PCA", "NMF")
CLIP_PERCENTILES = (1, 99)
PIXELS_AT_ONCE = 65536
NMF_ITERATIONS = 1000


@dataclass(frozen=True)
class Preparation:
    """The fitted path from a sensor's raw bands to a network's input channels.

    Per band: clip to [low, high], subtract `offset`, divide by `scale`. Then, with a reducer,
    PCA: subtract `mean`, multiply by the transposed `components`; NMF: the non-negative weights
    that best rebuild the bands from `components`. Then, per component, subtract `out_offset` and
    divide by `out_scale`.

    Attributes:
        low, high, offset, scale: (bands,) float64 in the cube's units; infinite bounds do not clip.
        reducer: "none", "PCA" or "NMF".
        mean: (bands,) and components: (components, bands), in scaled bands; empty without reducer.
        out_offset, out_scale: (components,), empty without reducer.
        quality: explained variance ratio of each component (PCA), or the one relative
            reconstruction error on the training pixels (NMF); empty without reducer.
        notes: what the user should know, a sentence each.
    """

    low: np.ndarray
    high: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    reducer: str
    mean: np.ndarray
    components: np.ndarray
    out_offset: np.ndarray
    out_scale: np.ndarray
    quality: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def bands(self) -> int:
        """Bands that go in."""
        return len(self.low)

    @property
    def channels(self) -> int:
        """Channels that come out: components, or bands where there is no reducer."""
        return self.bands if self.reducer == "none" else len(self.components)

    def summary(self) -> dict[str, Any]:
        """What belongs in the run file: how good the reduction is."""
        if self.reducer == "none":
            return {"band_selection": None, "channels": self.channels}
        result: dict[str, Any] = {"band_selection": self.reducer, "components": self.channels}
        if self.reducer == "PCA":
            result["explained_variance"] = float(self.quality.sum())
            result["explained_variance_ratio"] = [float(v) for v in self.quality]
        else:
            result["relative_reconstruction_error"] = float(self.quality[0])
        return result


def fit(
    cube: np.ndarray,
    train: np.ndarray,
    *,
    scaling: str = "standard",
    band_selection: str | None = None,
    components: int | None = None,
    seed: int = 0,
) -> Preparation:
    """Fit a preparation on the training pixels of a cube, and on nothing else.

    Clipping bounds are the 1 and 99 percentiles of each band, widened by their distance on both
    sides: a few stray pixels (Salinas-A holds two, one value 834 deviations out) must not set the
    input's scale, and ordinary pixels must not be touched. `none` neither clips nor scales.

    Args:
        cube: (rows, cols, bands) raw values.
        train: (rows, cols) bool.
        scaling: "standard" (mean 0, deviation 1 per band), "minmax" (0..1) or "none"; with a
            reducer the components are centred after it and all divided by one number.
        band_selection: "PCA" (Pearson 1901), "NMF" (Lee and Seung 1999) or None.
        components: how many components; needed with a reducer.
        seed: for NMF's start where it is random.

    Raises:
        SettingsError: unknown names, or more components than bands or training pixels.
    """
    one_of(scaling, SCALINGS, what="scaling")
    reducer = one_of(band_selection or "none", REDUCERS, what="band_selection")
    spectra = np.asarray(cube[train], np.float64)
    _check_components(reducer, components, spectra)
    low, high, offset, scale, notes = _fit_bands(spectra, scaling, reducer)
    scaled = (np.clip(spectra, low, high) - offset) / scale
    none = np.empty(0)
    if reducer == "none":
        empty = (none, np.empty((0, len(low))), none, none, none)
        return Preparation(low, high, offset, scale, "none", *empty, notes)
    fit_reducer = _fit_pca if reducer == "PCA" else _fit_nmf
    mean, axes, weights, quality, said = fit_reducer(scaled, int(components or 0), seed)
    out_offset, out_scale = _component_scale(weights, scaling)
    return Preparation(
        low, high, offset, scale, reducer, mean, axes, out_offset, out_scale, quality, notes + said
    )


def apply(preparation: Preparation, cube: np.ndarray) -> np.ndarray:
    """Prepare a whole cube: (rows, cols, bands) raw -> (rows, cols, channels) float32.

    Works through the cube by rows, so that a memory-mapped one is never held whole in float64.

    Raises:
        DataError: the cube has another number of bands than the preparation was fitted on.
    """
    if cube.shape[2] != preparation.bands:
        raise DataError(
            f"Expected a cube of {preparation.bands} bands, as the model was trained on, "
            f"got {cube.shape[2]}."
        )
    out = np.empty((*cube.shape[:2], preparation.channels), np.float32)
    for rows in row_chunks(cube):
        spectra = np.array(cube[rows], np.float64).reshape(-1, preparation.bands)
        np.clip(spectra, preparation.low, preparation.high, out=spectra)
        spectra -= preparation.offset
        spectra /= preparation.scale
        out[rows] = _reduce(preparation, spectra).reshape(out[rows].shape)
    return out


def row_chunks(cube: np.ndarray) -> Iterator[slice]:
    """Slices of whole rows of at most about `PIXELS_AT_ONCE` pixels."""
    step = max(1, PIXELS_AT_ONCE // cube.shape[1])
    for start in range(0, cube.shape[0], step):
        yield slice(start, min(start + step, cube.shape[0]))


def count_clipped(preparation: Preparation, cube: np.ndarray) -> int:
    """How many values of a cube lie outside the clipping bounds (outliers, or other data)."""
    total = 0
    for rows in row_chunks(cube):
        values = cube[rows]
        total += int(np.count_nonzero((values < preparation.low) | (values > preparation.high)))
    return total


def save(preparation: Preparation, path: Path) -> None:
    """Write the arrays as an uncompressed .npz (deterministic bytes, no pickle)."""
    arrays = {f.name: np.asarray(getattr(preparation, f.name)) for f in fields(preparation)}
    arrays["notes"] = np.asarray(preparation.notes, dtype=np.str_)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Preparation:
    """Read what `save` wrote.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {f.name: arrays[f.name] for f in fields(Preparation)}
        values["reducer"] = one_of(str(values["reducer"]), REDUCERS, what="reducer")
        values["notes"] = tuple(str(note) for note in values["notes"])
        return Preparation(**values)
    except Exception as error:  # damage comes as anything: BadZipFile, NotImplementedError ...
        raise DataError(
            f"{path}: expected the preparation that was saved beside the model, could not read it "
            f"({type(error).__name__}); run generate_model.py again."
        ) from error


def _check_components(reducer: str, components: int | None, spectra: np.ndarray) -> None:
    if reducer == "none":
        if components is not None:
            raise SettingsError("components: expected together with --band_selection PCA or NMF.")
        return
    most = min(spectra.shape)
    if components is None or not 1 <= components <= most:
        pixels, bands = spectra.shape
        raise SettingsError(
            f"components: expected 1 to {most} for {reducer} ({bands} bands, {pixels} training "
            f"pixels), got {components if components is not None else 'none'}."
        )


def _fit_bands(
    spectra: np.ndarray, scaling: str, reducer: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    bands = spectra.shape[1]
    low, high = np.full(bands, -np.inf), np.full(bands, np.inf)
    if scaling != "none":
        bottom, top = np.percentile(spectra, CLIP_PERCENTILES, axis=0)
        # Where nearly all values are one, the few others may be a class: they are kept.
        one = bottom == top
        bottom = np.where(one, spectra.min(axis=0), bottom)
        top = np.where(one, spectra.max(axis=0), top)
        low, high = bottom - (top - bottom), top + (top - bottom)
    if reducer == "NMF":  # values from zero up, with a margin for pixels darker than all of these
        least = np.clip(spectra, low, high).min(axis=0)
        low = np.zeros(bands) if scaling == "none" else least - (high - low) / 30
        offset = low
        scale = np.ones(bands) if scaling == "none" else np.where(high > low, high - low, 1.0)
    else:
        offset, scale = _location_and_scale(np.clip(spectra, low, high), scaling)
    flat = np.flatnonzero(np.ptp(spectra, axis=0) == 0)
    notes = (
        (f"Band {flat[0] + 1} (of {len(flat)} such) is constant over the training pixels.",)
        if len(flat)
        else ()
    )
    return low, high, offset, scale, notes


def _location_and_scale(values: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract from and divide by each column; a constant column is divided by 1."""
    if scaling == "none":
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    if scaling == "standard":
        offset, scale = values.mean(axis=0), values.std(axis=0)
    else:
        offset, scale = values.min(axis=0), np.ptp(values, axis=0)
    # A constant column's deviation may be a rounding error above zero; its range is exact.
    return offset, np.where(np.ptp(values, axis=0) > 0, scale, 1.0)


def _component_scale(weights: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre each component, and divide all by the largest one's spread.

    One divisor for all: dividing each by its own would blow up the noise of the last ones (on the
    Indian Pines chip, PCA 20, that costs `cao` two points of accuracy), and int8 loses nothing.
    """
    offset, scale = _location_and_scale(weights, scaling)
    varies = np.ptp(weights, axis=0) > 0  # a component that is nowhere used has scale 1
    return offset, np.full_like(scale, scale[varies].max(initial=0) or 1.0)


def _fit_pca(
    scaled: np.ndarray, components: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn.decomposition import PCA

    model = PCA(components, svd_solver="full").fit(scaled)
    weights = (scaled - model.mean_) @ model.components_.T
    return model.mean_, model.components_, weights, model.explained_variance_ratio_, ()


def _fit_nmf(
    scaled: np.ndarray, components: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NMF(components, init="nndsvda", random_state=seed, max_iter=NMF_ITERATIONS).fit(
            scaled
        )
    axes = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True).clip(1e-12)
    weights, unsolved = non_negative_weights(scaled, axes)
    error = np.linalg.norm(scaled - weights @ axes) / max(float(np.linalg.norm(scaled)), 1e-300)
    notes: list[str] = []
    if model.n_iter_ >= NMF_ITERATIONS:
        notes.append(
            f"NMF did not converge in {NMF_ITERATIONS} iterations (relative reconstruction "
            f"error {error:.4f}); its components are usable, but not the best."
        )
    if unsolved:
        notes.append(f"NMF: the weights of {unsolved} training pixels are approximate.")
    return np.zeros(scaled.shape[1]), axes, weights, np.array([error]), tuple(notes)


def _reduce(preparation: Preparation, scaled: np.ndarray) -> np.ndarray:
    if preparation.reducer == "none":
        return scaled
    if preparation.reducer == "PCA":
        weights = (scaled - preparation.mean) @ preparation.components.T
    else:
        weights, _ = non_negative_weights(scaled, preparation.components)
    return (weights - preparation.out_offset) / preparation.out_scale
