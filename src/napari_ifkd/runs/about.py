"""``run.yaml``: what a run was asked, enough to run it again."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import yaml

from napari_ifkd import __version__
from napari_ifkd.errors import RunError
from napari_ifkd.files import write_aside

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.config import Config

FORMAT = 1


def write_about(
    path: Path, act: str, config: Config, data: dict[str, Any], slides: list[dict[str, Any]], model: dict[str, Any] | None
) -> None:
    """Write run.yaml.

    Parameters
    ----------
    path : of the file
    act : "train", "predict" or "distill"
    config : the resolved settings
    data : JSON-ready; the arguments of the command, paths too. Resume needs them; nothing that leaves the folder may carry them
    slides : identities (name, size, quick hash, ...) without paths
    model : name and hash of the network, or the pseudo-masks, the run starts from
    """
    about = {
        "format": FORMAT,
        "act": act,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "versions": _versions(),
        "slides": slides,
        "model": model,
        "config": config.model_dump(mode="json"),
        "data": data,
    }
    write_aside(path, yaml.safe_dump(about, sort_keys=False, allow_unicode=True))


def read_about(path: Path) -> dict[str, Any]:
    """Return what write_about wrote.

    Raises
    ------
    RunError
        If the file is damaged, or written by a version whose format we do not know.
    """
    remedy = "Start the run anew in another folder"
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(path, f"cannot be read ({str(error).splitlines()[0]})", remedy) from error
    if not isinstance(about, dict) or not {"act", "config", "data"} <= about.keys():
        raise RunError(path, "does not describe a run", remedy)
    if about.get("format", FORMAT) != FORMAT:
        raise RunError(path, f"has format {about['format']}, this version knows {FORMAT}", "Use the version that made the run")
    return about


def _versions() -> dict[str, str]:
    found = {"napari-ifkd": __version__, "python": platform.python_version()}
    for name in ("torch", "timm", "numpy", "tiffslide", "zarr", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
