"""Run on Graphcore C600."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedRuntime

Runtime = SimulatedRuntime
