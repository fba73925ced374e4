"""Data sets: read the real files, preprocess, score. One module for each."""

from __future__ import annotations

from bytemlperf.datasets.base import Dataset

__all__ = ["Dataset"]
