"""Started by its path: finds the package that this folder is, and nothing else beside it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    # The interpreter put this folder on the path, where its modules would hide a vendor's.
    sys.path[0] = str(Path(__file__).parent.parent)
    main = importlib.import_module("bytemlperf_child.serving").main
    del sys.path[0]
    sys.exit(main(sys.argv[1:]))
