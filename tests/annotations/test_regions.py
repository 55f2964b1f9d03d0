"""Regions of other programs: every flavour of GeoJSON, and telling the formats apart."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest
import shapely

from napari_ifkd.annotations import negative, positive, read_regions
from napari_ifkd.errors import AnnotationError

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}


def feature(geometry, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.fixture
def write(tmp_path):
    def write(data, name="regions.geojson"):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return write


@pytest.mark.parametrize(
    "data",
    [
        {"type": "FeatureCollection", "features": [feature(SQUARE)]},
        [feature(SQUARE)],
        feature(SQUARE),
        SQUARE,
        {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [1, 2]}]},
        {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]]},
        {"type": "FeatureCollection", "features": [feature(None), feature(SQUARE), feature({"type": "Point", "coordinates": [0, 0]})]},
    ],
)
def test_every_flavour(write, data):
    regions = read_regions(write(data))
    assert len(regions) == 1
    assert next(iter(regions)).geometry.equals(shapely.box(0, 0, 10, 10))


def test_gzip_and_byte_order_mark(tmp_path):
    packed = tmp_path / "r.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps(SQUARE).encode()))
    assert len(read_regions(packed)) == 1
    marked = tmp_path / "r.geojson"
    marked.write_bytes(b"\xef\xbb\xbf" + json.dumps(SQUARE).encode())
    assert len(read_regions(marked)) == 1


def moved(x):
    return {"type": "Polygon", "coordinates": [[[a + x, b] for a, b in SQUARE["coordinates"][0]]]}


def test_classes_become_unions(write):
    regions = read_regions(
        write(
            [
                feature(moved(0), classification={"name": "Tumor", "color": [200, 0, 0]}),
                feature(moved(5), classification={"names": ["tumour", "invasive"]}),
                feature(moved(100), classification="Normal"),
                feature(moved(200), classification={"name": "Ignore*"}),
                feature(moved(300), name="exclusion"),
                feature(moved(400), classification={"name": "Stroma"}, name="tumor"),
                feature(moved(500)),
            ]
        )
    )
    assert regions.tumour.area == 150
    assert regions.normal.bounds == (100, 0, 110, 10)
    assert regions.exclusion.area == 200
    assert regions.other.area == 200
    assert regions.inside.area == 450
    assert len(positive(regions)) == 2
    assert len(negative(regions)) == 1


def test_invalid_polygons_are_mended(write):
    bowtie = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    geometry = next(iter(read_regions(write(bowtie)))).geometry
    assert geometry.is_valid
    assert geometry.area == 50


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{not json", "neither JSON nor XML"),
        ("", "is empty"),
        ("<html></html>", "not ASAP's"),
        ({"positive": []}, "no polygon"),
        ({"positive": 1}, "no GeoJSON"),
        ([1, 2], "no GeoJSON"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon"),
        (feature({"type": "Polygon", "coordinates": [[[0, 0], [1]]]}), "broken geometry"),
        (feature({"type": "Polygon", "coordinates": "here"}), "broken geometry"),
        (feature({"type": "Blob"}), "broken geometry"),
    ],
)
def test_what_cannot_be_used_is_told(write, data, said):
    with pytest.raises(AnnotationError, match=said):
        read_regions(write(data))


def test_missing_and_torn_files(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_regions(tmp_path / "nowhere.geojson")
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"{}" * 500)[:20])
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_regions(torn)


def test_bounds_are_added_and_the_wrong_slide_is_told(write):
    slide = SimpleNamespace(name="s.scn", shape_level0=(1000, 2000), bounds_origin_yx_level0=(100, 300))
    assert next(iter(read_regions(write(SQUARE), slide))).geometry.bounds == (300, 100, 310, 110)
    with pytest.raises(AnnotationError, match=r"outside s\.scn \(2000 x 1000 px"):
        read_regions(write(moved(5000)), slide)


def test_real_files(shared_data):
    folder = shared_data / "annotations"
    polygons = [*sorted((folder / "wsidicom" / "qupath_geojson").glob("*.json")), folder / "dlup" / "qupath05.geojson"]
    read, empty = {}, []
    for path in polygons:
        try:
            read[path.stem] = read_regions(path)
        except AnnotationError as error:
            assert "no polygon" in str(error)
            empty.append(path.stem.removeprefix("qupath-"))
    assert sorted(empty) == ["line", "multipoint", "point", "polyline"]
    assert all(region.geometry.is_valid and region.geometry.area > 0 for regions in read.values() for region in regions)
    assert read["qupath-rectangle"].other.equals(shapely.box(26268, 15298, 26478, 15474))
    cells = read_regions(folder / "wsidicom" / "qupath_geojson_advanced" / "qupath-polygon-cell-classified.json")
    assert {region.classification for region in cells} >= {"Nucleus"}
