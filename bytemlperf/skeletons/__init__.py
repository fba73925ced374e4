"""What ``bytemlperf new-backend`` copies: two backends that work, named ACME until then."""

from __future__ import annotations
