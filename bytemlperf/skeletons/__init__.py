"""What ``bytemlperf new-backend`` copies: two backends that work, named ACME until then,
and the files that they share."""

from __future__ import annotations
