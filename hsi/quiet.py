"""Native libraries that talk to the terminal, held back unless something goes wrong.

TensorFlow, its converter and LiteRT write start-up and progress lines straight to the process's
standard error, past Python's logging and their own switches. A user who looks for this program's
one line of warning must not have to find it among them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hsi.errors import UserError


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to standard error; if the block fails, show it after all.

    A `UserError` says all there is to say, so it leaves the lines held back. Not for blocks that
    show a progress bar, which goes to standard error too.
    """
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        os.dup2(held.fileno(), 2)
        show = False
        try:
            yield
        except UserError:
            raise
        except BaseException:
            show = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            if show:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))


def start_tensorflow(first: Callable[[], object] | None = None) -> None:
    """Load TensorFlow and let it find its devices, quietly; it takes seconds the first time.

    Args:
        first: called before the devices are looked for.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import tensorflow as tf

        if first:
            first()
        tf.config.list_logical_devices()
        tf.get_logger().setLevel("ERROR")


def forget_models() -> None:
    """Let go of every graph that Keras made here: it keeps them all, and a study makes hundreds."""
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].backend.clear_session()
