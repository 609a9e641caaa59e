"""Batch norms folded into kernels, and chains of linear layers into one.

A batch norm in inference is an affine map of channels (Ioffe and Szegedy 2015), so it is one with
the convolution or dense layer before it, or after it where that has no padding. Layers without an
activation between them are one linear map: `cao`'s three dense layers are 200 x 9.
"""

from __future__ import annotations

import tf_keras as keras

from hsi.compress.fold.draft import Draft
from hsi.compress.fold.merges import Merge, dense_merges, merges

BatchNormalization = keras.layers.BatchNormalization


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A new model, equal in inference, with batch norms folded into the kernels beside them.

    Folded is a batch norm after a convolution (depthwise, separable and transposed ones too) or
    dense layer that has no activation and that it alone reads; or one before such a layer,
    where no padding comes between. Others stay, and so do those that run as in training, and
    layers that are called twice. Layer names stay; the model is not compiled.

    Raises:
        ModelError: the model is no graph of layers, or takes more than tensors from it.
    """
    draft = Draft(model)
    while merge := _next_batch_norm(draft):
        merge.apply(draft)
    return draft.model()


def fold_linear(model: keras.Model) -> keras.Model:
    """A new model, equal in inference, with neighbouring linear layers made one.

    Dense after dense, a 1 x 1 convolution beside a convolution, and whatever affine layers
    (convolutions, pooling by averages, batch norms, flatten) end in a dense layer on a vector;
    dropout between them does nothing in inference and goes. Only where neither the parameters
    nor the multiply-accumulates grow; the best first. See `what_stays` for the rest.

    Raises:
        ModelError: the model is no graph of layers, or takes more than tensors from it.
    """
    draft = Draft(model)
    while paying := [merge for merge in _linear(draft) if merge.pays]:
        max(paying, key=lambda merge: merge.saving).apply(draft)
    return draft.model()


def what_stays(model: keras.Model) -> tuple[str, ...]:
    """Of a folded model: what could be one layer but does not pay, and the batch norms left.

    Returns:
        A sentence each; none where nothing is left to say.
    """
    draft = Draft(model)
    notes = [
        f"{', '.join(merge.names)} stay apart: as one layer they would take "
        f"{merge.after.parameters:,} parameters and {merge.after.macs:,} multiply-accumulates, "
        f"apart {merge.before.parameters:,} and {merge.before.macs:,}."
        for merge in _linear(draft)
        if not merge.pays
    ]
    # A layer that is called twice has two calls.
    norms = dict.fromkeys(c.name for c in draft.calls if type(c.layer) is BatchNormalization)
    if norms:
        notes.append(
            f"{len(norms)} batch norms stay ({', '.join(norms)}): no convolution or dense layer "
            "beside them can take them in (an activation, padding or another reader is between)."
        )
    return tuple(notes)


def _next_batch_norm(draft: Draft) -> Merge | None:
    norms = {call.name for call in draft.calls if type(call.layer) is BatchNormalization}
    return next((merge for merge in merges(draft) if norms & {*merge.names}), None)


def _linear(draft: Draft) -> list[Merge]:
    """All merges, each pair of layers once."""
    whole = list(dense_merges(draft))
    ends = {merge.names[-1] for merge in whole}
    return [*whole, *(merge for merge in merges(draft) if merge.names[-1] not in ends)]
