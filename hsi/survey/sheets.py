"""A picture a question: what a rater sees. It says nothing of variants, classes or scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hsi.files import atomic_path
from hsi.survey.design import OVERLAY, REST, Choices
from hsi.survey.key import PREFERENCE, Question
from hsi.survey.pictures import Pictures

SIDE = 320
"""Of a picture on a sheet, in pixels, along its longer axis."""

COVER = (0x5B, 0x6F, 0x8A)
"""Slate: no photograph's black, white or middle grey, so that covered parts are seen as covered."""

TITLES = {"original": "original", "left": "left", "right": "right"}

_GAP, _STRIP, _FONT, _EDGE = 14, 34, 20, "#9A9A9A"


def most_important(maps: np.ndarray, percent: float) -> np.ndarray:
    """Which pixels are among the `percent` % most important of their map.

    Zeros are never among them: a map with fewer other values has a smaller selection. Of values
    that tie for the last places those that come first are taken.

    Args:
        maps: (n, rows, cols), from 0 upwards.
        percent: more than 0; at least one pixel.

    Returns:
        (n, rows, cols) bool.
    """
    flat = maps.reshape(len(maps), -1)
    count = max(1, round(percent / 100 * flat.shape[1]))
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    chosen = np.zeros(flat.shape, bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return (chosen & (flat > 0)).reshape(maps.shape)


def enlarged(picture: np.ndarray, *, smooth: bool) -> np.ndarray:
    """(rows, cols, 3) of 0..1 -> uint8 with `SIDE` pixels along the longer axis.

    Args:
        smooth: interpolate, as for photographs; patches keep their pixels.
    """
    rows, cols = picture.shape[:2]
    factor = SIDE / max(rows, cols)
    size = (max(1, round(cols * factor)), max(1, round(rows * factor)))
    levels = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(levels).resize(size, how))


def covered(picture: np.ndarray, cover: np.ndarray, *, smooth: bool) -> np.ndarray:
    """An enlarged picture with the pixels where `cover` (rows, cols) is True painted over."""
    shown = enlarged(picture, smooth=smooth).copy()
    stencil = np.repeat(cover[..., None].astype(np.float64), 3, axis=-1)
    shown[enlarged(stencil, smooth=False)[..., 0] > 0] = COVER
    return shown


def framed(panel: np.ndarray, share: float) -> np.ndarray:
    """(rows, cols, 3) uint8 with a frame around so large a part of its sides in the middle."""
    image = Image.fromarray(panel)
    draw = ImageDraw.Draw(image)
    rows, cols = panel.shape[:2]
    left, top = cols * (1 - share) / 2, rows * (1 - share) / 2
    for outside, colour in ((2, "black"), (1, "white")):  # seen on dark and on light ground
        box = (left - outside, top - outside, cols - left + outside - 1, rows - top + outside - 1)
        draw.rectangle(tuple(map(round, box)), outline=colour)
    return np.asarray(image)


def sheet(panels: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """Panels side by side on white, each (title, (rows, cols, 3) uint8); "" for no title."""
    height = max(panel.shape[0] for _, panel in panels)
    titled = any(title for title, _ in panels)
    top = _STRIP if titled else _GAP
    width = sum(panel.shape[1] for _, panel in panels) + _GAP * (len(panels) + 1)
    image = Image.new("RGB", (width, height + top + _GAP), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT)
    left = _GAP
    for title, panel in panels:
        middle = left + panel.shape[1] / 2
        draw.text((middle, top / 2), title, fill="black", font=font, anchor="mm")
        edge = (left - 1, top - 1, left + panel.shape[1], top + panel.shape[0])
        draw.rectangle(edge, outline=_EDGE)  # around it: a photograph may end in white
        image.paste(Image.fromarray(panel), (left, top))
        left += panel.shape[1] + _GAP
    return image


def sheet_of(question: Question, pictures: Pictures, choices: Choices) -> Image.Image:
    """The sheet of a question."""
    place = pictures.names.index(question.image)
    views = [_view(place, name, question.kind, pictures, choices) for name in question.variants]
    if question.kind != PREFERENCE:
        return sheet([("", views[0])])
    original = enlarged(pictures.originals[place], smooth=not pictures.of_scene)
    if pictures.of_scene:
        share = pictures.pictures.shape[1] / pictures.originals.shape[1]
        original = framed(original, share)
    return sheet(list(zip(TITLES.values(), [original, *views], strict=True)))


def _view(place: int, variant: str, kind: str, pictures: Pictures, choices: Choices) -> np.ndarray:
    """The explanation of one variant: laid over its picture, or covering a part of it."""
    from hsi.plots.survey import overlay

    picture, importance = pictures.pictures[place], pictures.maps[variant][place]
    smooth = not pictures.of_scene
    if kind == PREFERENCE and choices.picture == OVERLAY:
        return enlarged(overlay(picture, importance), smooth=smooth)
    top = most_important(importance[None], choices.percent)[0]
    return covered(picture, ~top if choices.covered == REST else top, smooth=smooth)


def write_sheets(
    questions: Sequence[Question], pictures: Pictures, choices: Choices, folder: Path
) -> None:
    """Write every sheet as PNG, without metadata."""
    for question in questions:
        with atomic_path(folder / question.sheet) as temporary:
            sheet_of(question, pictures, choices).save(temporary, "PNG")
