"""Compile for Graphcore C600."""

from __future__ import annotations

from bytemlperf.simulate import device_model

Compile = device_model(__package__, "the SDK is not installed")
