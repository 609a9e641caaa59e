"""Decompositions of kernels, on arrays; (taps ..., in, out) as Keras has them, float64.

svd      W = A B,  A (in, r), B (r, out)                      Eckart and Young 1936
tucker2  K = A . C . B: in -> R, taps on R -> Q, Q -> out      Kim et al. 2016, arXiv 1511.06530
spatial  K = V . H: a column of taps to r, then a row of them  Jaderberg et al. 2014, 1405.3866
"""

from __future__ import annotations

import numpy as np

HOOI_STEPS = 3
"""Alternations of Tucker-2 after its start; more change the error by less than a thousandth."""


def svd(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best A (m, r) B (r, n) in the least-squares sense; both of one size, for quantization."""
    if matrix.shape[0] > matrix.shape[1]:
        left, right = svd(matrix.T, rank)
        return right.T, left.T
    vectors = _leading(matrix, rank)
    rows = vectors.T @ matrix
    root = np.sqrt(np.linalg.norm(rows, axis=1)).clip(np.finfo(np.float32).tiny)
    return vectors * root, rows / root[:, None]


def tucker2(
    kernel: np.ndarray, ranks: tuple[int, int], *, steps: int = HOOI_STEPS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (in, R), core (taps ..., R, Q) and B (Q, out) with orthonormal A and B.

    Started from the singular vectors of both unfoldings (HOSVD), then improved in turns (HOOI; De
    Lathauwer, De Moor and Vandewalle 2000). At a full rank the factor is the identity.
    """
    first, last = ranks
    into = _axes(kernel, -2, first)
    out = _axes(kernel, -1, last)
    for _ in range(steps):
        into = _axes(kernel @ out, -2, first)
        out = _axes(into.T @ kernel, -1, last)
    return into, into.T @ kernel @ out, out.T


def spatial(kernel: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (rows, 1, in, r) and (1, cols, r, out), the best such pair."""
    rows, cols, into, out = kernel.shape
    down, across = svd(columns_by_rows(kernel), rank)
    return (
        down.reshape(rows, into, rank)[:, None],
        across.reshape(rank, cols, out).swapaxes(0, 1)[None],
    )


def unfold(kernel: np.ndarray, axis: int) -> np.ndarray:
    """A matrix with one row for each index along an axis."""
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)


def columns_by_rows(kernel: np.ndarray) -> np.ndarray:
    """(rows, cols, in, out) -> (rows * in, cols * out): of rank r where r pairs rebuild it."""
    rows, cols, into, out = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(rows * into, cols * out)


def spectrum(matrix: np.ndarray) -> np.ndarray:
    """Singular values, the largest first."""
    return np.sqrt(np.linalg.eigvalsh(_gram(matrix))[::-1].clip(0))


def _axes(kernel: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """The first left singular vectors of an unfolding; all axes as they are at full rank."""
    size = kernel.shape[axis]
    return np.eye(size) if rank == size else _leading(unfold(kernel, axis), rank)


def _leading(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The first left singular vectors."""
    vectors = np.linalg.eigh(matrix @ matrix.T)[1]
    # In a row, since products with a reversed view do not go through BLAS: ten times slower.
    return np.ascontiguousarray(vectors[:, ::-1][:, :rank])


def _gram(matrix: np.ndarray) -> np.ndarray:
    """The smaller of the two products with itself.

    Its eigenvalues are the squared singular values to 1e-16 of the largest, which is what energies
    need, in a tenth of the time of an SVD.
    """
    rows, cols = matrix.shape
    return matrix @ matrix.T if rows <= cols else matrix.T @ matrix
