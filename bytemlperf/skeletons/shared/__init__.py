"""Backend ACME for bytemlperf."""

from __future__ import annotations
