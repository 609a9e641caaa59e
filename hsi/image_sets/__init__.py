"""Image sets: by name or from a folder, read, divided and prepared as a scene's patches are.

Adding one: a row in `hsi.image_sets.facts`, a module that reads its layout, and a line in
`READERS`.
"""

from __future__ import annotations

from hsi.image_sets.facts import IMAGE_SETS, ImageSet
from hsi.image_sets.opening import FOLDER, image_set_name, open_image_set
from hsi.image_sets.samples import ImageSamples
from hsi.image_sets.scaling import SCALINGS, STANDARD, ImageScaling, load_scaling, save_scaling
from hsi.image_sets.source import ImageSource

__all__ = [
    "FOLDER", "IMAGE_SETS", "SCALINGS", "STANDARD", "ImageSamples", "ImageScaling", "ImageSet",
    "ImageSource", "image_set_name", "load_scaling", "open_image_set", "save_scaling",
]  # fmt: skip
