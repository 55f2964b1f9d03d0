"""What the user set in Preferences: where runs are kept, and the device."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_data_path

from napari_ifkd.files import make_folder, scratch_folder

if TYPE_CHECKING:
    from napari_ifkd.slides import Slide

PACKAGE = "napari-ifkd"
_SLIDES = "slides"
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def _setting(name: str) -> str:
    from napari.settings import get_plugin_settings

    try:
        return str(getattr(get_plugin_settings(PACKAGE).runs, name))
    except (KeyError, AttributeError):  # the manifest is not registered: napari_ifkd used from a script
        return ""


def runs_folder() -> Path:
    """Return the folder new runs are made in: the one that was set, or the program's own where that can be none."""
    chosen = chosen_folder()
    with suppress(OSError):  # a name that can be none
        if chosen is not None and not chosen.is_file():
            return chosen
    return user_data_path(PACKAGE, appauthor=False) / "runs"


def chosen_folder() -> Path | None:
    """Return what is set as runs folder, None if nothing is."""
    chosen = _setting("folder").strip()
    return Path(chosen).expanduser() if chosen else None


def set_runs_folder(folder: Path) -> None:
    """Keep runs in another folder from now on; napari keeps that with its preferences."""
    from napari.settings import get_plugin_settings

    get_plugin_settings(PACKAGE).runs.folder = str(folder)


def take_along(folder: Path) -> None:
    """Copy what is kept of slides into another runs folder, as far as it is not there; for a thread.

    Raises
    ------
    OSError
        If it cannot be copied.
    """
    for known in slides_folder().iterdir() if slides_folder().is_dir() else ():
        there = folder / _SLIDES / known.name
        if known.is_dir() and not there.exists():
            make_folder(there.parent)
            with scratch_folder(there) as aside:  # half a copy would keep the rest from coming
                shutil.copytree(known, aside, dirs_exist_ok=True)
                aside.rename(there)


def slides_folder() -> Path:
    """Return the folder of what is kept of slides: what was drawn on them, and how they were looked at."""
    return runs_folder() / _SLIDES


def slide_folder(slide: Slide) -> Path:
    """Return the folder of what is kept of a slide, known by its content."""
    return slides_folder() / f"{slide.path.stem}-{slide.quick_hash[:8]}"


def device() -> str:
    """Return the device runs work on: what is set, or auto where that names none, as while it is being typed."""
    name = _setting("device").strip().lower()
    return name if _DEVICE.fullmatch(name) else "auto"


def set_device(name: str) -> None:
    """Take another device from now on; napari keeps it with its preferences."""
    from napari.settings import get_plugin_settings

    get_plugin_settings(PACKAGE).runs.device = name


def offered_devices() -> list[str]:
    """Return the devices to choose from, without torch, which takes seconds to import; runs tell if torch does not see one."""
    names = ["auto", "cpu"]
    if sys.platform == "darwin":
        return [*names, "mps"] if platform.machine() == "arm64" else names
    with suppress(OSError, subprocess.SubprocessError):  # no NVIDIA driver
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
        names += [f"cuda:{index}" for index, line in enumerate(line for line in told.splitlines() if line.startswith("GPU "))]
    return names


def cache_folder() -> Path:
    """Return the folder for what can be made again."""
    return user_cache_path(PACKAGE, appauthor=False)
