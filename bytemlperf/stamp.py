"""The stamp of a backend's last conformance check, which later reports repeat.

It belongs to the very files that were checked: whoever changes one has to check again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from bytemlperf.registry import Backend
from bytemlperf.report.schema import Conformance
from bytemlperf.zoo import cache_root

_MADE = {"__pycache__", "build"}


def read_stamp(backend: Backend) -> Conformance | None:
    """Return what was found about exactly these files, or None."""
    try:
        return Conformance.model_validate_json(_file(backend).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def write_stamp(backend: Backend, found: Conformance) -> None:
    """Keep what was found about exactly these files, in the user's cache."""
    file = _file(backend)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(found.model_dump_json(indent=1), encoding="utf-8")


def _file(backend: Backend) -> Path:
    digest = hashlib.sha256()
    for file in sorted(backend.path.rglob("*")):
        parts = file.relative_to(backend.path).parts
        made = any(part in _MADE or part.startswith(".") for part in parts)
        if file.is_file() and not made:
            digest.update(f"{'/'.join(parts)} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return cache_root() / "conformance" / f"{backend.name}-{digest.hexdigest()[:16]}.json"
