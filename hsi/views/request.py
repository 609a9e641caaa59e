"""What a look into a model asks for, checked before anything is read or TensorFlow is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsi.errors import ModelError, SettingsError, one_of
from hsi.explain import METHODS
from hsi.models import NETWORKS

FIGURE_FORMATS = ("png", "svg", "pdf")
FORMATS = (*FIGURE_FORMATS, "npz")
DATA_OPTIONS = (
    "dataset", "labels", "like", "classes", "drop_bands", "scaling", "band_selection",
    "components", "patch_size", "split", "train_fraction", "train_per_class",
    "validation_fraction", "block_size", "train_labels", "test_labels",
)  # fmt: skip
"""Options of `generate_model.py` that say what a model was trained on."""

ROWS: dict[str, tuple[str, ...]] = {"gradient": ("gradient", "smoothgrad")}
"""Methods drawn under each other for a method; one that is not listed is drawn by itself."""

SMOOTH = ("smoothgrad", "smoothgrad_squared", "vargrad")
"""Methods over noisy copies."""

SAMPLES = {"attribution": 3, "activations": 1, "image": 3}
"""Samples looked at by default; a network has many layers, each a figure a sample."""

NOISE = 0.15
SMOOTH_SAMPLES = 50


@dataclass(frozen=True)
class Request:
    """Every option of `visualization.py`; None means the default, which may hang on the method.

    Attributes:
        file: a model file: a path, or the bare name of one in a run folder.
        method: a name in `hsi.explain.METHODS`.
        model: name of the network that was trained; only compared with what the run says.
        data: the data options that were given, by their names in `Settings`.
        samples: how many; spread over the classes.
        pixels: (row, col) from 0, instead of `samples`.
        klass: published number or name of the class whose score is explained.
        layers: names, for methods that show layers; one for those that look at one.
        from_band, to_band, step_band: numbers in the sensor's own list (removed bands keep
            theirs), or of components where the bands are reduced; ends included.
        output: a folder, or a file for a single figure.
        form: png, svg, pdf or npz.
        seed: of the choice of samples and of the noise; of a model without a run also of its split.
        noise, smooth_samples: of SmoothGrad and its square and variance forms.
        batch_size: most rows that pass through the network at once.
    """

    file: str
    method: str
    model: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    pixels: tuple[tuple[int, int], ...] = ()
    klass: str | None = None
    layers: tuple[str, ...] = ()
    from_band: int | None = None
    to_band: int | None = None
    step_band: int | None = None
    output: str | None = None
    form: str | None = None
    seed: int = 0
    noise: float | None = None
    smooth_samples: int | None = None
    batch_size: int = 64

    @property
    def kind(self) -> str:
        """ "attribution", "activations" or "image"."""
        return METHODS[self.method].kind

    @property
    def rows(self) -> tuple[str, ...]:
        """The attribution methods whose maps are shown, the one asked for first."""
        return ROWS.get(self.method, (self.method,))

    @property
    def count(self) -> int:
        """How many samples to choose where no pixels are given."""
        return SAMPLES[self.kind] if self.samples is None else self.samples

    @property
    def output_file(self) -> Path | None:
        """The file that `output` names; None where it is a folder or was not given."""
        if self.output is None or Path(self.output).is_dir():
            return None
        path = Path(self.output)
        return path if path.suffix[1:].lower() in FORMATS else None

    @property
    def format(self) -> str:
        """The format asked for, else that of the output file, else png."""
        if self.form:
            return self.form
        return self.output_file.suffix[1:].lower() if self.output_file else "png"

    def check(self) -> Request:
        """Return the request if its parts fit together.

        Raises:
            SettingsError: options that contradict each other or a value out of range.
            ModelError: a `.tflite` file.
        """
        if self.model is not None:
            one_of(self.model, NETWORKS, what="model")
        one_of(self.method, METHODS, what="method")
        if self.file.lower().endswith(".tflite"):
            raise ModelError(
                f"{self.file}: .tflite files cannot be explained yet, expected a Keras model; "
                "take the .h5 file that it was made from."
            )
        self._check_numbers()
        self._check_method()
        self._check_output()
        return self

    def _check_numbers(self) -> None:
        for name, value in (
            ("samples", self.samples),
            ("smooth_samples", self.smooth_samples),
            ("batch_size", self.batch_size),
            ("step_band", self.step_band),
            ("from_band", self.from_band),
            ("to_band", self.to_band),
        ):
            if value is not None and value < 1:
                raise SettingsError(f"{name}: expected 1 or more, got {value}.")
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise SettingsError(f"noise: expected 0 or more, got {self.noise:g}.")
        if self.seed < 0:
            raise SettingsError(f"seed: expected 0 or more, got {self.seed}.")
        if None not in (self.from_band, self.to_band) and self.from_band > self.to_band:  # type: ignore[operator]
            raise SettingsError(
                f"from_band and to_band: expected the first not above the last, "
                f"got {self.from_band} and {self.to_band}."
            )

    def _check_method(self) -> None:
        if self.samples is not None and self.pixels:
            raise SettingsError("samples and pixel: expected one of them, not both.")
        takes_one = METHODS[self.method].takes_layer
        if self.layers and self.kind != "activations" and not takes_one:
            others = ", ".join(name for name, method in METHODS.items() if method.takes_layer)
            raise SettingsError(
                f"layer: {self.method} is of the input, not of a layer; "
                f"expected with activation_map, or with {others}."
            )
        if takes_one and len(self.layers) > 1:
            raise SettingsError(f"layer: {self.method} looks at one layer, got {len(self.layers)}.")
        smooth = self.noise is not None or self.smooth_samples is not None
        if smooth and not {*SMOOTH} & {*self.rows}:
            raise SettingsError(
                f"noise and smooth_samples: expected with gradient, {' or '.join(SMOOTH)}, "
                f"not with {self.method}."
            )

    def _check_output(self) -> None:
        if self.form is not None:
            one_of(self.form, FORMATS, what="format")
        file = self.output_file
        if file and self.form and file.suffix[1:].lower() != self.form:
            raise SettingsError(
                f"output and format: {file.name} is not a .{self.form} file; leave out --format."
            )
