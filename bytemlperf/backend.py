"""What a vendor implements, and nothing more: one class that compiles and one that runs.

A backend is a folder ``backends/<NAME>/`` with ``compile.py`` (class ``Compile``), ``runtime.py``
(class ``Runtime``), ``device.json`` and ``README.md``. It imports this module and its own SDK.
The load generator measures every vendor in the same way, so there is no ``benchmark()`` here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from bytemlperf.datasets import Dataset
    from bytemlperf.workload import Workload
    from bytemlperf.zoo import Model

__all__ = [
    "Array",
    "CompileBackend",
    "CompileConfig",
    "CompileInfo",
    "Feeds",
    "NativeRuntime",
    "Outputs",
    "Question",
    "RuntimeBackend",
    "Segment",
    "TokenTimes",
]

Array = np.ndarray[Any, np.dtype[Any]]
Feeds = Mapping[str, Array]
Outputs = dict[str, Array]


@dataclass(frozen=True)
class Question:
    """One option of a backend, answered by ``--set name=value`` or by its default.

    Attributes:
        name: key in the options mapping that the backend receives.
        note: one sentence for the user.
        default: value when nothing was said; its type is the option's type.
        choices: the accepted values, or empty for any.
        depends: names of options that must be truthy for this one to apply.
    """

    name: str
    note: str
    default: bool | int | float | str
    choices: tuple[bool | int | float | str, ...] = ()
    depends: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenTimes:
    """When a batch of prompts was answered, in seconds from the beginning of its call.

    Attributes:
        first_s: the first token of every prompt was there.
        last_s: the last one was.
        tokens: tokens that were generated for each prompt.
    """

    first_s: float
    last_s: float
    tokens: int


@dataclass(frozen=True)
class CompileConfig:
    """What a compilation is asked for.

    Attributes:
        model: the built model: its card, its exported artifact on disk, its source.
        workload: the task file.
        batch_sizes: every batch size that will be run.
        cache_dir: a folder that belongs to this backend, model and version; it may hold the
            artifacts of an earlier compilation.
        options: answers to :meth:`CompileBackend.get_interact_profile`.
    """

    model: Model
    workload: Workload
    batch_sizes: tuple[int, ...]
    cache_dir: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """A part of the model that runs on one kind of processor.

    Attributes:
        index: position in execution order, from 0.
        is_fallback: true where the host runs it because the device cannot.
        operators: number of operators in it.
        inputs: names of the tensors that it takes.
        outputs: names of the tensors that it gives.
    """

    index: int
    is_fallback: bool
    operators: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @classmethod
    def whole(cls, model: Model) -> Segment:
        """Return the one segment of a model that the device runs whole."""
        operators = sum(model.operators.values())
        inputs = tuple(tensor.name for tensor in model.card.inputs)
        return cls(0, False, operators, inputs, model.card.outputs)


@dataclass(frozen=True)
class CompileInfo:
    """The result of a compilation.

    Attributes:
        precision: what the device computes in, e.g. ``"fp32"`` or ``"int8/bf16"``.
        segments: the model's parts in order.
        fallback_operators: kinds of operator that the device does not run, with their counts.
        optimizations: what the compiler did, by name.
        artifact: whatever :class:`RuntimeBackend` needs to load (a path, a dict of paths, ...).
        device_count: devices that one instance uses together with its siblings.
        notes: facts for the report, e.g. ``{"threads_per_instance": 1}``. Two are shown to the user:
            ``"stand_in"``, what computes in place of what the backend's name promises, and
            ``"caveat"``, what to know before these figures are compared with others.
        padding_mask: the input whose zeros mark positions that the backend does not compute
            (packed samples): outputs are not compared there.
    """

    precision: str
    segments: tuple[Segment, ...]
    artifact: Any
    fallback_operators: Mapping[str, int] = field(default_factory=dict)
    optimizations: Mapping[str, Any] = field(default_factory=dict)
    device_count: int = 1
    notes: Mapping[str, Any] = field(default_factory=dict)
    padding_mask: str | None = None

    @property
    def coverage(self) -> float:
        """Subgraph coverage: operators that run on the device / all operators, in percent."""
        total = sum(s.operators for s in self.segments)
        on_device = sum(s.operators for s in self.segments if not s.is_fallback)
        return 100.0 * on_device / total if total else 0.0


class CompileBackend(ABC):
    """Turns a built model into what the device runs.

    Args:
        options: answers to :meth:`get_interact_profile`, completed with its defaults.
    """

    #: a device model stands in for the hardware; the report says so on every page
    simulated: bool = False

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    @abstractmethod
    def version(self) -> str:
        """Name and version of the SDK, e.g. ``"onnxruntime 1.32.0"``."""

    def pre_optimize(self, config: CompileConfig) -> CompileConfig:
        """Rewrite the model before compilation; returns the configuration to compile."""
        return config

    @abstractmethod
    def compile(self, config: CompileConfig, dataset: Dataset | None) -> CompileInfo:
        """Compile. ``dataset`` is there for calibration. Raise with a clear message on failure."""

    def get_interact_profile(self, config: CompileConfig) -> Sequence[Question]:
        """Return the options of this backend for this model."""
        return ()

    def get_best_batch_size(self) -> int | list[int] | None:
        """Return the batch size(s) that replace the workload's, or None to keep them."""
        return None

    def segment(self, config: CompileConfig) -> None:
        """Split the model where the compiler wants it done beforehand."""

    def tuning(self, config: CompileConfig) -> None:
        """Search for better compiler settings, where the user asked for it."""


class _Runtime:
    """What both kinds of runtime are built from.

    Args:
        compiled: what :meth:`CompileBackend.compile` returned.
        model: the built model.
        workload: the task file.
    """

    #: number of instances to run for ``clients`` clients, or None for one a client
    instance_count: int | None = None

    def __init__(self, compiled: CompileInfo, model: Model, workload: Workload) -> None:
        self.compiled = compiled
        self.model = model
        self.workload = workload


class RuntimeBackend(_Runtime, ABC):
    """One loaded copy of a compiled model. Built, loaded, called and unloaded on one thread.

    Optional members: ``submit(feeds, done)`` for asynchronous devices, with ``max_in_flight``.
    """

    #: where ``predict`` of a model that generates notes when its tokens were there
    token_log: ClassVar[MutableSequence[TokenTimes]] = deque(maxlen=0)

    @abstractmethod
    def version(self) -> str:
        """Name and version of the runtime."""

    @abstractmethod
    def load(self, batch_size: int) -> None:
        """Make ready to predict batches of up to ``batch_size`` samples."""

    @abstractmethod
    def get_loaded_batch_size(self) -> int:
        """Return the batch size of the last :meth:`load`."""

    @abstractmethod
    def predict(self, feeds: Feeds) -> Outputs:
        """Run one batch and return when its outputs are host arrays.

        Args:
            feeds: read-only dict of input name to read-only C-contiguous array; the leading
                dimension is the number of samples (also when 1) unless the card says
                ``"batched": false``. Valid until this returns.

        Returns:
            Output name to array, leading dimension as in the feeds.
        """

    def unload(self) -> None:
        """Free the device. Called once, on the thread that loaded."""


class NativeRuntime(_Runtime, ABC):
    """A shared library behind ``bytemlperf/backend.h``: the load generator creates its instances
    and calls them with no Python on the way. This object only says where it is.
    """

    @abstractmethod
    def library(self) -> Path:
        """Return the shared library; raise with a clear message where it has not been built."""

    def config(self) -> Mapping[str, Any]:
        """Return what its ``create`` receives as a JSON object, e.g. the artifact's path."""
        return {}


#: a function that runs one batch: what the eager source of a model is
Predict = Callable[[Feeds], Outputs]
