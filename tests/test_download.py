"""Downloads against a local server that misbehaves on request."""

from __future__ import annotations

import errno
import hashlib
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hsi import download
from hsi.download import RemoteFile, fetch, git_blob_id
from hsi.errors import DataError, DownloadError, OutputError

BODY = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(BODY).hexdigest()
HTML = b"\n<!DOCTYPE html><html><body>Not here any more</body></html>"
GOOD = RemoteFile("/a/aa/good.mat", sha256=SHA256)


class Server(ThreadingHTTPServer):
    """Serves BODY under any path; `cut_after` and the rest change how."""

    cut_after: int | None = None
    chunked = False
    ranges_work = True
    status = 200
    body = BODY
    content_type = "application/octet-stream"
    stall = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.released = threading.Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mirror"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start, status = 0, server.status
        if asked and server.ranges_work and status == 200:
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(server.body):
                status = 416
        body = server.body[start:] if status != 416 else b""
        self.send_response(status)
        self.send_header("Content-Type", server.content_type)
        if status == 206:
            last = len(server.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after])
        self.wfile.flush()
        if server.stall:
            server.released.wait(20)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def get(server: Server, folder: Path, file: RemoteFile = GOOD) -> Path:
    return fetch(file, folder, base=server.base, timeout=(2, 1), say=lambda _: None)


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_good_file_is_whole_and_alone(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "good.mat"
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["good.mat"]


def test_a_git_blob_id_is_enough(server: Server, tmp_path: Path) -> None:
    blob = hashlib.sha1(b"blob 300000\0" + BODY).hexdigest()
    assert get(server, tmp_path, RemoteFile("/x.mat", git_blob=blob)).read_bytes() == BODY
    with pytest.raises(DownloadError, match="git blob id"):
        get(server, tmp_path, RemoteFile("/y.mat", git_blob="0" * 40))


def test_git_blob_id_is_that_of_git(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    try:
        done = subprocess.run(
            ["git", "hash-object", "--no-filters", str(path)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert git_blob_id(path) == done.stdout.strip()


def test_the_mirror_variable_replaces_the_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSI_MIRROR", server.base + "/")
    assert GOOD.url() == server.base + "/a/aa/good.mat"
    assert fetch(GOOD, tmp_path, say=lambda _: None).read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected sha256 0000") as caught:
        get(server, tmp_path, RemoteFile("/bad.mat", sha256="0" * 64))
    assert "300000 bytes" in one_line(caught)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_html_is_not_data(server: Server, tmp_path: Path, content_type: str) -> None:
    server.body, server.content_type = HTML, content_type
    with pytest.raises(DownloadError, match="HTML page instead of the file") as caught:
        get(server, tmp_path / "made")
    one_line(caught)
    assert not (tmp_path / "made").exists()


def test_a_cut_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut_after = 200_000
    with pytest.raises(DownloadError, match=r"cut.*goes on from there") as caught:
        get(server, tmp_path)
    one_line(caught)
    part = tmp_path / "good.mat.part"
    have = part.stat().st_size
    assert 200_000 - download.CHUNK <= have <= 200_000
    assert part.read_bytes() == BODY[:have]
    assert not (tmp_path / "good.mat").exists()
    server.cut_after = None
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked == [None, f"bytes={have}-"]
    assert not part.exists()


def test_a_stalled_server_times_out_and_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.cut_after, server.stall = 100_000, True
    with pytest.raises(DownloadError, match="stopped sending") as caught:
        get(server, tmp_path)
    one_line(caught)
    assert (tmp_path / "good.mat.part").stat().st_size > 90_000


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges_work = False
    (tmp_path / "good.mat.part").write_bytes(BODY[:1000])
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked == ["bytes=1000-"]


@pytest.mark.parametrize("have", [len(BODY), len(BODY) + 7])
def test_a_part_that_is_complete_or_too_long(server: Server, tmp_path: Path, have: int) -> None:
    (tmp_path / "good.mat.part").write_bytes((BODY + b"rubbish")[:have])
    assert get(server, tmp_path).read_bytes() == BODY


def test_a_part_of_another_file_is_found_out_and_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "good.mat.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="not the published file"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusal_names_status_url_and_folder(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=str(status)) as caught:
        get(server, tmp_path / "made")
    assert GOOD.url(server.base) in one_line(caught)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_refused_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DownloadError, match="refused") as caught:
            fetch(GOOD, tmp_path, base=base, say=lambda _: None)
    one_line(caught)


def test_a_name_that_cannot_be_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(DownloadError, match="cannot be resolved") as caught:
        fetch(GOOD, tmp_path, base="http://scenes.invalid", say=lambda _: None)
    one_line(caught)


def test_the_check_decides_on_a_file_without_hash(server: Server, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == BODY  # complete when it is checked
        raise DataError("expected another shape")

    file = RemoteFile("/x.mat")
    with pytest.raises(DownloadError, match="expected another shape"):
        fetch(file, tmp_path, base=server.base, check=refuse, say=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_an_empty_answer_is_no_file(server: Server, tmp_path: Path) -> None:
    server.body = b""
    with pytest.raises(DownloadError, match="empty"):
        get(server, tmp_path, RemoteFile("/x.mat"))


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        get(server, tmp_path / "file" / "folder")
    one_line(caught)
    assert server.asked == []  # found out before anything was asked for


def test_too_little_room_is_said_before_the_body(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="300000 bytes are needed, 1000 are free"):
        get(server, tmp_path)


def test_a_disk_that_fills_up_meanwhile(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_next", full)
    with pytest.raises(OutputError, match="disk is full") as caught:
        get(server, tmp_path)
    one_line(caught)


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_bar_on_a_terminal_and_silence_elsewhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return on_terminal

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    get(server, tmp_path)
    assert ("good.mat" in terminal.getvalue()) == on_terminal
