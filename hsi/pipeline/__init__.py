"""The main job: a scene in, trained, pruned and quantized models with honest numbers out.

    job         a run folder and its samples; `recorded`: what its record says of them
    choices     what the settings say of compression, in the terms of results.csv
    pretraining the network's start without labels
    training    the network is trained
    fitting     or a baseline of scikit-learn is fitted
    planning    what would go, for each goal
    pruning     channels or weights go, each time followed by fine-tuning
    derived     students, low-rank and clustered networks, folded forms
    quantizing  `.tflite` files, of this run or of an earlier one
    variants    every file is tested and put on record
    timing      every file is timed against the others
    figures     what can be drawn of it
    bits        what a finished model would answer in other bit widths

Every stage reads its model from the file that an earlier stage wrote and starts from the same
seed, so a run that was stopped and resumed ends with the numbers of one that was not.
"""

from __future__ import annotations

from functools import partial

from hsi.errors import SettingsError
from hsi.models import BASELINES
from hsi.pipeline.choices import check_compression
from hsi.pipeline.fitting import check_baselines, fit_baseline
from hsi.pipeline.job import Job, Say, open_earlier_job, open_job, open_unwritten_job
from hsi.quiet import start_tensorflow
from hsi.runs import Run
from hsi.settings import Settings
from hsi.strategy import DEFAULT, place_of, strategy_of


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
    check_baselines(check_compression(settings.check()))
    if not place_of(settings.strategy).is_chief:
        raise SettingsError(
            f"strategy {settings.strategy}: this process is not the chief, which alone writes "
            f"files; the others run generate_model.py."
        )
    _take_place(settings)
    opened = open_earlier_job if settings.quantize_folder else open_job
    job = opened(settings, say=say)
    if job.run.done:
        say(f"{job.run.folder} is finished; nothing is left to do.")
        return job.run
    if settings.model in BASELINES:
        fit_baseline(job)
    elif settings.quantize_folder:
        start_tensorflow()
        from hsi.pipeline.quantizing import quantize_earlier_models

        quantize_earlier_models(job)
    else:
        _make_models(job)
    if finishing:
        finish(job)
    return job.run


def train_beside(settings: Settings, *, say: Say = print) -> None:
    """Train the network as one of several workers, of which another one is the chief.

    Nothing is written: the chief has the same network in the end, and goes on with it alone.

    Raises:
        UserError: as `generate`.
    """
    check_baselines(check_compression(settings.check()))
    _take_place(settings)
    job = open_unwritten_job(settings, say=say)
    if job is None:
        say("The network is trained already; nothing is left to do beside the chief.")
        return
    start_tensorflow()
    from hsi.pipeline.training import trained_network

    trained_network(job)
    say("The network is trained; the chief goes on.")


def _take_place(settings: Settings) -> None:
    """Among the workers: TensorFlow asks for it before anything else is done."""
    if settings.strategy != DEFAULT:
        start_tensorflow(first=partial(strategy_of, settings.strategy))


def finish(job: Job) -> None:
    """Time every file, draw the figures, and mark the run as done."""
    from hsi.pipeline.figures import draw_figures
    from hsi.pipeline.timing import time_variants

    time_variants(job)
    drawn = draw_figures(job)
    job.run.save(state="done", figures=[str(path.relative_to(job.run.folder)) for path in drawn])


def _make_models(job: Job) -> None:
    start_tensorflow()
    from hsi.pipeline.derived import derive_models
    from hsi.pipeline.planning import chosen
    from hsi.pipeline.pruning import plan_models, prune_models
    from hsi.pipeline.quantizing import quantize_models
    from hsi.pipeline.training import check_validation, train_model

    job.check_teacher()
    check_validation(job)
    chosen(job.settings)  # reads the plan, if there is one: hours before it is carried out
    train_model(job)
    if job.settings.plan_only:
        plan_models(job)
    elif job.settings.prune:
        prune_models(job)
    derive_models(job)
    quantize_models(job)
