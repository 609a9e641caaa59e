"""Facts about public hyperspectral scenes: files, hashes, sensors, classes, wavelengths.

entry      what is known of a scene
upv        the seven scenes of UPV/EHU: Indian Pines, Salinas, Pavia ...
rslab      four scenes of unmixing: Samson, Jasper Ridge, Urban, Cuprite
houston    the scene of the data fusion contest of 2013
"""

from __future__ import annotations

from hsi.public_scenes import houston, rslab, upv
from hsi.public_scenes.entry import CatalogScene

__all__ = ["CATALOG", "CLASS_SETS", "CatalogScene"]

CATALOG: dict[str, CatalogScene] = {
    scene.name: scene for scene in (*upv.SCENES, *rslab.SCENES, *houston.SCENES)
}

CLASS_SETS: dict[str, tuple[int, ...]] = {"cao9": (2, 3, 5, 6, 8, 10, 11, 12, 14)}
"""Subsets of classes with a name; cao9: the nine large classes of Indian Pines."""
