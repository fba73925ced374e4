"""ByteIR: StableHLO modules through ByteIR's compiler and runtime, or XLA where they are missing."""

from __future__ import annotations
