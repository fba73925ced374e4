"""benchmarks/full_size.py on the page that it writes."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "full_size.py"


def test_a_row_takes_its_place_in_the_table_and_the_rest_stays() -> None:
    script = runpy.run_path(str(SCRIPT))
    page = script["PAGE"].read_text(encoding="utf-8")
    row = {
        "model": "roberta-torch-fp32", "parameters": 124056578, "artifact_bytes": 496640069,
        "build_s": 19.285, "latency_ms": 437.125, "max_difference": 0.0, "others": 0.04,
    }  # fmt: skip
    line = "| roberta-torch-fp32 | 124,056,578 | 496.6 MB | 19.3 s | 437.1 ms | 0 | 0.0 cores |"
    changed = script["with_row"](page, row)
    assert line in changed.splitlines()
    others = [text for text in page.splitlines() if not text.startswith("| roberta-torch-fp32 | 1")]
    assert [text for text in changed.splitlines() if text != line] == others
    added = script["with_row"](page, row | {"model": "aaa", "latency_ms": 0.0263})
    lines = added.splitlines()
    at = lines.index(script["HEAD"])
    assert lines[at + 2].startswith("| aaa |")
    assert " 0.026 ms " in lines[at + 2]
    assert script["with_row"](added, row | {"model": "aaa"}).count("| aaa |") == 1
