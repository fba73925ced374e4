"""A card's published checkpoint, downloaded: checked by hash, resumed where it was cut."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bytemlperf.errors import BytemlperfError, UsageError
from bytemlperf.host import cache_root
from bytemlperf.zoo.cache import Report, locked
from bytemlperf.zoo.card import Card, File

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0
# A connection that is cut is taken up again this often before the next place is tried.
_ATTEMPTS = 3


class FetchFailed(BytemlperfError):
    """A file could not be had from any of its places; what was received is kept to resume."""


class _NextPlace(Exception):
    """This place cannot give the file."""


class _Cut(Exception):
    """The connection ended early; the rest can be asked for."""


def fetch_checkpoint(
    card: Card,
    report: Report,
    *,
    mirrors: Sequence[str] = (),
    offline: bool = False,
    cache_dir: Path | None = None,
) -> Path:
    """Return what ``--weights`` takes: the card's files, each whole and checked.

    It is their folder, or the file where there is only one. What is missing is downloaded.

    Args:
        card: its ``files`` say names, places and hashes.
        report: called with what is being done and how far (0 to 1, or None).
        mirrors: base URLs that are tried first; the file ``f`` of the model ``m`` is at ``base/m/f``.
        offline: use only what is there.

    Raises:
        UsageError: where the card has no files, or a mirror is no URL.
        FetchFailed: naming every place that was tried and why it failed.
    """
    if not card.files:
        raise UsageError(
            f"{card.name}: its card lists no files to fetch; --weights takes a checkpoint of yours"
        )
    for mirror in mirrors:
        if urllib.parse.urlsplit(mirror).scheme not in ("http", "https"):
            raise UsageError(f"--mirror {mirror!r}: expected a URL with http:// or https://")
    folder = (cache_dir or cache_root()) / "checkpoints" / card.name
    with locked(folder, report, "another process fetches this model; waiting for it"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in card.files:
            _fetch_file(card, file, folder, report, mirrors, offline)
    return folder / card.files[0].path if len(card.files) == 1 else folder


def _fetch_file(
    card: Card, file: File, folder: Path, report: Report, mirrors: Sequence[str], offline: bool
) -> None:
    target = folder / file.path
    if target.exists():
        report(f"checking {file.path}", None)
        if _sha256(target).startswith(file.sha256):
            return
        report(f"{file.path} is damaged: it is fetched again", None)
    if offline:
        state = "damaged" if target.exists() else "not in the cache"
        raise FetchFailed(f"{card.name}: {file.path} is {state} ({target}) and --offline was given")
    failures = []
    for url in (*(f"{m.rstrip('/')}/{card.name}/{file.path}" for m in mirrors), *file.urls):
        try:
            _from_place(url, file, target, report)
        except _NextPlace as failure:
            failures.append(f"  {url}: {failure}")
        else:
            return
    raise FetchFailed(
        "\n".join([f"{card.name}: {file.path} could not be fetched:", *failures])
        + "\nWhat was received is kept and taken up the next time. --mirror names another place"
    )


def _from_place(url: str, file: File, target: Path, report: Report) -> None:
    """Download to ``<target>.part`` and rename it when its hash is right."""
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    resumed = _complete(url, part, report)
    if not _sha256(part).startswith(file.sha256) and resumed:
        # The first part may be of another version of the file, or of another place's.
        part.unlink()
        _complete(url, part, report)
    found = _sha256(part)
    if not found.startswith(file.sha256):
        part.unlink()
        raise _NextPlace(f"its sha256 is {found}, the card says {file.sha256}; removed")
    part.replace(target)


def _complete(url: str, part: Path, report: Report) -> bool:
    """Make the part whole; returns whether any of it was there before."""
    resumed = part.exists() and part.stat().st_size > 0
    for attempt in range(_ATTEMPTS):
        try:
            _receive(url, part, report)
        except _Cut as cut:
            if attempt == _ATTEMPTS - 1:
                raise _NextPlace(f"{cut}, {_ATTEMPTS} times") from cut
            report(f"{cut}; going on from there", None)
        else:
            break
    return resumed


def _receive(url: str, part: Path, report: Report) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            begin = have if response.status == http.client.PARTIAL_CONTENT else 0
            length = response.headers.get("Content-Length")
            total = begin + int(length) if length else None
            _check_space(part, None if total is None else total - begin)
            _write(response, part, begin, total, report)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is left to send; the hash says whether that is right
        raise _NextPlace(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _NextPlace(str(error.reason)) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Cut(f"the connection failed ({type(error).__name__})") from error


def _write(
    response: http.client.HTTPResponse, part: Path, begin: int, total: int | None, report: Report
) -> None:
    done = begin
    name = part.name.removesuffix(".part")
    try:
        with part.open("r+b" if begin else "wb") as stream:
            stream.seek(begin)
            stream.truncate()
            while block := response.read(_BLOCK):
                stream.write(block)
                done += len(block)
                report(f"{name}: {_sizes(done, total)}", done / total if total else None)
    except (TimeoutError, ConnectionError):
        raise
    except OSError as error:
        raise FetchFailed(
            f"{part}: {error.strerror} after {done / 1e6:.1f} MB; clear space or set "
            "BYTEMLPERF_CACHE to another folder, and fetch again: it goes on from there"
        ) from error
    if total is not None and done < total:
        raise _Cut(f"the connection was cut at {_sizes(done, total)}")


def _check_space(part: Path, needed: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed is not None and needed > free:
        raise FetchFailed(
            f"{part.parent}: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free; "
            "clear space or set BYTEMLPERF_CACHE to another folder"
        )


def _sizes(done: int, total: int | None) -> str:
    return f"{done / 1e6:.1f} MB" if total is None else f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def offline_by_environment() -> bool:
    """True where ``BYTEMLPERF_OFFLINE`` is set to anything but 0."""
    return os.environ.get("BYTEMLPERF_OFFLINE", "0") != "0"
