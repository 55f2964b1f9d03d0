"""What this installation has, in a few facts: the first thing to ask when something does not work."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from . import __version__


def examine() -> dict[str, str]:
    """Return facts for a person, by name; an import that fails is a fact too."""
    facts = {
        "napari-ifkd": __version__,
        "Python": f"{platform.python_version()} at {sys.executable}",
        "system": f"{platform.platform()}, {os.cpu_count()} processors",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in ("torch", "timm", "numpy", "tiffslide", "zarr", "dask")),
    }
    facts["device"] = _device()
    facts["napari"] = _version("napari")
    facts["Qt binding"] = (
        ", ".join(f"{name} {found}" for name in ("PyQt6", "PySide6", "PyQt5") if (found := _version(name)) != _MISSING) or _NONE
    )
    facts["display"] = _display()
    facts["second reader"] = "openslide" if find_spec("openslide") else "none (the extra `openslide` adds one)"
    facts["free disk here"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB"
    facts["models"] = _models()
    return facts


_MISSING = "missing"
_NONE = "none: the command line works, the window needs the extra `all`"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _NONE if name == "napari" else _MISSING


def _device() -> str:
    try:
        from .models import describe_device, pick_device

        return describe_device(pick_device("auto"))
    except Exception as error:  # noqa: BLE001 - a broken torch is what a doctor is asked about
        return f"torch does not work ({type(error).__name__}: {error})"


def _display() -> str:
    if sys.platform in ("win32", "darwin"):
        return "yes"
    shown = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    return shown or "none: the window needs one (Xvfb will do)"


def _models() -> str:
    try:
        from .models import list_models

        return ", ".join(entry.name for entry in list_models()) or "none"
    except Exception as error:  # noqa: BLE001 - as above
        return f"cannot be listed ({type(error).__name__}: {error})"
