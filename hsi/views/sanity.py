"""The sanity page of a method: its maps while layer after layer of the network is randomised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.errors import ModelError
from hsi.views import draw
from hsi.views.attributed import Attributed
from hsi.views.look import Look


def show(look: Look) -> list[Path]:
    """One page a variant."""
    look.output.check_one(len(look.variants), f"{len(look.variants)} variants")
    return [path for place in range(len(look.variants)) for path in _page(look, place)]


def _page(look: Look, place: int) -> list[Path]:
    from hsi.compare.sanity import cascade
    from hsi.plots.sanity import sanity_page

    opened, request = look.variants[place], look.request
    inputs = opened.subject.shown(look.chosen.keys)
    if opened.variant.network is None:
        raise ModelError(
            f"{opened.path}: sanity: the weights of a .tflite file cannot be randomised; take the "
            "Keras model that it was made from."
        )
    options = Attributed(opened, request).options(request.method, inputs)
    page = cascade(
        request.method,
        opened.variant.network,
        inputs,
        classes=look.chosen.explained,
        seed=request.seed,
        batch_size=request.batch_size,
        view=opened.behind,
        **options,
    )
    look.say(f"Sanity: {page.verdict}.")
    for note in page.notes:
        look.say(f"Note: {note}.")
    several = len(look.variants) > 1
    stem = f"{request.stem}_sanity{f'_{look.file_parts[place]}' if several else ''}"
    if request.format == "npz":
        arrays = {
            "layers": np.asarray(page.layers),
            "similarity": page.signed,
            "similarity_magnitude": page.magnitude,
            "maps": page.maps,
        }
        return [look.write_arrays(arrays, stem if several else None)]
    subject = opened.subject
    figure = sanity_page(
        page.layers,
        page.signed,
        page.magnitude,
        page.maps.sum(axis=-1),
        verdict=page.verdict,
        title=f"{opened.title}: {draw.LABELS.get(request.method, request.method)}",
        synthetic=subject.synthetic,
        note=subject.note,
    )
    return [look.write_figure(figure, stem)]
