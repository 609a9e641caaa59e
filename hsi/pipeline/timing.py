"""The timing stage: all variants in one process, in turn."""

from __future__ import annotations

from hsi.pipeline.job import Job
from hsi.pipeline.variants import write_results
from hsi.results import LATENCY_COLUMNS, write_rows

TIMED_BATCHES = (1, 256)


def time_variants(job: Job) -> None:
    """Measure the latency of every variant in one process, in turn; fill the latency columns."""
    variants = job.run.record["variants"]
    timed = {item["file"] for item in job.run.record.get("latency", [])}
    if timed != set(variants):
        from hsi.deploy.latency import time_files

        job.say(
            f"Timing {len(variants)} files at batch 1 and 256, {job.settings.threads} thread(s)."
        )
        paths = {str(job.run.path(file)): file for file in variants}
        measured = time_files(list(paths), batches=TIMED_BATCHES, threads=job.settings.threads)
        latency = [
            {
                **vars(item),
                "file": paths[item.file],
                "milliseconds_per_sample": item.milliseconds / item.batch,
            }
            for item in measured
        ]
        job.run.save(latency=latency)
    latency = job.run.record["latency"]
    for item in latency:
        if item["batch"] == TIMED_BATCHES[0]:
            variants[item["file"]]["row"].update(
                latency_ms=item["milliseconds"], latency_low=item["low"],
                latency_high=item["high"], batch=item["batch"], threads=item["threads"],
            )  # fmt: skip
    job.run.save(variants=variants)
    write_results(job.run)
    write_rows(job.run.path("latency.csv"), latency, LATENCY_COLUMNS)
