"""What a look into models asks for, checked before anything is read or TensorFlow is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsi.errors import SettingsError, check_seed, one_of
from hsi.explain import METHODS
from hsi.images import PREPROCESSINGS
from hsi.models import NETWORKS

FIGURE_FORMATS = ("png", "svg", "pdf")
FORMATS = (*FIGURE_FORMATS, "npz", "envi")
DATA_OPTIONS = (
    "dataset", "labels", "like", "classes", "drop_bands", "scaling", "band_selection",
    "components", "patch_size", "image_size", "split", "train_fraction", "train_per_class",
    "validation_fraction", "block_size", "train_labels", "test_labels",
)  # fmt: skip
"""Options of `generate_model.py` that say what a model was trained on."""

SMOOTHED = {"gradient": "smoothgrad"}
"""The smoothed form of a method, drawn beside its raw one."""

SMOOTH = ("smoothgrad", "smoothgrad_squared", "vargrad")
"""Methods over noisy copies."""

SAMPLES = {"attribution": 3, "activations": 1, "image": 3, "model": 12}
"""Samples looked at by default; a network has many layers, each a figure a sample."""

NOISE = 0.15
SMOOTH_SAMPLES = 50

VIEWS = {
    "tiles": "a tile a band, raw and smoothed",
    "raw": "tiles of the method itself alone",
    "smoothed": "tiles of its smoothed form alone",
    "gray": "tiles without colours",
    "spectrum": "attribution per wavelength, mean and interval over pixels of each class",
    "pixels": "bands against the pixels of the patch",
    "scene": "every pixel of the scene, for the class predicted there",
    "overlay": "over the photograph",
}
"""How attributions can be drawn; `--views`."""

SPACES = ("bands", "counts", "components")
"""What an attribution is of: scaled bands, the sensor's own counts, or the network's own input."""

OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "noise": SMOOTH,
    "smooth_samples": SMOOTH,
    "steps": ("integrated_gradient", "class_image"),
    "tolerance": ("integrated_gradient",),
    "baseline": ("integrated_gradient", "occlusion", "spectral_occlusion", "rise"),
    "channel": ("layer_attention",),
    "window": ("occlusion",),
    "stride": ("occlusion",),
    "window_bands": ("occlusion", "spectral_occlusion"),
    "masks": ("rise",),
    "start": ("class_image",),
}
"""Options of single methods."""


@dataclass(frozen=True)
class Request:
    """Every option of `visualization.py`; None means the default, which may hang on the method.

    Attributes:
        files: model files: paths, or bare names of those in a run folder. Several are compared,
            the others with the first.
        method: a name in `hsi.explain.METHODS`.
        model: name of the network that was trained; only compared with what the run says.
        data: the data options that were given, by their names in `Settings`.
        images: photographs to look at, instead of a scene.
        array: `FILE[:KEY]` of samples as the network takes them, instead of a scene.
        preprocess: of photographs; a name in `hsi.images.PREPROCESSINGS`, or None: as in the
            model's run, without one "unit".
        resize: fit photographs of another size.
        class_names: a text file with a class name a line, for images and arrays.
        samples: how many; spread over the classes.
        pixels: (row, col) from 0, instead of `samples`.
        klass: published number or name of the class whose score is explained.
        layers: names, for methods that show layers; one for those that look at one.
        from_band, to_band, step_band: numbers in the sensor's own list (removed bands keep
            theirs), or of components where those are shown; ends included.
        views: names in `VIEWS`.
        space: one of `SPACES`.
        colormap: of signed maps.
        output: a folder, or a file for a single figure.
        name: what the names of the files written begin with; default: the method.
        form: png, svg, pdf, npz, or envi: attributions as cubes.
        seed: of the choice of samples and of the noise; of a model without a run also of its split.
        noise, smooth_samples: of SmoothGrad and its square and variance forms.
        steps, tolerance, baseline, channel, window, stride, window_bands, masks, start: of single
            methods; see `OPTIONS_OF`.
        sanity: compare the maps with those of randomised layers (Adebayo 2018).
        batch_size: most rows that pass through the network at once.
        trust: run the code that a model file holds.
    """

    files: tuple[str, ...]
    method: str
    model: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    array: str | None = None
    preprocess: str | None = None
    resize: bool = False
    class_names: str | None = None
    samples: int | None = None
    pixels: tuple[tuple[int, int], ...] = ()
    klass: str | None = None
    layers: tuple[str, ...] = ()
    from_band: int | None = None
    to_band: int | None = None
    step_band: int | None = None
    views: tuple[str, ...] = ()
    space: str = "bands"
    colormap: str | None = None
    output: str | None = None
    name: str | None = None
    form: str | None = None
    seed: int = 0
    noise: float | None = None
    smooth_samples: int | None = None
    steps: int | None = None
    tolerance: float | None = None
    baseline: str | None = None
    channel: int | None = None
    window: int | None = None
    stride: int | None = None
    window_bands: int | None = None
    masks: int | None = None
    start: str | None = None
    sanity: bool = False
    batch_size: int | None = None
    trust: bool = False

    @property
    def kind(self) -> str:
        """ "attribution", "activations", "image" or "model"."""
        return METHODS[self.method].kind

    @property
    def rows(self) -> tuple[str, ...]:
        """The attribution methods that the views need, the one asked for first."""
        smoothed = SMOOTHED.get(self.method)
        showing = {"smoothed"} if len(self.files) > 1 else {"tiles", "gray", "smoothed"}
        wanted = showing & {*(self.views or ("tiles",))} and not self.sanity
        return (self.method, smoothed) if smoothed and wanted else (self.method,)

    @property
    def count(self) -> int:
        """How many samples to choose where no pixels are given."""
        return SAMPLES[self.kind] if self.samples is None else self.samples

    @property
    def photographed(self) -> bool:
        """Whether images or an array are looked at, and no scene."""
        return bool(self.images or self.array)

    @property
    def stem(self) -> str:
        """What the names of the files written begin with."""
        return self.name or self.method

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
        """
        if self.model is not None:
            one_of(self.model, NETWORKS, what="model")
        one_of(self.method, METHODS, what="method")
        one_of(self.space, SPACES, what="space")
        if self.preprocess is not None:
            one_of(self.preprocess, PREPROCESSINGS, what="preprocess")
        for view in self.views:
            one_of(view, VIEWS, what="view")
        self._check_numbers()
        self._check_method()
        self._check_samples()
        self._check_output()
        return self

    def _check_numbers(self) -> None:
        for name in ("samples", "smooth_samples", "batch_size", "step_band", "from_band",
                     "to_band", "steps", "window", "stride", "window_bands", "masks"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name}: expected 1 or more, got {value}.")
        check_seed(self.seed)
        for name in ("noise", "channel"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise SettingsError(f"{name}: expected 0 or more, got {value:g}.")
        if self.tolerance is not None and not 0 < self.tolerance < float("inf"):
            raise SettingsError(f"tolerance: expected more than 0, got {self.tolerance:g}.")
        if None not in (self.from_band, self.to_band) and self.from_band > self.to_band:  # type: ignore[operator]
            raise SettingsError(
                f"from_band and to_band: expected the first not above the last, "
                f"got {self.from_band} and {self.to_band}."
            )

    def _check_method(self) -> None:
        takes_one = METHODS[self.method].takes_layer
        if self.layers and self.kind != "activations" and not takes_one:
            others = ", ".join(name for name, method in METHODS.items() if method.takes_layer)
            raise SettingsError(
                f"layer: {self.method} is of the input, not of a layer; "
                f"expected with activation_map, or with {others}."
            )
        if takes_one and len(self.layers) > 1:
            raise SettingsError(f"layer: {self.method} looks at one layer, got {len(self.layers)}.")
        for name, methods in OPTIONS_OF.items():
            if getattr(self, name) is not None and not {*methods} & {*self.rows}:
                smoothed = [m for m, s in SMOOTHED.items() if s in methods]
                known = [*smoothed, *methods]
                raise SettingsError(
                    f"{name}: expected with {' or '.join(known)}, not with {self.method}."
                )
        if self.views and self.kind != "attribution":
            raise SettingsError(f"views: {self.method} has one view of its own; leave them out.")
        if "smoothed" in self.views and self.method not in SMOOTHED:
            known_text = ", ".join(SMOOTHED)
            raise SettingsError(f"views: only {known_text} has a smoothed form, not {self.method}.")
        if self.sanity and self.kind != "attribution":
            raise SettingsError(f"sanity: expected with an attribution, not with {self.method}.")
        if len(self.files) > 1 and self.kind != "attribution":
            raise SettingsError(
                f"{self.method}: one model file at a time, got {len(self.files)}; several are "
                "compared by attributions, such as gradient."
            )

    def _check_samples(self) -> None:
        if self.samples is not None and self.pixels:
            raise SettingsError("samples and pixel: expected one of them, not both.")
        if self.pixels and self.kind == "model":
            raise SettingsError(
                f"pixel: {self.method} is of no pixel that is named; leave it out, or name another "
                "method."
            )
        if self.images and self.array:
            raise SettingsError("image and array: expected one of them, not both.")
        if not self.photographed:
            return
        what = "image" if self.images else "array"
        if self.pixels or self.data:
            other = "pixel" if self.pixels else next(iter(self.data))
            raise SettingsError(f"{what} and {other}: expected one of them, not both.")
        self.check_views_of_images(f"--{what}")

    def check_views_of_images(self, what: str) -> None:
        """Refuse views that are of scenes alone (`SettingsError`); `what` names the images."""
        for view in ("scene", "spectrum"):
            if view in self.views:
                raise SettingsError(f"views: {view} is of a scene, not of {what}; leave it out.")

    def _check_output(self) -> None:
        if self.form is not None:
            one_of(self.form, FORMATS, what="format")
        if self.form == "envi" and (self.kind != "attribution" or self.sanity):
            raise SettingsError(
                "format envi: is of attributions to the bands of a scene; expected npz here."
            )
        file = self.output_file
        if file and self.form and file.suffix[1:].lower() != self.form:
            raise SettingsError(
                f"output and format: {file.name} is not a .{self.form} file; leave out --format."
            )
        if self.name is not None and (not self.name.strip() or Path(self.name).name != self.name):
            raise SettingsError(f"name: expected the beginning of a file name, got {self.name!r}.")
