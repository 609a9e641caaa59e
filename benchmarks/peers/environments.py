"""An environment for each library that is compared with, made once and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WITHOUT_DEPENDENCIES = ("xplique",)
"""What asks for versions that do not go together; the list names all that it needs."""


class NotInstalled(Exception):
    """Why an environment could not be made, in one line."""


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of the environment of `<name>.txt`, made if it is not there or has changed.

    Raises:
        NotInstalled: with the last line that the installer wrote.
    """
    listed = (HERE / f"{name}.txt").read_text(encoding="utf-8")
    wanted = f"{sys.version}\n{listed}"
    environment = folder / name
    python, ready = environment / "bin" / "python", environment / "ready.txt"
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    print(f"Installing {name} in {environment}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(environment)])
    options = ["--no-deps"] if name in WITHOUT_DEPENDENCIES else []
    install = [str(python), "-m", "pip", "install", "--quiet", *options]
    _run([*install, "--requirement", str(HERE / f"{name}.txt")])
    ready.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise NotInstalled((errors or lines)[-1])
