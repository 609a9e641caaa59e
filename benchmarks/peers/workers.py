"""The contestants' processes: started, asked in turn, ended."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATIENCE = 900
"""Seconds after which a contestant that does not answer is ended."""


class Failed(Exception):
    """Why a contestant did not answer, in one line."""


class Worker:
    """One contestant with one network, in a process of its own.

    Args:
        name: module in this folder.
        python: interpreter of its environment.
        folder: holds `<network>.npz`, and takes the logs.
        network: name of it.

    Raises:
        Failed: it did not start.
    """

    def __init__(self, name: str, python: Path, folder: Path, network: str) -> None:
        self.name, self._log = name, folder / f"{name}_{network}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(HERE / f"{name}.py"), str(folder), network],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"},
            )
        self.facts = self._read()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Its answer to a request.

        Raises:
            Failed: the library raised an error, or the process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed(self._last_words()) from error
        return self._read()

    def end(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(PATIENCE, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            raise Failed(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended with code {code}: {lines[-1][:300] if lines else 'without a word'}"
