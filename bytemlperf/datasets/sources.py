"""Which files each data set consists of, and where they go under ``--data_dir``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bytemlperf.errors import UsageError


@dataclass(frozen=True)
class Source:
    """The files of a data set.

    Attributes:
        name: what cards call it.
        title: what people call it.
        files: paths under ``--data_dir``; each entry lists alternatives, one of which is needed.
        origin: who publishes it.
    """

    name: str
    title: str
    files: tuple[tuple[str, ...], ...]
    origin: str

    def missing(self, data_dir: Path | None) -> list[str]:
        """Return what is not there, alternatives joined by "or"."""
        return [
            " or ".join(paths)
            for paths in self.files
            if data_dir is None or not any((data_dir / path).exists() for path in paths)
        ]

    def require(self, data_dir: Path | None) -> Path:
        """Return the folder.

        Raises:
            UsageError: saying which files go where, if one is missing.
        """
        missing = self.missing(data_dir)
        if data_dir is None:
            raise UsageError(
                f"the {self.title} data set is not there: put {', '.join(missing)} into a folder "
                f"and give it as --data_dir, or run a small sample of our own: --sample_data"
            )
        if missing:
            raise UsageError(
                f"{data_dir}: the {self.title} data set ({self.origin}) lacks {', '.join(missing)} "
                "there: No such file (--sample_data runs a small sample of our own instead)"
            )
        return data_dir


SQUAD = Source("squad", "SQuAD v1.1", (("open_squad/dev-v1.1.json",),), "Stanford University")
IMAGENET = Source(
    "imagenet",
    "ImageNet 2012 validation",
    (
        ("open_imagenet/ILSVRC2012_img_val", "open_imagenet/ILSVRC2012_img_val.tar"),
        ("open_imagenet/val_map.txt",),
    ),
    "image-net.org",
)
CRITEO = Source("criteo", "Criteo Kaggle", (("open_criteo_kaggle/eval.csv",),), "Criteo AI Lab")
CIFAR100 = Source(
    "cifar100",
    "CIFAR-100",
    (("open_cifar/cifar-100-python/test",), ("open_cifar/cifar-100-python/meta",)),
    "University of Toronto",
)
CAIL2019 = Source(
    "cail2019",
    "CAIL2019-SCM",
    (("open_cail2019/test.json", "open_cail2019/batch_token_ids.npy"),),
    "China AI and Law Challenge",
)

SOURCES = {source.name: source for source in (SQUAD, IMAGENET, CRITEO, CIFAR100, CAIL2019)}
