"""Compile for Moffett's S30: on its device model."""

from __future__ import annotations

from bytemlperf.simulate import SimulatedCompile


class Compile(SimulatedCompile):
    """Moffett S30."""

    package = "bytemlperf.backends.SPU"
