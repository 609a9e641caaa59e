"""The scene of the IEEE GRSS data fusion contest of 2013, which is given out for a registration.

The files are put into the folder of the scene by hand, under the names of the contest; there is no
published hash to check them against.
"""

from __future__ import annotations

from hsi.download import RemoteFile
from hsi.public_scenes.entry import CatalogScene, linear, named

PAGE = "https://machinelearning.ee.uh.edu/2013-ieee-grss-data-fusion-contest/"


def _by_hand(name: str) -> RemoteFile:
    return RemoteFile(f"/2013_IEEE_GRSS_DF_Contest_{name}", page=PAGE)


SCENES = (
    CatalogScene(
        name="houston_2013",
        title="University of Houston, Texas, 23 June 2012",
        sensor="CASI",
        shape=(349, 1905, 144),
        classes=named(
            "grass healthy, grass stressed, grass synthetic, tree, soil, water, residential, "
            "commercial, road, highway, railway, parking lot1, parking lot2, tennis court, "
            "running track"
        ),
        cube=_by_hand("CASI.tif"),
        cube_key="",
        labels=_by_hand("Samples_TR.txt"),
        labels_key="",
        centres=linear(380, 1050, 144),
        citation="Debes et al. 2014, IEEE JSTARS 7(6)",
        note=(
            "for the contest's own division: --split given --train_labels "
            "2013_IEEE_GRSS_DF_Contest_Samples_TR.txt --test_labels "
            "2013_IEEE_GRSS_DF_Contest_Samples_VA.txt"
        ),
        more_labels=_by_hand("Samples_VA.txt"),
    ),
)
