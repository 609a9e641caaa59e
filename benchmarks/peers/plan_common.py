"""What both contestants of `planning.py` share: rounds of planning and surgery, and epochs.

It runs in environments of their own, so NumPy is all that is imported here.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SIDE, CLASSES = 224, 1000


@dataclass(frozen=True)
class Planner:
    """A contestant with its network.

    Attributes:
        round: share of the channels of each layer that go -> `plan_seconds`, `surgery_seconds`
            and the `parameters` left.
        step: a number of images -> one training step on them, to be called; None without.
        parameters: of the whole network, trained ones.
        packages: whose versions are told.
    """

    round: Callable[[float], dict[str, Any]]
    step: Callable[[int], Callable[[], Any]] | None
    parameters: int
    packages: Sequence[str]


def serve(make: Callable[[str], Planner]) -> None:
    """Answer the requests on standard input, an object a line, until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    planner = make(sys.argv[2])
    versions = {name: importlib.metadata.version(name) for name in planner.packages}
    ready = {"versions": versions, "parameters": planner.parameters}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = _answer(planner, json.loads(line))
        except Exception as error:  # whatever a library does, the other goes on
            text = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {text[0][:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(planner: Planner, request: dict[str, Any]) -> dict[str, Any]:
    if "batch" not in request:
        start = time.process_time()
        answer = planner.round(request["share"])
        return answer | {"cpu_seconds": time.process_time() - start}
    assert planner.step is not None
    step = planner.step(request["batch"])
    step()  # compiles
    seconds = []
    for _ in range(request["steps"]):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}
