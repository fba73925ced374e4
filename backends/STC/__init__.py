"""Stream Computing P920: through its SDK, or on a device model."""

from __future__ import annotations
