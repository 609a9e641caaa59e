"""Whole networks as `.tflite` files against the interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
from tflite_networks import check_network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cao", "cao_pooled", "vgg", "conv3d", "mobilenetv2"])
def test_networks_agree_with_the_interpreter(name: str, tmp_path: Path) -> None:
    check_network(name, tmp_path)
