"""File, Save Selected Layers: labels layers go out at their place, and come back through programs that are not ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile
from shapely.geometry import shape

from napari_ifkd.annotations import rasterize, read_regions
from napari_ifkd.config import Config
from napari_ifkd.errors import ExportError
from napari_ifkd.events import MapReady, RunDone
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def drawn() -> np.ndarray:
    labels = np.zeros((40, 50), np.uint8)
    labels[5:20, 10:30] = 1
    labels[8:12, 14:18] = 0
    labels[20, 30] = 1
    return labels


def save(viewer: Any, layer: Any, path: Path) -> list[str]:
    viewer.layers.selection = {layer}
    return list(viewer.layers.save(str(path), selected=True, plugin="napari-ifkd"))


def test_a_layer_on_the_slide_keeps_its_place(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.slide is not None)
    # 2 um/px on a slide of 1 um/px; its corner lies at level-0 row 60, column 90, and napari places centres
    layer = window.viewer.add_labels(drawn(), scale=(2, 2), translate=(60 + 0.5, 90 + 0.5), units=("um", "um"), name="mine")
    wanted = np.zeros((256, 320), bool)
    wanted[60:140, 90:190] = np.kron(drawn(), np.ones((2, 2), np.uint8)) > 0
    with open_slide(drawn_slide) as slide:
        for end in (".geojson", ".geojson.gz", ".xml"):
            assert save(window.viewer, layer, tmp_path / f"out{end}") == [str(tmp_path / f"out{end}")]
            regions = read_regions(tmp_path / f"out{end}", slide)
            np.testing.assert_array_equal(rasterize(regions.tumour, wanted.shape), wanted)
        told = json.loads((tmp_path / "out.geojson").read_text())
        assert told["napari_ifkd"]["slide"]["quick_hash"] == slide.quick_hash
        assert all(shape(f["geometry"]).is_valid for f in told["features"])
    save(window.viewer, layer, tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), drawn())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == [
        "out.geojson", "out.geojson.gz", "out.ome.tif", "out.xml",
    ]  # fmt: skip


def test_our_mask_goes_out_as_it_is_shown(window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    run = RunFolder.create(tmp_path / "run", "predict", Config(), {"slides": [str(drawn_slide)]})
    path = run.map_path(0, drawn_slide.name)
    with open_slide(drawn_slide) as slide:
        write_map(path, slide)
    run.append(MapReady(0, drawn_slide.name, path.relative_to(run.path).as_posix()))
    run.append(RunDone(0, "the only one"))
    window.bench.open(run.path)
    window.wait(lambda: len(window.ours("mask")) == 1)
    window.session.look(threshold=0.7, sigma_px=0)
    (layer,) = window.ours("mask")
    save(window.viewer, layer, tmp_path / "ours.ome.tif")
    with tifffile.TiffFile(tmp_path / "ours.ome.tif") as file:
        image = file.asarray()
        assert '"threshold": 0.7' in file.ome_metadata.replace("&quot;", '"')
    wanted = np.zeros((128, 160), np.uint8)
    wanted[32:64, 40:80] = 1
    np.testing.assert_array_equal(image, wanted)


def test_several_labels_keep_numbers_and_colours(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.slide is not None)
    labels = drawn()
    labels[5:20, 30:40] = 7  # beside the other
    layer = window.viewer.add_labels(labels, units=("um", "um"), name="two")
    save(window.viewer, layer, tmp_path / "two.ome.zarr")
    save(window.viewer, layer, tmp_path / "two.geojson")
    features = json.loads((tmp_path / "two.geojson").read_text())["features"]
    assert {f["properties"]["classification"]["name"] for f in features} == {"Label 1", "Label 7"}
    for label in (1, 7):
        own = [f for f in features if f["properties"]["classification"]["name"] == f"Label {label}"]
        red = np.rint(255 * layer.get_color(label)[:3]).astype(int).tolist()
        assert all(f["properties"]["classification"]["color"] == red for f in own)
        drawing = rasterize(shapely.multipolygons([shape(f["geometry"]) for f in own]), labels.shape)
        np.testing.assert_array_equal(drawing, labels == label)
    pytest.importorskip("napari_ome_zarr")  # napari's reader of OME-Zarr
    viewer_layers = window.viewer.open(str(tmp_path / "two.ome.zarr" / "labels" / "tumour"), plugin="napari-ome-zarr")
    data = viewer_layers[0].data
    np.testing.assert_array_equal(np.asarray(data[0] if viewer_layers[0].multiscale else data), labels)


def test_what_has_no_place_is_told(window: Any, tmp_path: Path) -> None:
    layer = window.viewer.add_labels(drawn())
    with pytest.raises(ExportError, match="no resolution"):
        save(window.viewer, layer, tmp_path / "a.geojson")
    turned = window.viewer.add_labels(drawn(), units=("um", "um"), rotate=30)
    with pytest.raises(ExportError, match="turned"):
        save(window.viewer, turned, tmp_path / "b.geojson")
    thick = window.viewer.add_labels(np.zeros((2, 3, 4), int), units=("um",) * 3)
    with pytest.raises(ExportError, match="3 dimensions"):
        save(window.viewer, thick, tmp_path / "c.geojson")
    placed = window.viewer.add_labels(drawn(), units=("um", "um"), scale=(0.5, 0.5))
    save(window.viewer, placed, tmp_path / "d.ome.tif")
    with tifffile.TiffFile(tmp_path / "d.ome.tif") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


def test_napari_reads_an_exported_ome_zarr(window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    pytest.importorskip("napari_ome_zarr")
    from napari_ifkd.export import ExportOptions, export_run

    with open_slide(drawn_slide) as slide:
        write_map(tmp_path / "map.zarr", slide)
    for version in ("0.5", "0.4"):
        (path, _) = export_run(tmp_path / "map.zarr", ["ome-zarr"], tmp_path / version, sigma_px=0, options=ExportOptions(ome_zarr=version))
        layers = {type(layer).__name__: layer for layer in window.viewer.open(str(path), plugin="napari-ome-zarr")}
        assert layers.keys() == {"Image", "Labels"}
        np.testing.assert_allclose(layers["Labels"].scale, (2, 2))
        data = layers["Labels"].data
        shown = np.asarray(data[0] if layers["Labels"].multiscale else data)
        wanted = np.zeros((128, 160), bool)
        wanted[32:64, 40:80] = True
        np.testing.assert_array_equal(shown > 0, wanted)
