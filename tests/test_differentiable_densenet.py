"""DenseNets as `.tflite` files: in a file of its own, for a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tflite_networks import check_network


@pytest.mark.slow
def test_every_form_of_its_layers_agrees_with_the_interpreter(tmp_path: Path) -> None:
    check_network("densenet", tmp_path)


@pytest.mark.slow
def test_densenet169_agrees_with_the_interpreter(tmp_path: Path) -> None:
    """Five forms of it take minutes: two, of the same operators as the other three."""
    check_network("densenet169", tmp_path, modes=("float32", "int8"))
