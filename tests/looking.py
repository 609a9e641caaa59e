"""Calling `visualization.py` from tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsi.cli.visualize import main

WITHOUT_NETWORK = """
import contextlib, io, json, sys
from hsi.cli.visualize import main
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    print(json.dumps([code, err.getvalue(), "tensorflow" in sys.modules]))
"""


def look(*arguments: Any) -> int | str | None:
    """Run the command in this process and return its exit code."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stopped:
        return stopped.code


def refused(cases: Sequence[str], root: Path) -> list[tuple[int, str, bool]]:
    """Exit code, error output and whether TensorFlow was loaded, of commands in one new process."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK],
        input=json.dumps([text.split() for text in cases]),
        capture_output=True, text=True, cwd=root, check=True,
    )  # fmt: skip
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]
