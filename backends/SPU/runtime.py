"""Run on Moffett S30."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedRuntime

Runtime = SimulatedRuntime
