"""TensorFlow's import: its notes are kept from the user, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "import bytemlperf.extras as e; e.require_tensorflow('a test'); print('imported')"

NOTE = "I0000 00:00:1700000000.123456 1 port.cc:153] oneDNN custom operations are on."
WRITES = f"""
import os
os.write(2, b"{NOTE}\\nW0000 00:00:1 1 x.cc:1] a warning\\n")
"""


def imported(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Import TensorFlow, or the double in the folder, in a process of its own."""
    environment = {"PYTHONPATH": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def test_tensorflow_is_imported_in_silence(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    done = imported(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


def test_warnings_of_an_import_get_out_and_notes_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(WRITES + "import sys; print('mine', file=sys.stderr)")
    warned = "W0000 00:00:1 1 x.cc:1] a warning\nmine\n"
    assert imported(tmp_path).stderr == warned
    assert imported(tmp_path, TF_CPP_MIN_LOG_LEVEL="0").stderr == f"{NOTE}\n{warned}"


def test_the_last_words_of_a_crash_get_out(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(WRITES + "os.write(2, b'no AVX'); os.abort()")
    done = imported(tmp_path)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "W0000 00:00:1 1 x.cc:1] a warning\nno AVX"


def test_an_import_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcuda is missing')")
    done = imported(tmp_path)
    assert done.stderr.endswith("ImportError: libcuda is missing\n")
