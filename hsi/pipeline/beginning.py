"""The network that a run begins with: new, with weights from elsewhere, or the user's own.

What can be wrong with a file of weights or a model shows here, before a run folder is made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hsi.deploy.variant import sizes_text
from hsi.errors import ModelError, SettingsError
from hsi.image_sets import IMAGE_SETS, STANDARD, image_set_name
from hsi.parts import AnySamples
from hsi.quiet import start_tensorflow
from hsi.settings import Settings

if TYPE_CHECKING:
    import tf_keras as keras

Say = Callable[[str], None]

IMAGENET, NONE = "imagenet", "none"
"""Values of `--weights` that are no files; as `hsi.models.pretrained` has them."""


def side_of(settings: Settings) -> int | None:
    """Side of the patches or images, in pixels; None takes the default of the image set.

    Raises:
        ModelError: the user's own model is missing, damaged, or takes nothing square.
        SettingsError: a size that is not that of the user's own model.
    """
    asked = settings.image_size if settings.of_images else settings.patch_size
    if settings.model_file is None:
        return asked if settings.of_images else asked or settings.network.patch_size
    shape = _own_shape(settings.model_file)
    name = "image_size" if settings.of_images else "patch_size"
    if shape[0] != shape[1]:
        raise ModelError(
            f"{settings.model_file}: expected a model of square inputs, it takes "
            f"{sizes_text(shape)}."
        )
    if asked not in (None, shape[0]):
        raise SettingsError(
            f"{name}: {settings.model_file} takes {sizes_text(shape)}, got {asked}; leave it out."
        )
    return shape[0]


def preprocess_of(settings: Settings, side: int | None) -> str:
    """How images are scaled: as asked for, else as they were for the weights."""
    if settings.scaling != STANDARD or settings.weights != IMAGENET:
        return settings.scaling
    from hsi.models.pretrained import imagenet_weights

    known = IMAGE_SETS.get(image_set_name(settings.dataset or "") or "")
    size, channels = side or (known.size if known else 0), known.channels if known else 3
    shape = (size, size, channels)
    return imagenet_weights(settings.network.name, shape, settings.width).preprocess


def beginning(settings: Settings, samples: AnySamples, *, say: Say) -> keras.Model | None:
    """The network to begin with, where only making it shows whether it fits; else None.

    Raises:
        DataError, DownloadError: ImageNet's weights are not there and cannot be fetched.
        ModelError: a file that does not fit the samples.
        SettingsError: an input that the network cannot take, or no such weights.
    """
    if settings.model_file is not None:
        return _own(settings.model_file, samples, say)
    network = settings.network
    shape = samples.patches.shape
    network.check_patch_size(min(shape[:2]))
    if settings.weights == NONE:
        return None
    if settings.weights == IMAGENET:
        from hsi.models.pretrained import imagenet_weights, obtain

        obtain(imagenet_weights(network.name, shape, settings.width), network.name, say=say)
        return None
    if not Path(settings.weights).is_file():
        raise ModelError(
            f"weights {settings.weights}: no such file; expected imagenet, none, or an .h5 or "
            ".keras file."
        )
    start_tensorflow()
    return new_network(settings, samples, say=say)


def checked_for_rounding(
    settings: Settings,
    samples: AnySamples,
    begun: keras.Model | None,
    trained: Path | None,
    *,
    say: Say,
) -> keras.Model | None:
    """Refuse `--quantization_aware` of a network that it cannot train, before anything is trained.

    Args:
        begun: the network to begin with, where it was made already.
        trained: the file of the network where that is trained already.

    Returns:
        The network to begin with; None where the network is trained already.

    Raises:
        ModelError: the first layer in its way, and what to do.
    """
    if trained is not None and not trained.is_file():  # said where it is taken over
        return None
    start_tensorflow()
    from hsi.compress.aware import check_aware
    from hsi.models.files import load_model

    if trained is None:
        model = begun = begun or new_network(settings, samples, say=say)
    else:
        model = load_model(trained)
    try:
        check_aware(model)
    except ModelError as error:
        raise ModelError(f"quantization_aware: {error}") from error
    return begun


def new_network(settings: Settings, samples: AnySamples, *, say: Say) -> keras.Model:
    """A new network for the samples; errors as of `hsi.models.Network.build`."""
    return settings.network.build(
        samples.patches.shape,
        samples.classes,
        seed=settings.seed,
        width=settings.width,
        weights=settings.weights,
        say=say,
    )


def _own_shape(file: str) -> tuple[int, ...]:
    """Of one input of the user's model, from the file alone where it tells."""
    path = Path(file)
    if not path.exists():
        raise ModelError(f"{path}: no such model file.")
    shape = None
    if path.is_file():
        from hsi.models.files import read_config, stored_input_shape
        from hsi.models.harmless import TRUST, refuse_code

        config = read_config(path)
        try:
            refuse_code(config, path)
        except ModelError as error:  # every later stage would have to trust the file as well
            raise ModelError(str(error).replace(f"{TRUST}, or rebuild", "Rebuild")) from error
        shape = stored_input_shape(config)
    if shape is not None and len(shape) == 3 and None not in shape:
        return tuple(int(side or 0) for side in shape)
    start_tensorflow()
    from hsi.models.adopted import adopt

    return adopt(path, say=lambda line: None).input_shape


def _own(file: str, samples: AnySamples, say: Say) -> keras.Model:
    shape, wanted = _own_shape(file), samples.patches.shape
    if shape != wanted:
        raise ModelError(
            f"{file}: takes {sizes_text(shape)}, but {samples.name} gives {sizes_text(wanted)} "
            f"(rows x cols x channels); choose other data or another model."
        )
    start_tensorflow()
    from hsi.models.adopted import adopt

    adopted = adopt(file, say=say)
    if adopted.classes != samples.classes:
        raise ModelError(
            f"{file}: tells {adopted.classes} classes apart, {samples.name} has {samples.classes}."
        )
    names = list(samples.class_names.values())
    shown = ", ".join(names[:3]) + (f" ... {names[-1]}" if len(names) > 3 else "")
    say(f"{file}: taken as it is; its scores are read in the order of the classes: {shown}.")
    return adopted.model
