from __future__ import annotations

from enum import Enum


class OpType(Enum):
    BatchMatmul = "BatchMatmul"
