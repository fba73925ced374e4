"""Small samples of our own, in the real formats: they show that a pipeline runs, not how well."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path

import numpy as np

from bytemlperf.backend import Array
from bytemlperf.datasets.criteo import CATEGORIES, NUMBERS
from bytemlperf.datasets.prepared import cache_folder
from bytemlperf.extras import require

_SCHEMA = 1
_PICTURES, _ROWS = 24, 256


def write_sample(name: str) -> Path:
    """Return a folder that is laid out like ``--data_dir``; it is written on the first use."""
    folder = cache_folder({"sample": name, "schema": _SCHEMA})
    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            _WRITERS[name](temporary)
            with suppress(OSError):  # another process was first
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _picture(number: int, height: int, width: int) -> Array:
    """A colour gradient with a disc, different for each number: uint8 [height, width, 3]."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:height, 0:width]
    slope = rng.uniform(-1, 1, (3, 2))
    picture = 128 + 90 * (slope[:, :1, None] * (x / width) + slope[:, 1:, None] * (y / height))
    disc = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) < min(height, width) / 4
    picture[:, disc] = rng.uniform(0, 255, (3, 1))
    return np.asarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _imagenet(folder: Path) -> None:
    images = require("PIL.Image", extra="data", purpose="the sample of pictures")
    home = folder / "open_imagenet"
    home.mkdir(parents=True)
    lines = []
    with tarfile.open(home / "ILSVRC2012_img_val.tar", "w") as tar:
        for i in range(_PICTURES):
            file = io.BytesIO()
            pixels = _picture(i, 300 + 40 * (i % 3), 400 - 60 * (i % 4))
            images.fromarray(pixels).save(file, "JPEG", quality=90)
            member = tarfile.TarInfo(f"sample_{i:08d}.JPEG")
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
            lines.append(f"{member.name} {41 * i % 1000}\n")
    (home / "val_map.txt").write_text("".join(lines), encoding="utf-8")


def _cifar(folder: Path) -> None:
    home = folder / "open_cifar" / "cifar-100-python"
    home.mkdir(parents=True)
    pictures = [_picture(i, 32, 32).transpose(2, 0, 1).reshape(-1) for i in range(_PICTURES)]
    test = {b"data": np.stack(pictures), b"fine_labels": [37 * i % 100 for i in range(_PICTURES)]}
    names = [f"kind_{i}" for i in range(100)]
    for name, content in (("test", test), ("meta", {b"fine_label_names": names})):
        (home / name).write_bytes(pickle.dumps(content, protocol=2))


def _criteo(folder: Path) -> None:
    home = folder / "open_criteo_kaggle"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (home / "eval.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for _ in range(_ROWS):
            numbers = [str(x) if x >= 0 else "" for x in rng.integers(-20, 500, NUMBERS)]
            categories = [f"{x:08x}" if x % 9 else "" for x in rng.integers(0, 2**32, CATEGORIES)]
            writer.writerow([int(rng.random() < 0.26), *numbers, *categories])


def _cail(folder: Path) -> None:
    home = folder / "open_cail2019"
    home.mkdir(parents=True)
    cases = resources.files("bytemlperf.datasets") / "sample" / "cail2019.json"
    lines = [json.dumps(case, ensure_ascii=False) for case in json.loads(cases.read_text("utf-8"))]
    (home / "test.json").write_text("\n".join(lines), encoding="utf-8")


_WRITERS: dict[str, Callable[[Path], None]] = {
    "imagenet": _imagenet,
    "cifar100": _cifar,
    "criteo": _criteo,
    "cail2019": _cail,
}
