"""Checkpoints from a real HTTP server on the loopback: whole, cut, wrong, missing, resumed."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bytemlperf import zoo
from bytemlperf.errors import UsageError
from bytemlperf.zoo import fetch
from bytemlperf.zoo.fetch import FetchFailed, fetch_checkpoint

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.cut_after: list[int] = []  # bytes after which the next responses end
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if "missing" in self.path:
            self.send_error(404)
            return
        content = CONTENT[::-1] if "wrong" in self.path else CONTENT
        begin = 0
        if wanted and self.server.ranges:
            found = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert found is not None
            begin = int(found[1])
            if begin >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        cut = self.server.cut_after.pop(0) if self.server.cut_after else None
        self.wfile.write(content[begin:] if cut is None else content[begin : begin + cut])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def card(*urls: str, **changes: Any) -> zoo.Card:
    file = {"path": "weights.bin", "urls": urls, "sha256": SHA256} | changes
    data = zoo.load_card("digits-onnx-fp32").model_dump() | {"name": "mine", "files": [file]}
    return zoo.Card.model_validate(data)


def get(wanted: zoo.Card, folder: Path, **more: Any) -> Path:
    return fetch_checkpoint(wanted, lambda *_: None, cache_dir=folder, **more)


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_a_file_is_fetched_once_with_progress(server: Server, tmp_path: Path) -> None:
    said: list[tuple[str, float | None]] = []
    wanted = card(f"{server.url}/a")
    path = fetch_checkpoint(wanted, lambda *s: said.append(s), cache_dir=tmp_path)
    assert path == tmp_path / "checkpoints/mine/weights.bin"
    assert path.read_bytes() == CONTENT
    fractions = [f for _, f in said if f is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "of 3.1 MB" in said[0][0]
    assert get(wanted, tmp_path, offline=True) == path
    assert len(server.asked) == 1
    path.write_bytes(CONTENT[:-1])
    assert get(wanted, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_several_files_lie_in_a_folder(server: Server, tmp_path: Path) -> None:
    one = card(f"{server.url}/a").files[0]
    names = ("config.json", "unet/model.safetensors")
    files = [one.model_copy(update={"path": name}) for name in names]
    both = card(f"{server.url}/a").model_copy(update={"files": tuple(files)})
    folder = get(both, tmp_path)
    assert folder == tmp_path / "checkpoints/mine"
    assert left(folder) == ["config.json", "model.safetensors"]


def test_a_cut_is_taken_up_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_000_000, 500_000]
    assert get(card(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_cut_that_stays_is_an_error_and_the_next_fetch_resumes(
    server: Server, tmp_path: Path
) -> None:
    server.cut_after = [1_000_000, 0, 0]
    wanted = card(f"{server.url}/a")
    with pytest.raises(FetchFailed, match=r"cut at 1\.0 of 3\.1 MB, 3 times"):
        get(wanted, tmp_path)
    assert left(tmp_path) == ["weights.bin.part"]
    assert get(wanted, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=1000000-"


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [1_000_000]
    assert get(card(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match=rf"sha256 is [0-9a-f]{{64}}, the card says {SHA256}"):
        get(card(f"{server.url}/wrong"), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("beginning", [b"another version", CONTENT + b"and more"])
def test_a_part_of_another_file_costs_one_more_download(
    server: Server, tmp_path: Path, beginning: bytes
) -> None:
    part = tmp_path / "checkpoints/mine/weights.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(beginning)
    assert get(card(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == ["weights.bin"]


def test_places_are_tried_in_order_mirrors_first(server: Server, tmp_path: Path) -> None:
    places = [f"{server.url}/missing/1", f"{server.url}/wrong/2", f"{server.url}/good/3"]
    path = get(card(*places), tmp_path, mirrors=[f"{server.url}/missing/"])
    assert path.read_bytes() == CONTENT
    asked = [path for path, _ in server.asked]
    assert asked == ["/missing/mine/weights.bin", "/missing/1", "/wrong/2", "/good/3"]
    with pytest.raises(FetchFailed, match=r"(?s)missing/1: HTTP 404 Not Found.*nowhere\.invalid"):
        get(card(places[0], "http://nowhere.invalid/x"), tmp_path / "empty")
    with pytest.raises(UsageError, match="expected a URL"):
        get(card(*places), tmp_path, mirrors=["/home"])


def test_offline_uses_what_is_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match=r"not in the cache .* --offline"):
        get(card(f"{server.url}/a"), tmp_path, offline=True)
    assert server.asked == []


def test_the_beginning_of_a_hash_is_enough(server: Server, tmp_path: Path) -> None:
    assert get(card(f"{server.url}/a", sha256=SHA256[:8]), tmp_path).exists()


@pytest.mark.parametrize(
    "changes", [{"sha256": "abc"}, {"path": "../up"}, {"path": "/etc/x"}, {"urls": ()}]
)
def test_a_card_with_wrong_files_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"files.0.{next(iter(changes))}"):
        card("http://host/a", **changes)


def test_a_full_disk_is_said_before_it_is_full(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(FetchFailed, match="GB are needed"):
        get(card(f"{server.url}/a"), tmp_path)
    assert left(tmp_path) == []


def test_a_write_that_fails_leaves_no_entry(server: Server, tmp_path: Path) -> None:
    """A limit on the size of files makes the system refuse the write, as a full disk does."""
    wanted = card(f"{server.url}/a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(FetchFailed, match=r"File too large .* BYTEMLPERF_CACHE"):
            get(wanted, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(tmp_path) == ["weights.bin.part"]
    assert get(wanted, tmp_path).read_bytes() == CONTENT


def test_a_model_without_files_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="--weights takes a checkpoint of yours"):
        fetch_checkpoint(zoo.load_card("digits-onnx-fp32"), lambda *_: None)


def test_two_processes_fetch_one_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    file.write_text(card(f"{server.url}/a").model_dump_json())
    command = [sys.executable, "-m", "bytemlperf", "models", "fetch", str(file)]
    environment = {**os.environ, "BYTEMLPERF_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/", env=environment)
        for _ in range(2)
    ]
    printed = {p.communicate(timeout=60)[0].strip() for p in both}
    assert printed == {str(tmp_path / "checkpoints/mine/weights.bin")}
    assert len(server.asked) == 1


def test_offline_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("1", True), ("0", False)):
        monkeypatch.setenv("BYTEMLPERF_OFFLINE", value)
        assert fetch.offline_by_environment() is expected
