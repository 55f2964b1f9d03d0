"""Masks as other programs read them: in place, complete, with their origin and warning."""

from __future__ import annotations

import csv
import json
import re
import tracemalloc
import uuid

import numpy as np
import pytest
import shapely
import tifffile
import tiffslide
from shapely.geometry import shape

from napari_ifkd.annotations import rasterize, read_regions
from napari_ifkd.config import Config
from napari_ifkd.errors import Cancelled, ExportError, RunError
from napari_ifkd.events import Decision, RoundDone
from napari_ifkd.export import ExportOptions, export_map, export_run
from napari_ifkd.export.lesions import lesions_of
from napari_ifkd.inference import ProbabilityMap
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

WARNING = "The built-in teacher knows phantom slides only"
BOTH = ["geojson", "ome-tiff"]


def features(path):
    return json.loads(path.read_text())["features"]


@pytest.mark.parametrize("origin", [(0, 0), (120, 44)])
def test_geojson_round_trips_without_losing_a_pixel(make_map, tmp_path, origin):
    found = make_map(origin=origin)
    (path, _) = export_map(found, tmp_path / "out", ["geojson"], threshold=0.5, sigma_px=2, round=3)
    assert path.name == "case 7_round3.geojson"
    mask = found.mask(0.5, 2).compute()
    assert 0.1 < mask.mean() < 0.9
    geometries = [shape(f["geometry"]) for f in features(path)]
    placed = shapely.transform(shapely.multipolygons(geometries), lambda xy: xy + origin[::-1])
    np.testing.assert_array_equal(rasterize(placed, mask.shape, found.scale_yx), mask)


def test_read_regions_puts_our_own_export_back(make_map, tmp_path):
    from types import SimpleNamespace

    found = make_map(origin=(120, 44))
    path, _ = export_map(found, tmp_path, ["geojson"], threshold=0.5, sigma_px=2)
    slide = SimpleNamespace(name="case 7.scn", shape_level0=(1400, 2199), bounds_origin_yx_level0=(120, 44))
    mask = found.mask(0.5, 2).compute()
    np.testing.assert_array_equal(rasterize(read_regions(path, slide).tumour, mask.shape, found.scale_yx), mask)


def test_features_are_what_qupath_wants(make_map, tmp_path):
    found = make_map()
    path, _ = export_map(found, tmp_path, ["geojson"], threshold=0.5, sigma_px=2)
    listed = features(path)
    assert len({f["id"] for f in listed}) == len(listed) > 10
    mask = found.mask(0.5, 2).compute()
    for f in listed:
        assert uuid.UUID(f["id"])
        assert f["type"] == "Feature"
        geometry, properties = shape(f["geometry"]), f["properties"]
        assert geometry.is_valid
        assert all(len(ring) >= 4 and ring[0] == ring[-1] for ring in f["geometry"]["coordinates"])
        assert properties["objectType"] == "annotation"
        assert properties["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
        assert properties["name"] == "Tumor"
        assert isinstance(properties["measurements"], dict)
        assert properties["measurements"]["Area mm2"] == pytest.approx(geometry.area * 0.25 / 1e6, rel=5e-3)  # coordinates are rounded
        assert 0 < properties["measurements"]["Mean probability"] <= 1
    total = sum(f["properties"]["measurements"]["Area mm2"] for f in listed)
    assert total == pytest.approx(mask.sum() * np.prod(found.pixel_size_um_yx) / 1e6, rel=1e-5)


def test_exports_are_reproducible(make_map, tmp_path):
    found = make_map()
    (first, _), (second, _) = (export_map(found, tmp_path / name, ["geojson"], threshold=0.5, sigma_px=2) for name in "ab")
    assert features(first) == features(second)
    other, _ = export_map(found, tmp_path / "c", ["geojson"], threshold=0.5, sigma_px=2, round=1)
    assert features(other)[0]["id"] != features(first)[0]["id"]


@pytest.mark.parametrize(("tolerance", "agreement"), [(1.0, 0.97), (4.0, 0.93)])
def test_simplified_outlines_stay_valid_and_close(make_map, tmp_path, tolerance, agreement):
    found = make_map()
    exact, _ = export_map(found, tmp_path / "exact", ["geojson"], threshold=0.5, sigma_px=2)
    path, _ = export_map(found, tmp_path / "simple", ["geojson"], threshold=0.5, sigma_px=2, options=ExportOptions(simplify_um=tolerance))
    assert path.stat().st_size < 0.7 * exact.stat().st_size
    assert all(shape(f["geometry"]).is_valid for f in features(path))
    mask = found.mask(0.5, 2).compute()
    drawn = np.zeros_like(mask)
    for f in features(path):
        drawn |= rasterize(shape(f["geometry"]), mask.shape, found.scale_yx)
    assert (drawn == mask).mean() > agreement


def test_small_objects_are_left_out_of_every_format(make_map, tmp_path):
    found = make_map()
    geo, tiff, _ = export_map(found, tmp_path, BOTH, threshold=0.5, sigma_px=2, options=ExportOptions(min_area_um2=300))
    assert all(f["properties"]["measurements"]["Area mm2"] >= 300e-6 for f in features(geo))
    drawn = rasterize(shapely.multipolygons([shape(f["geometry"]) for f in features(geo)]), found.shape, found.scale_yx)
    assert drawn.sum() < found.mask(0.5, 2).compute().sum()
    np.testing.assert_array_equal(tifffile.imread(tiff), drawn)


def test_what_is_excluded_later_is_as_if_nobody_had_looked(make_map, tmp_path):
    found = make_map()
    height, width = found.shape
    pixel_y, pixel_x = found.pixel_size_um_yx
    seen_mm2 = np.count_nonzero(found.read(0, 0, height, width)) * pixel_y * pixel_x / 1e6
    found = ProbabilityMap(found.path, found.levels, {**found.attributes, "tissue": {"reason": "", "area_mm2": seen_mm2 + 0.25}})
    scale_y, scale_x = found.scale_yx
    left, top, right, bottom = 0.2 * width * scale_x, 0.3 * height * scale_y, 0.7 * width * scale_x, 0.8 * height * scale_y
    y, x = (np.arange(height)[:, None] + 0.5) * scale_y, (np.arange(width) + 0.5) * scale_x
    inside = (y > top) & (y < bottom) & (x > left) & (x < right)
    values = found.read(0, 0, height, width)
    wanted = np.where(inside, 0, values)
    formats = ["ome-tiff", "prob-ome-tiff", "csv", "geojson", "ome-zarr"]
    files = export_map(found, tmp_path, formats, threshold=0.5, sigma_px=2, exclusion=shapely.box(left, top, right, bottom))
    of = {end: next(path for path in files if path.name.endswith(end)) for end in (".prob.ome.tif", "7.ome.tif", ".slide.csv", ".geojson")}
    np.testing.assert_array_equal(tifffile.imread(of[".prob.ome.tif"]), wanted)
    with tifffile.TiffFile(of[".prob.ome.tif"]) as tiff:
        for level in tiff.series[0].levels[1:]:
            assert not level.asarray()[round(0.35 * level.shape[0]) : round(0.75 * level.shape[0]), level.shape[1] // 2].any()
    mask = tifffile.imread(of["7.ome.tif"])
    assert mask.any()
    assert not mask[inside].any()
    with of[".slide.csv"].open(newline="") as file:
        (row,) = csv.DictReader(file)
    px_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    assert float(row["looked_at_mm2"]) == pytest.approx((wanted > 0).sum() * px_mm2)
    assert float(row["tumour_share_of_looked_at"]) == pytest.approx(mask.sum() / (wanted > 0).sum(), abs=1e-6)
    assert float(row["tissue_mm2"]) == pytest.approx((wanted > 0).sum() * px_mm2 + 0.25)  # some was outside the region that was looked at
    assert float(row["tumour_share_of_tissue"]) == pytest.approx(mask.sum() * px_mm2 / float(row["tissue_mm2"]), abs=1e-6)
    listed = lesions_of(found, 0.5, 2, exclusion=shapely.box(left, top, right, bottom))  # as the window lists them
    assert sum(lesion.area_px for lesion in listed) == mask.sum()
    assert len(listed) == len(features(of[".geojson"]))


def test_ome_tiff_is_a_labelled_pyramid_in_place(make_map, tmp_path):
    found = make_map(scale=(2.0, 1.99))
    path, _ = export_map(found, tmp_path, ["ome-tiff"], threshold=0.5, sigma_px=2, round=0)
    assert path.name == "case 7_round0.ome.tif"
    mask = found.mask(0.5, 2).compute()
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        page = file.pages.first
        assert page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(700, 1100), (350, 550)]
        np.testing.assert_array_equal(levels[0].asarray(), mask)
        np.testing.assert_array_equal(levels[1].asarray(), mask[::2, ::2])
        assert 'PhysicalSizeX="0.995"' in file.ome_metadata
        assert 'PhysicalSizeY="1.0"' in file.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata
    with tiffslide.TiffSlide(path) as slide:
        assert slide.level_dimensions == ((1100, 700), (550, 350))
        assert float(slide.properties["tiffslide.mpp-x"]) == pytest.approx(0.995, rel=1e-4)
    with open_slide(path) as ours:
        assert ours.mpp == pytest.approx(0.9975, rel=1e-3)


def test_a_network_that_does_not_know_the_slide_says_so_in_every_file(make_map, tmp_path):
    geo, tiff, sidecar = export_map(make_map(warning=WARNING), tmp_path, BOTH, threshold=0.5, sigma_px=2)
    data = json.loads(geo.read_text())
    assert data["napari_ifkd"]["warning"] == WARNING
    assert all("not valid on this slide" in f["properties"]["name"] for f in data["features"])
    assert all(f["properties"]["metadata"]["warning"] == WARNING for f in data["features"])
    with tifffile.TiffFile(tiff) as file:
        assert f"WARNING: {WARNING}" in file.ome_metadata
        assert "not valid on this slide" in file.ome_metadata
    assert json.loads(sidecar.read_text())["warning"] == WARNING


def test_provenance_tells_how_and_not_where(make_map, tmp_path):
    found = make_map()
    config = Config().replaced(seed=7).model_dump(mode="json")
    written = export_map(found, tmp_path / "out", BOTH, threshold=0.4, sigma_px=2, round=2, provenance={"config": config, "seed": 7})
    told = json.loads(written[-1].read_text())
    assert told["slide"]["name"] == "case 7.scn"
    assert told["slide"]["quick_hash"] == "ab"
    assert told["model"] == {"name": "phantom-teacher", "weights_sha256": "cd", "domain": "phantom"}
    assert (told["round"], told["threshold"], told["sigma_px"], told["seed"]) == (2, 0.4, 2, 7)
    assert told["config"]["seed"] == 7
    assert {"torch", "numpy", "python"} <= told["versions"].keys()
    assert told["files"] == ["case 7_round2.geojson", "case 7_round2.ome.tif"]
    assert re.match(r"\d{4}-\d\d-\d\dT", told["time"])
    for path in written:
        assert str(tmp_path).encode() not in path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in written)  # nothing left aside


def test_an_empty_mask_is_a_valid_file(make_map, tmp_path):
    geo, tiff, _ = export_map(make_map(np.full((80, 90), 3, np.uint8)), tmp_path, BOTH, threshold=0.5, sigma_px=0)
    assert features(geo) == []
    assert tifffile.imread(tiff).shape == (80, 90)
    assert not tifffile.imread(tiff).any()


def test_unknown_formats_are_told_with_the_known(make_map, tmp_path):
    with pytest.raises(ExportError, match=r"shapefile.*geojson, .*ome-tiff"):
        export_map(make_map(), tmp_path, ["geojson", "shapefile"], threshold=0.5, sigma_px=0)
    with pytest.raises(ExportError, match="none was given"):
        export_run(make_map(), [], tmp_path)


def test_bad_places_are_told(make_map, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is a file"):
        export_map(make_map(), tmp_path / "file", ["geojson"], threshold=0.5, sigma_px=0)
    with pytest.raises(ExportError, match="no probability"):
        export_run(make_map(), ["geojson"], tmp_path, threshold=1.5)
    with pytest.raises(RunError):
        export_run(tmp_path / "nowhere", ["geojson"], tmp_path / "out")


def test_cancel_leaves_nothing(make_map, tmp_path):
    with pytest.raises(Cancelled):
        export_map(make_map(), tmp_path / "out", BOTH, threshold=0.5, sigma_px=0, should_stop=lambda: True)
    assert list((tmp_path / "out").iterdir()) == []


def test_memory_does_not_grow_with_the_slide(make_map, tmp_path):
    height, width = 6000, 3000
    values = np.full((height, width), 5, np.uint8)
    values[100:-100, 100:-100] = 250
    found = make_map(values)
    del values
    tracemalloc.start()
    export_map(found, tmp_path / "out", BOTH, threshold=0.5, sigma_px=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 512 * width * 4 + 60e6  # a few float bands of the map, not the map


@pytest.fixture
def run(tmp_path, make_map):
    asked = {"slides": [str(tmp_path / "secret" / "case 7.scn")]}
    folder = RunFolder.create(tmp_path / "secret" / "run", "distill", Config().replaced(seed=5), asked)
    for index in (0, 1, 2):
        folder.model_path(index).parent.mkdir(parents=True)
        folder.model_path(index).write_bytes(b"")
        make_map(path=folder.map_path(index, "case 7.scn"))
    make_map(path=folder.map_path(1, "other.tif"), name="other.tif")
    folder.append(RoundDone(0, None))
    folder.append(RoundDone(1, Decision(True, "cautious", "", "")))
    folder.append(RoundDone(2, Decision(False, "cautious", "", "")))
    return folder


def test_a_run_gives_all_slides_of_the_round_it_recommends(run, tmp_path):
    written = export_run(run.path, ["geojson"], tmp_path / "out")
    names = {path.name for path in written}
    assert names == {f"{stem}_round1{end}" for stem in ("case 7", "other") for end in (".geojson", ".provenance.json")}
    told = json.loads((tmp_path / "out" / "case 7_round1.provenance.json").read_text())
    assert told["seed"] == told["config"]["seed"] == 5
    assert told["threshold"] == Config().inference.threshold
    assert not any(b"secret" in path.read_bytes() for path in written)


def test_the_accepted_round_and_threshold_go_first(run, tmp_path):
    run.accept(2, 0.35)
    told = json.loads(export_run(run.path, ["geojson"], tmp_path / "out")[-1].read_text())
    assert (told["round"], told["threshold"]) == (2, 0.35)
    told = json.loads(export_run(run.path, ["geojson"], tmp_path / "out", round=0)[-1].read_text())
    assert (told["round"], told["threshold"]) == (0, 0.5)
    told = json.loads(export_run(run.path, ["geojson"], tmp_path / "out", threshold=0.8)[-1].read_text())
    assert (told["round"], told["threshold"]) == (2, 0.8)


def test_a_round_without_maps_is_told_with_those_that_have(run, tmp_path):
    with pytest.raises(ExportError, match=r"no map of round 7.*0, 1, 2"):
        export_run(run.path, ["geojson"], tmp_path / "out", round=7)


def test_a_map_knows_its_round_and_settings(run, make_map, tmp_path):
    written = export_run(run.maps(2)["case 7.scn"], ["geojson"], tmp_path / "out")
    told = json.loads(written[-1].read_text())
    assert written[0].name == "case 7_round2.geojson"
    assert (told["threshold"], told["sigma_px"]) == (0.6, 2.0)
    assert export_run(make_map(), ["geojson"], tmp_path / "alone")[0].name == "case 7.geojson"
