"""Class images of photographs in colour."""

from __future__ import annotations

import numpy as np
import pytest

from hsi.errors import SettingsError
from hsi.plots.class_pictures import class_pictures


def test_grey_is_zero_and_full_light_is_shared_by_all_tiles():
    images = np.zeros((5, 4, 6, 3))
    images[0, :, :, 0], images[3, :, :, 2] = 2.0, -1.0
    figure = class_pictures(images, titles=list("abcde"), title="mine", note="seed 0.")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == list("abcde")
    tiles = [np.asarray(axis.images[0].get_array()) for axis in shown]
    np.testing.assert_allclose(tiles[0], np.broadcast_to([1, 0.5, 0.5], (4, 6, 3)))
    np.testing.assert_allclose(tiles[1], 0.5)
    np.testing.assert_allclose(tiles[3], np.broadcast_to([0.5, 0.5, 0.25], (4, 6, 3)))
    note = " ".join(figure._supxlabel.get_text().split())
    assert "mid-grey is zero, full light 2 of the input and more. seed 0." in note


def test_images_of_zeros_and_of_other_shapes():
    blank = class_pictures(np.zeros((1, 2, 2, 3)), titles=["a"]).axes[0].images[0].get_array()
    np.testing.assert_array_equal(blank, np.full((2, 2, 3), 0.5))
    for images, titles in ((np.zeros((1, 2, 2, 4)), ["a"]), (np.zeros((1, 2, 2, 3)), [])):
        with pytest.raises(SettingsError, match="with a title each"):
            class_pictures(images, titles=titles)
