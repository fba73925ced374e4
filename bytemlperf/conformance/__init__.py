"""The conformance suite: what a backend promises, each promise a named check, run in a child."""

from __future__ import annotations

from bytemlperf.conformance.checks import CHECKS, Limits
from bytemlperf.conformance.supervisor import Interrupted, check_backend

__all__ = ["CHECKS", "Interrupted", "Limits", "check_backend"]
