"""Masks back: out in every format and in again, into corrections, and what was assumed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import shapely
import tifffile

from napari_ifkd.annotations import Corrections, rasterize, read_mask, read_regions
from napari_ifkd.annotations.corrections import NORMAL, TUMOUR
from napari_ifkd.annotations.told import provenance_in
from napari_ifkd.bags.annotated import open_annotated
from napari_ifkd.cli import main
from napari_ifkd.config import Config
from napari_ifkd.errors import AnnotationError, ExportError, RunError
from napari_ifkd.events import MapReady
from napari_ifkd.export import ExportOptions, export_map
from napari_ifkd.export.incoming import Incoming, import_corrections, import_mask
from napari_ifkd.inference import open_file_map, open_map
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.reference import ReferenceMask
from napari_ifkd.runs.regions import read_run_regions
from napari_ifkd.runs.truth import Truth
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_ifkd.slides import Slide

ENDS = (".ome.tif", ".ome.zarr", ".geojson", ".geojson.gz", ".xml")
SQUARE = [[100, 60], [300, 60], [300, 260], [100, 260], [100, 60]]
HOLE = [[150, 110], [250, 110], [250, 210], [150, 210], [150, 110]]


@pytest.fixture
def slide(tiny_slide: Path) -> Iterator[Slide]:
    with open_slide(tiny_slide) as opened:
        yield opened


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    def write(*features: tuple[list[Any], str | None], name: str = "drawn.geojson") -> Path:
        listed = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {"classification": {"name": said}} if said else {},
            }
            for rings, said in features
        ]
        (tmp_path / name).write_text(json.dumps({"type": "FeatureCollection", "features": listed}))
        return tmp_path / name

    return write


def fake_slide(name: str, side: int, origin: tuple[int, int] = (0, 0)) -> Any:
    facts = {"name": name, "shape_level0": (side, side), "mpp": 0.25, "quick_hash": "ab"}
    return SimpleNamespace(**facts, bounds_origin_yx_level0=origin, identity=lambda: facts)


def tumour_of(path: Path, slide: Any, shape: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    with Incoming(path, slide) as incoming:
        return incoming.on_grid(scale).read(0, 0, *shape) == TUMOUR


@pytest.mark.parametrize(
    ("name", "version"),
    [("geojson", "0.5"), ("geojson.gz", "0.5"), ("asap", "0.5"), ("ome-tiff", "0.5"), ("ome-zarr", "0.5"), ("ome-zarr", "0.4")],
)
def test_what_goes_out_comes_back(name: str, version: str, tmp_path: Path, slide: Slide, write_map: Callable[..., None]) -> None:
    values = np.full((384, 512), 20, np.uint8)
    values[40:200, 60:240], values[80:160, 100:200], values[100:140, 120:160] = 220, 20, 200  # a ring with an island
    values[200:230, 60:90], values[230:260, 90:120], values[300, 400], values[383, 511] = 230, 230, 255, 255  # touching, and of one px
    write_map(tmp_path / "map.zarr", slide, values)
    found = open_map(tmp_path / "map.zarr")
    path = export_map(found, tmp_path / "out", [name], threshold=0.5, sigma_px=0, options=ExportOptions(ome_zarr=version))[0]
    wanted = values >= 128
    np.testing.assert_array_equal(tumour_of(path, slide, wanted.shape, found.scale_yx), wanted)
    for end in ENDS:  # and on, in any other format
        written, notes = import_mask(path, slide, tmp_path / "again" / f"mask{end}", mpp=found.mpp)
        assert notes == []
        np.testing.assert_array_equal(tumour_of(written[0], slide, wanted.shape, found.scale_yx), wanted)
        told = provenance_in(written[0])
        assert told is not None
        assert told["imported"]["file"] == path.name
        assert told["slide"]["quick_hash"] == slide.quick_hash
        assert json.loads(written[-1].read_text())["files"] == [written[0].name]


@pytest.mark.parametrize("name", ["geojson", "asap", "ome-tiff", "ome-zarr"])
def test_what_was_made_of_another_slide_is_refused(name: str, tmp_path: Path, slide: Slide, write_map: Callable[..., None]) -> None:
    """Its outlines would lie somewhere on this one, and count."""
    write_map(tmp_path / "map.zarr", slide)
    path = export_map(open_map(tmp_path / "map.zarr"), tmp_path / "out", [name], threshold=0.5, sigma_px=0)[0]
    pixels = np.full((768, 1024, 3), 200, np.uint8)
    tifffile.imwrite(tmp_path / "other.tif", pixels, photometric="rgb", tile=(256, 256), resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    with open_slide(tmp_path / "other.tif") as other:
        takers: list[Callable[[], object]] = [
            lambda: Incoming(path, other),
            lambda: ReferenceMask(path, other),
            lambda: open_file_map(path, other, 1.0),
            lambda: open_annotated(path, other, 1.0),
            lambda: Truth(path, other),
        ]
        if name in ("geojson", "asap"):
            folder, called = RunFolder(tmp_path / "no run"), path.with_name(path.name.replace(slide.path.stem, other.path.stem))
            path.rename(called)  # they are matched by name
            path = called
            takers = [
                lambda: Incoming(path, other),
                lambda: read_run_regions(folder, [other], regions=[path]),
                lambda: read_run_regions(folder, [other], exclude=[path]),
                *takers[1:4],
            ]
        for take in takers:
            with pytest.raises((AnnotationError, RunError), match=f"of another slide .{slide.name}") as error:
                take()
            assert path.name in str(error.value)
    with Incoming(path, slide), ReferenceMask(path, slide):
        pass


def test_another_programs_labels_keep_their_grid(tmp_path: Path, slide: Slide) -> None:
    labels = np.zeros((96, 128), np.uint8)
    labels[20:50, 30:90], labels[70, 100] = 7, 1
    cv2.imwrite(str(tmp_path / "labels.png"), labels)
    tifffile.imwrite(tmp_path / "labels.ome.tif", labels, metadata={"axes": "YX"})
    for name in ("labels.png", "labels.ome.tif"):
        (path, _), _ = import_mask(tmp_path / name, slide, tmp_path / "out.ome.tif", mpp=1.0)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.is_ome
            np.testing.assert_array_equal(tiff.series[0].asarray(), labels > 0)
            assert 'PhysicalSizeX="4.0"' in tiff.ome_metadata  # 1024 px of 0.5 um in 128


def test_regions_keep_corners_and_classes(tmp_path: Path, slide: Slide, draw: Callable[..., Path]) -> None:
    path = draw(([SQUARE, HOLE], "Tumor"), ([HOLE], "normal"), ([[[0, 0], [9, 0], [0, 9], [0, 0]]], "Ignore*"), ([SQUARE], "Stroma"))
    (out, _), notes = import_mask(path, slide, tmp_path / "out.geojson", mpp=1.0)
    before, after = read_regions(path, slide), read_regions(out, slide)
    assert [region.meaning for region in after] == ["tumour", "normal", "exclusion", "other"]
    assert [region.classification for region in after] == ["Tumor", "Normal", "Exclusion", "Stroma"]
    assert all(a.geometry.equals(b.geometry) for a, b in zip(before, after, strict=True))
    assert notes == []
    (out, _), notes = import_mask(path, slide, tmp_path / "out.ome.tif", mpp=1.0)
    assert "1 region is left out, neither tumour nor normal: Stroma" in notes  # which an image cannot hold
    wanted = rasterize(shapely.Polygon(SQUARE, [HOLE]), (384, 512), (2, 2)) & ~rasterize(shapely.box(0, 0, 5, 5), (384, 512), (2, 2))
    with read_mask(out) as mask:
        np.testing.assert_array_equal(mask.read(0, 0, 384, 512), wanted)
    assert any("exclusions are no tumour" in note for note in notes)


def test_bounds_come_off_and_on(tmp_path: Path, draw: Callable[..., Path]) -> None:
    slide = fake_slide("a.scn", 900, origin=(40, 25))
    path = draw(([SQUARE], "Tumor"))
    (out, _), _ = import_mask(path, slide, tmp_path / "out.geojson", mpp=1.0)
    assert json.loads(out.read_text())["features"][0]["geometry"]["coordinates"][0][0] == [100, 60]
    assert read_regions(out, slide).tumour.bounds == (125, 100, 325, 300)


def test_classes_are_named_or_assumed_and_told(slide: Slide, draw: Callable[..., Path], tmp_path: Path) -> None:
    with Incoming(draw(([SQUARE], None), ([HOLE], None)), slide) as incoming:
        assert incoming.notes == ["no region has a class: all 2 taken for tumour"]
        assert incoming.regions.tumour.area == 200 * 200
    stroma = draw(([SQUARE], "Stroma"), ([HOLE], "Invasive"))
    with pytest.raises(AnnotationError, match=r"neither tumour nor normal tissue \(its classes are: Invasive, Stroma\).*--tumour CLASS"):
        Incoming(stroma, slide)
    with Incoming(stroma, slide, ["invasive "]) as incoming:
        assert incoming.regions.tumour.equals(shapely.Polygon(HOLE))
        assert incoming.notes == []
    with pytest.raises(AnnotationError, match="no region of class Nest"):
        Incoming(stroma, slide, ["Nest"])
    cv2.imwrite(str(tmp_path / "l.png"), np.ones((96, 128), np.uint8))
    with pytest.raises(AnnotationError, match="Leave --tumour out"):
        Incoming(tmp_path / "l.png", slide, ["Nest"])


def test_the_mask_of_another_slide_is_refused(slide: Slide, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "l.png"), np.ones((96, 300), np.uint8))
    with pytest.raises(AnnotationError, match=r"does not fit tiny\.tif"):
        import_mask(tmp_path / "l.png", slide, tmp_path / "o.ome.tif", mpp=1)
    cv2.imwrite(str(tmp_path / "l.png"), np.ones((96, 128), np.uint8))
    with pytest.raises(ExportError, match="ending that tells no format"):
        import_mask(tmp_path / "l.png", slide, tmp_path / "o.doc", mpp=1)
    assert not (tmp_path / "o.ome.tif").exists()


@pytest.fixture
def run(tmp_path: Path, slide: Slide, write_map: Callable[..., None]) -> RunFolder:
    made = RunFolder.create(tmp_path / "run", "predict", Config(), {"slides": [str(slide.path)]})
    path = made.map_path(0, slide.name)
    values = np.full((384, 512), 25, np.uint8)
    values[:, :100] = 0  # nobody looked there
    write_map(path, slide, values)
    made.append(MapReady(0, slide.name, path.relative_to(made.path).as_posix()))
    return made


def test_into_the_corrections_of_a_run(run: RunFolder, slide: Slide, draw: Callable[..., Path]) -> None:
    path = draw(([SQUARE, HOLE], "Tumor"), ([HOLE], "normal"), ([[[100, 60], [120, 60], [120, 260], [100, 260], [100, 60]]], "exclude"))
    corrections, _ = import_corrections(path, slide, run)
    ring = rasterize(shapely.Polygon(SQUARE, [HOLE]), (384, 512), (2, 2))
    ring[:, :60] = False  # the exclusion says nothing
    hole = rasterize(shapely.Polygon(HOLE), (384, 512), (2, 2))
    wanted = np.where(ring, TUMOUR, np.where(hole, NORMAL, 0))
    np.testing.assert_array_equal(corrections.read(0, 0, 384, 512), wanted)
    corrections.paint(0, 0, np.full((10, 10), NORMAL, np.uint8))  # what a person painted stays
    again, _ = import_corrections(draw(([HOLE], "Tumor")), slide, run, rest_is_normal=True)
    seen = np.zeros((384, 512), bool)
    seen[:, 100:] = True
    wanted = np.where(hole, TUMOUR, np.where(seen, NORMAL, wanted))
    wanted[:10, :10] = NORMAL
    np.testing.assert_array_equal(again.read(0, 0, 384, 512), wanted)


def test_a_run_of_another_slide_is_refused(run: RunFolder, tmp_path: Path, draw: Callable[..., Path]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tifffile.imwrite(other / "tiny.tif", np.full((768, 1024, 3), 9, np.uint8), tile=(256, 256), photometric="rgb")
    tifffile.imwrite(other / "b.tif", np.full((768, 1024, 3), 9, np.uint8), tile=(256, 256), photometric="rgb")
    for name, said in (("tiny.tif", "of other contents"), ("b.tif", "no map of b.tif")):
        with open_slide(other / name, 0.5) as slide, pytest.raises(RunError, match=said):
            import_corrections(draw(([SQUARE], "Tumor")), slide, run)
    assert not run.corrections.exists()


def test_by_the_command_line(run: RunFolder, slide: Slide, draw: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    path = draw(([SQUARE], None))
    for words in (["--out", str(tmp_path / "m.ome.tif")], ["--into", str(run.path)]):
        with pytest.raises(SystemExit) as ended:
            main(["import", str(path), "--slide", str(slide.path), *words])
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert "taken for tumour" in said.err
        assert words[1] in said.out.replace("\n", "")
    assert Corrections.open(run.corrections_path(slide.name)).area_mm2(TUMOUR) == pytest.approx(0.01)
    for words in ([], ["--out", "a.xml", "--into", str(run.path)], ["--out", "a.xml", "--rest-is-normal"]):
        with pytest.raises(SystemExit) as ended:
            main(["import", str(path), "--slide", str(slide.path), *words])
        assert ended.value.code == 2


def test_every_real_annotation_is_imported_or_refused(shared_data: Path, tmp_path: Path) -> None:
    slide = fake_slide("any.tif", 300_000)
    imported = []
    for path in sorted(file for file in (shared_data / "annotations").rglob("*") if file.is_file()):
        classes = ["Cell", "Nucleus"] if path.name == "qupath-polygon-cell-classified.json" else []
        try:
            (out, _), _ = import_mask(path, slide, tmp_path / f"{path.stem}.geojson", mpp=1.0, tumour=classes)
        except AnnotationError as error:
            assert any(why in str(error) for why in ("no polygon", "Darwin", "Cytomine", "Sectra")), path
            continue
        imported.append(path.stem)
        before, after = read_regions(path, slide), read_regions(out, slide)
        if classes or after.normal.is_empty:
            assert after.tumour.area == pytest.approx(shapely.union_all([r.geometry for r in before]).area, rel=1e-9)
        else:
            assert after.tumour.equals(before.tumour)
    assert len(imported) == 49
