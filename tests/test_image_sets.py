"""Image sets: the official layouts, damaged files, divisions, scaling, augmentation, downloads."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import shutil
import struct
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsi import published
from hsi.errors import DataError, DownloadError, SettingsError, UserError
from hsi.image_sets import (
    IMAGE_SETS,
    ImageScaling,
    ImageSource,
    image_set_name,
    load_scaling,
    open_image_set,
    save_scaling,
)
from hsi.image_sets import folders as folder_layout
from hsi.image_sets.augment import augmentation
from hsi.image_sets.division import divide
from hsi.image_sets.listing import Arrays, Listing, Photographs
from hsi.image_sets.mnist import read_idx
from hsi.images import fitted, preprocess, read_photograph

PARTS = ("train", "validation", "test")
quiet = partial(open_image_set, say=lambda _: None)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> Path:
    """No data folder but an empty one, and no network."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSI_DATASETS", str(folder))
    monkeypatch.setenv("HSI_OFFLINE", "1")
    monkeypatch.delenv("HSI_MIRROR", raising=False)
    return folder


@pytest.fixture
def real(datasets, monkeypatch):
    monkeypatch.setenv("HSI_DATASETS", str(datasets))
    return datasets


def refusal(spec: str, kind: type[UserError] = DataError, **options) -> str:
    """The one line that opening a set must raise."""
    with pytest.raises(kind) as caught:
        quiet(spec, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def picture(path: Path, seed: int, *, mode: str = "RGB", size: tuple[int, int] = (20, 16)) -> Path:
    rng = np.random.default_rng(seed)
    shape = size[::-1] + ((3,) if mode == "RGB" else ())
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(path)
    return path


def picture_folder(root: Path, images: int = 10, classes: str = "ab", below: str = "") -> Path:
    for c in classes:
        for i in range(images):
            name = f"{below or 'x'}{c}{i}"
            picture(root / below / c / f"{i}.jpg", int.from_bytes(name.encode(), "big") % 2**31)
    return root


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mnist_files(folder: Path, train: int = 40, test: int = 20) -> Path:
    rng = np.random.default_rng(0)
    (folder / "mnist").mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28))
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            (folder / "mnist" / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return folder / "mnist"


def cifar_files(folder: Path, labels: int = 1, train: int = 40, test: int = 20) -> Path:
    rng = np.random.default_rng(0)
    name = "cifar-10-batches-bin" if labels == 1 else "cifar-100-binary"
    (folder / name).mkdir(parents=True)
    names = ("data_batch_1", "test_batch") if labels == 1 else ("train", "test")
    for file, count in zip(names, (train, test), strict=True):
        records = rng.integers(0, 256, (count, labels + 3072), dtype=np.uint8)
        records[:, :labels] = (np.arange(count) % 10)[:, None]
        (folder / name / f"{file}.bin").write_bytes(records.tobytes())
    if labels == 2:
        (folder / name / "fine_label_names.txt").write_text("\n".join(f"n{i}" for i in range(100)))
    return folder / name


def ham_files(folder: Path, lesions: int = 12, each: int = 3) -> Path:
    keys = IMAGE_SETS["ham10000"].keys
    rows = []
    for lesion in range(lesions * len(keys)):
        for view in range(1 + lesion % each):
            name = f"ISIC_{lesion:03d}{view}"
            picture(folder / "HAM10000" / "HAM10000_images" / f"{name}.jpg", 10 * lesion + view)
            rows.append((f"HAM_{lesion}", name, keys[lesion % len(keys)], "histo"))
    with (folder / "HAM10000" / "HAM10000_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("lesion_id", "image_id", "dx", "dx_type"), *rows])
    return folder / "HAM10000"


def check_parts(samples, *, total: int | None = None) -> None:
    """Disjoint parts, all classes in each, classes as in the whole."""
    numbers = np.concatenate([samples.part(name).pixels for name in PARTS])
    assert len(np.unique(numbers)) == len(numbers)
    assert total is None or len(numbers) == total
    for name in PARTS:
        part = samples.part(name)
        assert (np.diff(part.pixels) > 0).all()
        assert len(part.classes) == len(part.pixels)
    assert set(samples.part("train").classes) == set(range(samples.classes))


# The sets themselves


def test_digits_need_no_files_and_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    samples = quiet("digits")
    check_parts(samples, total=1797)
    assert samples.images.shape == (8, 8, 1)
    bunch = load_digits()
    for name in PARTS:
        part = samples.part(name)
        np.testing.assert_array_equal(part.classes, bunch.target[part.pixels])
        raw = samples.images.decoded(part.pixels)[..., 0].astype(float)
        np.testing.assert_allclose(raw * 16 / 255, bunch.images[part.pixels], atol=0.04)
    train = samples.part("train")
    inputs = samples.patches.gather(train.pixels)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose([inputs.mean(), inputs.std()], [0, 1], atol=1e-4)
    assert samples.leakage == 0


def test_the_division_is_by_class_and_repeats_with_its_seed():
    one, again, other = (quiet("digits", seed=seed) for seed in (1, 1, 2))
    for name in PARTS:
        np.testing.assert_array_equal(one.part(name).pixels, again.part(name).pixels)
    assert not np.array_equal(one.part("test").pixels, other.part("test").pixels)
    whole = np.bincount(np.concatenate([one.part(name).classes for name in PARTS]))
    tested = np.bincount(one.part("test").classes)
    assert (np.abs(tested - 0.2 * whole) <= 0.5).all()
    validated = np.bincount(one.part("validation").classes)
    assert (np.abs(validated - 0.1 * (whole - tested)) <= 0.5).all()


def test_fewer_training_images_leave_test_and_validation_as_they_are():
    whole, less = quiet("digits"), quiet("digits", train_fraction=0.25)
    for name in ("validation", "test"):
        np.testing.assert_array_equal(whole.part(name).pixels, less.part(name).pixels)
    assert set(less.part("train").pixels) < set(whole.part("train").pixels)
    counts = [np.bincount(x.part("train").classes) for x in (whole, less)]
    assert (np.abs(counts[1] - 0.25 * counts[0]) <= 0.5).all()
    assert not len(whole.left_out)
    both = np.sort(np.concatenate([less.left_out, less.part("train").pixels]))
    np.testing.assert_array_equal(both, whole.part("train").pixels)


def test_mnist_is_read_as_written(own_folder):
    folder = mnist_files(own_folder)
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(40, 28, 28, 1)
    samples = quiet("mnist")
    np.testing.assert_array_equal(samples.images.decoded(np.arange(40)), expected)
    np.testing.assert_array_equal(samples.part("test").pixels, np.arange(40, 60))
    np.testing.assert_array_equal(samples.part("test").classes, np.arange(20) % 10)
    check_parts(samples, total=60)
    first = samples.sha256
    plain = folder / "t10k-labels-idx1-ubyte"
    plain.write_bytes(gzip.decompress((folder / f"{plain.name}.gz").read_bytes()))
    (folder / f"{plain.name}.gz").unlink()
    np.testing.assert_array_equal(quiet("mnist").part("test").classes, np.arange(20) % 10)
    assert quiet("mnist").sha256 != first


@pytest.mark.parametrize(("spec", "labels"), [("CIFAR-10", 1), ("cifar100", 2)])
def test_cifar_records_are_planes_of_red_green_and_blue(own_folder, spec, labels):
    folder = cifar_files(own_folder, labels)
    name = "data_batch_1.bin" if labels == 1 else "train.bin"
    record = (folder / name).read_bytes()[: labels + 3072]
    samples = quiet(spec)
    image = samples.images.decoded(np.array([0]))[0]
    for row, col, colour in [(0, 0, 0), (0, 1, 0), (3, 5, 1), (31, 31, 2)]:
        assert image[row, col, colour] == record[labels + colour * 1024 + row * 32 + col]
    assert samples.part("train").classes[0] == record[labels - 1]
    assert samples.classes == (10 if labels == 1 else 100)
    assert samples.class_names[0] == ("airplane" if labels == 1 else "n0")
    np.testing.assert_array_equal(samples.part("test").pixels, np.arange(40, 60))


def test_no_lesion_is_in_two_parts(own_folder):
    folder = ham_files(own_folder)
    with (folder / "HAM10000_metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    for seed in range(3):
        samples = quiet("ham10000", size=8, seed=seed, train_fraction=0.5)
        where: dict[str, set[str]] = {}
        for name in PARTS:
            part = samples.part(name)
            assert len(part.pixels)
            for number, index in zip(part.pixels, part.classes, strict=True):
                where.setdefault(rows[number]["lesion_id"], set()).add(name)
                assert rows[number]["dx"] == samples.keys[index]
        assert all(len(parts) == 1 for parts in where.values())
        assert max(np.bincount([int(row["lesion_id"][4:]) for row in rows])) == 3
    assert "no lesion is in two parts" in " ".join(samples.describe())


def test_images_without_a_group_would_be_divided(own_folder):
    """The test above can fail: drawn image by image, lesions are torn apart."""
    ham_files(own_folder)
    samples = quiet("ham10000", size=8)
    count = len(samples.images)
    listing = Listing(
        samples.images.images, np.arange(count) % 7, np.full(count, ""), {}, tuple("abcdefg"), ""
    )
    lesion = np.array([int(p.stem[5:8]) for p in samples.images.images.paths])
    parts = divide(listing, seed=0, validation_fraction=0.1, test_fraction=0.2)
    assert set(lesion[parts["test"]]) & set(lesion[parts["train"]])


# Folders


def test_a_folder_of_classes(tmp_path):
    root = picture_folder(tmp_path / "My pictures")
    samples = quiet(f"folder:{root}", size=12, test_fraction=0.3)
    check_parts(samples, total=20)
    assert (samples.name, samples.keys) == ("My_pictures", ("a", "b"))
    assert samples.class_names == {0: "a", 1: "b"}
    assert samples.images.shape == (12, 12, 3)
    paths = samples.images.images.paths
    for name in PARTS:
        for number, index in zip(
            samples.part(name).pixels, samples.part(name).classes, strict=True
        ):
            assert paths[number].parent.name == "ab"[index]
            expected = fitted(read_photograph(paths[number]), 12, 12)
            np.testing.assert_array_equal(samples.images.decoded([number])[0], expected)


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "val"), ("Train", "test")])
def test_folders_of_parts_are_kept(tmp_path, parts):
    for part in parts:
        picture_folder(tmp_path / "set", 4, below=part)
    samples = quiet(f"folder:{tmp_path / 'set'}", size=8, validation_fraction=0.25)
    paths = samples.images.images.paths
    found = {
        name: {paths[n].parent.parent.name for n in samples.part(name).pixels} for name in PARTS
    }
    assert found["train"] == {parts[0]}
    assert found["test"] == {parts[-1]}
    assert found["validation"] == {parts[1] if len(parts) == 3 else parts[0]}
    assert samples.divided == "as published"


def test_what_is_left_out_of_a_folder_is_said(tmp_path):
    root = picture_folder(tmp_path / "set", 5)
    (root / "a" / ".DS_Store").write_bytes(b"")
    assert not quiet(f"folder:{root}", size=8).notes
    picture(root / "b" / "deeper" / "0.jpg", 1)
    picture(root / "b" / "7.jpg", 1).rename(root / "b" / "7.heic")
    samples = quiet(f"folder:{root}", size=8)
    check_parts(samples, total=10)
    (note,) = samples.notes
    assert note.startswith("2 left out, such as")
    assert "7.heic" in note


def test_grey_photographs_become_rgb(tmp_path):
    root = picture_folder(tmp_path / "set", 5)
    picture(root / "a" / "grey.jpg", 1, mode="L")
    images = quiet(f"folder:{root}", size=8).images
    number = [p.name for p in images.images.paths].index("grey.jpg")
    image = images.decoded(np.array([number]))[0]
    assert image.shape == (8, 8, 3)
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize(("name", "dtype"), [
    ("deep.png", np.uint16), ("deep.tif", np.uint16), ("deep.tiff", np.int32),
    ("deep.tif", np.float32),
])  # fmt: skip
def test_grey_values_above_255_are_refused_and_not_cut_off(tmp_path, name, dtype):
    root = picture_folder(tmp_path / "set", 5)
    values = np.linspace(0, 60000, 20 * 16).reshape(16, 20).astype(dtype)
    Image.fromarray(values).save(root / "a" / name)
    for how in ("standard", "unit"):  # nothing is decoded for the latter
        said = refusal(f"folder:{root}", size=8, preprocess=how)
        assert name in said
        assert "save it with 8 bits" in said


def test_damaged_and_odd_folders_are_one_line(tmp_path):
    root = picture_folder(tmp_path / "set", 4)
    spec = f"folder:{root}"
    cut = root / "b" / "2.jpg"
    whole = cut.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"GIF89a" + whole[6:]):
        cut.write_bytes(damaged)
        assert str(cut) in refusal(spec, preprocess="unit")  # for which nothing is decoded
    cut.write_bytes(whole)
    quiet(spec, size=8)
    (root / "empty").mkdir()
    assert "holds no image" in refusal(spec)
    (root / "empty").rmdir()
    (root / "train").mkdir()
    assert "either parts or classes" in refusal(spec)
    (root / "train").rmdir()
    shutil.rmtree(root / "b")
    assert "two classes or more, got 1" in refusal(spec)
    shutil.rmtree(root / "a")
    assert "a folder for each class" in refusal(spec)
    assert "got no folder" in refusal("folder:nowhere")
    assert "expected a path" in refusal("folder:", SettingsError)
    picture_folder(tmp_path / "parts", 2, below="train")
    picture_folder(tmp_path / "parts", 2, "ac", below="test")
    assert "b is missing in one" in refusal(f"folder:{tmp_path / 'parts'}")
    picture_folder(tmp_path / "lone", 1)
    assert "cannot be in two parts" in refusal(f"folder:{tmp_path / 'lone'}")


# Damage to the sets with a layout of their own


def test_damaged_mnist_files_are_one_line(own_folder):
    folder = mnist_files(own_folder)
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    content = gzip.decompress(whole)
    for damaged, expected in (
        (whole[: len(whole) // 2], "cut off"),
        (whole[:-30] + b"\0" * 30, "damaged"),
        (gzip.compress(b"\0\0\x0d\x03" + content[4:]), "magic 00 00 08"),
        (gzip.compress(b"\0\0\x08\x01" + content[4:]), "3 axes, got 1"),
        (gzip.compress(content[:9]), "header"),
        (gzip.compress(content[:-1]), "it holds 31359"),
        (gzip.compress(content + b"1"), "it holds more"),
        (gzip.compress(idx(np.zeros((39, 28, 28)))), "39 images"),
        (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "it holds 0"),
    ):
        path.write_bytes(damaged)
        text = refusal("mnist")
        assert expected in text
        assert path.name in text
    path.write_bytes(whole)
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx(np.full(20, 11))))
    assert "labels 0..9, got 11" in refusal("mnist")
    labels.unlink()
    assert labels.name in refusal("mnist")


@pytest.mark.parametrize("name", ["idx1", "idx3"])
def test_idx_files_of_any_shape(tmp_path, name):
    array = np.random.default_rng(0).integers(0, 256, (5, 3, 2)[: int(name[-1])])
    (tmp_path / name).write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / name, int(name[-1])), array)


def test_damaged_cifar_files_are_one_line(own_folder):
    folder = cifar_files(own_folder)
    path = folder / "data_batch_1.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "records of 3073 bytes" in refusal("cifar10")
    path.write_bytes(b"")
    assert "records of 3073 bytes" in refusal("cifar10")
    path.write_bytes(b"\x0a" + whole[1:])
    assert "labels 0..9, got 10" in refusal("cifar10")
    path.unlink()
    assert "data_batch_1.bin" in refusal("cifar10")
    folder = cifar_files(own_folder, 2)
    (folder / "fine_label_names.txt").write_text("one\ntwo")
    assert "100 classes, got 2" in refusal("cifar100")


def test_a_damaged_table_of_lesions_is_one_line(own_folder):
    folder = ham_files(own_folder, 2)
    table = folder / "HAM10000_metadata.csv"
    whole = table.read_text()
    lines = whole.splitlines()
    image = lines[1].split(",")[1]
    for text, expected in (
        (whole + "HAM_9,ISIC_9999,mel,histo\n", "1 images that are missing, the first ISIC_9999"),
        (whole.replace("akiec", "akeic"), "diagnosis 'akeic'"),
        (whole.replace("lesion_id", "lesion"), "no column lesion_id"),
        (whole + lines[1] + "\n", f"lists {image} twice"),
        (whole + "HAM_9,ISIC_9999\n", "empty lesion_id, image_id or dx"),
        (lines[0], "lists no image"),
    ):
        table.write_text(text)
        assert expected in refusal("ham10000")
    table.write_bytes(b"\xff\xfe" * 10)
    assert "table of images" in refusal("ham10000")
    table.write_text(whole)
    photograph = folder / "HAM10000_images" / f"{image}.jpg"
    photograph.write_bytes(photograph.read_bytes()[:300])
    assert str(photograph) in refusal("ham10000")


def test_names_and_settings_that_do_not_fit_are_one_line():
    assert "Did you mean 'mnist'" in refusal("mnst", SettingsError)
    assert image_set_name("CIFAR-10") == "cifar10"
    assert image_set_name("salinas") is None
    assert image_set_name("folder:a b") == "folder:a b"
    for options, expected in (
        ({"validation_fraction": 1}, "validation_fraction"),
        ({"test_fraction": 0}, "test_fraction"),
        ({"train_fraction": 0}, "train_fraction"),
        ({"size": 0}, "image size"),
        ({"preprocess": "caffe"}, "grey"),
        ({"preprocess": "unti"}, "Did you mean 'unit'"),
    ):
        assert expected in refusal("digits", SettingsError, **options)
    for name in ("mnist", "cifar10", "imagenette", "ham10000"):
        text = refusal(name)
        assert str(Path("data")) in text
        assert IMAGE_SETS[name].folders[0] in text or IMAGE_SETS[name].files[0].name in text


# The source


def test_images_are_decoded_once_where_they_can_be_kept(tmp_path):
    root = picture_folder(tmp_path / "set", 6)
    asked: list[int] = []

    class Counting(Photographs):
        def decode(self, numbers, size):
            asked.extend(numbers)
            return super().decode(numbers, size)

    images = Counting(folder_layout.read_folder(root).images.paths)
    source, anew = ImageSource(images, 8), ImageSource(images, 8, cache=1000)
    numbers = np.array([3, 1, 3, 11])
    first = source.decoded(numbers)
    np.testing.assert_array_equal(source.decoded(numbers), first)
    assert sorted(asked) == [1, 3, 11]
    np.testing.assert_array_equal(anew.decoded(numbers), first)
    np.testing.assert_array_equal(anew.decoded(numbers), first)
    assert len(asked) == 3 + 8
    assert anew._kept is None
    first[:] = 0
    assert source.decoded(numbers).any(), "what is given away is not what is kept"
    for wrong in ([-1], [12]):
        with pytest.raises(IndexError):
            source.gather(np.array(wrong))
    assert source.gather(np.array([], int)).shape == (0, 8, 8, 3)


def test_arrays_are_resized_as_photographs_are():
    array = np.random.default_rng(0).integers(0, 256, (3, 9, 6, 1), dtype=np.uint8)
    found = Arrays(array).decode(np.array([2, 0]), 4)
    for image, expected in zip(found, array[[2, 0]], strict=True):
        np.testing.assert_array_equal(image[..., 0], fitted(expected[..., 0], 4, 4))


def test_the_leakage_is_the_share_of_test_images_with_a_copy_in_training(tmp_path):
    root = tmp_path / "set"
    picture_folder(root, 5, below="train")
    picture_folder(root, 5, below="test")
    assert quiet(f"folder:{root}", size=8, validation_fraction=0).leakage == 0
    for c, i in (("a", 0), ("b", 3), ("b", 4)):
        shutil.copy(root / "train" / "a" / f"{i}.jpg", root / "test" / c / f"{i}.jpg")
    samples = quiet(f"folder:{root}", size=8, validation_fraction=0)
    assert samples.leakage == pytest.approx(0.3)
    assert "30.0 % of the test images" in " ".join(samples.describe())


def test_calibration_is_of_training_images():
    samples = quiet("digits")
    found = samples.calibration(seed=3)
    assert found.shape == (500, 8, 8, 1)
    known = {x.tobytes() for x in samples.images.gather(samples.part("train").pixels)}
    assert {x.tobytes() for x in found} <= known
    np.testing.assert_array_equal(found, samples.calibration(seed=3))


# Scaling


def test_the_scaling_is_fitted_on_training_images_alone(own_folder):
    folder = cifar_files(own_folder)
    samples = quiet("cifar10")
    train = samples.images.decoded(samples.part("train").pixels).reshape(-1, 3).astype(float)
    np.testing.assert_allclose(samples.scaling.mean, train.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(samples.scaling.deviation, train.std(axis=0), rtol=1e-12)
    test = folder / "test_batch.bin"
    test.write_bytes(test.read_bytes()[:1] + b"\xff" * 3072 + test.read_bytes()[3073:])
    assert quiet("cifar10").scaling == samples.scaling
    earlier = ImageScaling("standard", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    given = quiet("cifar10", scaling=earlier)
    raw = given.images.decoded(np.arange(5))
    expected = (raw - np.array([1, 2, 3])) / np.array([4, 5, 6])
    np.testing.assert_allclose(given.images.gather(np.arange(5)), expected, rtol=1e-6)
    known = quiet("cifar10", preprocess="torch").images
    np.testing.assert_array_equal(known.gather(np.arange(5)), preprocess(raw, "torch"))
    assert "channels" in refusal("digits", scaling=earlier)


def test_a_constant_channel_is_divided_by_one(own_folder):
    folder = cifar_files(own_folder)
    for path in folder.glob("*.bin"):
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073).copy()
        records[:, 1:1025] = 7
        path.write_bytes(records.tobytes())
    scaling = quiet("cifar10").scaling
    assert (scaling.mean[0], scaling.deviation[0]) == (7, 1)


def test_a_scaling_is_read_back_as_written_and_nothing_else_is(tmp_path):
    path = tmp_path / "preparation.npz"
    for scaling in (ImageScaling("standard", (1.5,), (0.1,)), ImageScaling("caffe")):
        save_scaling(scaling, path)
        assert load_scaling(path) == scaling
    good = {"how": np.array("standard"), "mean": np.array([1.0]), "deviation": np.array([2.0])}
    for change in (
        {"how": np.array("other")},
        {"how": np.array(["standard"])},
        {"mean": np.array([np.nan])},
        {"mean": np.array([1.0, 2.0])},
        {"mean": np.array([1])},
        {"deviation": np.array([0.0])},
        {"more": np.array(1)},
        {"how": np.array("unit")},
        {"how": np.array("standard", object)},
    ):
        np.savez(path, **{**good, **change})
        with pytest.raises(DataError, match="scaling of images"):
            load_scaling(path)
    for content in (b"", b"PK\x03\x04 not a zip"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="scaling of images"):
            load_scaling(path)
    with pytest.raises(DataError):
        load_scaling(tmp_path / "none.npz")


# Augmentation


def windows_of(image: np.ndarray, shift: int, flips: str) -> set[bytes]:
    """Every result that augmentation may have, by definition."""
    padded = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="symmetric")
    rows, cols = image.shape[:2]
    found = set()
    for i in range(2 * shift + 1):
        for j in range(2 * shift + 1):
            cut = padded[i : i + rows, j : j + cols]
            kinds = [cut]
            kinds += [cut[:, ::-1]] if flips != "none" else []
            kinds += [cut[::-1], cut[::-1, ::-1]] if flips == "both" else []
            found |= {np.ascontiguousarray(x).tobytes() for x in kinds}
    return found


@pytest.mark.parametrize(("flips", "shift"), [("none", 1), ("horizontal", 2), ("both", 0)])
def test_augmented_images_are_moved_and_mirrored_and_nothing_else(flips, shift):
    batch = np.random.default_rng(0).normal(size=(300, 6, 5, 2)).astype(np.float32)
    batch[:] = batch[:1]
    kept = batch.copy()
    augment = augmentation(flips=flips, shift=shift)
    found = augment(batch, np.random.default_rng(1))
    np.testing.assert_array_equal(batch, kept)
    assert found.dtype == np.float32
    assert {x.tobytes() for x in found} == windows_of(batch[0], shift, flips)
    np.testing.assert_array_equal(found, augment(batch, np.random.default_rng(1)))


@pytest.mark.parametrize(("name", "mirrored"), [("digits", False), ("cifar10", True)])
def test_digits_are_never_mirrored(own_folder, name, mirrored):
    cifar_files(own_folder)
    samples = quiet(name)
    image = samples.images.gather(samples.part("train").pixels[:1])
    allowed = windows_of(image[0], round(samples.images.size / 8), "none")
    found = samples.augment(np.repeat(image, 200, axis=0), np.random.default_rng(0))
    assert ({x.tobytes() for x in found} <= allowed) != mirrored


def test_only_training_batches_are_augmented_each_epoch_anew():
    from hsi.train import PatchBatches

    samples = quiet("digits", train_fraction=0.05)
    images, part = samples.images, samples.part("train")
    make = partial(PatchBatches, images, part, batch_size=16, seed=4)
    plain, first, again = (
        make(shuffle=True),
        make(shuffle=True, augment=samples.augment),
        make(shuffle=True, augment=samples.augment),
    )
    for _ in range(2):
        for index in reversed(range(len(plain))):  # in any order
            np.testing.assert_array_equal(first[index][1], plain[index][1])
        for index in range(len(plain)):
            np.testing.assert_array_equal(first[index][0], again[index][0])
            assert not np.array_equal(first[index][0], plain[index][0])
        for fed in (plain, first, again):
            fed.on_epoch_end()
    fixed = make(shuffle=False, augment=samples.augment)
    one = fixed[0][0]
    fixed.on_epoch_end()
    assert not np.array_equal(fixed[0][0], one)
    inputs = images.gather(part.pixels[:16])
    np.testing.assert_array_equal(make(shuffle=False)[0][0], inputs)


# Downloads


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder that a local server serves as $HSI_MIRROR."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HSI_OFFLINE", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HSI_MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()
        thread.join()


def with_hashes_of(monkeypatch, name: str, folder: Path) -> None:
    """Let the table hold the hashes of the files in a folder."""
    info = IMAGE_SETS[name]
    files = tuple(
        replace(file, md5=hashlib.md5((folder / file.name).read_bytes()).hexdigest())
        for file in info.files
        if (folder / file.name).is_file()
    )
    monkeypatch.setitem(IMAGE_SETS, name, replace(info, files=files))


def test_an_archive_is_downloaded_unpacked_and_removed(mirror, own_folder, monkeypatch):
    made = cifar_files(mirror)
    with tarfile.open(mirror / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(made, made.name)
    text = refusal("cifar10", DownloadError)
    assert "not the published file" in text
    assert "md5" in text
    with_hashes_of(monkeypatch, "cifar10", mirror)
    said: list[str] = []
    samples = open_image_set("cifar10", say=said.append)
    assert len(samples.images) == 60
    assert len(said) == 1
    assert [p.name for p in (own_folder / "cifar10").iterdir()] == ["cifar-10-batches-bin"]
    shutil.rmtree(mirror)
    assert quiet("cifar10").sha256 == samples.sha256


def test_single_files_are_downloaded_and_missing_ones_completed(mirror, own_folder, monkeypatch):
    for path in mnist_files(mirror).iterdir():
        path.rename(mirror / path.name)
    with_hashes_of(monkeypatch, "mnist", mirror)
    samples = quiet("mnist")
    assert len(samples.images) == 60
    (own_folder / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert quiet("mnist").sha256 == samples.sha256


def test_a_hostile_archive_writes_nothing_outside(own_folder):
    archive = own_folder / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("../outside")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="damaged") as caught:
        published.unpack(archive, "set")
    assert "\n" not in str(caught.value)
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("other"))
    with pytest.raises(DataError, match="a folder set in it"):
        published.unpack(archive, "set")
    content = archive.read_bytes()
    for damaged in (content[:30], b"nothing", content[:12] + b"\xff" * 20 + content[32:]):
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged|expected a tar"):
            published.unpack(archive, "set")
    assert [p.name for p in own_folder.iterdir()] == [archive.name]
    assert not (own_folder.parent / "outside").exists()


def test_offline_names_the_file_the_address_and_the_folder(own_folder):
    text = refusal("cifar100")
    for expected in (
        "cifar-100-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz",
        str(own_folder),
    ):
        assert expected in text
    assert "HAM10000" in refusal("ham10000")
    (own_folder / "cifar-100-binary.tar.gz").write_bytes(b"not it")
    assert "not the published file" in refusal("cifar100")


# Real data


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("mnist", 12_000, 10_000, 10),
        ("cifar10", 4_000, 1_000, 10),
        ("imagenette", 400, 200, 10),
        ("ham10000", 336, 84, 7),
    ],
)
def test_the_real_sets_open(real, name, train, test, classes):
    samples = quiet(name, size=32 if name in ("imagenette", "ham10000") else None)
    check_parts(samples, total=train + test)
    counts = [len(samples.part(part).pixels) for part in PARTS]
    assert (counts[0] + counts[1], counts[2]) == (train, test)
    assert set(samples.part("test").classes) == set(range(classes))
    inputs = samples.images.gather(samples.part("train").pixels[:200])
    assert inputs.shape == (200, *samples.images.shape)
    assert np.isfinite(inputs).all()
    assert abs(inputs.mean()) < 0.3
    assert not samples.synthetic
    assert samples.leakage < 0.02


def test_a_known_image_of_each_real_set_has_its_class(real):
    """Images of one class are nearer to that class's mean than chance: labels fit the images."""
    for name, least in (("mnist", 0.75), ("cifar10", 0.2)):
        samples = quiet(name, size=None)
        train, test = samples.part("train"), samples.part("test")
        inputs = samples.images.gather(train.pixels).reshape(len(train.pixels), -1)
        means = np.stack([inputs[train.classes == c].mean(axis=0) for c in range(10)])
        asked = samples.images.gather(test.pixels[:500]).reshape(500, -1)
        distance = ((means**2).sum(axis=1) - 2 * asked @ means.T).argmin(axis=1)
        assert (distance == test.classes[:500]).mean() > least
