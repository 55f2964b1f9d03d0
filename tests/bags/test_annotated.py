"""Annotations on the working grid, against independent look-ups at the pixel centres."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

from napari_ifkd.annotations import Region, Regions, read_regions
from napari_ifkd.bags.annotated import EXCLUDED, TUMOUR, Drawn, open_annotated
from napari_ifkd.errors import AnnotationError
from napari_ifkd.slides import open_picture, open_slide

if TYPE_CHECKING:
    from pathlib import Path


def centres(y0: int, x0: int, height: int, width: int, scale_yx: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the centres of working px, level-0 px."""
    y, x = np.mgrid[y0 : y0 + height, x0 : x0 + width] + 0.5
    return x * scale_yx[1], y * scale_yx[0]


def blob(rng: np.random.Generator, x: float, y: float, radius: float) -> shapely.Polygon:
    angles = np.sort(rng.random(40)) * 2 * np.pi
    radii = radius * rng.uniform(0.6, 1, 40)
    return shapely.make_valid(shapely.Polygon(np.c_[x + radii * np.cos(angles), y + radii * np.sin(angles)]))


@pytest.mark.parametrize("seed", range(3))
def test_outlines_are_those_of_the_polygons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [blob(rng, *rng.uniform(50, 450, 2), 90) for _ in range(8)]
    shapes[0] = shapes[0].difference(shapely.affinity.scale(shapes[0], 0.4, 0.4))
    classes = ["Tumor"] * 6 + ["Ignore*", "Stroma"]
    regions = Regions(tuple(Region(shape, "", name) for shape, name in zip(shapes, classes, strict=True)))
    scale = (2.13, 1.87)
    read = Drawn(regions, scale).read(31, -7, 180, 230)
    x, y = centres(31, -7, 180, 230, scale)
    tumour = np.logical_or.reduce([shapely.contains_xy(shape, x, y) for shape in shapes[:6]])
    excluded = shapely.contains_xy(shapes[6], x, y)
    expected = np.where(excluded, EXCLUDED, np.where(tumour, TUMOUR, 0))
    assert {0, TUMOUR, EXCLUDED} == set(np.unique(read))
    assert np.array_equal(read, expected)


def test_windows_fit_together() -> None:
    rng = np.random.default_rng(3)
    outlines = Drawn(Regions((Region(blob(rng, 100, 100, 95), "Tumor"),)), (1.5, 1.5))
    whole = outlines.read(0, 0, 128, 128)
    parts = np.block([[outlines.read(y, x, 32, 32) for x in range(0, 128, 32)] for y in range(0, 128, 32)])
    assert np.array_equal(whole, parts)
    assert not outlines.read(1000, 1000, 16, 16).any()


@pytest.mark.parametrize("shape", [(480, 640), (240, 320), (1920, 2560), (120, 161)])
def test_label_images_of_any_resolution(tiny_slide: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    """The slide is 768 x 1024 px at 0.5 um/px, the mask any size of nearly its proportions; working px are of 0.8 um."""
    labels = (np.random.default_rng(1).random(shape) < 0.4).astype(np.uint8) * 7
    tifffile.imwrite(tmp_path / "m.tif", labels)
    with open_slide(tiny_slide) as slide, open_annotated(tmp_path / "m.tif", slide, 0.8) as annotated:
        height, width = slide.working_shape(0.8)
        read = annotated.read(0, 0, height, width)
        part = annotated.read(100, 200, 30, 40)
    rows = (2 * np.arange(height) + 1) * shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * shape[1] // (2 * width)
    assert np.array_equal(read, labels[rows][:, columns] > 0)
    assert np.array_equal(part, read[100:130, 200:240])


def test_nothing_drawn_is_no_tumour(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide, open_annotated(None, slide, 1.0) as annotated:
        assert not annotated.read(0, 0, 50, 60).any()
        assert annotated.read(3, 4, 5, 6).shape == (5, 6)


def test_what_does_not_fit_is_told(tiny_slide: Path, tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}
    (tmp_path / "r.geojson").write_text(json.dumps({"type": "Feature", "geometry": square, "properties": {"classification": "Stroma"}}))
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((100, 300), np.uint8))
    with open_slide(tiny_slide) as slide:
        with pytest.raises(AnnotationError, match=r"marks no tumour \(its regions are: Stroma\)\. .*--normal"):
            open_annotated(tmp_path / "r.geojson", slide, 1.0)
        with pytest.raises(AnnotationError, match="does not fit"):
            open_annotated(tmp_path / "m.tif", slide, 1.0)


def test_regions_on_a_picture(tmp_path: Path) -> None:
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "p.json").write_text(json.dumps({"positive": [{"vertices": [[0, 0], [40, 0], [40, 60], [0, 60]]}]}))
    with open_annotated(tmp_path / "p.json", open_picture(tmp_path / "p.png", 1.0), 2.0) as annotated:
        assert np.array_equal(annotated.read(0, 0, 30, 40), np.repeat([[1] * 20 + [0] * 20], 30, 0))


def test_real_lesions(shared_data: Path) -> None:
    """Camelyon16 lesions, some with holes, on a grid whose px centres lie on no edge."""
    checked = 0
    for name in ("Tumor_083", "Tumor_091", "Tumor_107", "Tumor_002"):
        regions = read_regions(shared_data / "annotations" / "ncrf_camelyon16_json" / f"{name}.json")
        outlines = Drawn(regions, (31.7, 32.3))
        for region in regions:
            left, top, right, bottom = (int(v / 32) for v in region.geometry.bounds)
            window = top - 2, left - 2, min(bottom - top, 200) + 4, min(right - left, 200) + 4
            expected = shapely.contains_xy(regions.tumour, *centres(*window, (31.7, 32.3)))
            assert np.array_equal(outlines.read(*window) == TUMOUR, expected)
            checked += int(expected.sum())
    assert checked > 1000


class Scan:
    """A scanned slide as large as those on which the real files were drawn."""

    name, mpp, shape_level0, bounds_origin_yx_level0 = "scan.svs", 0.25, (30000, 40000), (0, 0)

    def working_scale(self, mpp: float) -> tuple[float, float]:
        return 4.1, 4.1


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wsidicom/asap/asap-polygon.xml", 'PartOfGroup="None"', 'PartOfGroup="metastases"'),
        ("wsidicom/qupath_geojson/qupath-wand.json", '"wand"', '"Tumor"'),
        ("wsidicom/qupath_geojson/qupath-brush.json", '"brush"', '"Tumor"'),
        ("wsidicom/qupath_geojson/qupath-ellipse.json", '"ellipse"', '"Tumor"'),
        ("dlup/qupath05.geojson", '"UT"', '"Tumor"'),
    ],
)
def test_real_files_of_asap_and_qupath(shared_data: Path, tmp_path: Path, file: str, old: str, new: str) -> None:
    """As they are none says tumour; with the class it is meant to have, each gives the pixels of its first polygon."""
    original = shared_data / "annotations" / file
    with pytest.raises(AnnotationError, match="marks no tumour"):
        open_annotated(original, Scan(), 1.0)
    text = original.read_text()
    assert old in text
    (tmp_path / original.name).write_text(text.replace(old, new))
    polygon = next(iter(read_regions(original))).geometry
    left, top, right, bottom = (int(v / 4.1) for v in polygon.bounds)
    window = top - 3, left - 3, bottom - top + 6, right - left + 6
    with open_annotated(tmp_path / original.name, Scan(), 1.0) as annotated:
        read = annotated.read(*window)
    expected = shapely.contains_xy(polygon, *centres(*window, (4.1, 4.1)))
    assert expected.sum() > 50
    assert np.array_equal(read, expected)
