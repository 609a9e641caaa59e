"""Where the networks of a study look: a row a combination of settings, a column a model.

As in the figures of studies on pruning: the image, the unpruned network, each rate, and below it
the same for the next method (Merkle et al. 2023). All of them are explained for the class that the
first network predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsi.errors import UserError
from hsi.quiet import start_tensorflow
from hsi.report.opening import open_report_run
from hsi.report.packed import Block
from hsi.runs import RUN_FILE, open_run
from hsi.views.image_set import ImageSetSubject
from hsi.views.opened import Opened

COMBINATIONS = 4
"""Of settings that are shown, at most."""
SAMPLES = 6
"""Test images that are explained."""
METHODS = ("gradcam",)


def study_pictures(
    folders: Mapping[str, Path],
    *,
    methods: Sequence[str],
    samples: int | None,
    seed: int | None,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[Block]] | None:
    """Facts and arrays for the page; None for a study of scenes, or one whose models are gone.

    Args:
        folders: label -> a run of it, one for each combination of settings.
        methods, samples, seed, say: see `hsi.report.write_report`.
    """
    if not all((path / RUN_FILE).is_file() for path in folders.values()):
        return None
    if any(open_run(path).record["data"].get("kind") != "images" for path in folders.values()):
        return None
    start_tensorflow()
    from hsi.report.pictures import picture_part

    opened: list[Opened] = []
    rows = []
    for label, path in list(folders.items())[:COMBINATIONS]:
        found = _keras_models(label, path, opened, say)
        places = list(range(len(opened), len(opened) + len(found)))
        rows.append({"label": label, "variants": places, "names": [o.label for o in found]})
        opened += found
    if not opened:
        return None
    subject = opened[0].subject
    assert isinstance(subject, ImageSetSubject)
    part, blocks = picture_part(
        opened, methods=methods or METHODS, samples=samples or SAMPLES, seed=seed or 0, say=say
    )
    names = [{"name": name} for name in subject.samples.class_names.values()]
    return {"sheet": [row for row in rows if row["variants"]], "classes": names, **part}, blocks


def _keras_models(
    label: str, path: Path, others: Sequence[Opened], say: Callable[[str], None]
) -> list[Opened]:
    """The Keras models of a run that were made for the samples of the others."""
    from hsi.report.variants import open_all

    try:
        report = open_report_run(path, say=lambda line: None)
        rows = tuple(row for row in report.rows if row["file"].endswith(".h5"))
        found = open_all(replace(report, rows=rows))
    except UserError as error:
        say(f"Note: {label}: no images are shown: {error}")
        return []
    if others and found:
        first, subject = others[0].subject, found[0].subject
        assert isinstance(first, ImageSetSubject)
        assert isinstance(subject, ImageSetSubject)
        if first.made_for() != subject.made_for():
            say(f"Note: {label}: no images are shown: it was made for others than the first.")
            return []
    return found
