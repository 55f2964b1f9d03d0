"""What the docks ask for, as commands: the same acts as on the command line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.config import Config, dump_config
from napari_ifkd.errors import InputError
from napari_ifkd.files import write_aside
from napari_ifkd.runs.regions import write_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session_records import Given
    from napari_ifkd.slides import Slide

_BESIDE = ("config.yaml", "region.geojson", "regions", "reference", "exclude")


def new_run(folder: Path, data: Sequence[Path], act: str) -> Path:
    """Return a run folder that does not exist yet, named after the first of what it looks at and the act, and numbered."""
    more = f"-and-{len(data) - 1}-more" if len(data) > 1 else ""
    name = f"{data[0].stem}{more}-{act}-"
    there = folder.iterdir() if folder.is_dir() else ()
    numbers = [int(found[1]) for path in there if (found := re.fullmatch(rf"{re.escape(name)}(\d+)(\..*)?", path.name))]
    return folder / f"{name}{max(numbers, default=0) + 1}"


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
    """
    given, drawn = [slide for slide, _ in slides], dict(slides)
    regions = ["--regions", str(_called_like_slides({}, drawn, _beside(out, "regions")))] if drawn else []
    return ["train", *_data(given, patches), "--out", str(out), *_common(given, out, config, exclude), *regions]


def predict_command(
    slide: Slide, model: str | Path, out: Path, *, region: BaseGeometry | None, config: Config, exclude: Sequence[Path] = ()
) -> list[str]:
    """Return the command that predicts a slide; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slide : the slide
    model : run folder, weights file or name
    out : the run folder to be
    region : where to predict, level-0 px (x, y); None is all tissue
    config : settings
    exclude : as in :func:`train_command`
    """
    command = ["predict", str(slide.path), "--model", str(model), "--out", str(out), *_common([slide], out, config, exclude)]
    if region is not None:
        file = _beside(out, "region.geojson")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_regions(file, {"region": region}, slide)
        command += ["--region", str(file)]
    return command


def distill_command(
    slides: Sequence[Slide],
    teacher: str | Path,
    out: Path,
    *,
    config: Config,
    patches: Path | None = None,
    drawn: Mapping[Slide, Mapping[str, BaseGeometry]] | None = None,
    given: Sequence[Given] = (),
    judged: Sequence[Path] = (),
    exclude: Sequence[Path] = (),
) -> list[str]:
    """Return the command that distils a teacher; what it needs besides is written next to the run folder.

    Parameters
    ----------
    slides, patches, exclude : as in :func:`train_command`
    out, config : as in :func:`predict_command`
    teacher : run folder, weights file or name
    drawn : rough regions on slides, by class, (x, y) in level-0 px; their tiles get their label
    given : reference masks that choose the round, weak regions; the latter in place of what is drawn on their slide
    judged : runs whose corrections of the slides and answered points go on

    Raises
    ------
    InputError
        If two slides with files of their own are called alike.
    """
    of_slides = {one for one in given if one.slide in {slide.name for slide in slides}}
    with_regions = {one.slide for one in of_slides if one.use == "regions"}
    rest = {slide: classes for slide, classes in (drawn or {}).items() if slide.name not in with_regions}
    command = ["distill", *_data(slides, patches), "--teacher", str(teacher), "--out", str(out), *_common(slides, out, config, exclude)]
    for use in ("reference", "regions"):
        files, drawn_too = {one.slide: one.path for one in of_slides if one.use == use}, rest if use == "regions" else {}
        if len(slides) == 1 and files:  # it may be called anything
            command += [f"--{use}", *map(str, files.values())]
        elif files or drawn_too:
            command += [f"--{use}", str(_called_like_slides(files, drawn_too, _beside(out, use)))]
    for run in judged:
        command += ["--judged", str(run)]
    return command


def _data(slides: Sequence[Slide], patches: Path | None) -> list[str]:
    return [str(slide.path) for slide in slides] + ([] if patches is None else [str(patches)])


def _called_like_slides(files: Mapping[str, Path], drawn: Mapping[Slide, Mapping[str, BaseGeometry]], folder: Path) -> Path:
    """Put files of slides, and what is drawn on others, into a folder under the names of their slides; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for slide, classes in drawn.items():
        write_regions(folder / f"{slide.path.stem}.geojson", classes, slide)
    for name, path in files.items():
        there = folder / f"{Path(name).stem}{_ending(path)}"
        if there.is_symlink() or there.exists():  # never write through a link to what somebody else drew
            raise InputError(path, f"two of the slides are called {Path(name).stem}", "Rename one, or distil them one by one")
        try:
            there.symlink_to(path.resolve())
        except OSError:  # where links are not for everybody
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, there)
    return folder


def _ending(path: Path) -> str:
    """Return how the name of a mask ends, such as ".ome.tif"."""
    *first, last = path.suffixes or [""]
    return f"{first[-1]}{last}" if first and (last.lower() == ".gz" or first[-1].lower() == ".ome") else last


def _common(slides: Sequence[Slide], out: Path, config: Config, exclude: Sequence[Path]) -> list[str]:
    file = _beside(out, "config.yaml")
    write_aside(file, dump_config(config))
    words = ["--config", str(file)]
    for slide in slides:
        if slide.mpp_source == "override":
            words += ["--mpp", f"{slide.path.name}={slide.mpp}"]
    for path in exclude:  # as they are now: the user may go on drawing
        kept = _beside(out, "exclude") / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        words += ["--exclude", str(kept)]
    return words


def written_beside(out: Path) -> list[Path]:
    """Return what commands for a run wrote next to its folder, as far as it is there."""
    return [path for suffix in _BESIDE if (path := _beside(out, suffix)).exists()]


def _beside(out: Path, suffix: str) -> Path:
    # a run folder must be new or empty when its run begins
    return out.with_name(f"{out.name}.{suffix}")
