"""MLPerf LoadGen (``pip install mlcommons-loadgen``), driven as its users drive it: one run in a
process of its own, in Python, or natively from the sources that the package index has.

``python benchmarks/loadgen_peer.py SCENARIO RATE SECONDS`` is one run of the Python binding.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
_SOURCES = (
    "early_stopping", "issue_query_controller", "loadgen", "logging", "test_settings_internal",
    "utils", "version", "results", "generated/version_generated",
)  # fmt: skip


def python(scenario: str, rate: float, seconds: float) -> dict[str, float]:
    """A Python system under test that completes at once: queries/s, p50 and p99 in ns."""
    done = subprocess.run(
        [sys.executable, __file__, scenario, str(rate), str(seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def native(scenario: str, rate: float, seconds: float) -> dict[str, float]:
    """The same with a system under test in C++ and no Python at all."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [_native_program(), scenario, str(rate), str(seconds), folder],
            capture_output=True, check=True,
        )  # fmt: skip
        return _summary(Path(folder))


@functools.cache
def _native_program() -> str:
    folder = Path(tempfile.mkdtemp(prefix="loadgen-"))
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-binary", ":all:", "--dest", str(folder), "mlcommons-loadgen"],
        check=True,
    )  # fmt: skip
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    (sources,) = (path for path in folder.iterdir() if path.is_dir())
    program = folder / "loadgen_null"
    subprocess.run(
        ["g++", "-std=c++17", "-O3", f"-I{sources}", "-o", str(program),
         str(NATIVE / "loadgen_null.cpp"), *(f"{sources}/{name}.cc" for name in _SOURCES),
         "-lpthread"],
        check=True,
    )  # fmt: skip
    return str(program)


def _summary(folder: Path) -> dict[str, float]:
    text = (folder / "mlperf_log_summary.txt").read_text()

    def figure(label: str) -> float:
        found = re.search(rf"{label}\s*: ([\d.e+]+)", text)
        if found is None:
            raise ValueError(f"LoadGen's summary has no {label!r}:\n{text}")
        return float(found.group(1))

    return {
        "qps": figure("(?:QPS w/ loadgen overhead|Completed samples per second)"),
        "p50": figure(r"50.00 percentile latency \(ns\)"),
        "p99": figure(r"99.00 percentile latency \(ns\)"),
    }


def _run(scenario: str, rate: float, seconds: float) -> dict[str, float]:
    import mlperf_loadgen as lg

    def issue(samples: list[object]) -> None:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(s.id, 0, 0) for s in samples])  # type: ignore[attr-defined]

    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = int(1e3 * seconds)
    settings.min_query_count = 100
    settings.single_stream_expected_latency_ns = 1000
    settings.server_target_qps = rate
    settings.server_target_latency_ns = 1_000_000_000
    sut = lg.ConstructSUT(issue, lambda: None)
    qsl = lg.ConstructQSL(1024, 1024, lambda _: None, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.log_output.outdir = folder
        log.log_output.copy_summary_to_stdout = False
        log.enable_trace = False
        lg.StartTestWithLogSettings(sut, qsl, settings, log, "")
        return _summary(Path(folder))


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))))
