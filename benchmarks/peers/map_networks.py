"""The networks whose maps are compared, for the processes of both libraries."""

from __future__ import annotations

NETWORKS = {"cao_5": ("cao", 5), "cao_9": ("cao", 9), "cao_pooled_9": ("cao_pooled", 9)}
"""Name here -> name in `hsi.models`, side of the patches."""

CLASSES = 16
