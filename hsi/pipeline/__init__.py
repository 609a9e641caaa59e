"""The main job: a scene in, trained, pruned and quantized models with honest numbers out.

    job         a run folder and its samples
    training    the network is trained
    pruning     channels by APoZ, or weights by magnitude, each followed by fine-tuning
    quantizing  `.tflite` files, of this run or of an earlier one
    variants    every file is tested and put on record
    timing      every file is timed against the others
    figures     what can be drawn of it

Every stage reads its model from the file that an earlier stage wrote and starts from the same
seed, so a run that was stopped and resumed ends with the numbers of one that was not.
"""

from __future__ import annotations

from hsi.pipeline.job import Job, Say, open_earlier_job, open_job
from hsi.quiet import start_tensorflow
from hsi.runs import Run
from hsi.settings import Settings


def generate(settings: Settings, *, say: Say = print, finishing: bool = True) -> Run:
    """Do the whole job of `generate_model.py`; returns the finished run.

    Args:
        settings: are checked here.
        say: told of everything worth a line.
        finishing: whether files are timed and figures drawn; without, the run stays open for a
            later call with `resume`, which does that.

    Raises:
        UserError: whatever is wrong with settings, files or the output folder; what concerns the
            input is raised before TensorFlow is loaded and before anything is written.
    """
    settings.check()
    opened = open_earlier_job if settings.quantize_folder else open_job
    job = opened(settings, say=say)
    if job.run.record["state"] == "done":
        say(f"{job.run.folder} is finished; nothing is left to do.")
        return job.run
    start_tensorflow()
    if settings.quantize_folder:
        from hsi.pipeline.quantizing import quantize_earlier_models

        quantize_earlier_models(job)
    else:
        _make_models(job)
    if finishing:
        finish(job)
    return job.run


def finish(job: Job) -> None:
    """Time every file, draw the figures, and mark the run as done."""
    from hsi.pipeline.figures import draw_figures
    from hsi.pipeline.timing import time_variants

    time_variants(job)
    drawn = draw_figures(job)
    job.run.save(state="done", figures=[str(path.relative_to(job.run.folder)) for path in drawn])


def _make_models(job: Job) -> None:
    from hsi.pipeline.pruning import prune_models
    from hsi.pipeline.quantizing import quantize_models
    from hsi.pipeline.training import train_model

    train_model(job)
    if job.settings.prune:
        prune_models(job)
    quantize_models(job)
