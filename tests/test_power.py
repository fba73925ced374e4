"""Energy counters: a powercap tree written by the test, a clock that it turns."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from bytemlperf import power
from bytemlperf.power import Nvml, Rapl, Recording, find_meters

RANGE_UJ = 1_000_000


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path


def test_packages_are_found_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    for i in range(2):
        domain(tmp_path, f"intel-rapl:{i}", f"package-{i}", 0)
        domain(tmp_path, f"intel-rapl:{i}:0", "core", 0)
    meters, reason = find_meters(tmp_path)
    assert [meter.name for meter in meters] == ["RAPL package-0", "RAPL package-1"]
    assert "pynvml" in reason


def test_without_counters_the_reason_is_said(tmp_path: Path) -> None:
    meters, reason = find_meters(tmp_path / "none")
    assert meters == []
    assert "no RAPL counters" in reason


def test_a_counter_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 0)
    read = Path.read_text

    def refuse(path: Path, *arguments: object, **named: object) -> str:
        if path.name == "energy_uj":  # root may read everything, so the mode would not do
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", refuse)
    meters, reason = find_meters(tmp_path)
    assert meters == []
    assert "energy_uj: Permission denied" in reason


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    path = domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = Rapl(path)
    assert meter.joules() == 0
    (path / "energy_uj").write_text("950000")
    assert meter.joules() == pytest.approx(0.05)
    (path / "energy_uj").write_text("49999")  # 50 000 to the end, one to 0, then the rest
    assert meter.joules() == pytest.approx(0.15)


class Steady:
    """A host of constant power on a clock that the test turns."""

    name = "steady"

    def __init__(self, watts: float) -> None:
        self.watts, self.now = watts, 0.0

    def joules(self) -> float:
        return self.watts * self.now


def test_energy_is_interpolated_and_idle_power_subtracted() -> None:
    host = Steady(50.0)
    recording = Recording([host], clock=lambda: host.now)
    for now in (0.0, 0.1, 0.25, 1.0, 2.0):
        host.now = now
        recording.look()
    found = recording.energy(0.2, 1.5, idle_watts=20.0)
    assert found.joules == pytest.approx(50 * 1.3)
    assert found.net_joules == pytest.approx(30 * 1.3)
    assert found.sources == ("steady",)
    assert recording.energy(0.2, 1.5, idle_watts=90.0).net_joules == 0.0


def test_a_thread_reads_while_the_block_runs() -> None:
    host = Steady(5.0)
    reads = []

    def joules() -> float:
        host.now += 1.0
        reads.append(host.now)
        return 5.0 * host.now

    host.joules = joules  # type: ignore[method-assign]
    with Recording([host], period_s=0.001, clock=lambda: host.now):
        while len(reads) < 5:
            pass
    assert len(reads) >= 6


def test_gpus_are_read_through_nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = types.ModuleType("pynvml")
    nvml.NVMLError = RuntimeError  # type: ignore[attr-defined]
    nvml.nvmlInit = lambda: None  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetCount = lambda: 2  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetHandleByIndex = lambda index: index  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetTotalEnergyConsumption = lambda h: 1500 + h  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meters, _ = find_meters(tmp_path)
    assert [m.name for m in meters] == ["NVML GPU 0", "NVML GPU 1"]
    assert isinstance(meters[0], Nvml)
    assert meters[1].joules() == pytest.approx(1.501)

    def no_driver() -> None:
        raise RuntimeError("Driver Not Loaded")

    nvml.nvmlInit = no_driver  # type: ignore[attr-defined]
    assert "Driver Not Loaded" in find_meters(tmp_path)[1]


def test_a_run_s_energy_stands_in_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of 10 W idle and 10 W under load: nothing is left when idle is subtracted."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("sklearn")
    import time

    from click.testing import CliRunner

    from bytemlperf.cli import cli
    from bytemlperf.report.schema import Report

    class Package:
        name = "RAPL package-0"

        def joules(self) -> float:
            return 10.0 * time.perf_counter()

    monkeypatch.setattr("bytemlperf.engine.energy.find_meters", lambda: ([Package()], ""))
    monkeypatch.setattr(power, "_IDLE_S", 0.05)
    monkeypatch.chdir(tmp_path)
    command = "--task digits-onnx-fp32 --hardware_type CPU --quick --batch_sizes 8"
    done = CliRunner().invoke(cli, command.split())
    assert done.exit_code == 0, done.output
    report = Report.load(tmp_path / "reports/CPU/digits-onnx-fp32/result-fp32.json")
    energy = report.details.performance[0].energy
    assert energy is not None
    assert energy.average_watts == pytest.approx(10.0, rel=0.05)
    assert energy.idle_watts == pytest.approx(10.0, rel=0.05)
    assert energy.net_joules < 0.05 * energy.joules
    assert "J at batch 8 a sample, idle power subtracted" in done.output
