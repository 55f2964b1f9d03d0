"""Every real file of another program is read, or refused with the reason that is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.annotations import read_regions
from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = {
    "dlup/*": "V7 Darwin's own JSON",
    "wsidicom/cytomine/*": "Cytomine's own JSON, whose rows count from below",
    "wsidicom/sectra/*": "Sectra's own JSON, which gives shares",
    "wsidicom/asap/asap-dot.xml": "holds no polygon; points and lines mark no area",
    "wsidicom/asap/asap-pointset.xml": "holds no polygon",
    "wsidicom/qupath_geojson/*point.json": "holds no polygon",
    "wsidicom/qupath_geojson/*line.json": "holds no polygon",
}
READ = {"dlup/qupath05.geojson": 3, "wsidicom/asap/asap-polygon.xml": 1, "napari-wsi_annotations.json": 1}


def test_every_fixture_is_read_or_refused_with_the_right_reason(shared_data: Path) -> None:
    folder = shared_data / "annotations"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 60
    read = 0
    for path in files:
        name = path.relative_to(folder).as_posix()
        reason = next((why for pattern, why in REFUSED.items() if path.relative_to(folder).match(pattern)), None)
        if name in READ or reason is None:
            regions = read_regions(path)
            assert len(regions) == READ.get(name, len(regions)) > 0, name
            assert all(region.geometry.is_valid and region.geometry.area > 0 for region in regions), name
            read += 1
        else:
            with pytest.raises(AnnotationError) as told:
                read_regions(path)
            assert reason in str(told.value), name
            assert path.name in str(told.value)
    assert read >= 49


def test_what_is_unlike_any_of_them_is_no_geojson(tmp_path: Path) -> None:
    for number, data in enumerate(([], [1], {"annotation": {"class": "mine"}}, {"slideId": 1, "content": "x"})):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(data))
        with pytest.raises(AnnotationError, match=r"no GeoJSON|no polygon"):
            read_regions(path)
