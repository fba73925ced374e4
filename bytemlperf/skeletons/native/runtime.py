"""Run on ACME: says where the shared library is; the load generator calls it without Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bytemlperf.backend import NativeRuntime
from bytemlperf.errors import BytemlperfError


class Runtime(NativeRuntime):
    """libacme.so, which CMake puts beside this file."""

    def library(self) -> Path:
        library = Path(__file__).with_name("libacme.so")
        if not library.exists():
            raise BytemlperfError(f"{library} is not built: README.md has the command")
        return library

    def config(self) -> Mapping[str, str]:
        return {"weights": str(self.compiled.artifact)}
