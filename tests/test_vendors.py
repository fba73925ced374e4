"""Each vendor's backend against the contract double of its SDK: a whole task, and wrong calls."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bytemlperf.engine import Request, StepFailed, run_task
from bytemlperf.engine.options import Answers
from bytemlperf.errors import BackendError
from bytemlperf.registry import find_backend
from bytemlperf.report.schema import Report, VerdictDetail
from bytemlperf.screen import Screen
from bytemlperf.workload import Workload
from bytemlperf.zoo import cache_root

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")

DOUBLES = Path(__file__).parent / "doubles"
SDK_MODULES = (
    "bytemlperf.backends.",
    "common_compile",
    "cuda_double",
    "habana_frameworks",
    "inference",
    "nn_compiler",
    "poprt",
    "run_engine",
    "torch_device",
)
TASK = "roberta-torch-fp32"


def forget() -> None:
    """Backends choose between SDK and device model when they are imported."""
    for name in [name for name in sys.modules if name.startswith(SDK_MODULES)]:
        del sys.modules[name]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install the double of one vendor; ``settings`` are the GPU's."""

    def install(hardware: str, **settings: Any) -> None:
        folder = DOUBLES / hardware.lower()
        monkeypatch.syspath_prepend(str(DOUBLES))
        monkeypatch.syspath_prepend(str(folder))
        if (folder / "bin").is_dir():
            path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
            monkeypatch.setenv("PATH", path)
        forget()
        if hardware == "HPU":
            from habana_frameworks.torch import hpu

            hpu.DEVICE.install(monkeypatch)
        if hardware == "GPU":
            import cuda_double

            cuda_double.install(monkeypatch, **settings)

    yield install
    forget()


@pytest.fixture
def compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models and references of the session's cache, and nothing compiled."""
    folder, shared = tmp_path / "cache", cache_root()
    folder.mkdir()
    for part in ("models", "references"):
        (shared / part).mkdir(parents=True, exist_ok=True)
        (folder / part).symlink_to(shared / part)
    monkeypatch.setenv("BYTEMLPERF_CACHE", str(folder))


def run(hardware: str, folder: Path, task: str = TASK, **changes: Any) -> Report:
    options = changes.pop("options", {})
    workload = Workload.load(task).quick()
    fast = {"batch_sizes": [3, 4], "iterations": 6, "clients": 2, "warmup_s": 0.0}
    request = Request(
        workload=workload.with_changes(**fast | changes),
        backend=find_backend(hardware),
        output_dir=folder,
        preset="tiny",
        answers=Answers(options),
    )
    screen = Screen(Console(file=io.StringIO()))
    return run_task(request, screen, "0").report


def faults(report: Report) -> list[VerdictDetail]:
    """What makes the run invalid, but for the host's other work: twelve short queries feel it."""
    under_load = [v for run in report.details.performance for v in run.verdicts]
    return [v for v in (*report.details.verdicts, *under_load) if v.fatal and v.name != "overhead"]


@pytest.fixture
def refused(
    sdk: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    compiled_anew: None,
    tmp_path: Path,
) -> Callable[..., None]:
    """Run a task with one call of the backend changed: the SDK's double refuses it."""

    def run_changed(
        hardware: str, change: Callable[[pytest.MonkeyPatch], None], message: str, **changes: Any
    ) -> None:
        sdk(hardware)
        change(monkeypatch)
        with pytest.raises(StepFailed, match=message):
            run(
                hardware,
                tmp_path,
                batch_sizes=[2],
                iterations=1,
                test_numeric=False,
                **changes,
            )

    return run_changed


VENDORS = [
    ("HPU", "bf16", 1, "habana_frameworks"),
    ("IPU", "fp16", 1, "poprt 1.4.0"),
    ("SPU", "int8/bf16", 1, "sparsert"),
    ("STC", "fp16", 2, "stc_aic 2.3"),
]


@pytest.mark.parametrize(("hardware", "precision", "instances", "version"), VENDORS)
def test_a_whole_task_runs_through_the_sdk(
    hardware: str,
    precision: str,
    instances: int,
    version: str,
    sdk: Callable[..., None],
    compiled_anew: None,
    tmp_path: Path,
) -> None:
    sdk(hardware)
    report = run(hardware, tmp_path)
    details = report.details
    assert details.status == "complete"
    assert report.simulated is False
    assert not faults(report)
    assert details.compile is not None
    assert details.compile.version == version
    assert report.graph_compile is not None
    assert report.graph_compile.compile_precision == precision
    assert report.instance_count == instances
    assert [row.bs for row in report.performance] == [
        3,
        4,
    ]  # 64 samples in threes: the last batch is filled up
    assert all(run.completed == 12 and run.errors == 0 for run in details.performance)
    assert details.numeric is not None
    assert details.numeric.within_tolerance
    assert report.graph_compile.subgraph_coverage > 99
    assert ("--set pack" in details.compile.notes.get("caveat", "")) is (hardware == "IPU")


@pytest.mark.parametrize("hardware", ["IPU", "SPU"])
def test_a_tensorflow_model_becomes_onnx_for_the_sdk(
    hardware: str, sdk: Callable[..., None], compiled_anew: None, tmp_path: Path
) -> None:
    pytest.importorskip("tf2onnx")
    sdk(hardware)
    report = run(hardware, tmp_path, "digits-tf-fp32", data_percent=5)
    details = report.details
    assert report.simulated is False
    assert not faults(report)
    assert details.numeric is not None
    assert details.numeric.within_tolerance
    assert details.accuracy is not None
    assert details.accuracy.metrics["Top-1"]["value"] > 0.9


def test_packed_samples_share_rows_and_keep_their_answers(
    sdk: Callable[..., None], compiled_anew: None, tmp_path: Path
) -> None:
    sdk("IPU")
    from poprt.runtime import Packer

    Packer.calls.clear()
    report = run("IPU", tmp_path, options={"pack": "true"}, batch_sizes=[4])
    details = report.details
    assert not faults(report)
    assert details.numeric is not None
    assert details.numeric.within_tolerance
    assert details.compile is not None
    assert "caveat" not in details.compile.notes
    assert all(run.completed == 12 and run.errors == 0 for run in details.performance)
    # Rows that hold more than one sample, and calls that hold samples of several batches.
    assert any(samples > rows for samples, rows in Packer.calls)
    assert any(samples > 4 for samples, _ in Packer.calls)


def without(name: str) -> Callable[..., None]:
    """A call that is left out."""
    return lambda *_args, **_kwargs: None


def skip_synchronize(patch: pytest.MonkeyPatch) -> None:
    from habana_frameworks.torch import hpu

    patch.setattr(hpu.Stream, "synchronize", without("synchronize"))


def skip_mark_step(patch: pytest.MonkeyPatch) -> None:
    from habana_frameworks.torch import core

    patch.setattr(core, "mark_step", without("mark_step"))


def keep_wide_integers(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.IPU import runners

    patch.setattr(runners, "_types", lambda found: {d.name: "int64" for d in found})


def never_wait(patch: pytest.MonkeyPatch) -> None:
    import poprt.runtime

    patch.setattr(poprt.runtime.Future, "wait", without("wait"))


def wrong_shapes(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.IPU import compile as ipu

    original = ipu.converter_arguments

    def arguments(options: Any, shapes: dict[str, list[int]]) -> dict[str, Any]:
        return original(options, {name: shape[1:] for name, shape in shapes.items()})

    patch.setattr(ipu, "converter_arguments", arguments)


def without_the_pass(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.IPU import options

    patch.setattr(options, "PASS", "erf_gelu_pattern")


def positions_from_one(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.IPU import runners

    original = runners.positions_of
    patch.setattr(runners, "positions_of", lambda card: original(card) + 1)


def padding_in_token_types(patch: pytest.MonkeyPatch) -> None:
    from poprt.runtime import PackRunnerConfig

    original = PackRunnerConfig.enable_padding_remove_mode
    patch.setattr(
        PackRunnerConfig,
        "enable_padding_remove_mode",
        lambda self, mask, others: original(self, mask, others[1:]),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_the_pass, "samples of a row would mix"),
        (positions_from_one, "positions count from 0"),
        (padding_in_token_types, "padding stays in some inputs"),
    ],
)
def test_a_changed_call_of_the_pack_runner_is_refused(
    change: Callable[[pytest.MonkeyPatch], None], message: str, refused: Callable[..., None]
) -> None:
    refused("IPU", change, message, options={"pack": "true"})


def do_not_fill(patch: pytest.MonkeyPatch, hardware: str) -> None:
    import importlib

    where = "runners" if hardware == "IPU" else "runtime"
    module = importlib.import_module(f"bytemlperf.backends.{hardware}.{where}")

    def fill(feeds: Any, card: Any, batch_size: int) -> tuple[Any, int]:
        rows = len(next(iter(feeds.values())))
        return {name: array[: rows - 1] for name, array in feeds.items()}, rows - 1

    patch.setattr(module, "fill", fill)


def few_to_calibrate(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.SPU import compile as spu

    original = spu.calibration_loader
    patch.setattr(
        spu, "calibration_loader", lambda c, d, size, count: original(c, d, size, count - 1)
    )


def load_without_devices(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.SPU.runtime import SparsertRuntime

    original = SparsertRuntime.load

    def load(self: Any, batch_size: int) -> None:
        object.__setattr__(self.compiled, "device_count", 0)
        original(self, batch_size)

    patch.setattr(SparsertRuntime, "load", load)


def unknown_types(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.backends.STC import compile as stc

    patch.setattr(stc, "_TYPES", dict.fromkeys(stc._TYPES, "LONG"))


@pytest.mark.parametrize(
    ("hardware", "change", "message"),
    [
        ("HPU", skip_synchronize, "before the device was done"),
        ("HPU", skip_mark_step, "nothing was launched"),
        ("IPU", keep_wide_integers, "dtype int64"),
        ("IPU", wrong_shapes, "rank 2"),
        ("IPU", lambda patch: do_not_fill(patch, "IPU"), "shape"),
        ("SPU", few_to_calibrate, "7 batches to calibrate with"),
        ("SPU", load_without_devices, "device_num is set before"),
        ("SPU", lambda patch: do_not_fill(patch, "SPU"), "rows"),
        ("STC", unknown_types, "an unknown dtype"),
        ("STC", lambda patch: do_not_fill(patch, "STC"), "compiled for"),
    ],
)
def test_a_changed_call_is_refused(
    hardware: str,
    change: Callable[[pytest.MonkeyPatch], None],
    message: str,
    refused: Callable[..., None],
) -> None:
    refused(hardware, change, message)


def test_outputs_that_nobody_waited_for_are_seen(
    sdk: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    compiled_anew: None,
    tmp_path: Path,
) -> None:
    """Buffers hold NaN until the device is done, and the numeric check counts them."""
    sdk("IPU")
    never_wait(monkeypatch)
    report = run("IPU", tmp_path)
    assert report.details.numeric is not None
    assert sum(o.nan for o in report.details.numeric.outputs.values()) > 0
    assert not report.details.numeric.within_tolerance


@pytest.mark.slow
@pytest.mark.parametrize("hardware", ["CPU", "BYTEIR", *(vendor[0] for vendor in VENDORS)])
def test_the_conformance_suite_passes(hardware: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bytemlperf", "check-backend", hardware]
    limits = ["--leak_seconds", "5", "--leak_calls", "500"]
    done = subprocess.run(
        [*command, *limits], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("hardware", ["IPU", "SPU", "STC"])
def test_the_conformance_suite_passes_through_the_sdk(hardware: str, tmp_path: Path) -> None:
    """The same against the doubles: submission, tail batches, reloading, leaks."""
    folder = DOUBLES / hardware.lower()
    command = [sys.executable, "-m", "bytemlperf", "check-backend", hardware]
    limits = ["--task", "digits-torch-fp32", "--leak_seconds", "5", "--leak_calls", "500"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{DOUBLES}{os.pathsep}{folder}",
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [*command, *limits],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    assert "SIMULATED" not in done.stdout


@pytest.mark.parametrize("hardware", [vendor[0] for vendor in VENDORS])
def test_without_the_sdk_the_device_model_says_why(hardware: str) -> None:
    forget()
    compiler = find_backend(hardware).compile_class()
    assert compiler.simulated
    assert "is not installed" in compiler.because  # type: ignore[attr-defined]


@pytest.mark.parametrize("hardware", ["HPU", "IPU"])
def test_an_sdk_without_its_device_is_not_enough(
    hardware: str, sdk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk(hardware)
    if hardware == "HPU":
        from habana_frameworks.torch import hpu

        monkeypatch.setattr(hpu, "present", False)
    else:
        import poprt.runtime

        monkeypatch.setattr(poprt.runtime.DeviceManager, "present", False)
    compiler = find_backend(hardware).compile_class()
    assert compiler.simulated
    assert f"finds no {hardware}" in compiler.because  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_torch_model_runs_on_a_gpu(
    precision: str, sdk: Callable[..., None], compiled_anew: None, tmp_path: Path
) -> None:
    sdk("GPU")
    report = run("GPU", tmp_path, options={"precision": precision})
    details = report.details
    assert details.status == "complete"
    assert report.simulated is False
    assert not faults(report)
    assert details.compile is not None
    assert details.compile.notes["device"] == "double"
    assert details.numeric is not None
    assert details.numeric.within_tolerance
    assert all(run.completed == 12 for run in details.performance)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_an_onnx_model_runs_on_a_gpu_and_says_what_did_not(
    provider: str, sdk: Callable[..., None], compiled_anew: None, tmp_path: Path
) -> None:
    sdk("GPU", providers=("TensorrtExecutionProvider", "CUDAExecutionProvider"))
    options = {"provider": provider}
    report = run("GPU", tmp_path, "digits-onnx-fp32", options=options, data_percent=5)
    compiled = report.details.compile
    assert compiled is not None
    # The double computes on the CPU, and the profile that the backend reads says so.
    assert compiled.fallback_operators["Conv"] == 2
    assert report.graph_compile is not None
    assert report.graph_compile.subgraph_coverage == 0.0
    assert compiled.segments == 2


def skip_event(patch: pytest.MonkeyPatch) -> None:
    import cuda_double

    patch.setattr(cuda_double.Event, "synchronize", without("synchronize"))


def move_what_moves(patch: pytest.MonkeyPatch) -> None:
    import torch
    from bytemlperf.backends.GPU import torch_cuda

    from bytemlperf.zoo.torch_build import torchscript_is_deprecated

    def load(path: Path, device: str) -> Any:
        with torchscript_is_deprecated():
            return torch.jit.load(str(path)).to(device)

    patch.setattr(torch_cuda, "load_on_device", load)


def leave_the_graph(patch: pytest.MonkeyPatch) -> None:
    from bytemlperf.zoo import torchscript

    patch.setattr(torchscript, "device_constants", lambda module: iter(()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (skip_event, "before the copy to the host"),
        (move_what_moves, "constants do not move"),
        (leave_the_graph, "makes a tensor on cpu"),
    ],
)
def test_a_changed_call_of_cuda_is_refused(
    change: Callable[[pytest.MonkeyPatch], None], message: str, refused: Callable[..., None]
) -> None:
    refused("GPU", change, message)


def test_a_provider_that_does_not_load_is_an_error(
    sdk: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    compiled_anew: None,
    tmp_path: Path,
) -> None:
    sdk("GPU", providers=("CUDAExecutionProvider",))
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"]
    )
    with pytest.raises(StepFailed, match="could not load CUDAExecutionProvider"):
        run("GPU", tmp_path, "digits-onnx-fp32")


def test_without_a_gpu_the_gpu_is_refused(tmp_path: Path) -> None:
    forget()
    with pytest.raises(BackendError, match="no NVIDIA GPU that can be used here"):
        run("GPU", tmp_path)
