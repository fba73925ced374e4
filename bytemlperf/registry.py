"""Backends by name: the shipped folders, the user's own, and those of installed packages.

Finding and listing them imports neither a backend nor an SDK; that happens when its classes are
asked for.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from bytemlperf.backend import CompileBackend, NativeRuntime, RuntimeBackend
from bytemlperf.errors import BytemlperfError, UsageError, did_you_mean

ENTRY_POINTS = "bytemlperf.backends"

# Names that people type, and what they find here instead.
_HINTS = {
    "GOYA": "Habana's present accelerators (Gaudi) are HPU",
    "GAUDI": "Habana Gaudi is HPU",
    "GAUDI2": "Habana Gaudi is HPU",
    "CUDA": "an Nvidia card is GPU",
    "NVIDIA": "an Nvidia card is GPU",
    "S30": "Moffett S30 is SPU",
    "XEON": "an Intel Xeon is CPU",
    "C600": "Graphcore C600 is IPU",
    "P920": "Stream Computing P920 is STC",
}


_CLASSES = {"compile": "Compile", "runtime": "Runtime"}


@dataclass(frozen=True)
class Backend:
    """A backend that was found.

    Attributes:
        name: what ``--hardware_type`` takes.
        path: its folder.
        package: the package that its modules are imported from, or None for a folder of the user.
    """

    name: str
    path: Path
    package: str | None

    def device(self) -> dict[str, Any]:
        """Read ``device.json``; an empty dictionary where there is none.

        Raises:
            BytemlperfError: where it is not a JSON object.
        """
        file = self.path / "device.json"
        if not file.exists():
            return {}
        try:
            card = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BytemlperfError(f"{file}: not JSON: {error}") from error
        if not isinstance(card, dict):
            raise BytemlperfError(f"{file}: expected a JSON object")
        return card

    def problem(self) -> str | None:
        """Return why this backend cannot be used, as far as its files tell, or None."""
        if not self.path.is_dir():
            return f"its entry point names {self.package}, and there is no such package"
        for module, name in _CLASSES.items():
            if reason := _lacks(self.path / f"{module}.py", name):
                return reason
        try:
            self.device()
        except BytemlperfError as error:
            return str(error)
        return None

    def compile_class(self) -> type[CompileBackend]:
        """Import ``compile.py`` and return its class ``Compile``."""
        found: type[CompileBackend] = self._class("compile", CompileBackend)
        return found

    def runtime_class(self) -> type[RuntimeBackend | NativeRuntime]:
        """Import ``runtime.py`` and return its class ``Runtime``."""
        found: type[RuntimeBackend | NativeRuntime] = self._class(
            "runtime", RuntimeBackend, NativeRuntime
        )
        return found

    def _class(self, module_name: str, *bases: type) -> Any:
        class_name = _CLASSES[module_name]
        where = self.path / f"{module_name}.py"
        try:
            module = self._module(module_name)
        except BytemlperfError:
            raise
        except Exception as error:
            raise BytemlperfError(
                f"backend {self.name}: {where} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        found = getattr(module, class_name, None)
        if not (isinstance(found, type) and issubclass(found, bases)):
            expected = " or ".join(f"{class_name}({base.__name__})" for base in bases)
            raise BytemlperfError(f"backend {self.name}: {where} defines no class {expected}")
        return found

    def _module(self, module_name: str) -> ModuleType:
        if self.package is not None:
            return importlib.import_module(f"{self.package}.{module_name}")
        # Two folders of one name are two packages.
        place = zlib.crc32(str(self.path.resolve()).encode())
        package = f"bytemlperf_user_backend_{self.name}_{place:08x}"
        if package not in sys.modules:
            _import_folder(package, self.path)
        return importlib.import_module(f"{package}.{module_name}")


def _import_folder(package: str, folder: Path) -> None:
    """Make a user's folder importable under a name of its own, so that siblings can import."""
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)


def find_backend(name: str, backend_dir: Path | None = None) -> Backend:
    """Return the backend of this name; the user's folder wins over the shipped ones.

    Raises:
        UsageError: for an unknown name, with a suggestion.
    """
    found = list_backends(backend_dir)
    for backend in found:
        if backend.name.casefold() == name.casefold():
            return backend
    if hint := _HINTS.get(name.upper()):
        raise UsageError(f"unknown hardware type {name!r}; {hint}")
    known = [backend.name for backend in found]
    raise UsageError(
        f"unknown hardware type {name!r}{did_you_mean(name, known)} "
        f"(known: {', '.join(known)}; --backend_dir adds a folder)"
    )


def list_backends(backend_dir: Path | None = None) -> list[Backend]:
    """Return all backends, sorted by name, without importing any."""
    found: dict[str, Backend] = {}
    for backend in (*_of_user(backend_dir), *_of_packages(), *_shipped()):
        found.setdefault(backend.name, backend)
    return [found[name] for name in sorted(found)]


def _shipped() -> Iterator[Backend]:
    for root in importlib.import_module("bytemlperf.backends").__path__:
        for folder in _backend_folders(Path(root)):
            yield Backend(folder.name, folder, f"bytemlperf.backends.{folder.name}")


def _of_user(backend_dir: Path | None) -> Iterator[Backend]:
    if backend_dir is None:
        return
    if not backend_dir.is_dir():
        raise UsageError(f"--backend_dir {backend_dir}: no such folder")
    folders = [backend_dir] if _is_backend(backend_dir) else _backend_folders(backend_dir)
    for folder in folders:
        yield Backend(folder.resolve().name, folder, None)


def _of_packages() -> Iterator[Backend]:
    """An entry point's value is the package that holds compile.py and runtime.py."""
    for point in metadata.entry_points(group=ENTRY_POINTS):
        # Where there is no such package the backend is listed, as broken.
        folder = _locate(point.value) or Path(point.value.replace(".", "/"))
        yield Backend(point.name, folder, point.value)


def _locate(package: str) -> Path | None:
    """Return a package's folder. Its parents are not imported, as find_spec(package) would."""
    top, *below = package.split(".")
    spec = importlib.util.find_spec(top)
    roots = (spec.submodule_search_locations if spec else None) or ()
    folders = (Path(root, *below) for root in roots)
    return next((folder for folder in folders if folder.is_dir()), None)


def _backend_folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if _is_backend(p))


def _is_backend(folder: Path) -> bool:
    """A folder with one of the two files is meant to be a backend, if a broken one."""
    return folder.is_dir() and any((folder / f"{name}.py").exists() for name in _CLASSES)


def _lacks(file: Path, name: str) -> str | None:
    """Return why a file defines no class of this name; reads it, never runs it."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{file}: {error.strerror}"
    except (SyntaxError, ValueError) as error:
        return f"{file}: not Python: {error}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return None
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if names & {name, "*"}:
                return None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return None
    return f"{file} defines no class {name}"
