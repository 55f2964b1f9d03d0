"""What the docks ask for, as commands: the same acts as on the command line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from shapely.geometry import mapping

from napari_ifkd.config import Config, dump_config
from napari_ifkd.files import write_aside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session_records import GivenUse
    from napari_ifkd.slides import Slide


def new_run(folder: Path, slide: Slide, act: str) -> Path:
    """Return a run folder that does not exist yet, named after slide, act and time."""
    base = folder / f"{slide.path.stem}-{act}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def predict_command(slide: Slide, model: str | Path, out: Path, *, region: BaseGeometry | None, config: Config) -> list[str]:
    """Return the command that predicts a slide; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slide : the slide
    model : run folder, weights file or name
    out : the run folder to be
    region : where to predict, level-0 px (x, y); None is all tissue
    config : settings
    """
    command = ["predict", str(slide.path), "--model", str(model), "--out", str(out), *_common(slide, out, config)]
    if region is not None:
        feature = {"type": "Feature", "geometry": mapping(region), "properties": {"name": "region"}}
        file = _beside(out, "region.geojson", json.dumps({"type": "FeatureCollection", "features": [feature]}))
        command += ["--region", str(file)]
    return command


def distill_command(
    slide: Slide,
    teacher: str | Path,
    out: Path,
    *,
    config: Config,
    given: Mapping[GivenUse, Path] | None = None,
    judged: Path | None = None,
) -> list[str]:
    """Return the command that distils a teacher on a slide; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slide, out, config : as in :func:`predict_command`
    teacher : run folder, weights file or name
    given : reference masks that choose the round, weak regions
    judged : run whose corrections of the slide and answered points go on
    """
    command = ["distill", str(slide.path), "--teacher", str(teacher), "--out", str(out), *_common(slide, out, config)]
    for use, path in (given or {}).items():
        command += [f"--{use}", str(path)]
    if judged is not None:
        command += ["--judged", str(judged)]
    return command


def _common(slide: Slide, out: Path, config: Config) -> list[str]:
    file = _beside(out, "config.yaml", dump_config(config))
    override = ["--mpp", str(slide.mpp)] if slide.mpp_source == "override" else []
    return ["--config", str(file), *override]


def _beside(out: Path, suffix: str, text: str) -> Path:
    # a run folder must be new or empty when its run begins
    file = out.with_name(f"{out.name}.{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_aside(file, text)
    return file
