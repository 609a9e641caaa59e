"""Train, prune, quantize and time a classifier of a hyperspectral scene."""

import sys

from hsi.cli.generate import main

if __name__ == "__main__":
    sys.exit(main())
