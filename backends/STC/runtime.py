"""Run on Stream Computing P920."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedRuntime

Runtime = SimulatedRuntime
