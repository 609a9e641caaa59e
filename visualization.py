"""Show what a classifier looks at: gradients, SmoothGrad, activations of its layers."""

import sys

from hsi.cli.visualize import main

if __name__ == "__main__":
    sys.exit(main())
