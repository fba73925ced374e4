"""Builds the library first, so that the tests try what acme.c says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def _library() -> None:
    configure = ("cmake", "-S", HERE, "-B", HERE / "build", f"-DPYTHON={sys.executable}")
    for command in (configure, ("cmake", "--build", HERE / "build")):
        subprocess.run(command, check=True)
