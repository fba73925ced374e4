"""What a shared library says about itself: asked in a process of its own, for loading may kill."""

from __future__ import annotations

import json
import subprocess

from bytemlperf.errors import BackendError
from bytemlperf.isolation import Isolated
from bytemlperf.isolation.process import CHILD, TAIL_LINES, how_it_ended


def in_flight_of_library(python: str, isolated: Isolated) -> int:
    """Ask a process of its own how many batches a shared library takes at once; 0: one, and it is
    synchronous.

    Raises:
        BackendError: where it cannot be used, or does not survive to be asked.
    """
    path, _ = isolated.backend.as_text()
    try:
        done = subprocess.run(
            [python, str(CHILD), "look", path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=isolated.load_within,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{path}: not loaded within {isolated.load_within:g} s") from error
    except OSError as error:
        raise BackendError(f"{python}: cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        said = "".join(f"\n  {line}" for line in done.stderr.splitlines()[-TAIL_LINES:])
        raise BackendError(f"{path}: {how_it_ended(done.returncode)} while it was loaded{said}")
    problem, depth = json.loads(done.stdout)
    if problem:
        raise BackendError(problem)
    return int(depth)
