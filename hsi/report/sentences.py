"""What the reader should conclude, in three sentences made of the numbers of this run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hsi.compare.conclusion import conclusions

COUNT = 3


def sentences(
    rows: Sequence[Mapping[str, str]],
    variants: Sequence[Mapping[str, Any]],
    attention: Sequence[Mapping[str, float]],
) -> list[str]:
    """The first sentences of `hsi.compare.conclusion`, Keras models before their quantized files.

    Args:
        rows: of results.csv, the original first.
        variants: as `hsi.report.variants.variant_facts` has them.
        attention: of each row the columns `attention_...`; empty where they are unknown.
    """
    if len(rows) < 2:
        return [
            f"The run holds one model, {rows[0]['variant']}, and nothing to compare it with; "
            "generate_model.py adds more with --prune or --quantize."
        ]
    whole = [{**row, **more} for row, more in zip(rows, attention, strict=True)]
    plain = [row for row, item in zip(whole, variants, strict=True) if item["form"] == "Keras"]
    if not plain or plain[0] is not whole[0]:
        plain = [whole[0], *plain]
    found = conclusions(plain)
    found += [text for text in conclusions(whole) if text not in found]
    return found[:COUNT]
