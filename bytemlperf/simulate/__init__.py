"""A device model where the hardware is not: numerics that its vendor declares, published speed.

Never silent: a backend made of these is marked simulated on screen, in the report and in its path.
"""

from __future__ import annotations

from bytemlperf.simulate.backends import SimulatedCompile, SimulatedRuntime, device_model
from bytemlperf.simulate.device_card import DeviceCard, PublishedPoint
from bytemlperf.simulate.roofline import Roofline

__all__ = [
    "DeviceCard",
    "PublishedPoint",
    "Roofline",
    "SimulatedCompile",
    "SimulatedRuntime",
    "device_model",
]
