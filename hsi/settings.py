"""The settings of a run, checked before anything is read or TensorFlow is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import floor
from pathlib import Path
from typing import Any

from hsi import image_sets
from hsi.bands import REDUCERS, SCALINGS, reducer_name
from hsi.catalog import CATALOG, SYNTHETIC, looks_like_path, scene_name
from hsi.errors import SettingsError, check_seed, one_of
from hsi.image_sets import IMAGE_SETS, image_set_name
from hsi.models import NETWORKS, Network, network
from hsi.split import METHODS

OWN = "own"
"""What `model` is with a model file of the user's own."""
TRAIN_FRACTION = 0.1
"""Of a scene, where none is given; of images all are taken."""
EPOCHS = 100
"""Where none are given; of a model of the user's own, none."""
OF_SCENES = (
    "labels", "like", "classes", "drop_bands", "band_selection", "components", "patch_size",
    "split", "train_per_class", "block_size", "train_labels", "test_labels", "fold_preparation",
)  # fmt: skip
OF_IMAGES = ("image_size", "no_augmentation")

QUANTIZATIONS: dict[str, str] = {
    "float32": "no quantization; the yardstick of the others",
    "dynamic": "int8 weights, activations quantized while running",
    "float16": "float16 weights, float computation: half the file, no gain in speed",
    "int8": "int8 weights and activations, calibrated; float input and output",
    "int16x8": "int8 weights, int16 activations, calibrated; runs slow reference kernels",
    "int4": "int4 weights, float computation: an eighth of the file, no gain in speed",
}
PRETRAININGS: dict[str, str] = {
    "none": "random weights",
    "simclr": "contrastive, of samples without labels (Chen et al. 2020)",
}
STRATEGIES: dict[str, str] = {
    "default": "one device",
    "mirrored": "every GPU of this machine",
    "multi_worker": "a process for each worker, as TF_CONFIG says",
}
NOT_OF_THE_RESULT = ("output", "resume", "show_images", "no_report", "threads", "start_from")
"""Settings that do not change what a run computes: `--resume` may be given others."""
COMPRESSION = (
    "prune", "prune_method", "prune_start", "prune_increment", "prune_end", "prune_epochs",
    "prune_learning_rate", "compression_rates", "criterion", "granularity", "scope", "schedule",
    "target", "round_to", "min_channels", "keep", "prune_dense", "no_compensation", "epochs_total",
    "until_convergence", "plan", "plan_only", "teacher", "temperature", "teacher_share", "distill",
    "distill_from", "distill_epochs", "low_rank", "low_rank_method", "separable", "clusters",
    "fold", "fold_preparation", "quantization_aware", "quantize", "quantization",
    "quantize_pruned_models", "quantize_folder",
)  # fmt: skip
"""Settings that do not change the trained model."""


@dataclass(frozen=True)
class Settings:
    """Every option of `generate_model.py`, by its name there; None means the network's default.

    The meaning of each is in `python generate_model.py --help`. `train_fraction` and `epochs` are
    never None: what stands for it depends on the data and the model.
    """

    model: str
    model_file: str | None = None
    weights: str = "none"
    width: float = 1.0
    dataset: str | None = None
    labels: str | None = None
    like: str | None = None
    classes: tuple[str, ...] = ()
    drop_bands: tuple[int | str, ...] = ()
    scaling: str = "standard"
    band_selection: str | None = None
    components: int | None = None
    patch_size: int | None = None
    image_size: int | None = None
    no_augmentation: bool = False
    split: str = "blocks"
    train_fraction: float = None  # type: ignore[assignment]  # see __post_init__
    train_per_class: int | None = None
    validation_fraction: float = 0.1
    block_size: int = 10
    train_labels: str | None = None
    test_labels: str | None = None
    seed: int = 0
    epochs: int = None  # type: ignore[assignment]  # see __post_init__
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int = 20
    pretrain: str = "none"
    pretrain_epochs: int = 20
    strategy: str = "default"
    prune: bool = False
    prune_method: str | None = None
    prune_start: float = 0
    prune_increment: float = 5
    prune_end: float = 98
    prune_epochs: int = 10
    prune_learning_rate: float | None = None
    compression_rates: tuple[float, ...] = ()
    criterion: str | None = None
    granularity: str | None = None
    scope: str | None = None
    schedule: str | None = None
    target: tuple[str, ...] = ()
    round_to: int = 1
    min_channels: int = 1
    keep: tuple[str, ...] = ()
    prune_dense: bool = False
    no_compensation: bool = False
    epochs_total: int | None = None
    until_convergence: bool = False
    plan: str | None = None
    plan_only: bool = False
    teacher: str | None = None
    temperature: float = 4.0
    teacher_share: float = 0.9
    distill: tuple[str, ...] = ()
    distill_from: str | None = None
    distill_epochs: int = 100
    low_rank: tuple[str, ...] = ()
    low_rank_method: str = "tucker2"
    separable: bool = False
    clusters: tuple[int, ...] = ()
    fold: bool = False
    fold_preparation: bool = False
    quantization_aware: bool = False
    quantize: bool = False
    quantization: tuple[str, ...] = ("dynamic",)
    quantize_pruned_models: bool = False
    quantize_folder: str | None = None
    threads: int = 1
    show_images: bool = False
    no_report: bool = False
    output: str | None = None
    resume: bool = False
    start_from: str | None = None

    def __post_init__(self) -> None:
        if self.band_selection is not None:
            name = reducer_name(self.band_selection)
            object.__setattr__(self, "band_selection", None if name == "none" else name)
        if self.train_fraction is None:
            object.__setattr__(self, "train_fraction", 1.0 if self.of_images else TRAIN_FRACTION)
        if self.epochs is None:
            object.__setattr__(self, "epochs", 0 if self.model_file else EPOCHS)

    @property
    def of_images(self) -> bool:
        """Whether the data is a set of images; else it is a scene."""
        if self.dataset is not None:
            return image_set_name(self.dataset) is not None
        return self.model in NETWORKS and NETWORKS[self.model].image_size > 0

    @property
    def network(self) -> Network:
        """The network that is trained, with its defaults on this kind of data."""
        if self.model_file:
            name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(self.model_file).stem) or OWN
            return Network(name, "the user's own", self.model_file, patch_size=1, smallest_patch=1)
        found = network(self.model)
        rate = found.image_learning_rate if self.of_images else None
        return found if rate is None else replace(found, learning_rate=rate)

    @property
    def prune_targets(self) -> tuple[float, ...]:
        """Percent to prune, ascending: channels (apoz) or weights (magnitude)."""
        if self.compression_rates:
            return tuple(sorted({100 * (1 - 1 / rate) for rate in self.compression_rates} - {0.0}))
        steps = floor((self.prune_end - self.prune_start) / self.prune_increment + 1e-9)
        targets = [self.prune_start + k * self.prune_increment for k in range(steps + 1)]
        return tuple(t for t in targets if t > 0)

    def check(self) -> Settings:
        """Return the settings if no two contradict each other (`SettingsError`).

        Those of pruning are checked by `hsi.pipeline.choices`, which knows the criteria.
        """
        _check_training(self)
        for mode in self.quantization:
            one_of(mode, QUANTIZATIONS, what="quantization")
        if not self.quantization:
            raise SettingsError(f"quantization: expected some of {', '.join(QUANTIZATIONS)}.")
        if self.quantize_folder and self.prune:
            raise SettingsError(
                "quantize_folder: takes the models of an earlier run as they are; omit --prune."
            )
        if self.fold_preparation:
            _check_fold_preparation(self)
        return self

    def of_the_result(self) -> dict[str, Any]:
        """The settings that change what is computed, as plain JSON values."""
        values = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in NOT_OF_THE_RESULT
        }

    def not_by_default(self) -> dict[str, Any]:
        """Those of `of_the_result` that are no defaults: the same in versions with more options."""
        usual = Settings(self.model).of_the_result()
        return {n: v for n, v in self.of_the_result().items() if n == "model" or v != usual[n]}

    def beside_the_result(self) -> dict[str, Any]:
        """The settings that do not change what is computed."""
        return {name: getattr(self, name) for name in NOT_OF_THE_RESULT}

    def training_only(self) -> Settings:
        """These settings without anything that comes after training."""
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self)}
        return replace(self, **{name: defaults[name] for name in (*COMPRESSION, "start_from")})


OPTIONS = tuple(f.name for f in fields(Settings))


def recorded_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """`of_the_result` as recorded, with the defaults of options that there were not at the time."""
    return {**Settings(values["model"]).of_the_result(), **values}


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from plain JSON values, such as those of a run file.

    Raises:
        SettingsError: an unknown name; the closest one is offered.
    """
    for name in values:
        one_of(name, OPTIONS, what="setting")
    plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return Settings(**plain)


def _check_fold_preparation(settings: Settings) -> None:
    if settings.quantize_folder:
        raise SettingsError(
            "quantize_folder: takes the models of an earlier run as they are; omit "
            "--fold_preparation."
        )
    method = REDUCERS.get(settings.band_selection or "none")
    if method and method.kind != "affine":
        raise SettingsError(
            f"fold_preparation: {settings.band_selection} cannot be folded into a network, its "
            "components are no affine map of the bands; expected PCA, another affine method, a "
            "selection or none."
        )
    if settings.scaling == "none" and settings.band_selection is None:
        raise SettingsError(
            "fold_preparation: with --scaling none the files take counts as they are; leave it out."
        )


def percent_name(target: float) -> str:
    """A percentage below 100 as it stands in file names: 20, 62.5, 98.4; 99.97, which is no 100."""
    digits = next((digits for digits in range(1, 15) if round(target, digits) < 100), 1)
    return f"{target:.{digits}f}".removesuffix(".0")


def _check_model(settings: Settings) -> None:
    if settings.model_file is None:
        if settings.model == OWN:
            raise SettingsError("model own: expected together with --model FILE.")
        if settings.width != 1:
            network(settings.model).check_width(settings.width)
        return
    if settings.model != OWN:
        raise SettingsError(
            f"model: expected the network {settings.model} or --model FILE, got both."
        )
    if settings.dataset is None and not settings.quantize_folder:
        raise SettingsError(
            "dataset: expected with --model FILE: what the model was trained for is not in it."
        )
    for name, untouched in (("weights", "none"), ("width", 1.0)):
        if getattr(settings, name) != untouched:
            raise SettingsError(f"{name}: is of new networks; --model FILE is taken as it is.")


def check_dataset(spec: str) -> None:
    """Refuse what is neither the name of a data set nor a file (`SettingsError`)."""
    if image_set_name(spec) is None and scene_name(spec) is None and not looks_like_path(spec):
        known = (*CATALOG, SYNTHETIC, *IMAGE_SETS, "folder:PATH")
        one_of(spec, known, what="data set (and no such file)")


def _check_data(settings: Settings) -> None:
    """Whether there is such a data set, and the options are of its kind."""
    spec = settings.dataset
    if spec is not None:
        check_dataset(spec)
    defaults = {field.name: field.default for field in fields(settings)}
    what, other = ("images", "a scene") if settings.of_images else ("a scene", "images")
    strange: tuple[str, ...] = OF_SCENES if settings.of_images else OF_IMAGES
    given = [name for name in strange if getattr(settings, name) != defaults[name]]
    if given:
        data = f"the data set {spec}" if spec else f"the default of {settings.model}"
        raise SettingsError(
            f"{', '.join(given)}: expected with {other}, but {data} is {what}; leave it out."
        )
    scalings = image_sets.SCALINGS if settings.of_images else SCALINGS
    one_of(settings.scaling, scalings, what=f"scaling of {what}")
    if settings.image_size is not None and settings.image_size < 1:
        raise SettingsError(f"image_size: expected 1 pixel or more, got {settings.image_size}.")


def _check_training(settings: Settings) -> None:
    _check_model(settings)
    chosen = settings.network
    _check_data(settings)
    one_of(settings.band_selection or "none", ("none", *REDUCERS), what="band_selection")
    one_of(settings.split, METHODS, what="split")
    one_of(settings.pretrain, PRETRAININGS, what="pretrain")
    one_of(settings.strategy, STRATEGIES, what="strategy")
    least_epochs = 0 if settings.model_file else 1
    for name, least in (
        ("epochs", least_epochs),
        ("patience", 1),
        ("pretrain_epochs", 1),
        ("prune_epochs", 0),
        ("threads", 1),
    ):
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
    check_seed(settings.seed)
    if settings.band_selection and settings.components is None:
        raise SettingsError(
            f"components: expected with --band_selection {settings.band_selection}, "
            f"for example --components 20."
        )
    if settings.components is not None and not settings.band_selection:
        raise SettingsError("components: expected together with --band_selection METHOD.")
    if settings.split == "given" and not settings.train_labels:
        raise SettingsError("split given: expected --train_labels FILE (and --test_labels FILE).")
    if settings.split != "given" and (settings.train_labels or settings.test_labels):
        raise SettingsError("train_labels and test_labels: expected together with --split given.")
