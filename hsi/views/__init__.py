"""A look into a model: its file, its samples, an explanation, and the figures of it.

    request   what is asked for, checked
    locate    the model file that is meant, and its run
    subject   the model with the samples that it was made for
    choose    which pixels are looked at
    look      all of that in one object; writes figures and arrays
    inputs    methods that attribute a score to the input
    layers    methods that show what layers answer
    class_images  methods that make an image of a class
    draw      figures
    arrays    .npz files

A method in `hsi.explain.METHODS` needs nothing here to be drawn.
"""

from __future__ import annotations

import os
from pathlib import Path

from hsi.errors import OutputError
from hsi.runs import OUTPUTS
from hsi.views.choose import check_pixels, choose
from hsi.views.locate import Located, locate
from hsi.views.request import Request
from hsi.views.subject import Say, Subject, class_index, open_network, open_subject


def visualize(request: Request, *, say: Say = print) -> list[Path]:
    """Explain samples of a model and write the figures or arrays; returns the files.

    Raises:
        UserError: whatever is wrong with the request, the model file, the data or the output;
            what can be known without the network is raised before TensorFlow is loaded.
    """
    request.check()
    located = locate(request)
    folder = _output_folder(request, located)
    subject = _open(request, located, say)
    klass = None if request.klass is None else class_index(subject, request.klass)
    check_pixels(subject.samples, request.pixels)
    from hsi.views.draw import check_bands, sample_line

    check_bands(subject, request)
    model = open_network(subject)
    chosen = choose(
        model,
        subject.samples,
        pixels=request.pixels,
        count=request.count,
        klass=klass,
        seed=request.seed,
        batch_size=request.batch_size,
    )
    for place in range(len(chosen.pixels)):
        say(f"Sample {place + 1}: {sample_line(subject, chosen, place)}")
    for note in chosen.notes:
        say(f"Note: {note}.")
    from hsi.views import class_images, inputs, layers
    from hsi.views.look import Look

    look = Look(request, subject, model, chosen, folder, say)
    show = {"attribution": inputs.show, "activations": layers.show, "image": class_images.show}
    return show[request.kind](look)


def _open(request: Request, located: Located, say: Say) -> Subject:
    """The subject; where its scene is synthetic the first line says so."""
    held: list[str] = []
    subject = open_subject(request, located, say=held.append)
    scene = subject.scene
    if scene.synthetic:
        say(f"SYNTHETIC scene {scene.name}: generated data, not a measurement.")
    for line in (*located.notes, *held):
        say(line)
    run = f", run {subject.run.folder}" if subject.run else ""
    say(f"{subject.title}{run}: {request.method}.")
    return subject


def _output_folder(request: Request, located: Located) -> Path:
    """The folder for figures and arrays; refused now where it cannot be written (`OutputError`)."""
    if request.output_file:
        folder = request.output_file.parent
    elif request.output:
        folder = Path(request.output)
    else:
        parent = located.run.folder if located.run else OUTPUTS
        folder = parent / "figures" / located.path.stem
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{folder}: cannot be made, {existing} is not a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written: no permission; choose another --output.")
    return folder
