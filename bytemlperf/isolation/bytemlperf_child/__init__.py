"""The child's side of an isolated backend: a package of its own, whose ``__main__.py`` is started by
its path with any Python from 3.9 on that has numpy. It must not need the package that it lies in.
"""

from __future__ import annotations
