"""ByteIR's compiler, as far as its interface goes: checks what it is given and notes it for brt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bytemlperf.zoo.stablehlo import portable

_NEWEST = b"StableHLO_v0.16.2"


def compile(
    input_file_path: str,
    output_file_path: str,
    entry_func: str = "main",
    target: str = "cuda",
    gpu_type: str = "local",
    verbose: bool = False,
    **_: Any,
) -> None:
    source = Path(input_file_path)
    assert target == "cpu", "this double has no CUDA"
    assert entry_func == "main"
    assert source.suffix == ".mlirbc", "bytecode is recognised by its name"
    assert _NEWEST in source.read_bytes()[:64], "a portable form that ByteIR's parser knows"
    portable(source)
    Path(output_file_path).write_text(json.dumps({"module": input_file_path}))
