"""The pictures of a look: which figure shows what, under which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hsi.compare.explained import ZERO_OF_BANDS
from hsi.errors import SettingsError
from hsi.views.opened import Opened, Subject
from hsi.views.request import Request
from hsi.views.subject import SceneSubject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hsi.explain.activation_map import LayerActivations
    from hsi.explain.attribution import Attribution
    from hsi.explain.class_image import ClassImages
    from hsi.views.look import Look

LABELS = {
    "smoothgrad": "SmoothGrad",
    "smoothgrad_squared": "SmoothGrad squared",
    "vargrad": "VarGrad",
    "input_times_gradient": "input times gradient",
    "integrated_gradient": "integrated gradients",
    "guided_backprop": "guided backpropagation",
    "gradcam": "Grad-CAM",
    "gradcam_plus_plus": "Grad-CAM++",
    "guided_gradcam": "guided Grad-CAM",
    "visual_backprop": "VisualBackProp",
    "layer_attention": "layer attention",
    "spectral_occlusion": "spectral occlusion",
    "rise": "RISE",
}
"""Row labels of methods that are not written like their names."""

UNITS = {
    "gradient": "d {score} / d {input}",
    "squared gradient": "(d {score} / d {input})²",
    "contribution": "{score}",
    "relevance": "no unit",
}
"""Of the values of a map, by `hsi.explain.attribution.Quantity`."""

PER = {"pixel": "same in every {unit}", "channel": "same at every pixel"}
"""What is added to the unit, by `hsi.explain.attribution.Per`."""


def sample_line(look: Look, place: int) -> str:
    """One sample in words: place, true and predicted class, score."""
    subject, chosen = look.subject, look.chosen
    true, predicted = int(chosen.true[place]), int(chosen.predicted[place])
    explained = int(chosen.explained[place])
    if true == predicted:
        classes = f"class {subject.class_text(true)}, predicted right"
    elif true < 0:
        known = "" if look.photographed else f"class {subject.class_text(true)}, "
        classes = f"{known}predicted {subject.class_text(predicted)}"
    else:
        classes = (
            f"class {subject.class_text(true)}, predicted WRONG {subject.class_text(predicted)}"
        )
    whose = "" if explained == predicted else f" of {subject.class_text(explained)}"
    score = f"{chosen.score_word}{whose} {chosen.scores[place]:.2f}"
    return f"{subject.place(chosen.keys[place])}: {classes}, {score}"


def tiles(
    look: Look,
    found: Mapping[str, Attribution],
    places: Sequence[int],
    *,
    captions: Mapping[str, Sequence[str]] | None = None,
    gray: bool = False,
) -> Figure:
    """Input and maps of some samples, band by band (component by component where asked for).

    Args:
        found: row label -> maps; several variants share one scale.
        places: of the samples.
        captions: row label -> a line for each of these samples.
        gray: without colours.
    """
    from hsi.plots.tiles import attribution_tiles

    request, subject, at = look.request, look.subject, list(places)
    return attribution_tiles(
        look.inputs[at],
        {label: result.maps[at] for label, result in found.items()},
        **axis_of(subject),
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        title=f"{title(look)}: {request.method if found else 'input'}",
        sample_titles=[sample_line(look, place) for place in at],
        input_label=subject.input_words,
        attribution_label={label: unit(look, result) for label, result in found.items()},
        shared_scale=len(look.variants) > 1,
        captions=captions or {},
        **_colormap("gray" if gray else request.colormap),
        synthetic=subject.synthetic,
        note=subject.note,
    )


def axis_of(subject: Subject) -> dict[str, Any]:
    """What the channels of the samples are, as every figure along them takes it."""
    return {"bands": subject.numbers, "wavelengths": subject.wavelengths, "unit": subject.unit}


def _colormap(name: str | None) -> dict[str, Any]:
    """The colour map that was asked for; every figure has its own default."""
    return {"signed_map": name} if name else {}


def title(look: Look) -> str:
    """The file looked at, or how many there are."""
    if len(look.variants) == 1:
        return look.first.title
    return f"{len(look.variants)} variants on {look.subject.name}"


def row_label(look: Look, opened: Opened, method: str) -> str:
    """Of a row of tiles: the method, or with several variants the variant."""
    if len(look.variants) == 1:
        return LABELS.get(method, method)
    return look.labels[list(look.variants).index(opened)]


def unit(look: Look, result: Attribution) -> str:
    """What stands beside the colour bar of a method's tiles."""
    words = {
        "score": look.chosen.score_word,
        "input": look.subject.input_words,
        "unit": look.subject.unit,
    }
    if result.method == "layer_attention":
        words["score"] = "unit"
    parts = [UNITS[result.quantity].format(**words)]
    if result.per in PER:
        parts.append(PER[result.per].format(**words))
    if ZERO_OF_BANDS in result.notes:
        parts.append(ZERO_OF_BANDS)
    return ", ".join(parts)


def class_image(look: Look, images: ClassImages, places: Sequence[int]) -> Figure:
    """Class images: of photographs in colour, else band by band or component by component."""
    from hsi.plots.class_pictures import class_pictures
    from hsi.plots.tiles import attribution_tiles

    request, subject, at = look.request, look.subject, list(places)
    titles = [
        f"class {subject.class_text(int(images.classes[i]))}: {look.chosen.score_word} "
        f"{images.start_scores[i]:.2f} at the start, {images.scores[i]:.2f} here"
        for i in at
    ]
    shared: dict[str, Any] = {
        "title": f"{title(look)}: {request.method}",
        "input_label": subject.input_words,
        "synthetic": subject.synthetic,
        "note": subject.note,
    }
    if not isinstance(subject, SceneSubject) and images.images.shape[-1] == 3:
        return class_pictures(images.images[at], titles=titles, **shared)
    return attribution_tiles(
        images.images[at],
        {},
        **axis_of(subject),
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        sample_titles=titles,
        **shared,
    )


def activation(look: Look, layer: LayerActivations, place: int, *, last: bool) -> Figure:
    """What a layer answers to a sample; `last` is the output, whose units have names."""
    from hsi.plots.activations import activation_figure

    subject = look.subject
    names = None
    if last and subject.classes and layer.array.shape[1:] == (subject.classes,):
        names = [subject.class_text(i) for i in range(subject.classes)]
    return activation_figure(
        layer.layer,
        layer.array[place],
        title=f"{title(look)}\n{sample_line(look, place)}",
        unit_names=names,
        synthetic=subject.synthetic,
        note=subject.note,
    )


def pixels(
    look: Look, results: Sequence[Attribution], captions: Mapping[str, str], place: int
) -> Figure:
    """Bands against the pixels of one sample's patch, a row a variant."""
    from hsi.plots.pixels import pixels_by_bands

    subject = look.subject
    return pixels_by_bands(
        {label: result.maps[place] for label, result in zip(look.labels, results, strict=True)},
        sample_input=look.inputs[place],
        **axis_of(subject),
        title=f"{title(look)}: {look.request.method}\n{sample_line(look, place)}",
        captions=captions,
        input_label=subject.input_words,
        attribution_label=unit(look, results[0]),
        **_colormap(look.request.colormap),
        synthetic=subject.synthetic,
        note=subject.note,
    )


def overlays(
    look: Look, rows: Mapping[str, Attribution], captions: Mapping[str, Sequence[str]]
) -> Figure:
    """Maps over photographs, a column an image and a row a variant or method."""
    from hsi.plots.photographs import overlays

    subject = look.subject
    assert not isinstance(subject, SceneSubject)
    return overlays(
        subject.pictures(look.chosen.keys),
        {label: result.maps.sum(axis=-1) for label, result in rows.items()},
        sample_titles=[sample_line(look, place) for place in range(len(look.chosen.keys))],
        captions=captions,
        shared_scale=len(look.variants) > 1,
        title=f"{title(look)}: {look.request.method}",
        attribution_label={label: unit(look, result) for label, result in rows.items()},
        **_colormap(look.request.colormap),
        note=subject.note,
    )


def check_bands(subject: Subject, request: Request) -> None:
    """Refuse bands or components that the input does not have (`SettingsError`)."""
    numbers = subject.numbers
    first, last = int(numbers.min()), int(numbers.max())
    for name in ("from_band", "to_band"):
        value = getattr(request, name)
        if value is not None and not first <= value <= last:
            raise SettingsError(
                f"{name}: expected a {subject.unit} from {first} to {last}, got {value}."
            )
    from hsi.plots.band_choice import choose_bands

    choose_bands(
        numbers,
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        unit=subject.unit,
    )
