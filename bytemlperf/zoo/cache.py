"""The user's cache of built models: addressed by content, whole or absent, one builder at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bytemlperf.errors import BytemlperfError

MANIFEST = "manifest.json"
Report = Callable[[str, float | None], None]


def content_key(parts: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides what a build gives."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the hash of a file, or of every file in a folder with its name."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(f"{file.relative_to(path.parent)}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(folder: Path, report: Report, waiting: str) -> Iterator[None]:
    """Hold a folder, which need not be there, against other processes; says when it waits."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting, None)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Entry:
    """One cached model: a folder with an artifact and a manifest that was written last."""

    def __init__(self, root: Path, name: str, key: str) -> None:
        self.folder = root / "models" / f"{name}-{key}"

    def read(self) -> dict[str, Any] | None:
        """Return the manifest, or None where there is no whole entry."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            if artifact_bytes(self.folder) != manifest["artifact_bytes"]:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(manifest)

    @contextmanager
    def locked(self, report: Report) -> Iterator[None]:
        """Hold the entry against other processes; waits, and says so."""
        with locked(self.folder, report, "another process builds this model; waiting for it"):
            yield

    @contextmanager
    def replacing(self, bytes_needed: int) -> Iterator[Path]:
        """Give an empty folder that becomes the entry when the block ends without an error.

        To be used under :meth:`locked`.
        """
        parent = self.folder.parent
        free = shutil.disk_usage(parent).free
        if free < bytes_needed:
            raise BytemlperfError(
                f"{parent}: {bytes_needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are "
                "free; clear space or set BYTEMLPERF_CACHE to another folder"
            )
        made = parent / f".building-{self.folder.name}"
        shutil.rmtree(made, ignore_errors=True)  # of a build that was killed: the lock is ours
        made.mkdir()
        try:
            yield made
            if self.folder.exists():
                shutil.rmtree(self.folder)
            made.rename(self.folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def artifact_bytes(folder: Path) -> int:
    """Bytes of an entry's files beside its manifest."""
    manifest = folder / MANIFEST
    return size_of(folder) - (manifest.stat().st_size if manifest.exists() else 0)
