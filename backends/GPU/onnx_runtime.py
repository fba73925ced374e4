"""ONNX Runtime on the GPU, with its TensorRT or its CUDA provider."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bytemlperf.backend import CompileConfig, CompileInfo, Feeds, Outputs, Segment
from bytemlperf.errors import BackendError, UsageError
from bytemlperf.extras import require
from bytemlperf.zoo import Card, synthetic_feeds

from .sdk import PROVIDERS, providers


def compile_model(config: CompileConfig) -> CompileInfo:
    """Build what the provider builds ahead (TensorRT: an engine for each batch size), and see
    where each operator ran.
    """
    if not providers():
        raise BackendError("GPU: onnxruntime has no CUDA provider: install onnxruntime-gpu")
    card, options = config.model.card, config.options
    precision, provider = str(options["precision"]), str(options["provider"])
    if precision not in ("fp32", "fp16") or (precision == "fp16" and provider != "tensorrt"):
        raise UsageError(
            f"--set precision={precision}: ONNX models run in fp32, or in fp16 with "
            "--set provider=tensorrt"
        )
    config.cache_dir.mkdir(parents=True, exist_ok=True)
    artifact = {
        "model": str(config.model.path),
        "provider": provider,
        "precision": precision,
        "engines": str(config.cache_dir),
    }
    session = _session(artifact, profile=config.cache_dir / "profile")
    for batch_size in config.batch_sizes:
        session.run(list(card.outputs), dict(synthetic_feeds(card, range(batch_size), seed=0)))
    on_device, on_host = _placement(Path(session.end_profiling()))
    fallback = sum(on_host.values())
    segments = [Segment(0, False, sum(on_device.values()), outputs=card.outputs)]
    if fallback:
        segments.append(Segment(1, True, fallback))
    return CompileInfo(
        precision=precision,
        segments=tuple(segments),
        artifact=artifact,
        fallback_operators=dict(on_host),
        optimizations={"provider": provider, "precision": precision},
        notes={"runtime": f"onnxruntime {_runtime().__version__}, {PROVIDERS[provider]}"},
    )


def load(compiled: CompileInfo, card: Card) -> OrtModel:
    return OrtModel(_session(compiled.artifact), card)


class OrtModel:
    """A session on the device."""

    def __init__(self, session: Any, card: Card) -> None:
        self._session, self._names = session, list(card.outputs)

    def launch(self, feeds: Feeds) -> Callable[[], Outputs]:
        return partial(self._run, dict(feeds))

    def _run(self, feeds: dict[str, Any]) -> Outputs:
        return dict(zip(self._names, self._session.run(self._names, feeds), strict=True))


def _runtime() -> Any:
    return require("onnxruntime", extra="onnx", purpose="an ONNX model on the GPU")


def _session(artifact: dict[str, str], profile: Path | None = None) -> Any:
    ort = _runtime()
    options = ort.SessionOptions()
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    wanted: list[Any] = [("CUDAExecutionProvider", {"device_id": 0})]
    if artifact["provider"] == "tensorrt":
        settings = {
            "device_id": 0,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": artifact["engines"],
            "trt_fp16_enable": artifact["precision"] == "fp16",
        }
        wanted.insert(0, ("TensorrtExecutionProvider", settings))
    ort.preload_dlls()  # CUDA and cuDNN of the nvidia packages, where the system has none
    session = ort.InferenceSession(artifact["model"], options, providers=wanted)
    # The library goes on without a provider that does not load.
    if session.get_providers()[0] != (first := PROVIDERS[artifact["provider"]]):
        raise BackendError(
            f"GPU: onnxruntime could not load {first} and would have run on "
            f"{session.get_providers()[0]}: its CUDA, cuDNN or TensorRT libraries are missing"
        )
    return session


def _placement(profile: Path) -> tuple[Counter[str], Counter[str]]:
    """Return operators that ran on the device and on the host, by kind, from a profile."""
    placed: dict[str, tuple[str, bool]] = {}
    for event in json.loads(profile.read_text(encoding="utf-8")):
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in arguments:
            name = event["name"].removesuffix("_kernel_time")
            on_host = arguments["provider"] == "CPUExecutionProvider"
            placed[name] = (arguments.get("op_name", "?"), on_host)
    profile.unlink()
    device = Counter(kind for kind, on_host in placed.values() if not on_host)
    host = Counter(kind for kind, on_host in placed.values() if on_host)
    return device, host
