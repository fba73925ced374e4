"""Run on Habana Gaudi2."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedRuntime

Runtime = SimulatedRuntime
