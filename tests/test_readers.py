"""Readers: every format gives back the array that was written, and bad files one clear line."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from spectral.io import envi as spectral_envi

from hsi.errors import DataError
from hsi.readers import (
    Reading,
    as_labels,
    check_fit,
    envi,
    open_raster,
    read_array,
    split_spec,
)

ROWS, COLS, BANDS = 6, 5, 4


def some_cube(dtype: str = "int16", shape: tuple[int, ...] = (ROWS, COLS, BANDS)) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 3000, shape)
    return values.astype(dtype)


def some_labels(shape: tuple[int, int] = (ROWS, COLS)) -> np.ndarray:
    labels = np.random.default_rng(1).integers(0, 4, shape)
    labels[0, :4] = [0, 1, 7, 16]
    return labels.astype(np.uint8)


def cube(path: Path | str, **options: object) -> Reading:
    return read_array(str(path), kind="cube", say=lambda _: None, **options)  # type: ignore[arg-type]


def labels(path: Path | str, **options: object) -> Reading:
    return read_array(str(path), kind="labels", say=lambda _: None, **options)  # type: ignore[arg-type]


def refusal(path: Path | str, kind: str = "cube", **options: object) -> str:
    """The text of the error, which must be one line that names the file."""
    with pytest.raises(DataError) as caught:
        (cube if kind == "cube" else labels)(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path).partition(":")[0] in text
    return text


def save_v73(
    path: Path, arrays: dict[str, np.ndarray], classes: dict[str, str] | None = None
) -> None:
    """A file as MATLAB 7.3 writes it: 512 bytes of header, axes reversed, classes as attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            item = file.create_dataset(name, data=np.ascontiguousarray(array.T))
            kind = (classes or {}).get(name, str(array.dtype).replace("float64", "double"))
            item.attrs["MATLAB_class"] = np.bytes_(kind)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024"
    with open(path, "r+b") as stream:
        stream.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


# MATLAB


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float64"])
def test_matlab_5(tmp_path: Path, dtype: str, compressed: bool) -> None:
    path, written = tmp_path / "a.mat", some_cube(dtype)
    scipy.io.savemat(path, {"scene": written, "gt": some_labels()}, do_compression=compressed)
    read = cube(f"{path}:scene")
    assert (read.array == written).all()
    assert read.array.dtype == written.dtype
    assert read.array.flags.c_contiguous
    assert (read.key, read.files) == ("scene", (path,))
    assert (labels(f"{path}:gt").array == some_labels()).all()


@pytest.mark.parametrize("shape", [(6, 5, 4), (5, 5, 4), (5, 5, 5)])
def test_matlab_73_has_its_axes_put_right(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path, written, truth = tmp_path / "a.mat", some_cube(shape=shape), some_labels(shape[:2])
    save_v73(path, {"scene": written, "gt": truth})
    assert (cube(path).array == written).all()
    assert (labels(path).array == truth).all()
    assert cube(path).array.flags.c_contiguous


def test_hdf5_that_matlab_did_not_write_stays_as_it_is(tmp_path: Path) -> None:
    written = some_cube(shape=(5, 5, 4))
    for name, expected in (("a.h5", written), ("a.mat", written.transpose())):
        with h5py.File(tmp_path / name, "w") as file:
            file["scene"] = written
        assert np.array_equal(cube(tmp_path / name).array, expected)


def test_the_kind_is_told_by_the_bytes_not_the_name(tmp_path: Path) -> None:
    written = some_cube()
    scipy.io.savemat(tmp_path / "a.mat", {"x": written})
    save_v73(tmp_path / "b.mat", {"x": written})
    np.save(tmp_path / "c.npy", written)
    for number, name in enumerate(("a.mat", "b.mat", "c.npy")):
        path = (tmp_path / name).rename(tmp_path / f"file{number}.bin")
        assert (cube(path).array == written).all()


def test_every_truncation_is_one_line_or_harmless(tmp_path: Path) -> None:
    """Cut at every length: never another exception, never a wrong array."""
    whole = io.BytesIO()
    scipy.io.savemat(whole, {"scene": some_cube()}, do_compression=True)
    path = tmp_path / "cut.mat"
    for length in range(len(whole.getvalue())):
        path.write_bytes(whole.getvalue()[:length])
        refusal(path)


def save_5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    scipy.io.savemat(path, arrays)


def save_5_compressed(path: Path, arrays: dict[str, np.ndarray]) -> None:
    scipy.io.savemat(path, arrays, do_compression=True)


@pytest.mark.parametrize("save", [save_5, save_5_compressed, save_v73])
def test_a_damaged_byte_is_one_line_or_a_changed_value(tmp_path: Path, save: Callable) -> None:
    """SciPy by itself ends the process with a bus error on some of these."""
    path = tmp_path / "a.mat"
    save(path, {"scene": some_cube()})
    good = path.read_bytes()
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(400):
        damaged = bytearray(good)
        at = int(random.integers(128, len(good)))
        damaged[at] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read = cube(path).array
        except DataError as error:
            refused += 1
            message = str(error)
        else:
            message = ""
            if save is save_5_compressed:  # its checksum finds every change of a value
                assert (read == some_cube()).all()
        assert "\n" not in message
    assert refused > 10


def test_truncated_matlab_73(tmp_path: Path) -> None:
    save_v73(tmp_path / "a.mat", {"scene": some_cube(shape=(40, 40, 20))})
    whole = (tmp_path / "a.mat").read_bytes()
    for share in (0.02, 0.3, 0.6, 0.99):
        (tmp_path / "b.mat").write_bytes(whole[: int(share * len(whole))])
        assert "truncated or corrupt" in refusal(tmp_path / "b.mat")


def test_nuls_that_became_spaces(tmp_path: Path) -> None:
    path = tmp_path / "Indian_pines_gt.mat"
    scipy.io.savemat(path, {"indian_pines_gt": some_labels()}, do_compression=True)
    path.write_bytes(path.read_bytes().replace(b"\0", b" "))
    assert "corrupt, download it again" in refusal(f"{path}:indian_pines_gt", "labels")


def test_nuls_that_became_spaces_in_the_real_file(tmp_path: Path, datasets: Path) -> None:
    real = datasets / "ground_truth" / "Indian_pines_gt.mat"
    path = tmp_path / real.name
    path.write_bytes(real.read_bytes().replace(b"\0", b" "))
    assert path.stat().st_size == 1125
    assert "corrupt, download it again" in refusal(path, "labels")


def test_a_wrong_key_lists_what_there_is(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"scene": some_cube(), "gt": some_labels()})
    save_v73(tmp_path / "b.mat", {"scene": some_cube(), "gt": some_labels()})
    np.savez(tmp_path / "c.npz", scene=some_cube(), gt=some_labels())
    for name in ("a.mat", "b.mat", "c.npz"):
        text = refusal(f"{tmp_path / name}:wrong")
        assert "'wrong'" in text
        assert "scene (6 x 5 x 4 " in text
        assert "gt (6 x 5 " in text


def test_matlab_types_that_are_no_numbers(tmp_path: Path) -> None:
    cells = np.empty((2, 2), dtype=object)
    cells[:] = 1
    path = tmp_path / "a.mat"
    arrays = {"cells": cells, "record": {"x": 1}, "text": "words", "z": some_cube() * 1j}
    scipy.io.savemat(path, {**arrays, "none": np.zeros((0, 3, 2))})
    for key, said in (("cells", "cell"), ("record", "struct"), ("text", "char"),
                      ("z", "complex"), ("none", "empty")):  # fmt: skip
        assert said in refusal(f"{path}:{key}")


def test_matlab_73_types_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    save_v73(path, {"text": np.zeros((1, 4), np.uint16)}, {"text": "char"})
    with h5py.File(path, "a") as file:
        file.create_group("record").attrs["MATLAB_class"] = np.bytes_("struct")
        cell = file.create_dataset("cells", (2, 2), dtype=h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        file["z"] = np.zeros((2, 3, 4), [("real", "f8"), ("imag", "f8")])
        empty = file.create_dataset("none", data=np.array([0, 3], np.uint64))
        empty.attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_empty": np.uint8(1)})
    for key, said in (("text", "char"), ("record", "struct"), ("cells", "object"),
                      ("z", "complex"), ("none", "empty")):  # fmt: skip
        assert said in refusal(f"{path}:{key}")


@pytest.mark.parametrize("dtype", [">i2", ">u4", ">f4", ">f8"])
def test_hdf5_of_the_other_byte_order(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/cube"], file["gt"] = some_cube(dtype), some_labels().astype(dtype)
    for spec in (path, f"{path}:group/cube"):
        np.testing.assert_array_equal(cube(spec).array, some_cube())
    np.testing.assert_array_equal(labels(f"{path}:gt").array, some_labels())


# Wavelengths beside a cube that says nothing of them

CENTRES = [450.0, 550.0, 650.0, 850.0]


def save_h5(path: Path, name: str, values: object, unit: str | None) -> None:
    with h5py.File(path, "w") as file:
        file["cube"], file[name] = some_cube(), np.array(values)
        if unit is not None:
            file[name].attrs["units"] = unit


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("wavelength", [4500, 5500, 6500, 8500], "angstrom"),
        ("meta/Wavelength", CENTRES, "nanometers"),
        ("wavelengths", [0.45, 0.55, 0.65, 0.85], None),
        ("wavelengths_um", [0.45, 0.55, 0.65, 0.85], None),
        ("Wavelength (nm)", CENTRES, None),
    ],
)
def test_wavelengths_beside_a_cube(
    tmp_path: Path, name: str, values: list, unit: str | None
) -> None:
    save_h5(tmp_path / "a.h5", name, values, unit)
    np.testing.assert_allclose(cube(tmp_path / "a.h5").wavelengths, CENTRES)


@pytest.mark.parametrize("name", ["wavelength_fwhm", "wavelengths_uncertainty", "wavelength_m"])
def test_what_only_begins_with_wavelength_is_none(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "a.npz", cube=some_cube(), **{name: np.full(BANDS, 110.0)})
    assert cube(tmp_path / "a.npz").wavelengths is None
    both = {name: np.full(BANDS, 110.0), "wavelengths": np.array(CENTRES)}
    np.savez(tmp_path / "b.npz", cube=some_cube(), **both)
    np.testing.assert_allclose(cube(tmp_path / "b.npz").wavelengths, CENTRES)


@pytest.mark.parametrize(
    ("values", "unit", "said"),
    [(CENTRES, "um", "450 to 850 in 'um'"), (CENTRES, "1/cm", "wavelengths in '1/cm'")],
)
def test_wavelengths_beside_a_cube_in_a_wrong_unit(
    tmp_path: Path, values: list, unit: str, said: str
) -> None:
    save_h5(tmp_path / "a.h5", "wavelengths", values, unit)
    assert said in refusal(tmp_path / "a.h5")


def test_numbers_that_are_no_light_are_said_and_not_taken(tmp_path: Path) -> None:
    save_h5(tmp_path / "a.h5", "wavelengths", [1, 2, 3, 4e6], None)
    lines: list[str] = []
    read = read_array(str(tmp_path / "a.h5"), kind="cube", say=lines.append)
    assert read.wavelengths is None
    assert any("are no wavelengths" in line for line in lines)


# Attributes of arrays in HDF5


def stated(path: Path, values: np.ndarray, **attributes: object) -> tuple[Reading, list[str]]:
    """A file of NEON's layout, read, and what was said."""
    with h5py.File(path, "w") as file:
        item = file.create_dataset("SITE/Reflectance/Reflectance_Data", data=values)
        item.attrs.update(attributes)
    said: list[str] = []
    return read_array(str(path), kind="cube", say=said.append), said


def test_no_data_and_scale_of_neon(tmp_path: Path) -> None:
    stored = some_cube()
    stored[1, 2], stored[4, 0] = -9999, -9999
    read, said = stated(
        tmp_path / "a.h5", stored, Data_Ignore_Value=-9999.0, _FillValue=np.int16(-9999),
        Scale_Factor=10000.0,
    )  # fmt: skip
    expected = np.where(stored == -9999, np.nan, stored / 10000)
    np.testing.assert_allclose(read.array, expected, rtol=1e-6)
    assert read.array.dtype == np.float32
    assert np.isnan(read.no_data)
    assert [line for line in said if "Scale_Factor" in line] == [
        "a.h5: _FillValue, Data_Ignore_Value, Scale_Factor of "
        "'SITE/Reflectance/Reflectance_Data' used; values are divided by Scale_Factor."
    ]


def test_scale_and_offset_of_cf_multiply_and_add(tmp_path: Path) -> None:
    gain, offset = np.array([0.5, 1, 2, 4]), 3.0
    read, _ = stated(tmp_path / "a.h5", some_cube(), scale_factor=gain, add_offset=offset)
    np.testing.assert_allclose(read.array, some_cube() * gain + offset)
    both, said = stated(tmp_path / "b.h5", some_cube(), scale_factor=0.1, Scale_Factor=10000.0)
    np.testing.assert_allclose(both.array, some_cube() * 0.1, rtol=1e-6)
    assert not any("Scale_Factor" in line for line in said)


def test_several_values_of_no_data_are_one(tmp_path: Path) -> None:
    stored = some_cube()
    stored[0, 0], stored[1, 1, 2], stored[2, 2], stored[3, 3, 0] = -999, -9999, 0, 0
    read, _ = stated(
        tmp_path / "a.h5", stored, missing_value=[0, -999], _FillValue=-9999, scale_factor=1.0
    )
    without = open_raster(str(tmp_path / "a.h5"), say=lambda _: None).has_data(read.array)
    assert np.argwhere(~without).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert read.array.dtype == np.int16
    np.testing.assert_array_equal(read.array[without], stored[without])


def test_attributes_that_change_nothing_are_not_said(tmp_path: Path) -> None:
    read, said = stated(
        tmp_path / "a.h5", some_cube("uint16"), _FillValue=-9999, Scale_Factor=1.0, add_offset=0
    )
    assert read.no_data is None
    assert read.array.dtype == np.uint16
    assert not any("used" in line for line in said)


def test_labels_without_data_are_unlabelled(tmp_path: Path) -> None:
    truth = some_labels().astype(np.int16)
    truth[3, 3] = -1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["truth"] = truth
        file["truth"].attrs["_FillValue"] = np.int16(-1)
    truth[3, 3] = 0
    np.testing.assert_array_equal(labels(tmp_path / "a.h5").array, truth)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"_FillValue": "none"}, "expected a number, in the attribute '_FillValue', got 'none'"),
        ({"Scale_Factor": 0.0}, "other than 0, one or 4, in the attribute 'Scale_Factor', got 0.0"),
        ({"add_offset": [1.0, 2.0]}, "numbers, one or 4, in the attribute 'add_offset', got 2 nu"),
        ({"scale_factor": np.nan}, "'scale_factor', got nan; correct it"),
    ],
)
def test_attributes_that_cannot_be_meant(tmp_path: Path, attributes: dict, said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = some_cube()
        file["cube"].attrs.update(attributes)
    assert said in refusal(tmp_path / "a.h5")


# ENVI


@pytest.mark.parametrize("byte_order", [0, 1])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi(tmp_path: Path, interleave: str, dtype: str, byte_order: int) -> None:
    written = some_cube(dtype)
    header = tmp_path / "scene.hdr"
    spectral_envi.save_image(
        str(header), written, interleave=interleave, dtype=dtype, byteorder=byte_order, ext="img"
    )
    for named in (header, tmp_path / "scene.img"):
        read = cube(named)
        assert read.array.dtype.newbyteorder("=") == np.dtype(dtype)
        assert (read.array == written).all()
        assert read.files == (header, tmp_path / "scene.img")
    raw = (tmp_path / "scene.img").read_bytes()
    order = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    stored = written.transpose(order).astype(np.dtype(dtype).newbyteorder("<>"[byte_order]))
    assert raw == stored.tobytes()  # the test file is what its header says


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip", "BIL", "Bip"])
def test_envi_is_memory_mapped(tmp_path: Path, interleave: str) -> None:
    """A change of one byte on disk shows in the array that was opened before."""
    stored = some_cube().transpose(
        {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave.lower()]
    )
    write_envi(tmp_path, stored.tobytes(), interleave=interleave)
    array = cube(tmp_path / "scene.hdr").array
    assert (array == some_cube()).all()
    assert not array.flags.writeable
    with open(tmp_path / "scene", "r+b") as stream:
        stream.write(np.int16(-5).tobytes())
    assert array[0, 0, 0] == -5


def write_envi(folder: Path, data: bytes, **fields: object) -> Path:
    given = {"samples": COLS, "lines": ROWS, "bands": BANDS, "header offset": 0, "data type": 2,
             "interleave": "bip", "byte order": 0, **fields}  # fmt: skip
    lines = [f"{name.replace('_', ' ')} = {value}" for name, value in given.items()]
    header = folder / "scene.hdr"
    header.write_text(
        "\n".join(["ENVI", *(line for line in lines if not line.endswith("None"))]) + "\n"
    )
    (folder / "scene").write_bytes(data)
    return header


DATA = some_cube().tobytes()


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("Nanometers", [450, 550, 650, 850], [450, 550, 650, 850]),
        ("Micrometers", [0.45, 0.55, 0.65, 0.85], [450, 550, 650, 850]),
        ("µm", [0.45, 0.55, 0.65, 0.85], [450, 550, 650, 850]),
        ("Angstroms", [4500, 5500, 6500, 8500], [450, 550, 650, 850]),
        (None, [450, 550, 650, 850], [450, 550, 650, 850]),
        ("Unknown", [0.45, 0.55, 0.65, 2.5], [450, 550, 650, 2500]),
        ("Index", [1, 2, 3, 4], None),
        ("nm", [450, 550, 650], None),
        ("nm", [450, 550, 650, "x"], None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_envi_wavelengths_are_nm(
    tmp_path: Path, unit: str | None, values: list, expected: list | None, encoding: str
) -> None:
    listed = "{" + ",\n  ".join(map(str, values)) + "}"
    header = write_envi(tmp_path, DATA, wavelength=listed, wavelength_units=unit)
    header.write_bytes(header.read_text().encode(encoding))
    said: list[str] = []
    read = read_array(str(header), kind="cube", say=said.append)
    assert (read.array == some_cube()).all()
    if expected is None:
        assert read.wavelengths is None
        assert len(said) == 1  # not dropped in silence
    else:
        np.testing.assert_allclose(read.wavelengths, expected)


@pytest.mark.parametrize(
    ("unit", "values", "said"),
    [
        ("GHz", [450, 550, 650, 850], ["'GHz'", "Micrometers"]),
        ("Nanometers", [0.45, 0.55, 0.65, 0.85], ["0.45 to 0.85", "'Nanometers'", "100"]),
        ("Micrometers", [450, 550, 650, 850], ["450 to 850", "'Micrometers'"]),
    ],
)
def test_envi_units_that_cannot_be_right(
    tmp_path: Path, unit: str, values: list, said: list[str]
) -> None:
    listed = "{" + ", ".join(map(str, values)) + "}"
    text = refusal(write_envi(tmp_path, DATA, wavelength=listed, wavelength_units=unit))
    for word in said:
        assert word in text, text


def test_envi_classification_as_labels(tmp_path: Path) -> None:
    write_envi(
        tmp_path, some_labels().tobytes(), bands=1, data_type=1, interleave="bsq",
        class_names="{Unclassified, Corn, Oats}", sensor_type="AVIRIS",
    )  # fmt: skip
    read = labels(tmp_path / "scene")
    assert (read.array == some_labels()).all()
    assert read.class_names == {1: "Corn", 2: "Oats"}
    assert read.sensor == "AVIRIS"


def test_envi_offset(tmp_path: Path) -> None:
    header = write_envi(tmp_path, b"12345678" + DATA, header_offset=8)
    assert (cube(header).array == some_cube()).all()


@pytest.mark.parametrize("change", [-1, 1])
def test_envi_sizes_that_disagree_are_both_said(tmp_path: Path, change: int) -> None:
    data = DATA[:-1] if change < 0 else DATA + b"x"
    write_envi(tmp_path, data)
    text = refusal(tmp_path / "scene")
    assert str(len(DATA)) in text
    assert str(len(DATA) + change) in text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("data type", 6, "complex"), ("data type", "int16", "whole number"),
        ("lines", None, "'lines'"), ("bands", 0, "empty"), ("interleave", "bsp", "'bsp'"),
        ("byte order", 2, "byte order 2"), ("file compression", 1, "compressed"),
        ("file type", "ENVI Spectral Library", "spectral library"),
        ("major frame offsets", "{4, 4}", "frame offsets"), ("wavelength", "{1, 2", "brace"),
    ],
)  # fmt: skip
def test_envi_headers_that_cannot_be_trusted(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    assert said in refusal(write_envi(tmp_path, DATA, **{field: value}))


def test_envi_parts_missing(tmp_path: Path) -> None:
    header = write_envi(tmp_path, DATA)
    assert "leave out 'key'" in refusal(f"{header}:key")
    (tmp_path / "scene").unlink()
    assert "no data file beside it" in refusal(header)
    header.write_text("not a header")
    assert "must begin with ENVI" in refusal(header)


# NumPy


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_memory_mapped(tmp_path: Path, order: str) -> None:
    path, written = tmp_path / "a.npy", np.asarray(some_cube("float32"), order=order)
    np.save(path, written)
    read = cube(path).array
    assert isinstance(read, np.memmap)
    assert (read == written).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: object) -> None:
    save(
        tmp_path / "a.npz",
        x=some_cube(),
        gt=some_labels(),
        wavelengths=np.linspace(0.4, 2.5, BANDS),
    )
    read = cube(tmp_path / "a.npz")
    assert (read.array == some_cube()).all()
    np.testing.assert_allclose(read.wavelengths, np.linspace(400, 2500, BANDS))
    assert (labels(f"{tmp_path / 'a.npz'}:gt").array == some_labels()).all()


def test_npy_files_that_cannot_be_used(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([[[{}]]]))
    np.savez(tmp_path / "object.npz", a=np.array([[[{}]]]))
    np.save(tmp_path / "complex.npy", some_cube() * 1j)
    np.save(tmp_path / "empty.npy", np.zeros((0, 3, 2)))
    np.save(tmp_path / "whole.npy", some_cube())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-1])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    expected = {
        "object.npy": "object", "object.npz:a": "object", "complex.npy": "complex",
        "empty.npy": "empty", "cut.npy": "truncated", "other.zip": "without NumPy arrays",
        "whole.npy:k": "leave out 'k'",
    }  # fmt: skip
    for name, said in expected.items():
        assert said in refusal(f"{tmp_path / name}")


# Files that are none


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "Salinas_corrected.mat").write_bytes(b"x")
    text = refusal(tmp_path / "Salinas_corected.mat")
    assert f"Did you mean {tmp_path / 'Salinas_corrected.mat'}?" in text
    assert "does not exist either" in refusal(tmp_path / "no" / "a.mat")
    assert "a folder" in refusal(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a replaced `open`, since root may read everything."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    assert "Permission denied" in refusal(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"), (b"  \n<!DOCTYPE html><html>", "HTML page"),
        (b"<HTML><body>", "HTML page"),
        (b"II*\0rest", "TIFF"), (b"\x1f\x8b rest", "gzip"), (b"some text", "not a MATLAB file"),
        (b"MATLAB 5.0 MAT-file", "too few"), (b"\x89HDF\r\n\x1a\n", "truncated or corrupt"),
        (b"PK\x03\x04 rest", "truncated or corrupt"), (b"\x93NUMPY", "truncated or corrupt"),
    ],
)  # fmt: skip
def test_files_that_are_something_else(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    assert said in refusal(tmp_path / "a.mat")


# Choosing


def test_the_choice_is_by_shape_and_type_and_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(size=(ROWS, COLS))
    scipy.io.savemat(
        tmp_path / "a.mat",
        {
            "band": noise, "gt": some_labels(), "scene": some_cube(), "info": "words",
            "abundances": np.ones((ROWS, COLS, 2)), "n": 3.0, "endmembers": np.ones((BANDS, 2)),
        },
    )  # fmt: skip
    said: list[str] = []
    assert read_array(str(tmp_path / "a.mat"), kind="cube", say=said.append).key == "scene"
    found = read_array(str(tmp_path / "a.mat"), kind="labels", shape=(ROWS, COLS), say=said.append)
    assert found.key == "gt"
    assert "'scene' (6 x 5 x 4)" in said[0]
    assert "'gt' (6 x 5)" in said[1]


@pytest.mark.parametrize("shape", [(1, COLS), (ROWS, 1)])
def test_labels_of_one_row_or_column_are_not_the_cube(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    scene, truth = some_cube(shape=(*shape, BANDS)), np.ones(shape, np.uint8)
    vector = np.arange(400, 400 + BANDS)[None]
    scipy.io.savemat(tmp_path / "a.mat", {"cube": scene, "gt": truth, "wavelength": vector})
    found = labels(tmp_path / "a.mat", shape=scene.shape)
    assert found.key == "gt"
    np.testing.assert_array_equal(found.array, truth)


def test_no_guess_between_equals(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=some_cube(), y=some_cube(), g=some_labels(), h=some_labels())
    assert "x, y" in refusal(tmp_path / "a.npz")
    assert "g, h" in refusal(tmp_path / "a.npz", "labels", shape=(ROWS, COLS))


def test_bands_by_pixels_is_explained(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"V": some_cube().reshape(-1, BANDS).T, "n": 2})
    assert "bands x pixels" in refusal(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("cube_shape", "label_shape", "said"),
    [
        ((6, 5, 4), (5, 6), "transposed they would"), ((4, 6, 5), (6, 5), "bands come first"),
        ((4, 5, 6), (6, 5), "axes are reversed"), ((6, 5, 4), (7, 7), "expected 6 x 5"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit(
    tmp_path: Path, cube_shape: tuple, label_shape: tuple, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        check_fit(cube_shape, label_shape, "x")
    np.save(tmp_path / "gt.npy", some_labels(label_shape))
    np.savez(tmp_path / "gt.npz", gt=some_labels(label_shape))
    for name in ("gt.npy", "gt.npz"):
        assert said in refusal(tmp_path / name, "labels", shape=cube_shape)


# Labels


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", ">u2", ">f8"])
def test_labels_become_integers(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "gt.npy", some_labels().astype(dtype))
    read = labels(tmp_path / "gt.npy").array
    assert read.dtype == np.int32
    assert (read == some_labels()).all()


def test_logical_labels_and_a_third_axis(tmp_path: Path) -> None:
    mask = some_labels() > 0
    scipy.io.savemat(tmp_path / "a.mat", {"mask": mask})
    assert (labels(tmp_path / "a.mat").array == mask).all()
    for number, shape in enumerate(((ROWS, COLS, 1), (1, ROWS, COLS))):
        np.save(tmp_path / f"{number}.npy", some_labels().reshape(shape))
        assert (labels(tmp_path / f"{number}.npy").array == some_labels()).all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1, "negative label -1"),
        (1.5, "whole"),
        (np.nan, "whole"),
        (np.inf, "whole"),
        (1e12, "no class"),
    ],
)
def test_labels_that_are_none(value: float, said: str) -> None:
    array = some_labels().astype(float)
    array[2, 3] = value
    with pytest.raises(DataError, match=said):
        as_labels(array)


def test_a_spec_is_split_at_the_last_colon(tmp_path: Path) -> None:
    assert split_spec("a.mat") == (Path("a.mat"), None)
    assert split_spec("a:b.mat:key") == (Path("a:b.mat"), "key")
    existing = tmp_path / "a:b"
    existing.touch()
    assert split_spec(str(existing)) == (existing, None)
    for spec in ("a.mat:", ":key"):
        with pytest.raises(DataError, match="FILE:KEY"):
            split_spec(spec)


def test_nanometres_of_unknown_units() -> None:
    np.testing.assert_array_equal(envi.to_nanometres(np.array([101.0, 2500])), [101, 2500])
    np.testing.assert_array_equal(envi.to_nanometres(np.array([0.4, 2.5])), [400, 2500])
