"""Compress a CNN, and see what the compression did to what the network sees.

The flow: scene -> bands -> split -> patches -> model -> compress -> deploy -> explain.
Importing this package loads no TensorFlow.
"""

from hsi.version import __version__

__all__ = ["__version__"]
