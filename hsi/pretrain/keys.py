"""Which pixels of a scene may be looked at without their labels."""

from __future__ import annotations

import numpy as np

from hsi.split import Split
from hsi.split.blocks import dilate


def away_from_test(split: Split) -> np.ndarray:
    """Flat numbers of the pixels whose patches hold no test pixel, ascending; (n,).

    Labelled or not makes no difference to them, and which class the less. The test must stay
    unseen even without its labels: else a network would be tested on ground that it knows.
    """
    return np.flatnonzero(~dilate(split.test, split.patch_size // 2))
