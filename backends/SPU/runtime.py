"""Run on Moffett's S30: on its device model."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedRuntime


class Runtime(SimulatedRuntime):
    """Moffett S30."""
