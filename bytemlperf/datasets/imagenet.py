"""ImageNet 2012 validation: pictures in a folder or the published tar, labels in ``val_map.txt``."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bytemlperf.backend import Array, Feeds
from bytemlperf.datasets.base import Metric
from bytemlperf.datasets.images import Transform
from bytemlperf.datasets.prepared import PreparedRows, identity
from bytemlperf.datasets.scores import top_k
from bytemlperf.datasets.sources import IMAGENET
from bytemlperf.datasets.subset import seeded_subset
from bytemlperf.errors import UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card

_CLASSES = 1000


class Pictures(Protocol):
    """Encoded pictures by name; read from several threads."""

    path: Path

    def names(self) -> set[str]: ...
    def identity(self) -> Any:
        """What changes when a picture does, without reading them."""

    def read(self, name: str) -> bytes: ...


class Folder:
    """Pictures as files in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        return set(os.listdir(self.path))  # noqa: PTH208  (one call for 50 000 files)

    def identity(self) -> Any:
        with os.scandir(self.path) as entries:
            found = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries)
        return [str(self.path.resolve()), hashlib.sha256(repr(found).encode()).hexdigest()]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Tar:
    """Pictures as members of an uncompressed tar: read in place, never unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self._places = {
                    Path(m.name).name: (m.offset_data, m.size) for m in tar if m.isfile()
                }
        except tarfile.TarError as error:
            raise UsageError(f"{path}: not a whole uncompressed tar: {error}") from error
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def names(self) -> set[str]:
        return set(self._places)

    def identity(self) -> Any:
        return identity(self.path)

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        return os.pread(self._file, size, offset)  # threads share no position


def read_map(path: Path) -> list[tuple[str, int]]:
    """Read ``val_map.txt``: a picture's name and its label, 0 to 999, on each line.

    Raises:
        UsageError: naming the file and line that is not so.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdigit() or int(label) >= _CLASSES:
            raise UsageError(
                f"{path}:{number}: expected 'NAME LABEL' with a label from 0 to 999, not {line!r}"
            )
        entries.append((name.strip(), int(label)))
    if not entries:
        raise UsageError(f"{path}: holds no pictures")
    return entries


class ImageNet:
    """Top-1 and Top-5 over logits.

    A model of 1001 classes has a background class in front, so its labels are one larger: the
    labels move, never the logits.
    """

    labelled = True

    def __init__(self, card: Card, folder: Path, *, sample_data: bool) -> None:
        self.sample_data = sample_data
        home = folder / "open_imagenet"
        unpacked = home / "ILSVRC2012_img_val"
        pictures: Pictures = (
            Folder(unpacked) if unpacked.is_dir() else Tar(unpacked.with_suffix(".tar"))
        )
        self._map = home / "val_map.txt"
        entries = read_map(self._map)
        there = pictures.names()
        for name, _ in entries:
            if name not in there:
                raise UsageError(f"{pictures.path}: the picture {name} of {self._map} is missing")
        self._pictures = pictures
        self._names = [name for name, _ in entries]
        self._tensor = card.inputs[0]
        self._transform = Transform.of(card)
        self._classes = int(card.preprocessing.get("classes", _CLASSES))
        self._labels = np.array([label for _, label in entries]) + (self._classes - _CLASSES)
        side = self._transform.crop
        key = {
            "pictures": pictures.identity(),
            "map": identity(self._map),
            "transform": self._transform.model_dump(include={"resize", "crop", "interpolation"}),
            "pillow": require("PIL", extra="data", purpose="reading pictures").__version__,
        }
        self._rows = PreparedRows(key, len(entries), (side, side, 3), np.uint8, self._pixels)

    @property
    def name(self) -> str:
        extent = f"{len(self._names)} pictures"
        if self.sample_data:
            return f"ImageNet format, sample of our own of {extent}"
        return f"{IMAGENET.title}, {extent}"

    def _pixels(self, sample: int) -> Array:
        name = self._names[sample]
        try:
            return self._transform.pixels(io.BytesIO(self._pictures.read(name)))
        except (OSError, SyntaxError, ValueError) as error:
            raise UsageError(f"{self._pictures.path}: {name}: not a picture: {error}") from error

    def __len__(self) -> int:
        return len(self._names)

    def feeds(self, samples: Sequence[int]) -> Feeds:
        pixels = self._rows.rows(samples)
        return {self._tensor.name: self._transform.inputs(pixels, self._tensor.dtype)}

    def select(self, percent: float, seed: int) -> list[int]:
        return seeded_subset(len(self), percent, seed)

    def score(self, samples: Sequence[int], outputs: Mapping[str, Array]) -> dict[str, Metric]:
        """Top-1 and Top-5 of the first output, [n, classes]."""
        logits = next(iter(outputs.values()))
        if logits.ndim != 2 or logits.shape[1] != self._classes:
            raise UsageError(
                f"the model gives {logits.shape[1:]} for a sample; its card says "
                f"{self._classes} classes"
            )
        labels = self._labels[list(samples)]
        return {"Top-1": top_k(logits, labels, 1), "Top-5": top_k(logits, labels, 5)}
