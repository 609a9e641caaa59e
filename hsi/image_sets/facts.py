"""Facts about public image sets: layout, classes, files, hashes, licences.

Class numbers are the published ones; hashes are those of the publishers or of torchvision's
readers, which fetch the same files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hsi.published import PublishedFile


@dataclass(frozen=True)
class ImageSet:
    """What is known of a public image set.

    Attributes:
        name: as on the command line.
        summary: one line for lists.
        classes: published number -> name; empty where a file of the set names them.
        keys: what files call the classes, in the order of their numbers; () for the numbers.
        size: default side of the images, in pixels.
        channels: 1 for grey, 3 for red, green, blue.
        images: published (training, test) images; test 0 where no test set is published.
        folders: what its folder may be called, the first found is taken.
        files: what to download; archives hold the folder of the same place in `folders`.
        source: paper or publisher, year, address.
        licence: under which the images may be used.
        flips: "none", "horizontal" or "both": what may be mirrored in training.
        shift: pixels that a training image may move, as a share of its side.
        note: what a user of this set should know.
    """

    name: str
    summary: str
    classes: Mapping[int, str]
    size: int
    channels: int
    images: tuple[int, int]
    source: str
    licence: str
    keys: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[PublishedFile, ...] = field(default=())
    flips: str = "none"
    shift: float = 0.125
    note: str = ""


def _numbered(names: str) -> dict[int, str]:
    """Classes 0, 1 ... from their names in order, with commas between."""
    return dict(enumerate(names.split(", ")))


_TORONTO = "https://www.cs.toronto.edu/~kriz"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"
_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas"
_CIFAR = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
_DIGITS = _numbered("0, 1, 2, 3, 4, 5, 6, 7, 8, 9")

IMAGE_SETS: dict[str, ImageSet] = {
    info.name: info
    for info in (
        ImageSet(
            name="digits",
            summary="handwritten digits, 8 x 8 grey, part of scikit-learn: needs no files",
            classes=_DIGITS,
            size=8,
            channels=1,
            images=(1797, 0),
            source="Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits, UCI",
            licence="CC BY 4.0",
            note="values 0..16 are stretched to 0..255; who wrote which digit is not published",
        ),
        ImageSet(
            name="mnist",
            summary="handwritten digits, 28 x 28 grey",
            classes=_DIGITS,
            size=28,
            channels=1,
            images=(60_000, 10_000),
            folders=("mnist",),
            files=(
                PublishedFile(
                    _MNIST, "/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"
                ),
                PublishedFile(
                    _MNIST, "/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"
                ),
                PublishedFile(
                    _MNIST, "/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"
                ),
                PublishedFile(
                    _MNIST, "/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"
                ),
            ),
            source="LeCun, Cortes, Burges 1998, The MNIST Database of Handwritten Digits",
            licence="CC BY-SA 3.0",
            shift=2 / 28,
        ),
        ImageSet(
            name="cifar10",
            summary="photographs of 10 classes, 32 x 32",
            classes=_numbered(
                "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
            ),
            size=32,
            channels=3,
            images=(50_000, 10_000),
            folders=("cifar-10-batches-bin",),
            files=(
                PublishedFile(
                    _TORONTO, "/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
                ),
            ),
            source=_CIFAR,
            licence="not stated by the publisher",
            flips="horizontal",
        ),
        ImageSet(
            name="cifar100",
            summary="photographs of 100 classes, 32 x 32",
            classes={},
            size=32,
            channels=3,
            images=(50_000, 10_000),
            folders=("cifar-100-binary",),
            files=(
                PublishedFile(
                    _TORONTO, "/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"
                ),
            ),
            source=_CIFAR,
            licence="not stated by the publisher",
            flips="horizontal",
        ),
        ImageSet(
            name="imagenette",
            summary="photographs of 10 easy classes of ImageNet",
            classes=_numbered(
                "tench, English springer, cassette player, chain saw, church, French horn, "
                "garbage truck, gas pump, golf ball, parachute"
            ),
            keys=(
                "n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
                "n03394916", "n03417042", "n03425413", "n03445777", "n03888257",
            ),
            size=96,
            channels=3,
            images=(9469, 3925),
            folders=("imagenette2-160", "imagenette2-320", "imagenette2"),
            files=(
                PublishedFile(_FASTAI, "/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412"),
                PublishedFile(_FASTAI, "/imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3"),
            ),
            source="Howard 2019, github.com/fastai/imagenette; ImageNet, Deng et al. 2009",
            licence="ImageNet's terms: research without commercial use",
            flips="horizontal",
            note="its validation images are the test set",
        ),
        ImageSet(
            name="ham10000",
            summary="dermatoscopic photographs of 7 kinds of skin lesions",
            classes=_numbered(
                "actinic keratoses, basal cell carcinoma, benign keratosis-like lesions, "
                "dermatofibroma, melanoma, melanocytic nevi, vascular lesions"
            ),
            keys=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
            size=96,
            channels=3,
            images=(10_015, 0),
            folders=("HAM10000", "ham10000"),
            source="Tschandl, Rosendahl, Kittler 2018, doi:10.7910/DVN/DBW86T",
            licence="CC BY-NC 4.0",
            flips="both",
            note="split by lesion: no lesion is in two parts",
        ),
    )
}  # fmt: skip
