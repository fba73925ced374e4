"""A backend in a process of its own: what kills it does not kill the run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from bytemlperf.errors import UsageError
from bytemlperf.instances import threads_of

__all__ = ["Isolated"]


@dataclass(frozen=True)
class Isolated:
    """Runs each instance of ``backend`` in a child process; LoadGenerator takes it as a backend.

    A crash or a hang fails the queries that were in it, as ``BackendCrashed`` or ``BackendHung``
    with the last lines that the child wrote, and the next query gets a new child. Inputs and
    outputs travel in shared memory. The interval ``gil_wait`` is the way into the child.

    Args:
        backend: as LoadGenerator takes it, but something that can be pickled: a class or
            ``functools.partial`` of one, a function or an object of a module's top level.
        python: the interpreter (3.9 or newer, with numpy); None: this one.
        restarts: how often an instance gets a new child before its failures are final.
        hang_after: seconds after which a call that has not returned counts as hanging. A call
            that outlives the ``timeout`` of its queries by 0.2 s does as well.
        beat_within: seconds without a sign of life of the child's interpreter during a call.
        load_within: seconds that loading may take.
        log_dir: folder for what the children write; None: a temporary one.
    """

    backend: Any
    python: str | os.PathLike[str] | None = None
    restarts: int = 3
    hang_after: float = 60.0
    beat_within: float = 10.0
    load_within: float = 600.0
    log_dir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.restarts < 0:
            raise UsageError(f"restarts must not be negative, not {self.restarts!r}")
        for name in ("hang_after", "beat_within", "load_within"):
            if not 0 < getattr(self, name) < 1e9:
                raise UsageError(
                    f"{name} is a positive number of seconds, not {getattr(self, name)!r}"
                )

    @property
    def threads_per_instance(self) -> int:
        """The backend's own, and the one that waits for it."""
        return 1 + threads_of(self.backend)
