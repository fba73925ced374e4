"""``python -m bytemlperf``."""

from __future__ import annotations

from bytemlperf.cli import main

main()
