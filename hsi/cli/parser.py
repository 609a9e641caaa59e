"""What every command shares: a parser with one-line errors, and what becomes of errors."""

from __future__ import annotations

import argparse
import difflib
import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from hsi.errors import UserError

USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the closest option offered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"error: {message}{self._closest(message)}\n")

    def _closest(self, message: str) -> str:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        if not unknown.startswith("-"):
            return ""
        known = [option for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(unknown.split("=")[0], known, n=1)
        return f"; did you mean {close[0]}?" if close else "; see --help"


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers N` or `--scheduler ADDRESS`, one of them: who does the work."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes on this machine (Dask)"
    )
    who.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, instead")


class Command(Protocol):
    """What a script calls: the words of the command line in, the exit code out."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def guarded(job: Command) -> Command:
    """Turn what a user can cause into one line and exit code 2; everything else is a defect."""

    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            return job(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return USER_ERROR
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                raise
            print(f"error: cannot write: {error.strerror}", file=sys.stderr)
            return USER_ERROR
        except KeyboardInterrupt:
            print("stopped; a run goes on with --resume", file=sys.stderr)
            return 130

    return run
