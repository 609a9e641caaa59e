"""`python -m hsi VERB`."""

import sys

from hsi.cli import main

sys.exit(main())
