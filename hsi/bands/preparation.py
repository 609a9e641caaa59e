"""The fitted path from a sensor's raw bands to a network's input channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hsi.bands.nonlinear import rbf
from hsi.bands.scaling import SCALINGS, component_scale, fit_bands
from hsi.bands.table import NONE, REDUCERS, Method, is_selection, reducer_name
from hsi.bands.training import Reduced, Training
from hsi.errors import DataError, SettingsError, one_of
from hsi.nonnegative import non_negative_weights

PIXELS_AT_ONCE = 65536
FEATURES_AT_ONCE = 1 << 22
"""Values of features of pixels (nearness to landmarks, hidden units) that are held at a time."""


@dataclass(frozen=True)
class Preparation:
    """What was fitted: clip, scale, reduce, scale.

    Per band: clip to [low, high], subtract `offset`, divide by `scale`, which gives z. Then, by the
    kind of the method,

        affine        c = C (z - m), all selections among them: C is then of zeros and ones
        kernel        c = C (k(z) - m), k_j = exp(-g |z - p_j|^2) of the landmarks p
        encoder       c = C (tanh(W z + b) - m)
        non_negative  c = argmin |z - c C|, c >= 0

    Then, per component, subtract `out_offset` and divide by `out_scale`.

    Attributes:
        low, high, offset, scale: (bands,) float64 in the cube's units; infinite bounds do not clip.
        reducer: "none" or a name of `hsi.bands.table.REDUCERS`.
        mean: m (features,) and components: C (components, features); the features are the scaled
            bands, but for kernel and encoder. Empty without a method.
        out_offset, out_scale: (components,), empty without a method.
        quality: explained variance ratio of each component (PCA); the relative reconstruction error
            on the training pixels (NMF, autoencoder); else the share of the scaled training bands'
            variance that can be rebuilt linearly. Empty without a method.
        notes: what the user should know, a sentence each.
        inner: landmarks p or weights W, (features, bands); else empty.
        inner_bias: g as (1,), or b (features,); else empty.
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
    inner: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    inner_bias: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def bands(self) -> int:
        """Bands that go in."""
        return len(self.low)

    @property
    def channels(self) -> int:
        """Channels that come out: components, or bands where there is no reduction."""
        return self.bands if self.reducer == NONE else len(self.components)

    @property
    def kind(self) -> str:
        """ "none", or how the method computes: see `hsi.bands.table.Method`."""
        return NONE if self.reducer == NONE else REDUCERS[self.reducer].kind

    @property
    def selects(self) -> bool:
        """Whether it keeps bands of the sensor instead of making components."""
        return is_selection(self.reducer)

    @property
    def chosen(self) -> np.ndarray:
        """(channels,) indices, from 0, of the bands that a selection keeps; empty for others."""
        return self.components.argmax(axis=1) if self.selects else np.empty(0, int)

    def summary(self) -> dict[str, Any]:
        """What belongs in the run file: how good the reduction is."""
        if self.reducer == NONE:
            return {"band_selection": None, "channels": self.channels}
        result: dict[str, Any] = {"band_selection": self.reducer, "components": self.channels}
        if self.reducer == "PCA":
            result["explained_variance"] = float(self.quality.sum())
            result["explained_variance_ratio"] = [float(v) for v in self.quality]
        elif self.kind in ("non_negative", "encoder"):
            result["relative_reconstruction_error"] = float(self.quality[0])
        else:
            result["rebuilt_variance"] = float(self.quality[0])
        return result


def fit(
    cube: np.ndarray,
    train: np.ndarray,
    *,
    scaling: str = "standard",
    band_selection: str | None = None,
    components: int | None = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Preparation:
    """Fit a preparation on the training pixels of a cube, and on nothing else.

    Clipping bounds are the 1 and 99 percentiles of each band, widened by their distance on both
    sides: a few stray pixels (Salinas-A holds two, one value 834 deviations out) must not set the
    input's scale, and ordinary pixels must not be touched. `none` neither clips nor scales.

    Args:
        cube: (rows, cols, bands) raw values.
        train: (rows, cols) bool.
        scaling: "standard" (mean 0, deviation 1 per band), "minmax" (0..1) or "none"; behind a
            method the components are centred after it and all divided by one number.
        band_selection: a name of `hsi.bands.table.REDUCERS` in any case, or None.
        components: how many components, or bands of a selection; needed with a method.
        labels: (rows, cols) class numbers; those of training pixels are looked at, by methods that
            want classes.
        seed: for what a method draws at random.

    Raises:
        DataError: training pixels with values that are not finite.
        SettingsError: unknown names, more components than bands, training pixels or (lda) classes,
            a method that wants classes without them, or one for training pixels that are all alike.
    """
    one_of(scaling, SCALINGS, what="scaling")
    name = one_of(reducer_name(band_selection or NONE), (NONE, *REDUCERS), what="band_selection")
    spectra = np.asarray(cube[train], np.float64)
    if wrong := np.count_nonzero(~np.isfinite(spectra).all(axis=1)):
        raise DataError(
            f"{wrong} of {len(spectra)} training pixels hold NaN or infinite values; fill these or "
            "leave the pixels out."
        )
    _check_components(name, components, spectra)
    method = REDUCERS.get(name)
    from_zero = method is not None and method.kind == "non_negative"
    low, high, offset, scale, notes = fit_bands(spectra, scaling, from_zero=from_zero)
    if method is None:
        none = np.empty(0)
        empty = (none, np.empty((0, len(low))), none, none, none)
        return Preparation(low, high, offset, scale, NONE, *empty, notes)
    scaled = (np.clip(spectra, low, high) - offset) / scale
    training = Training(scaled, scale, _classes(name, method, labels, train))
    found = _reduced(name, method, training, int(components or 0), seed)
    weights = _weights(method.kind, found, scaled)
    quality = found.quality if len(found.quality) else np.array([_rebuilt(scaled, weights)])
    return Preparation(
        low,
        high,
        offset,
        scale,
        name,
        found.mean,
        found.components,
        *component_scale(weights, scaling),
        quality,
        notes + found.notes,
        found.inner,
        found.inner_bias,
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
        out[rows] = _prepared(preparation, cube[rows]).reshape(out[rows].shape)
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


def _check_components(name: str, components: int | None, spectra: np.ndarray) -> None:
    if name == NONE:
        if components is not None:
            raise SettingsError("components: expected together with --band_selection METHOD.")
        return
    most = min(spectra.shape)
    if components is None or not 1 <= components <= most:
        pixels, bands = spectra.shape
        raise SettingsError(
            f"components: expected 1 to {most} for {name} ({bands} bands, {pixels} training "
            f"pixels), got {components if components is not None else 'none'}."
        )
    if (spectra == spectra[0]).all():
        raise SettingsError(
            f"{name}: expected training pixels that differ, all {len(spectra)} have one spectrum."
        )


def _classes(name: str, method: Method, labels: np.ndarray | None, train: np.ndarray) -> np.ndarray:
    """(n,) class numbers of the training pixels, as `Training` has them.

    Raises:
        SettingsError: less than two classes where they are wanted.
    """
    if not method.supervised:
        return np.zeros(np.count_nonzero(train), int)
    if labels is None:
        raise SettingsError(
            f"{name}: expected the classes of the training pixels, got none; take a method "
            "that does not look at them."
        )
    classes: np.ndarray = np.asarray(labels)[train]
    if len(np.unique(classes)) < 2:
        raise SettingsError(f"{name}: expected training pixels of two classes or more.")
    return classes


def _reduced(name: str, method: Method, training: Training, count: int, seed: int) -> Reduced:
    """What the method finds.

    Raises:
        SettingsError: pixels that it cannot be fitted on.
    """
    try:
        return method.fit(training, count, seed)
    except (ValueError, np.linalg.LinAlgError) as error:  # as scikit-learn says that it cannot
        pixels, bands = training.scaled.shape
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{name}: cannot be fitted with {count} components on {pixels} training pixels of "
            f"{bands} bands ({reason}); take fewer components or another method."
        ) from error


def _weights(kind: str, found: Preparation | Reduced, scaled: np.ndarray) -> np.ndarray:
    """(n, bands) scaled -> (n, components), not yet centred."""
    if kind == "non_negative":
        return non_negative_weights(scaled, found.components)[0]
    if kind == "affine":
        result: np.ndarray = (scaled - found.mean) @ found.components.T
        return result
    weights = np.empty((len(scaled), len(found.components)))
    step = max(1, FEATURES_AT_ONCE // len(found.inner))
    for start in range(0, len(scaled), step):
        some = slice(start, start + step)
        if kind == "kernel":
            features = rbf(scaled[some], found.inner, float(found.inner_bias[0]))
        else:
            features = np.tanh(scaled[some] @ found.inner.T + found.inner_bias)
        features -= found.mean
        weights[some] = features @ found.components.T
    return weights


def _rebuilt(scaled: np.ndarray, weights: np.ndarray) -> float:
    """Share of the bands' variance that the best affine map of the components gives back."""
    centred, given = scaled - scaled.mean(axis=0), weights - weights.mean(axis=0)
    total = float((centred**2).sum())
    best = given @ np.linalg.lstsq(given, centred, rcond=None)[0]
    return 1 - float(((centred - best) ** 2).sum()) / total if total else 1.0


def _prepared(p: Preparation, rows: np.ndarray) -> np.ndarray:
    """(rows, cols, bands) raw -> (pixels, channels) float64."""
    if p.selects:  # the other bands need not even be read
        kept = p.chosen
        spectra = np.array(rows[:, :, kept], np.float64).reshape(-1, len(kept))
        np.clip(spectra, p.low[kept], p.high[kept], out=spectra)
        spectra -= p.offset[kept] + p.out_offset * p.scale[kept]
        spectra /= p.scale[kept] * p.out_scale
        return spectra
    spectra = np.array(rows, np.float64).reshape(-1, p.bands)
    np.clip(spectra, p.low, p.high, out=spectra)
    if p.kind == "affine":  # one product; the offsets go first, for small numbers
        spectra -= p.offset + p.mean * p.scale
        weights: np.ndarray = spectra @ (p.components / p.scale / p.out_scale[:, None]).T
        weights -= p.out_offset / p.out_scale
        return weights
    spectra -= p.offset
    spectra /= p.scale
    if p.reducer == NONE:
        return spectra
    return (_weights(p.kind, p, spectra) - p.out_offset) / p.out_scale
