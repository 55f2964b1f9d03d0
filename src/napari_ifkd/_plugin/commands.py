"""What the docks ask for, as commands: the same acts as on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from napari_ifkd.config import Config, dump_config
from napari_ifkd.errors import InputError
from napari_ifkd.files import write_aside
from napari_ifkd.runs.regions import write_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session_records import GivenUse
    from napari_ifkd.slides import Slide


def new_run(folder: Path, data: Path, act: str) -> Path:
    """Return a run folder that does not exist yet, named after what it looks at, act and time."""
    base = folder / f"{data.stem}-{act}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def train_command(
    slides: Sequence[tuple[Slide, Mapping[str, BaseGeometry]]], patches: Path | None, out: Path, *, exclude: Sequence[Path], config: Config
) -> list[str]:
    """Return the command that trains a teacher; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slides : with their rough regions by class, (x, y) in level-0 px
    patches : folder of labelled patches to learn from too
    out, config : as in :func:`predict_command`
    exclude : files of what is excluded, called like their slides

    Raises
    ------
    InputError
        If the user set the resolution of a slide and another slide has another: the command has one for all.
    """
    resolutions = {slide.mpp for slide, _ in slides}
    override = any(slide.mpp_source == "override" for slide, _ in slides)
    if override and len(resolutions) > 1:
        told = ", ".join(f"{slide.name} {'none' if slide.mpp is None else f'{slide.mpp:g}'}" for slide, _ in slides)
        raise InputError(
            "µm/px", f"you set one, but the slides with regions differ ({told})", "Teach on slides of one resolution at a time"
        )
    data = [str(slide.path) for slide, _ in slides] + ([] if patches is None else [str(patches)])
    command = ["train", *data, "--out", str(out), "--config", str(_beside(out, "config.yaml", dump_config(config)))]
    if slides:
        folder = out.with_name(f"{out.name}.regions")
        folder.mkdir(parents=True, exist_ok=True)
        for slide, drawn in slides:
            write_regions(folder / f"{slide.path.stem}.geojson", drawn, slide)
        command += ["--regions", str(folder)]
        if override:
            command += ["--mpp", str(slides[0][0].mpp)]
    return command + [word for path in exclude for word in ("--exclude", str(path))]


def predict_command(
    slide: Slide, model: str | Path, out: Path, *, region: BaseGeometry | None, config: Config, exclude: Path | None = None
) -> list[str]:
    """Return the command that predicts a slide; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slide : the slide
    model : run folder, weights file or name
    out : the run folder to be
    region : where to predict, level-0 px (x, y); None is all tissue
    config : settings
    exclude : file of what is excluded
    """
    command = ["predict", str(slide.path), "--model", str(model), "--out", str(out), *_common(slide, out, config, exclude)]
    if region is not None:
        file = _beside(out, "region.geojson")
        write_regions(file, {"region": region}, slide)
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
    exclude: Path | None = None,
) -> list[str]:
    """Return the command that distils a teacher on a slide; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slide, out, config, exclude : as in :func:`predict_command`
    teacher : run folder, weights file or name
    given : reference masks that choose the round, weak regions
    judged : run whose corrections of the slide and answered points go on
    """
    command = ["distill", str(slide.path), "--teacher", str(teacher), "--out", str(out), *_common(slide, out, config, exclude)]
    for use, path in (given or {}).items():
        command += [f"--{use}", str(path)]
    if judged is not None:
        command += ["--judged", str(judged)]
    return command


def _common(slide: Slide, out: Path, config: Config, exclude: Path | None) -> list[str]:
    override = ["--mpp", str(slide.mpp)] if slide.mpp_source == "override" else []
    without = [] if exclude is None else ["--exclude", str(exclude)]
    return ["--config", str(_beside(out, "config.yaml", dump_config(config))), *override, *without]


def _beside(out: Path, suffix: str, text: str = "") -> Path:
    # a run folder must be new or empty when its run begins
    file = out.with_name(f"{out.name}.{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if text:
        write_aside(file, text)
    return file
