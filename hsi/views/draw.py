"""The pictures of a look: which figure shows what, under which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hsi.errors import SettingsError
from hsi.views.choose import Chosen
from hsi.views.request import Request
from hsi.views.subject import Subject

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


def sample_line(subject: Subject, chosen: Chosen, place: int) -> str:
    """One sample in words: pixel, part, true and predicted class, score."""
    row, col = divmod(int(chosen.pixels[place]), subject.scene.cols)
    true, predicted = chosen.true[place], chosen.predicted[place]
    explained = chosen.explained[place]
    if true == predicted:
        classes = f"class {subject.class_text(true)}, predicted right"
    else:
        wrong = "predicted" if true < 0 else "predicted WRONG"
        classes = f"class {subject.class_text(true)}, {wrong} {subject.class_text(predicted)}"
    whose = "" if explained == predicted else f" of {subject.class_text(explained)}"
    score = f"{chosen.score_word}{whose} {chosen.scores[place]:.2f}"
    return f"pixel {row},{col} ({_part(subject, row, col)}): {classes}, {score}"


def stem(look: Look, place: int) -> str:
    """What sets the figure of a sample apart: method, pixel, and the class where it was asked."""
    request, scene = look.request, look.subject.scene
    row, col = divmod(int(look.chosen.pixels[place]), scene.cols)
    name = f"{request.method}_{row}_{col}"
    if request.klass is None or request.kind != "attribution":
        return name
    return f"{name}_class{scene.classes[look.chosen.explained[place]]}"


def tiles(look: Look, found: Mapping[str, Attribution], places: Sequence[int]) -> Figure:
    """Input and maps of some samples, band by band (component by component where reduced)."""
    from hsi.plots.tiles import attribution_tiles

    request, subject, chosen, at = look.request, look.subject, look.chosen, list(places)
    return attribution_tiles(
        chosen.inputs[at],
        {LABELS.get(name, name): result.maps[at] for name, result in found.items()},
        bands=subject.numbers,
        wavelengths=subject.wavelengths,
        unit=subject.unit,
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        title=f"{subject.title}: {request.method if found else 'input'}",
        sample_titles=[sample_line(subject, chosen, place) for place in at],
        input_label=subject.input_words,
        attribution_label={LABELS.get(n, n): _unit(look, result) for n, result in found.items()},
        synthetic=subject.scene.synthetic,
        note=_note(subject),
    )


def _unit(look: Look, result: Attribution) -> str:
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
    return ", ".join(parts)


def class_image(look: Look, images: ClassImages, places: Sequence[int]) -> Figure:
    """Class images, band by band (component by component where reduced)."""
    from hsi.plots.tiles import attribution_tiles

    request, subject, at = look.request, look.subject, list(places)
    return attribution_tiles(
        images.images[at],
        {},
        bands=subject.numbers,
        wavelengths=subject.wavelengths,
        unit=subject.unit,
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        title=f"{subject.title}: {request.method}",
        sample_titles=[
            f"class {subject.class_text(int(images.classes[i]))}: {look.chosen.score_word} "
            f"{images.start_scores[i]:.2f} at the start, {images.scores[i]:.2f} here"
            for i in at
        ],
        input_label=subject.input_words,
        synthetic=subject.scene.synthetic,
        note=_note(subject),
    )


def activation(look: Look, layer: LayerActivations, place: int, *, last: bool) -> Figure:
    """What a layer answers to a sample; `last` is the output, whose units have names."""
    from hsi.plots.activations import activation_figure

    subject = look.subject
    names = None
    if last and layer.array.shape[1:] == (len(subject.scene.classes),):
        names = [subject.class_text(i) for i in range(len(subject.scene.classes))]
    return activation_figure(
        layer.layer,
        layer.array[place],
        title=f"{subject.title}\n{sample_line(subject, look.chosen, place)}",
        unit_names=names,
        synthetic=subject.scene.synthetic,
        note=_note(subject),
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
    from hsi.plots.tiles import choose_bands

    choose_bands(
        numbers,
        from_band=request.from_band,
        to_band=request.to_band,
        step_band=request.step_band,
        unit=subject.unit,
    )


def _part(subject: Subject, row: int, col: int) -> str:
    """To which part of the split a pixel belongs."""
    split = subject.samples.split
    masks: dict[str, Any] = {
        "test": split.test, "training": split.train, "validation": split.validation,
    }  # fmt: skip
    return next((name for name, mask in masks.items() if mask[row, col]), "in no part")


def _note(subject: Subject) -> str:
    """What is said under every figure: the split, and how far its numbers can be trusted."""
    split = subject.samples.split
    parts = [
        f"Split {split.method}, seed {split.seed}, leakage {100 * split.leakage:.1f} % "
        f"at patch {split.patch_size}."
    ]
    if subject.wavelengths is not None and subject.scene.wavelengths_approximate:
        parts.append("Wavelengths are a linear approximation.")
    return " ".join(parts)
