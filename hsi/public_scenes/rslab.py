"""Four scenes of unmixing, as the Remote Sensing Laboratory of the University of Tehran has them.

Their truth is no label map. Of Samson, Jasper Ridge and Urban it is the abundance of each material
in each pixel; of Cuprite the spectra of twelve minerals. A pixel's label is the material with the
largest abundance, so that mixed pixels are counted as one class: that is said at every use.

The publisher's addresses change; the files are put into the folder of the scene by hand, and their
contents are not checked against a published hash, for there is none. Band centres are evenly
spaced over the published range (Zhu 2017, arXiv 1708.05125).
"""

from __future__ import annotations

from hsi.download import RemoteFile
from hsi.public_scenes.entry import CatalogScene, linear, named, numbers

PAGE = "https://rslab.ut.ac.ir/data"
CITATION = "Zhu 2017, arXiv 1708.05125; Remote Sensing Laboratory, University of Tehran"
NOTE = (
    "the label of a pixel is its material of the largest published abundance; mixed pixels are "
    "counted as one class"
)


def _by_hand(name: str) -> RemoteFile:
    return RemoteFile(f"/{name}", page=PAGE)


SCENES = (
    CatalogScene(
        name="samson",
        title="Samson",
        sensor="SAMSON",
        shape=(95, 95, 156),
        classes=named("Soil, Tree, Water"),
        cube=_by_hand("samson_1.mat"),
        cube_key="V",
        labels=_by_hand("end3.mat"),
        labels_key="A",
        centres=linear(401, 889, 156),
        citation=CITATION,
        note=NOTE,
        layout="unmixing",
    ),
    CatalogScene(
        name="jasper_ridge",
        title="Jasper Ridge, California",
        sensor="AVIRIS",
        shape=(100, 100, 198),
        classes=named("Tree, Water, Soil, Road"),
        cube=_by_hand("jasperRidge2_R198.mat"),
        cube_key="Y",
        labels=_by_hand("end4.mat"),
        labels_key="A",
        centres=linear(380, 2500, 224),
        removed_bands=numbers((1, 3), (108, 112), (154, 166), (220, 224)),
        citation=CITATION,
        note=NOTE,
        layout="unmixing",
    ),
    CatalogScene(
        name="urban",
        title="Urban, Copperas Cove, Texas",
        sensor="HYDICE",
        shape=(307, 307, 162),
        classes=named("Asphalt, Grass, Tree, Roof"),
        cube=_by_hand("Urban_R162.mat"),
        cube_key="Y",
        labels=_by_hand("end4_groundTruth.mat"),
        labels_key="A",
        raw=_by_hand("Urban_F210.mat"),
        raw_key="Y",
        centres=linear(400, 2500, 210),
        removed_bands=numbers((1, 4), (76, 76), (87, 87), (101, 111), (136, 153), (198, 210)),
        citation=CITATION,
        note=NOTE,
        layout="unmixing",
    ),
    CatalogScene(
        name="cuprite",
        title="Cuprite, Nevada",
        sensor="AVIRIS",
        shape=(250, 190, 188),
        classes=named(
            "Alunite, Andradite, Buddingtonite, Dumortierite, Kaolinite 1, Kaolinite 2, "
            "Muscovite, Montmorillonite, Nontronite, Pyrope, Sphene, Chalcedony"
        ),
        cube=_by_hand("CupriteS1_R188.mat"),
        cube_key="Y",
        labels=_by_hand("groundTruth_Cuprite_nEnd12.mat"),
        labels_key="M",
        centres=linear(370, 2480, 224),
        removed_bands=numbers((1, 2), (104, 113), (148, 167), (221, 224)),
        citation=CITATION,
        note=(
            "the published truth is twelve spectra; the label of a pixel is the mineral of the "
            "largest abundance that non-negative least squares finds with them"
        ),
        layout="unmixing",
    ),
)
