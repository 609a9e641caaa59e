"""The networks whose layers are compared: that of the explanations, and a deep one."""

from __future__ import annotations

from dataclasses import replace

from common import NETWORKS

CKA_NETWORKS = {
    "cao": NETWORKS["cao"],
    "vgg16": replace(NETWORKS["vgg16"], shape=(32, 32, 3)),
}
