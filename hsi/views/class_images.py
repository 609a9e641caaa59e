"""Images that a class likes best: one figure a class, or one file of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hsi import explain
from hsi.views import draw
from hsi.views.look import Look
from hsi.views.subject import SceneSubject


def show(look: Look) -> list[Path]:
    """Of the class asked for, else of every class."""
    request = look.request
    asked = None if request.klass is None else int(look.chosen.explained[0])
    options: dict[str, Any] = {"steps": request.steps, "start": request.start or _start(look)}
    found = explain.load(request.method).images(
        look.first.score,
        look.inputs,
        classes=asked,
        batch_size=request.batch_size,
        seed=request.seed,
        **{name: value for name, value in options.items() if value is not None},
    )
    for note in found.notes:
        look.say(f"Note: {request.method}: {note}.")
    numbers = np.array([look.class_number(int(index)) for index in found.classes])
    if request.format == "npz":
        arrays = {
            "images": found.images,
            "image_classes": numbers,
            "image_scores": found.scores,
            "start_scores": found.start_scores,
        }
        return [look.write_arrays(arrays)]
    every = list(range(len(numbers)))
    written = []
    for places in [every] if request.output_file else [[place] for place in every]:
        figure = draw.class_image(look, found, places)
        written.append(look.write_figure(figure, f"{request.stem}_class{numbers[places[0]]}"))
    return written


def _start(look: Look) -> str | None:
    """Behind NMF the mean spectrum: at zero no component is in use, and nothing has a slope."""
    subject = look.subject
    if not isinstance(subject, SceneSubject) or subject.of_components:
        return None
    return "mean" if subject.samples.preparation.reducer == "NMF" else None
