"""Reductions that are no affine map of the bands: NMF, kernel PCA, an autoencoder.

The last two are an affine map of *features* of the bands: nearness to some training pixels, and the
hidden layer of a small network.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hsi.bands.training import Reduced, Training, drawn_note
from hsi.nonnegative import non_negative_weights

NMF_ITERATIONS = 1000
LANDMARKS = 1000
"""Training pixels that kernel PCA is fitted on and that are stored with it."""
HIDDEN, STEPS, BATCH, RATE = 64, 2000, 64, 2e-3
"""Of the autoencoder: least hidden units, steps of Adam, pixels in each, first learning rate."""


def nmf(training: Training, count: int, seed: int) -> Reduced:
    """Non-negative parts that add up to the spectra (Lee and Seung 1999, Nature 401)."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    scaled = training.scaled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NMF(count, init="nndsvda", random_state=seed, max_iter=NMF_ITERATIONS).fit(scaled)
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
    zero = np.zeros(scaled.shape[1])
    return Reduced(zero, axes, quality=np.array([error]), notes=tuple(notes))


def kernel_pca(training: Training, count: int, seed: int) -> Reduced:
    """PCA in the space of a Gaussian kernel (Schölkopf, Smola and Müller 1998, Neural Comp. 10).

    exp(-g |z - p|^2) of the landmarks p, with g one over the number of bands times their mean
    variance. With eigenvectors V, eigenvalues l of the centred kernel, a new pixel's components are
    (k(z) - m) V l^-1/2: eigenvectors sum to zero, so that of the centring for each pixel nothing
    else is left.
    """
    from sklearn.decomposition import KernelPCA

    some = training.drawn(LANDMARKS, seed)
    spread = float(some.scaled.var(axis=0).mean()) or 1.0
    gamma = 1 / (some.scaled.shape[1] * spread)
    model = KernelPCA(count, kernel="rbf", gamma=gamma, eigen_solver="dense").fit(some.scaled)
    values = model.eigenvalues_
    used = values > 1e-12 * values[0]  # the others are rounding, which a division would blow up
    axes = (model.eigenvectors_ * np.where(used, 1 / np.sqrt(np.where(used, values, 1)), 0)).T
    mean = rbf(some.scaled, some.scaled, gamma).mean(axis=0)
    notes = drawn_note("kernel_pca", len(some.scaled), len(training.scaled))
    return Reduced(mean, axes, some.scaled, np.array([gamma]), notes=notes)


def rbf(spectra: np.ndarray, landmarks: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |z - p|^2): (n, bands) and (m, bands) -> (n, m)."""
    centre = landmarks.mean(axis=0)  # far from zero the squares below would cancel
    spectra, landmarks = spectra - centre, landmarks - centre
    found = spectra @ (2 * gamma * landmarks.T)
    found -= gamma * (spectra**2).sum(axis=1)[:, None]
    found -= gamma * (landmarks**2).sum(axis=1)
    return np.exp(np.minimum(found, 0, out=found), out=found)


def autoencoder(training: Training, count: int, seed: int) -> Reduced:
    """The code of a small network that rebuilds its input (Hinton and Salakhutdinov 2006).

    bands - tanh - code - tanh - bands, trained for a fixed number of steps, so that its cost does
    not grow with the pixels. Of it the way to the code is kept, code = C tanh(W z + b).
    """
    scaled = training.scaled
    mean, spread = scaled.mean(axis=0), float(scaled.std()) or 1.0
    inputs = ((scaled - mean) / spread).astype(np.float32)
    weights = [w.astype(np.float64) for w in _trained(inputs, count, seed)]
    into, bias, code, out, out_bias, last, last_bias = weights
    codes = np.tanh(inputs @ into + bias) @ code
    rebuilt = np.tanh(codes @ out + out_bias) @ last + last_bias
    error = np.linalg.norm(inputs - rebuilt) / max(float(np.linalg.norm(inputs)), 1e-300)
    inner = into.T / spread
    return Reduced(
        np.zeros(len(inner)), code.T, inner, bias - inner @ mean, quality=np.array([error])
    )


def _trained(inputs: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Weights of the network that was trained to rebuild (n, bands) float32."""
    from hsi.quiet import start_tensorflow

    start_tensorflow()
    import tensorflow as tf
    import tf_keras as keras

    bands = inputs.shape[1]
    hidden = max(HIDDEN, 2 * count)
    # Zeros, so that no draw is taken from the generators that a network's own training uses.
    zeros: dict[str, Any] = {"kernel_initializer": "zeros"}
    model = keras.Sequential(
        [
            keras.Input((bands,), name="autoencoder_bands"),
            keras.layers.Dense(hidden, "tanh", name="autoencoder_in", **zeros),
            keras.layers.Dense(count, use_bias=False, name="autoencoder_code", **zeros),
            keras.layers.Dense(hidden, "tanh", name="autoencoder_out", **zeros),
            keras.layers.Dense(bands, name="autoencoder_rebuilt", **zeros),
        ],
        name="autoencoder",
    )
    rng = np.random.default_rng(seed)
    model.set_weights([_drawn(w.shape, rng) for w in model.get_weights()])
    rate = keras.optimizers.schedules.CosineDecay(RATE, STEPS)
    model.compile(keras.optimizers.Adam(rate), "mse")
    size = min(BATCH, len(inputs))
    rows = [rng.permutation(len(inputs)) for _ in range(-(-STEPS * size // len(inputs)))]
    order = np.concatenate(rows)[: STEPS * size].reshape(STEPS, size)
    source = tf.constant(inputs)

    def batch(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.gather(source, chosen)
        return pixels, pixels

    model.fit(tf.data.Dataset.from_tensor_slices(order).map(batch), verbose=0)
    found: list[np.ndarray] = model.get_weights()
    return found


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Glorot and Bengio's uniform draw for a matrix (2010), zeros for a bias."""
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    most = np.sqrt(6 / sum(shape))
    return rng.uniform(-most, most, shape).astype(np.float32)
