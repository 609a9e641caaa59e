"""Errors for the user: what was expected, what came, what to do.

Every error that a user can cause is a `UserError`. The command line prints its text on one line
and exits with code 2; a traceback means a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user handed over does not fit; the text says what to do."""


class DataError(UserError):
    """A scene, a label map or one of their files cannot be used."""


class DownloadError(UserError):
    """A file could not be fetched, or what came was not the file."""


class ModelError(UserError):
    """A model file or a network cannot be used."""


class SettingsError(UserError):
    """Options that contradict each other or the data."""


class OutputError(UserError):
    """Results cannot be written where they were asked for."""


def one_of(name: str, known: Iterable[str], *, what: str) -> str:
    """Return `name` if it is known, else raise a `SettingsError` that lists what is.

    Example:
        >>> one_of("cao", ["cao", "vgg"], what="model")
        'cao'
    """
    known = list(known)
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise SettingsError(f"Unknown {what} {name!r}: expected one of {', '.join(known)}.{hint}")


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy, scikit-learn and Keras do not all take (`SettingsError`)."""
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed: expected 0 or more, below 2**32, got {seed}.")
