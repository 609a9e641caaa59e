"""Testing a variant and putting it on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hsi.metrics import Accuracy, accuracy, mcnemar
from hsi.pipeline.job import Job
from hsi.results import Row, write_rows
from hsi.runs import COUNTS, Run

if TYPE_CHECKING:
    import tf_keras as keras


def record_keras(job: Job, file: str, model: keras.Model, *, variant: str, **facts: Any) -> None:
    """Measure a saved Keras model and record it as a row of the results."""
    from hsi.compress.cost import known_macs, parameters
    from hsi.compress.magnitude import sparsity_of

    sparsity = sparsity_of(model)
    measured = {
        "parameters": parameters(model),
        "macs": known_macs(model),
        "sparsity": 100 * sparsity.overall,
    }
    row = {**measured, **facts.pop("row", {})}
    facts |= {
        "kernel_sparsity": sparsity.kernels,
        "weight_bytes": sum(weight.nbytes for weight in model.get_weights()),
    }
    record_variant(job, file, variant=variant, row=row, **facts)


def record_variant(job: Job, file: str, *, variant: str, row: Row, **facts: Any) -> None:
    """Test a model file, print its accuracy with its leakage and record its row.

    Args:
        facts: also go on record; `input` is `COUNTS` for a file that takes the sensor's counts.
    """
    from hsi.deploy.variant import sizes

    path = job.run.path(file)
    test = job.samples.part("test")
    predicted = job.predict(path, counts=facts.get("input") == COUNTS)
    found = accuracy(test.classes, predicted, job.classes)
    right = predicted == test.classes
    p = None if path == job.reference else mcnemar(job.reference_right, right)
    size, gzipped = sizes(path)
    leakage = 100 * job.samples.leakage
    full = {
        "variant": variant,
        "file": file,
        **row,
        "bytes": size,
        "bytes_gzip": gzipped,
        **accuracy_columns(found),
        "mcnemar_p": p,
        "seed": job.settings.seed,
        "split": job.samples.divided,
        "leakage": leakage,
    }
    recall = [None if np.isnan(r) else float(r) for r in found.recall]
    job.run.add_variant(file, full, confusion=found.confusion.tolist(), recall=recall, **facts)
    write_results(job.run)
    job.say(
        f"{variant}: OA {100 * found.oa:.2f} % ({100 * found.oa_low:.2f} to "
        f"{100 * found.oa_high:.2f}), AA {100 * found.aa:.2f} %, kappa {found.kappa:.3f}; "
        f"split {job.samples.divided}, leakage {leakage:.1f} %"
        + ("" if p is None else f"; McNemar against trained p = {p:.3g}")
    )


def accuracy_columns(found: Accuracy) -> dict[str, float]:
    """The accuracy columns of results.csv: percent, and kappa up to 1."""
    return {
        "oa": 100 * found.oa,
        "aa": 100 * found.aa,
        "kappa": found.kappa,
        "oa_low": 100 * found.oa_low,
        "oa_high": 100 * found.oa_high,
    }


def write_results(run: Run) -> None:
    """Write results.csv from the record."""
    write_rows(run.path("results.csv"), [v["row"] for v in run.record["variants"].values()])
