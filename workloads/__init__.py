"""The tasks that are shipped, one JSON file each."""

from __future__ import annotations
