"""Who teaches the students of a run: chosen by validation samples, of the networks that may."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hsi.deploy import variant
from hsi.errors import SettingsError
from hsi.models import NETWORKS
from hsi.pipeline import _make_models, derived
from hsi.pipeline.choices import Student
from hsi.pipeline.training import check_validation
from hsi.settings import Settings

CLASSES = np.array([0, 1, 1, 0])
ROWS = {
    "trained_model.h5": "trained",
    "trained_pruned_model_40.h5": "pruned_40",
    "trained_pruned_model_80.h5": "pruned_80",
    "trained_pruned_model_40_folded.h5": "pruned_40_folded",
    "quantized_pruned_model_40_int8.tflite": "quantized_pruned_40_int8",
    "low_rank_macs-30%.h5": "low_rank_macs-30%",
}
SURE = dict(zip(ROWS, (0.7, 0.9, 0.6, 0.99, 0.99, 0.99), strict=True))
"""File -> what it gives the right class."""


def job_of(settings: Settings, *, samples: int, folder: Path) -> tuple[SimpleNamespace, list[str]]:
    """As much of a job as the choice looks at, and what it says."""
    said: list[str] = []
    part = SimpleNamespace(pixels=np.arange(samples), classes=CLASSES[:samples])
    record = {"variants": {f: {"row": {"variant": name}} for f, name in ROWS.items()}}
    return SimpleNamespace(
        settings=settings,
        check_teacher=lambda: None,
        reference=folder / "trained_model.h5",
        run=SimpleNamespace(
            record=record, path=lambda file: folder / file, takes_counts=lambda file: False
        ),
        samples=SimpleNamespace(
            part=lambda name: {"validation": part}[name],
            patches=SimpleNamespace(gather=lambda keys: keys),
        ),
        say=said.append,
    ), said


@pytest.fixture(autouse=True)
def answers(monkeypatch):
    """Each file is as sure of the right class as `SURE` says."""

    def load_variant(path: Path, **options):
        return lambda keys: (
            np.eye(2)[CLASSES[keys]] * (2 * SURE[path.name] - 1) + 1 - SURE[path.name]
        )

    monkeypatch.setattr(variant, "load_variant", load_variant)


def test_the_best_teacher_is_the_trained_or_pruned_network_of_the_least_validation_loss(tmp_path):
    job, said = job_of(Settings("cao", distill_from="best"), samples=4, folder=tmp_path)
    assert derived._students_teacher(job) == tmp_path / "trained_pruned_model_40.h5"
    losses = f"{-np.log(0.9):.4f} (trained_model.h5: {-np.log(0.7):.4f})"
    assert said == [f"Students learn from trained_pruned_model_40.h5: validation loss {losses}."]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"distill": ("compact",), "distill_from": "best"}, "distill_from best"),
        ({"prune": True, "until_convergence": True}, "until_convergence"),
    ],
)
def test_what_validation_samples_decide_is_refused_without_them(asked, name, tmp_path):
    """Before anything is trained: the best teacher is asked for when all is pruned."""
    job, _ = job_of(Settings("cao", **asked), samples=0, folder=tmp_path)
    with pytest.raises(SettingsError, match=f"{name}: .* raise --validation_fraction"):
        _make_models(job)
    check_validation(job_of(Settings("cao"), samples=0, folder=tmp_path)[0])
    check_validation(job_of(Settings("cao", **asked), samples=4, folder=tmp_path)[0])


def test_the_trained_network_teaches_where_it_is_named_before_another_teacher(tmp_path):
    other = Settings("cao", distill_from="trained", teacher="other.h5")
    job, _ = job_of(other, samples=4, folder=tmp_path)
    assert derived._students_teacher(job) == tmp_path / "trained_model.h5"
    job, _ = job_of(Settings("cao", teacher="other.h5"), samples=4, folder=tmp_path)
    assert derived._students_teacher(job) is None


@pytest.mark.parametrize("name", ["luo", "mou", "santara"])
def test_students_learn_by_adam_at_a_rate_of_adam(name, tmp_path, monkeypatch):
    """SGD takes steps of 0.1 times the slope, where Adam would take steps of 0.1."""
    found = {}
    monkeypatch.setattr(derived, "fit_model", lambda *_, **options: found.update(options))
    monkeypatch.setattr(derived, "_spectra", lambda job: np.empty((0, 12)))
    monkeypatch.setattr(derived, "_shown_to_students", lambda job: None)
    for asked in (None, 0.02):
        job, _ = job_of(Settings("cao", learning_rate=asked), samples=4, folder=tmp_path)
        job.classes, job.teaching, job.samples.patches.shape = 3, lambda teacher: None, (5, 5, 12)
        derived._student(job, Student(name, name), None)
        student = NETWORKS[name]
        own = student.learning_rate if str(student.optimizer) == "Adam" else 1e-3
        assert found["learning_rate"] == (asked or own)
        assert found["cosine"]  # which means Adam
