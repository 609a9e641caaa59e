"""The settings of a run, checked before anything is read or TensorFlow is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hsi.bands import REDUCERS, SCALINGS
from hsi.errors import SettingsError, one_of
from hsi.models import network
from hsi.split import METHODS

PRUNE_METHODS = ("apoz", "magnitude")
QUANTIZATIONS: dict[str, str] = {
    "float32": "no quantization; the yardstick of the others",
    "dynamic": "int8 weights, activations quantized while running",
    "float16": "float16 weights, float computation: half the file, no gain in speed",
    "int8": "int8 weights and activations, calibrated; float input and output",
    "int16x8": "int8 weights, int16 activations, calibrated; runs slow reference kernels",
    "int4": "int4 weights, float computation: an eighth of the file, no gain in speed",
}
NOT_OF_THE_RESULT = ("output", "resume", "show_images", "threads", "start_from")
"""Settings that do not change what a run computes: `--resume` may be given others."""
COMPRESSION = (
    "prune", "prune_method", "prune_start", "prune_increment", "prune_end", "prune_epochs",
    "prune_learning_rate", "compression_rates", "quantize", "quantization",
    "quantize_pruned_models", "quantize_folder",
)  # fmt: skip
"""Settings that do not change the trained model."""


@dataclass(frozen=True)
class Settings:
    """Every option of `generate_model.py`, by its name there; None means the network's default.

    The meaning of each is in `python generate_model.py --help`.
    """

    model: str
    dataset: str | None = None
    labels: str | None = None
    like: str | None = None
    classes: tuple[str, ...] = ()
    drop_bands: tuple[int, ...] = ()
    scaling: str = "standard"
    band_selection: str | None = None
    components: int | None = None
    patch_size: int | None = None
    split: str = "blocks"
    train_fraction: float = 0.1
    train_per_class: int | None = None
    validation_fraction: float = 0.1
    block_size: int = 10
    train_labels: str | None = None
    test_labels: str | None = None
    seed: int = 0
    epochs: int = 100
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int = 20
    prune: bool = False
    prune_method: str | None = None
    prune_start: float = 0
    prune_increment: float = 5
    prune_end: float = 98
    prune_epochs: int = 10
    prune_learning_rate: float | None = None
    compression_rates: tuple[float, ...] = ()
    quantize: bool = False
    quantization: tuple[str, ...] = ("dynamic",)
    quantize_pruned_models: bool = False
    quantize_folder: str | None = None
    threads: int = 1
    show_images: bool = False
    output: str | None = None
    resume: bool = False
    start_from: str | None = None

    @property
    def pruning(self) -> str:
        """The pruning method: as given, else magnitude where there are compression rates."""
        return self.prune_method or ("magnitude" if self.compression_rates else "apoz")

    @property
    def prune_targets(self) -> tuple[float, ...]:
        """Percent to prune, ascending: channels (apoz) or weights (magnitude)."""
        if self.compression_rates:
            return tuple(sorted({100 * (1 - 1 / rate) for rate in self.compression_rates} - {0.0}))
        steps = int((self.prune_end - self.prune_start) / self.prune_increment + 1e-9)
        targets = [self.prune_start + k * self.prune_increment for k in range(steps + 1)]
        return tuple(t for t in targets if t > 0)

    def check(self) -> Settings:
        """Return the settings if no two contradict each other (`SettingsError`)."""
        _check_training(self)
        _check_pruning(self)
        for mode in self.quantization:
            one_of(mode, QUANTIZATIONS, what="quantization")
        if not self.quantization:
            raise SettingsError(f"quantization: expected some of {', '.join(QUANTIZATIONS)}.")
        if self.quantize_folder and self.prune:
            raise SettingsError(
                "quantize_folder: takes the models of an earlier run as they are; omit --prune."
            )
        return self

    def of_the_result(self) -> dict[str, Any]:
        """The settings that change what is computed, as plain JSON values."""
        values = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in NOT_OF_THE_RESULT
        }

    def beside_the_result(self) -> dict[str, Any]:
        """The settings that do not change what is computed."""
        return {name: getattr(self, name) for name in NOT_OF_THE_RESULT}

    def training_only(self) -> Settings:
        """These settings without anything that comes after training."""
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self)}
        return replace(self, **{name: defaults[name] for name in (*COMPRESSION, "start_from")})


OPTIONS = tuple(f.name for f in fields(Settings))


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from plain JSON values, such as those of a run file.

    Raises:
        SettingsError: an unknown name; the closest one is offered.
    """
    for name in values:
        one_of(name, OPTIONS, what="setting")
    plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return Settings(**plain)


def percent_name(target: float) -> str:
    """A percentage as it stands in file names: 20, 62.5, 98.4."""
    return f"{target:.1f}".removesuffix(".0")


def _check_training(settings: Settings) -> None:
    chosen = network(settings.model)
    one_of(settings.scaling, SCALINGS, what="scaling")
    one_of(settings.band_selection or "none", REDUCERS, what="band_selection")
    one_of(settings.split, METHODS, what="split")
    for name, least in (("epochs", 1), ("patience", 1), ("prune_epochs", 0), ("threads", 1)):
        if getattr(settings, name) < least:
            raise SettingsError(f"{name}: expected {least} or more, got {getattr(settings, name)}.")
    for name in (
        "batch_size",
        "learning_rate",
        "prune_learning_rate",
        "components",
        "train_per_class",
        "block_size",
    ):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise SettingsError(f"{name}: expected a number above 0, got {value:g}.")
    size = settings.patch_size
    if size is not None and (size < 1 or size % 2 == 0):
        raise SettingsError(
            f"patch_size: expected an odd number (the patch is centred on its pixel), got {size}."
        )
    if size is not None:
        chosen.check_patch_size(size)
    if settings.seed < 0:
        raise SettingsError(f"seed: expected 0 or more, got {settings.seed}.")
    if settings.band_selection and settings.components is None:
        raise SettingsError(
            f"components: expected with --band_selection {settings.band_selection}, "
            f"for example --components 20."
        )
    if settings.components is not None and not settings.band_selection:
        raise SettingsError("components: expected together with --band_selection PCA or NMF.")
    if settings.split == "given" and not settings.train_labels:
        raise SettingsError("split given: expected --train_labels FILE (and --test_labels FILE).")
    if settings.split != "given" and (settings.train_labels or settings.test_labels):
        raise SettingsError("train_labels and test_labels: expected together with --split given.")


def _check_pruning(settings: Settings) -> None:
    one_of(settings.pruning, PRUNE_METHODS, what="prune_method")
    if settings.compression_rates and settings.pruning != "magnitude":
        raise SettingsError("compression_rates: expected with --prune_method magnitude.")
    if (settings.compression_rates or settings.prune_method) and not settings.prune:
        raise SettingsError("compression_rates and prune_method: expected together with --prune.")
    for rate in settings.compression_rates:
        if not rate > 1:
            raise SettingsError(f"compression_rates: expected factors above 1, got {rate:g}.")
    if not 0 <= settings.prune_start < 100 or not 0 < settings.prune_end < 100:
        raise SettingsError(
            f"prune_start and prune_end: expected percentages from 0 to below 100, got "
            f"{settings.prune_start:g} and {settings.prune_end:g}."
        )
    if not settings.prune_increment > 0:
        raise SettingsError(
            f"prune_increment: expected a percentage above 0, got {settings.prune_increment:g}."
        )
    if settings.prune and not settings.prune_targets:
        raise SettingsError(
            f"prune_start {settings.prune_start:g}, prune_increment {settings.prune_increment:g} "
            f"and prune_end {settings.prune_end:g} leave no step."
        )
