"""Regions that a run was given: weak labels, and what nobody is to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import shapely
from shapely.affinity import translate
from shapely.geometry import mapping

from napari_ifkd.annotations import read_regions
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.errors import AnnotationError
from napari_ifkd.files import cannot_write, write_aside

from .inputs import files_of_slides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Regions
    from napari_ifkd.annotations.regions import Frame
    from napari_ifkd.slides import Slide

    from .folder import RunFolder

_KINDS = frozenset({".geojson", ".json", ".xml", ".gz"})
_REMEDY = "Call it like its slide, and give GeoJSON, ASAP XML or NCRF JSON"


@dataclass(frozen=True)
class RunRegions:
    """Regions on the slides of a run.

    Parameters
    ----------
    weak : what the user drew as rough labels, by the slide's name
    exclusions : what nobody is to look at, (x, y) in level-0 px, by the slide's name
    """

    weak: Mapping[str, Regions] = field(default_factory=dict)
    exclusions: Mapping[str, BaseGeometry] = field(default_factory=dict)


def read_run_regions(
    folder: RunFolder,
    slides: Sequence[Slide],
    regions: Sequence[str | Path] = (),
    exclude: Sequence[str | Path] = (),
    option: str = "--regions",
) -> RunRegions:
    """Read what a run is given; of a run that exists, the exclusions that it keeps.

    Parameters
    ----------
    folder : the run, there or to be
    slides : of the run
    regions : files of weak regions, see :func:`~napari_ifkd.runs.inputs.files_of_slides`; their exclusions are excluded
    exclude : files of which all regions are excluded, whatever their class
    option : that gave the regions, for messages

    Raises
    ------
    InputError
        If a file belongs to no slide, or cannot be read.
    """
    named = {slide.name: slide for slide in slides}
    weak = {}
    for name, path in _matched(regions, slides, option).items():
        check_slide(path, named[name])
        weak[name] = read_regions(path, named[name])
    if folder.exists:
        return RunRegions(weak, exclusions_of(folder, slides))
    parts: dict[str, list[BaseGeometry]] = {name: [found.exclusion] for name, found in weak.items()}
    for name, path in exclusion_files(exclude, slides).items():
        check_slide(path, named[name])
        parts.setdefault(name, []).append(all_of(path, named[name]))
    unions = {name: shapely.union_all(of_slide) for name, of_slide in parts.items()}
    return RunRegions(weak, {name: union for name, union in unions.items() if not union.is_empty})


def keep_exclusions(folder: RunFolder, slides: Sequence[Slide], exclusions: Mapping[str, BaseGeometry]) -> None:
    """Write what is excluded into a run that has not begun.

    Raises
    ------
    AnnotationError
        If the disk fails.
    """
    for slide in slides:
        if slide.name in exclusions:
            path = folder.exclusion_path(slide.name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_regions(path, {"Exclusion": exclusions[slide.name]}, slide)
            except OSError as error:
                raise cannot_write(AnnotationError, path, error, "choose another folder (--out)") from error


def exclusions_of(folder: RunFolder, slides: Sequence[Slide]) -> dict[str, BaseGeometry]:
    """Return what a run keeps as excluded, (x, y) in level-0 px, by the slide's name.

    Raises
    ------
    AnnotationError
        If a file is damaged.
    """
    return {slide.name: all_of(path, slide) for slide in slides if (path := folder.exclusion_path(slide.name)).is_file()}


def exclusion_files(given: Sequence[str | Path], slides: Sequence[Frame]) -> dict[str, Path]:
    """Return the file of exclusions of each slide that has one, by the slide's name, as `files_of_slides` does."""
    return _matched(given, slides, "--exclude")


def all_of(path: str | Path, slide: Frame) -> BaseGeometry:
    """Read all regions of a file as one geometry, (x, y) in level-0 px.

    Raises
    ------
    AnnotationError
        If it cannot be read, or lies beside the slide.
    """
    return shapely.union_all([region.geometry for region in read_regions(path, slide)])


def write_regions(path: Path, classes: Mapping[str, BaseGeometry], slide: Frame) -> None:
    """Write regions as QuPath does, a feature a class: px from the corner of the slide's scanned bounds. The folder must be there."""
    dy, dx = slide.bounds_origin_yx_level0
    features = [
        {
            "type": "Feature",
            "geometry": mapping(translate(geometry, -dx, -dy)),
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for name, geometry in classes.items()
        if not geometry.is_empty
    ]
    write_aside(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _matched(given: Sequence[str | Path], slides: Sequence[Frame], option: str) -> dict[str, Path]:
    return files_of_slides([Path(path) for path in given], slides, option, _KINDS, _REMEDY)
