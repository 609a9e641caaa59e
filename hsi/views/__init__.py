"""A look into models: their files, samples, an explanation, and the figures of it.

    request      what is asked for, checked
    locate       the model files that are meant, and their runs
    subject      a scene with the samples that a model was made for
    image_set    the images of a set that a model was made for
    photographs  images and arrays that come from files of their own
    opened       variants, each with its samples
    choose       which samples are looked at
    look         all of that in one object; writes figures and arrays
    attributed   attributions with the options of the request
    inputs       methods that attribute a score to the input, as tiles or over photographs
    spectrum     the same per wavelength, and bands against pixels
    whole_scene  the same for every pixel of the scene
    sanity       the same while the network is randomised
    layers       methods that show what layers answer
    class_images methods that make an image of a class
    model_wide   what needs no sample or all of them: filters, graph, misclassified samples
    draw         figures
    output       where they are written
    arrays       .npz files

A method in `hsi.explain.METHODS` needs nothing here to be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsi.errors import SettingsError
from hsi.views.choose import check_pixels, choose, choose_images
from hsi.views.image_set import ImageSetSubject
from hsi.views.locate import Located, locate
from hsi.views.opened import Opened, Subject, open_subjects, open_variants
from hsi.views.output import Output, open_output
from hsi.views.photographs import ImageSubject
from hsi.views.request import Request
from hsi.views.subject import Say, SceneSubject, synthetic_line


def visualize(request: Request, *, say: Say = print) -> list[Path]:
    """Explain samples of models and write the figures or arrays; returns the files.

    Raises:
        UserError: whatever is wrong with the request, a model file, the data or the output;
            what can be known without the network is raised before TensorFlow is loaded.
    """
    request.check()
    found = [locate(file, request) for file in request.files]
    output = open_output(request, found, say=say)
    if request.method in MODEL_ONLY:
        from hsi.views import model_wide

        return model_wide.show(request, found[0], output)
    subjects = _open(request, found, say)
    _check(request, subjects)
    from hsi.quiet import start_tensorflow

    start_tensorflow()
    opened = open_variants(request, found, subjects)
    return _show(request, opened, output)


MODEL_ONLY = ("filters", "model_graph")
"""Methods that look at no sample."""


def _check(request: Request, subjects: Sequence[Subject]) -> None:
    """What can be known of the request and the samples without the network."""
    from hsi.views.draw import check_bands

    if request.klass is not None:
        subjects[0].class_index(request.klass)
    first = subjects[0]
    if isinstance(first, SceneSubject):
        check_pixels(first.samples, request.pixels)
        if "overlay" in request.views:
            raise SettingsError("views: overlay is for photographs; expected with --image.")
    elif isinstance(first, ImageSetSubject):
        if request.pixels:
            raise SettingsError(f"pixel: is of a scene, {first.name} are images; try --samples.")
        request.check_views_of_images(first.name)
    check_bands(subjects[0], request)


def _show(request: Request, opened: Sequence[Opened], output: Output) -> list[Path]:
    first = opened[0]
    subject = first.subject
    klass = None if request.klass is None else subject.class_index(request.klass)
    if isinstance(subject, ImageSubject):
        chosen = choose_images(
            first.own, subject, count=request.samples, klass=klass, batch_size=request.batch_size
        )
    else:
        chosen = choose(
            first.own,
            subject.samples,
            pixels=request.pixels,
            count=request.count,
            klass=klass,
            seed=request.seed,
            batch_size=request.batch_size,
        )
    from hsi.views import class_images, inputs, layers, misclassified
    from hsi.views.draw import sample_line
    from hsi.views.look import Look

    look = Look(request, opened, chosen, output)
    if request.kind != "model":
        for place in range(len(chosen.keys)):
            look.say(f"Sample {place + 1}: {sample_line(look, place)}")
        for note in chosen.notes:
            look.say(f"Note: {note}.")
    show = {
        "attribution": inputs.show,
        "activations": layers.show,
        "image": class_images.show,
        "model": misclassified.show,
    }
    return show[request.kind](look)


def _open(request: Request, found: Sequence[Located], say: Say) -> list[Subject]:
    """The samples; where a scene is synthetic the first line says so."""
    held: list[str] = []
    subjects = open_subjects(request, found, say=held.append)
    if subjects[0].synthetic:
        say(synthetic_line(subjects[0].name))
    for line in dict.fromkeys([*(note for located in found for note in located.notes), *held]):
        say(line)
    for located in found:
        run = f", run {located.run.folder}" if located.run else ""
        say(f"{located.path} on {subjects[0].name}{run}: {request.method}.")
    return subjects
