"""Classifiers of patches slid over whole images: one pass instead of one for every patch.

`network` walks through the layers; `slid_maps` holds what they make of an image, `slid_volumes` are
3-D layers on such maps, `flat_maps` dense layers behind them, `slid_layers` which can be slid.
"""
