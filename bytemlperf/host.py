"""Where a run took place: what is needed to understand its figures and to repeat it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

_PACKAGES = (
    "bytemlperf",
    "jaxlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "tensorflow-cpu",
    "torch",
    "transformers",
)


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0))


def forget_peak_memory() -> None:
    """Begin to look for the peak of this process's memory anew, where the kernel lets it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mib() -> float | None:
    """Most memory that this process held since :func:`forget_peak_memory`, in MiB."""
    for line in _read("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == "VmHWM":
            return int(value.split()[0]) / 1024
    return None


def cache_root() -> Path:
    """Return the cache folder: ``$BYTEMLPERF_CACHE``, else the user's cache of this platform."""
    if override := os.environ.get("BYTEMLPERF_CACHE"):
        return Path(override)
    from platformdirs import user_cache_path

    return user_cache_path("bytemlperf")


def fingerprint() -> str:
    """What has to be the same for a timing of this host to hold: hardware, kernel, boot, Python."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    parts = (cpu_name(), available_cores(), platform.release(), boot, platform.python_version())
    return " | ".join(map(str, parts))


def available_memory() -> int | None:
    """Bytes that a program may take without pushing others out; None where the system says none."""
    for line in _read("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == "MemAvailable":
            return int(value.split()[0]) << 10
    return None


def environment() -> dict[str, Any]:
    """Return the facts of this host, its software and its load, JSON-ready."""
    cpu = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    clocksource = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "governor": _read(str(cpu)).strip() or None,
        "clocksource": _read(clocksource).strip() or None,
        "load_average_1min": round(os.getloadavg()[0], 2),
        "packages": _versions(),
    }


def _versions() -> dict[str, str]:
    from importlib import metadata  # it costs as much as all the rest

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
