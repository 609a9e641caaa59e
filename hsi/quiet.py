"""Native libraries that talk to the terminal, held back unless something goes wrong.

TensorFlow, its converter and LiteRT write start-up and progress lines straight to the process's
standard error, past Python's logging and their own switches. A user who looks for this program's
one line of warning must not have to find it among them.
"""

from __future__ import annotations

import gc
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
    """Let go of every graph that Keras and TensorFlow keep: a study makes hundreds.

    Models hold themselves in circles, of few objects and much memory, so Python would not look for
    them for long. And TensorFlow registers each custom gradient of each graph for good, with all
    the weights that the graph has seen; an optimizer's step has one, to sum over devices. A graph
    that is still in use must have been differentiated before.
    """
    if "tf_keras" not in sys.modules:
        return
    from tensorflow.python.framework import ops

    sys.modules["tf_keras"].backend.clear_session()
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()
