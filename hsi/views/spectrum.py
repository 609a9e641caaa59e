"""Attribution per wavelength, over the mean spectrum of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsi.errors import SettingsError
from hsi.views import draw
from hsi.views.attributed import Attributed
from hsi.views.choose import pixels_of_class
from hsi.views.look import Look
from hsi.views.subject import SceneSubject

CLASS_SAMPLES = 100
"""Test pixels of a class that the mean is taken over, at most."""


def show(look: Look) -> list[Path]:
    """One figure: a panel for each class of the samples, a line for each variant."""
    from hsi.compare.attributions import cosine
    from hsi.explain.spectra import pixel_sums
    from hsi.plots.spectra import attribution_spectra

    request, subject = look.request, look.subject
    assert isinstance(subject, SceneSubject)
    keys, classes = _samples(look, subject)
    inputs = subject.shown(keys)
    half = inputs.shape[1] // 2
    found = {}
    for opened, label in zip(look.variants, look.labels, strict=True):
        found[label] = Attributed(opened, request)(request.method, inputs, classes)
        if found[label].per == "pixel":  # before another variant is asked
            raise SettingsError(
                f"views: {request.method} tells pixels apart and no bands; its views are tiles, "
                "gray and scene."
            )
    first = look.labels[0]
    sums = {label: pixel_sums(result.maps) for label, result in found.items()}
    captions = {
        label: f"cosine with {first} {np.nanmedian(cosine(sums[first], values)):.2f} (median)"
        for label, values in sums.items()
        if label != first
    }
    numbers = subject.class_numbers
    chosen = dict.fromkeys(int(numbers[index]) for index in classes)
    figure = attribution_spectra(
        inputs[:, half, half],
        {label: result.maps for label, result in found.items()},
        numbers[classes],
        {number: subject.scene.class_names[number] for number in chosen},
        **draw.axis_of(subject),
        title=f"{draw.title(look)}: {draw.LABELS.get(request.method, request.method)}",
        captions=captions,
        spectrum_label=subject.input_words,
        attribution_label=draw.unit(look, found[first]),
        synthetic=subject.synthetic,
        note=subject.note,
    )
    return [look.write_figure(figure, f"{request.stem}_spectrum")]


def _samples(look: Look, subject: SceneSubject) -> tuple[np.ndarray, np.ndarray]:
    """Test pixels (n,) of the classes of the samples, and the class explained at each (n,)."""
    wanted = look.chosen.explained if look.request.klass is not None else look.chosen.true
    groups = {}
    for index in dict.fromkeys(int(i) for i in wanted if i >= 0):
        groups[index] = pixels_of_class(
            subject.samples, index, count=CLASS_SAMPLES, seed=look.request.seed
        )
    if not sum(map(len, groups.values())):
        raise SettingsError(
            "views: spectrum needs test pixels of the classes looked at, this split has none; "
            "name another --class."
        )
    classes = [np.full(len(keys), index) for index, keys in groups.items()]
    return np.concatenate(list(groups.values())), np.concatenate(classes)
