"""The seven scenes of the Grupo de Inteligencia Computacional, UPV/EHU.

Class numbers and names are the published ones. Band centres are approximate, evenly spaced over
the range of a spectrometer: the publisher gives none.
"""

from __future__ import annotations

import numpy as np

from hsi.download import RemoteFile
from hsi.public_scenes.entry import CatalogScene, linear, named, numbers

GIC = (
    "Grana, Veganzones, Ayerdi: Hyperspectral Remote Sensing Scenes, Grupo de Inteligencia "
    "Computacional, UPV/EHU"
)


def hyperion() -> tuple[float, ...]:
    """242 centres: two spectrometers, each evenly spaced to 0.1 nm (Pearlman et al. 2003)."""
    visible = 355.59 + 10.1753 * np.arange(70)
    infrared = 851.92 + 10.0888 * np.arange(172)
    return tuple(np.concatenate([visible, infrared]).round(2).tolist())


_SALINAS_CLASSES = named(
    "Brocoli green weeds 1, Brocoli green weeds 2, Fallow, Fallow rough plow, "
    "Fallow smooth, Stubble, Celery, Grapes untrained, Soil vinyard develop, "
    "Corn senesced green weeds, Lettuce romaine 4wk, Lettuce romaine 5wk, "
    "Lettuce romaine 6wk, Lettuce romaine 7wk, Vinyard untrained, "
    "Vinyard vertical trellis"
)

SCENES = (
    CatalogScene(
        name="indian_pines",
        title="Indian Pines, Indiana, 12 June 1992",
        sensor="AVIRIS",
        shape=(145, 145, 200),
        classes=named(
            "Alfalfa, Corn-notill, Corn-mintill, Corn, Grass-pasture, Grass-trees, "
            "Grass-pasture-mowed, Hay-windrowed, Oats, Soybean-notill, "
            "Soybean-mintill, Soybean-clean, Wheat, Woods, "
            "Buildings-Grass-Trees-Drives, Stone-Steel-Towers"
        ),
        cube=RemoteFile(
            "/6/67/Indian_pines_corrected.mat",
            git_blob="75b6d6e7df046fce91eda23e7559e274c92da711",
        ),
        cube_key="indian_pines_corrected",
        labels=RemoteFile(
            "/c/c4/Indian_pines_gt.mat",
            sha256="65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c",
        ),
        labels_key="indian_pines_gt",
        raw=RemoteFile(
            "/2/22/Indian_pines.mat", git_blob="c03ff8a0dbc962fe76d08f565f02008eae3f7dd7"
        ),
        raw_key="indian_pines",
        centres=linear(400, 2500, 220),
        removed_bands=numbers((104, 108), (150, 163), (220, 220)),
        citation=f"Baumgardner, Biehl, Landgrebe 2015, doi:10.4231/R7RX991C; {GIC}",
    ),
    CatalogScene(
        name="salinas",
        title="Salinas Valley, California",
        sensor="AVIRIS",
        shape=(512, 217, 204),
        classes=_SALINAS_CLASSES,
        cube=RemoteFile(
            "/a/a3/Salinas_corrected.mat", git_blob="2a745377a77369bd5a9d430c722f0bf5e0d0ffc1"
        ),
        cube_key="salinas_corrected",
        labels=RemoteFile(
            "/f/fa/Salinas_gt.mat",
            sha256="ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
        ),
        labels_key="salinas_gt",
        raw=RemoteFile("/f/f1/Salinas.mat"),
        raw_key="salinas",
        centres=linear(400, 2500, 224),
        removed_bands=numbers((108, 112), (154, 167), (224, 224)),
        citation=GIC,
    ),
    CatalogScene(
        name="salinas_a",
        title="Salinas-A, a part of Salinas",
        sensor="AVIRIS",
        shape=(83, 86, 204),
        classes={n: _SALINAS_CLASSES[n] for n in (1, 10, 11, 12, 13, 14)},
        cube=RemoteFile(
            "/1/1a/SalinasA_corrected.mat",
            sha256="d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
        ),
        cube_key="salinasA_corrected",
        labels=RemoteFile(
            "/a/aa/SalinasA_gt.mat",
            sha256="17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
        ),
        labels_key="salinasA_gt",
        raw=RemoteFile(
            "/d/df/SalinasA.mat",
            sha256="9ee47a5fa61948bc5ec5e5754e9ab0976850f12f80ace2bf68449d7671e0935b",
        ),
        raw_key="salinasA",
        centres=linear(400, 2500, 224),
        removed_bands=numbers((108, 112), (154, 167), (224, 224)),
        citation=GIC,
    ),
    CatalogScene(
        name="pavia_u",
        title="Pavia University, Italy",
        sensor="ROSIS",
        shape=(610, 340, 103),
        classes=named(
            "Asphalt, Meadows, Gravel, Trees, Painted metal sheets, Bare Soil, "
            "Bitumen, Self-Blocking Bricks, Shadows"
        ),
        cube=RemoteFile("/e/ee/PaviaU.mat", git_blob="6eecc933bedec1130bb046483dd12e25cf091b24"),
        cube_key="paviaU",
        labels=RemoteFile(
            "/5/50/PaviaU_gt.mat",
            sha256="23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
        ),
        labels_key="paviaU_gt",
        centres=linear(430, 860, 103),
        citation=f"P. Gamba, Telecommunications and Remote Sensing Laboratory, Pavia; {GIC}",
    ),
    CatalogScene(
        name="pavia_c",
        title="Pavia Centre, Italy",
        sensor="ROSIS",
        shape=(1096, 715, 102),
        classes=named(
            "Water, Trees, Asphalt, Self-Blocking Bricks, Bitumen, Tiles, Shadows, "
            "Meadows, Bare Soil"
        ),
        cube=RemoteFile("/e/e3/Pavia.mat"),
        cube_key="pavia",
        labels=RemoteFile(
            "/5/53/Pavia_gt.mat",
            sha256="7eb54ab81b404dd3ae572e6d0ec211595029e5a847bec2cfb8f9e72d07066b69",
        ),
        labels_key="pavia_gt",
        centres=linear(430, 860, 102),
        citation=f"P. Gamba, Telecommunications and Remote Sensing Laboratory, Pavia; {GIC}",
        note="names as the publisher lists them; papers order classes 3 to 9 in another way",
    ),
    CatalogScene(
        name="ksc",
        title="Kennedy Space Center, Florida, 23 March 1996",
        sensor="AVIRIS",
        shape=(512, 614, 176),
        classes=named(
            "Scrub, Willow swamp, Cabbage palm hammock, Cabbage palm/oak hammock, "
            "Slash pine, Oak/broadleaf hammock, Hardwood swamp, Graminoid marsh, "
            "Spartina marsh, Cattail marsh, Salt marsh, Mud flats, Water"
        ),
        cube=RemoteFile("/2/26/KSC.mat"),
        cube_key="KSC",
        labels=RemoteFile(
            "/a/a6/KSC_gt.mat",
            sha256="a1d6ab9293691006bd4d9742d1a1e1c141b1aaa5fbc5fa128b33c1d09038510b",
        ),
        labels_key="KSC_gt",
        citation=f"Ham, Chen, Crawford, Ghosh 2005, IEEE TGRS 43(3); {GIC}",
        note="which 176 of 224 bands were kept is not published: wavelengths unknown",
    ),
    CatalogScene(
        name="botswana",
        title="Okavango Delta, Botswana, 31 May 2001",
        sensor="Hyperion",
        shape=(1476, 256, 145),
        classes=named(
            "Water, Hippo grass, Floodplain grasses 1, Floodplain grasses 2, Reeds, "
            "Riparian, Firescar, Island interior, Acacia woodlands, Acacia shrublands, "
            "Acacia grasslands, Short mopane, Mixed mopane, Exposed soils"
        ),
        cube=RemoteFile("/7/72/Botswana.mat", git_blob="814248225b1210f46017a2420c3410d7fe2cf8e6"),
        cube_key="Botswana",
        labels=RemoteFile(
            "/5/58/Botswana_gt.mat",
            sha256="668394905e10e629c16584bfd02b0f533b96d6ba18a63274a94ff3a77126a887",
        ),
        labels_key="Botswana_gt",
        centres=hyperion(),
        removed_bands=tuple(
            sorted(
                set(range(1, 243))
                - set(numbers((10, 55), (82, 97), (102, 119), (134, 164), (187, 220)))
            )
        ),
        citation=f"Ham, Chen, Crawford, Ghosh 2005, IEEE TGRS 43(3); {GIC}",
    ),
)
