"""``python3 launch.py --task T --hardware_type H``: the same as the command ``bytemlperf``."""

from __future__ import annotations

from bytemlperf.cli import main

main()
