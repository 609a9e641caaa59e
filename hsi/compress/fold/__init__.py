"""Exact folding: the same function of the same input, by fewer layers.

    draft        a network while its layers are exchanged
    kernels      affine maps of channels, and what they make of the kernels beside them
    merges       which neighbouring layers are one, and what each form costs
    linear       batch norms into kernels, chains of linear layers into one
    preparation  clipping, scaling and an affine band reduction as a part of the network
    proof        how far a folded network is from the original

    small = fold_linear(fold_batch_norm(model))
    raw = fold_preparation(small, preparation)           # takes the sensor's counts
    proven_equal(model, raw, counts, preparation=preparation)

Nothing here is an approximation: what differs is rounding (see `proven_equal`). That holds for
inference; a network is folded when its training is over.
"""

from hsi.compress.fold.linear import fold_batch_norm, fold_linear, what_stays
from hsi.compress.fold.preparation import fold_preparation
from hsi.compress.fold.proof import proven_equal

__all__ = ["fold_batch_norm", "fold_linear", "fold_preparation", "proven_equal", "what_stays"]
