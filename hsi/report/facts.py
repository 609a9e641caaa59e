"""What was done, as pairs of a word and a text: data, division, network, compression, machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from hsi.pipeline.job import data_run
from hsi.runs import Run
from hsi.settings import Settings

Facts = Sequence[tuple[str, str]]


def title_of(run: Run) -> str:
    """Network and data, such as "cao on salinas_a"."""
    return f"{data_run(run).settings.network.name} on {run.record['data']['name']}"


def unit_of(run: Run) -> str:
    """What a sample is: "pixel" or "image"."""
    return "image" if run.record["data"].get("kind") == "images" else "pixel"


def groups(run: Run, rows: Sequence[Mapping[str, str]]) -> dict[str, Facts]:
    """Title -> facts, in the order of the page."""
    return {
        "Data": _data(run),
        "Division": _division(run),
        "Network and training": _training(run, rows),
        "Machine and versions": _machine(run),
    }


def changed_settings(run: Run) -> Facts:
    """The settings that are not the defaults, as generate_model.py spells them."""
    settings = run.settings
    plain = Settings(model=settings.model, dataset=settings.dataset)
    found = []
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if field.name == "model" or value != getattr(plain, field.name):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            found.append((field.name, shown))
    if settings.dataset is not None:
        found.append(("dataset", settings.dataset))
    return found


def notes(run: Run) -> list[str]:
    """What the reader must know of the data, its division and its preparation."""
    record = run.record
    found = [*record["split"].get("notes", []), *record.get("preparation", {}).get("notes", [])]
    if record["data"].get("clipped_values"):
        count = record["data"]["clipped_values"]
        found.append(f"{count:,} outlying values of the scene are clipped to the fitted range.")
    if record["data"].get("wavelengths_approximate"):
        found.append("Wavelengths are a linear approximation.")
    return found


def _data(run: Run) -> Facts:
    data = run.record["data"]
    shape = data["shape"]
    if unit_of(run) == "image":
        count, rows, cols, channels = shape
        size = f"{count:,} images of {rows} × {cols} pixels, {'grey' if channels == 1 else 'RGB'}"
    else:
        rows, cols, bands = shape
        size = f"{rows} × {cols} pixels, {bands} bands"
    found = [("name", data["name"]), ("size", size)]
    found += [(name, str(data[name])) for name in ("sensor", "source") if data.get(name)]
    found.append(("classes", str(len(run.record["classes"]))))
    return [*found, ("sha256", f"{data['sha256'][:16]}…" if data["sha256"] else "not computed")]


def _division(run: Run) -> Facts:
    split, unit = run.record["split"], unit_of(run)
    found = [("method", str(split["method"])), ("seed", str(split["seed"]))]
    if split.get("patch_size"):
        found.append(("patch", f"{split['patch_size']} × {split['patch_size']} pixels"))
        found.append(("gap", f"{split['gap']} pixels between training and test"))
    counts = f"{split['training']:,} / {split['validation']:,} / {split['test']:,} {unit}s"
    what = (
        "of the test images have an exact copy in training"
        if unit == "image"
        else "of the test pixels have a training pixel in their patch"
    )
    return [
        *found,
        ("training / validation / test", counts),
        ("leakage", f"{100 * split['leakage']:.1f} % {what}"),
    ]


def _training(run: Run, rows: Sequence[Mapping[str, str]]) -> Facts:
    settings, preparation = data_run(run).settings, run.record.get("preparation", {})
    found = [("network", settings.network.name), ("seed", str(settings.seed))]
    found.append(("epochs, at most", str(settings.epochs)))
    found.append(("scaling", str(preparation.get("scaling", settings.scaling))))
    if settings.band_selection:
        kept = "chosen_bands" in preparation
        name = "bands kept" if kept else "bands to components"
        found.append((name, f"{settings.band_selection}, {settings.components}"))
    for name in ("criterion", "granularity", "scope", "schedule"):
        values = sorted({row[name] for row in rows if row[name]})
        if values:
            found.append((name, ", ".join(values)))
    if run.settings.quantize or run.settings.quantize_folder:
        found.append(("quantization", ", ".join(run.settings.quantization)))
    return found


def _machine(run: Run) -> Facts:
    machine, versions = run.record["machine"], run.record["versions"]
    found = [
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("system", str(machine["system"])),
    ]
    return [*found, *((name, str(version)) for name, version in versions.items())]
