"""What a person painted goes into every export of the run, and the provenance tells."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from shapely.geometry import shape

from napari_ifkd.annotations import Corrections, rasterize
from napari_ifkd.annotations.corrections import NORMAL, TUMOUR
from napari_ifkd.config import Config
from napari_ifkd.errors import ExportError
from napari_ifkd.events import MapReady
from napari_ifkd.export import ExportOptions, export_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide


@pytest.fixture(params=[1.0, 0.5, 3.0], ids=["same grid", "finer", "coarser"])
def painted(request, tmp_path, tiny_slide, write_map):
    """A run with a map at 1 um/px and corrections at another resolution; the mask expected."""
    run = RunFolder.create(tmp_path / "run", "predict", Config().replaced(**{"inference.sigma_px": 0}), {"slides": [str(tiny_slide)]})
    path = run.map_path(0, tiny_slide.name)
    with open_slide(tiny_slide) as slide:
        values = np.full((384, 512), 25, np.uint8)
        values[96:192, 128:256] = 204
        write_map(path, slide, values)
        corrections = Corrections.create(run.corrections_path(slide.name), slide, request.param)
        px = lambda um: round(um / request.param)  # noqa: E731
        corrections.paint(px(120), px(150), np.full((px(30), px(60)), NORMAL, np.uint8))
        corrections.paint(px(300), px(399), np.full((px(30), px(60)), TUMOUR, np.uint8))
        step_y, step_x = (own / 2 for own in slide.working_scale(request.param))
    run.append(MapReady(0, tiny_slide.name, path.relative_to(run.path).as_posix()))
    run.model_path(0).write_bytes(b"")
    mask = values == 204
    y, x = (np.arange(n) + 0.5 for n in mask.shape)
    for (top, left), label in (((120, 150), False), ((300, 399), True)):
        rows = (y >= px(top) * step_y) & (y < px(top + 30) * step_y)
        columns = (x >= px(left) * step_x) & (x < px(left + 60) * step_x)
        mask[np.ix_(rows, columns)] = label
    return run, mask


def test_corrections_win_in_every_format(painted, tmp_path):
    run, mask = painted
    export_run(run.path, ["geojson", "ome-tiff", "csv"], tmp_path / "out")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "tiny_round0.ome.tif"), mask)
    features = json.loads((tmp_path / "out" / "tiny_round0.geojson").read_text())["features"]
    drawn = np.zeros(mask.shape, bool)
    for feature in features:
        drawn |= rasterize(shape(feature["geometry"]), mask.shape, (2, 2))
    np.testing.assert_array_equal(drawn, mask)
    with (tmp_path / "out" / "tiny_round0.slide.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["tumour_mm2"]) == pytest.approx(mask.sum() / 1e6)
    told = json.loads((tmp_path / "out" / "tiny_round0.provenance.json").read_text())
    assert told["corrections"]["tumour_mm2"] == pytest.approx(30 * 60 / 1e6, rel=0.02)
    assert told["corrections"]["tumour_in_mask_mm2"] == pytest.approx(mask[290:340, 390:470].sum() / 1e6)
    assert told["lesions"] == len(features)


def test_where_a_person_marked_tumour_somebody_looked(tmp_path, tiny_slide, write_map):
    """Else the mask could be more than all that was looked at."""
    run = RunFolder.create(tmp_path / "run", "predict", Config().replaced(**{"inference.sigma_px": 0}), {"slides": [str(tiny_slide)]})
    path = run.map_path(0, tiny_slide.name)
    values = np.zeros((384, 512), np.uint8)
    values[100:110, 100:110] = 204
    with open_slide(tiny_slide) as slide:
        write_map(path, slide, values)
        Corrections.create(run.corrections_path(slide.name), slide, 1.0).paint(300, 400, np.full((30, 60), TUMOUR, np.uint8))
    run.append(MapReady(0, tiny_slide.name, path.relative_to(run.path).as_posix()))
    run.model_path(0).write_bytes(b"")
    export_run(run.path, ["csv"], tmp_path / "out")
    with (tmp_path / "out" / "tiny_round0.slide.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["looked_at_mm2"]) == pytest.approx((100 + 30 * 60) / 1e6)
    assert float(row["tumour_share_of_looked_at"]) == 1


def test_what_of_the_paint_is_left_out_with_its_lesion_is_told(painted, tmp_path):
    run, _ = painted
    for least, kept in ((0.003, 0), (1e6, 0)):  # the stroke by itself is smaller than the one lesion there is
        export_run(run.path, ["ome-tiff"], tmp_path / "out", options=ExportOptions(min_area_um2=least * 1e6))
        told = json.loads((tmp_path / "out" / "tiny_round0.provenance.json").read_text())
        assert told["corrections"]["tumour_in_mask_mm2"] == kept
        assert told["lesions"] == (1 if least < 1 else 0)
        written = tifffile.imread(tmp_path / "out" / "tiny_round0.ome.tif") > 0
        assert written.any() == (least < 1)
        assert told["mask_mm2"] == pytest.approx(written.sum() * np.prod(told["pixel_size_um_yx"]) / 1e6)


def test_a_map_of_the_run_is_corrected_too(painted, tmp_path):
    run, mask = painted
    export_run(run.map_path(0, "tiny.tif"), ["ome-tiff"], tmp_path / "out")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "tiny_round0.ome.tif"), mask)


def test_corrections_of_another_slide_are_refused(painted, tmp_path):
    run, _ = painted
    path = run.corrections_path("tiny.tif") / "zarr.json"
    text = json.loads(path.read_text())
    text["attributes"]["napari_ifkd"]["slide"]["quick_hash"] = "other"
    path.write_text(json.dumps(text))
    with pytest.raises(ExportError, match="another slide"):
        export_run(run.path, ["geojson"], tmp_path / "out")
