"""Options from a file: `--config FILE`, JSON or TOML, with `--run NAME` where it holds several."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hsi.errors import SettingsError, one_of


def read_config(file: str, run: str | None, *, options: Iterable[str]) -> dict[str, Any]:
    """The options in a file, by their names on the command line.

    A file holds either options, or tables of options of which `run` names one; options beside such
    tables hold for every run.

    Raises:
        SettingsError: no such file, no such run, an unknown option, or damaged content.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise SettingsError(f"config {path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"config {path}: expected JSON or TOML: {error}.") from error
    if not isinstance(content, dict):
        raise SettingsError(
            f"config {path}: expected options by name, got {type(content).__name__}."
        )
    runs = {name: value for name, value in content.items() if isinstance(value, dict)}
    values = {name: value for name, value in content.items() if name not in runs}
    if run is not None:
        values |= runs[one_of(run, runs, what=f"run in {path}")]
    elif runs:
        raise SettingsError(f"config {path}: choose one with --run: {', '.join(runs)}.")
    for name in values:
        one_of(name, options, what=f"option in {path}")
    return values
