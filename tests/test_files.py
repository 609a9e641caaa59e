"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys

import pytest

from hsi.errors import OutputError
from hsi.file_names import FileNames, name_part, telling_ends
from hsi.files import atomic_path, remove_remains, sha256_of, write_json, write_text
from hsi.results import write_rows


def test_a_file_appears_with_its_content_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, {"a": [1, 2.5, None, "é"]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": [1, 2.5, None, "é"]}
    assert os.listdir(path.parent) == ["a.json"]


def test_the_file_is_not_there_before_the_end(tmp_path):
    path = tmp_path / "model.h5"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix  # Keras chooses the format by it
        temporary.write_bytes(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Of a process that writes at this moment nothing is."""
    code = "import os, signal, sys; from hsi.files import atomic_path\n"
    code += "with atomic_path(sys.argv[1]) as part:\n"
    code += "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    for name in ("a.json", "below/.b.part.h5", "no_suffix"):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=False)
    kept = ["a.json", "a.part.json", ".hidden", ".a.x.part.json"]
    for name in kept:
        (tmp_path / name).write_text("whole")
    with atomic_path(tmp_path / "mine.npz") as temporary:
        temporary.write_text("begun")
        assert len(list(tmp_path.rglob(".*.part*"))) == 5
        remove_remains(tmp_path)
        assert temporary.is_file()
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "below", "mine.npz"])
    assert os.listdir(tmp_path / "below") == []


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt(), ValueError("x")])
def test_a_writer_that_fails_leaves_the_old_content(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_output_error_and_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written: No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_that_meets_a_full_disk_is_an_output_error(tmp_path):
    def write_half():
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"):
        write_half()
    assert os.listdir(tmp_path) == []


def test_an_error_of_many_lines_is_told_on_one(tmp_path):
    """HDF5 puts a date with its line end into the text of a failed write."""
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "a.h5"):
        raise OSError("Can't write data (time = Thu Jan  1 00:00:00 1970\n, No space left)")
    assert "\n" not in str(caught.value)
    assert "No space left" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/a\.txt: cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_folder_in_the_place_of_the_file_is_an_output_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError):
        write_text(tmp_path / "a.txt", "text")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_that_writes_nothing_is_an_output_error(tmp_path):
    with pytest.raises(OutputError), atomic_path(tmp_path / "a.txt"):
        pass


def test_nan_is_refused_before_anything_is_written(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"oa": float("nan")})
    assert (tmp_path / "a.json").read_text() == "1\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1234567"),
        (98765432.0, "98765432"),
        (1234567.6, "1234568"),
        (12345678, "12345678"),
        (0.125, "0.125"),
        (97.1234567, "97.1235"),
        (3e-12, "3e-12"),
        (None, ""),
    ],
)
def test_counts_in_a_csv_file_have_all_their_digits(tmp_path, value, text):
    write_rows(tmp_path / "a.csv", [{"macs": value, "oa": 1}], ("macs", "oa"))
    assert (tmp_path / "a.csv").read_text() == f"macs,oa\n{text},1\n"


def test_the_hash_of_a_file(tmp_path):
    data = os.urandom(100_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_no_name_is_given_twice():
    """Nor one that differs in upper case alone, nor one that a number would make."""
    names = FileNames()
    given = [names(stem, ".png") for stem in ("a", "a_2", "a", "A", "b", "a")]
    assert given == ["a.png", "a_2.png", "a_3.png", "A_4.png", "b.png", "a_5.png"]
    assert names("a", ".npz") == "a.npz"
    assert len({name.casefold() for name in given}) == len(given)


def test_ends_of_paths_are_as_short_as_they_can_tell():
    assert telling_ends(["/x/day/a.png", "/x/day/b.png"]) == ["a.png", "b.png"]
    assert telling_ends(["/x/day/a.png", "/x/night/a.png", "/x/night/b.png"]) == [
        "day/a.png", "night/a.png", "night/b.png",
    ]  # fmt: skip
    assert telling_ends(["a.png", "/x/a.png"]) == ["a.png", "x/a.png"]
    assert telling_ends(["/x/a.png", "/x/a.png"]) == ["a.png", "a.png"]
    assert name_part("../runs/é 1$.h5") == "runs_é_1_.h5"
