"""Every format goes out and comes back, read by programs that are not ours."""

from __future__ import annotations

import csv
import gzip
import json
from types import SimpleNamespace
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
import shapely
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from PIL import Image
from scipy import ndimage
from shapely.geometry import shape

from napari_ifkd.annotations import rasterize, read_regions
from napari_ifkd.errors import Cancelled, ExportError
from napari_ifkd.export import FORMATS, ExportOptions, export_map, export_run

ALL = [name for name in FORMATS if name != "dicom-seg"]
NUMBER = {"type": "number"}
POSITION = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
RING = {"type": "array", "items": POSITION, "minItems": 4}
POLYGON = {"type": "array", "items": RING, "minItems": 1}
QUPATH = {  # what QuPath 0.4 to 0.6 reads of an annotation
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"},
                    "geometry": {
                        "oneOf": [
                            {"properties": {"type": {"const": "Polygon"}, "coordinates": POLYGON}},
                            {"properties": {"type": {"const": "MultiPolygon"}, "coordinates": {"type": "array", "items": POLYGON}}},
                        ]
                    },
                    "properties": {
                        "type": "object",
                        "required": ["objectType", "classification", "measurements"],
                        "properties": {
                            "objectType": {"const": "annotation"},
                            "name": {"type": "string"},
                            "isLocked": {"type": "boolean"},
                            "classification": {
                                "type": "object",
                                "required": ["name", "color"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "color": {
                                        "type": "array",
                                        "items": {"type": "integer", "minimum": 0, "maximum": 255},
                                        "minItems": 3,
                                        "maxItems": 3,
                                    },
                                },
                            },
                            "measurements": {"type": "object", "additionalProperties": NUMBER},
                        },
                    },
                },
            },
        },
    },
}


def hard_cases(height=1300, width=1100):
    """Lesions at every border, over chunk seams, touching by a corner and by an edge, of one pixel, and rings with islands in them."""
    values = np.full((height, width), 20, np.uint8)
    values[0:40, 0:30] = values[-1, -1] = values[-60:, 200:260] = values[300:340, -25:] = 240  # at the border
    values[480:560, 470:590] = values[1000:1060, 900:1060] = 200  # over seams of chunks of 512 px
    values[600:620, 100:120] = values[620:640, 120:140] = 230  # touch by a corner
    values[700, 100] = values[701, 101] = values[702, 103] = 255  # single px
    values[800:900, 300:400] = 220  # a ring, an island, and a px in that
    values[810:890, 310:390] = 20
    values[830:870, 330:370] = 180
    values[840:860, 340:360] = 20
    values[850, 350] = 255
    values[810, 310] = 220  # the hole touches its shell by a corner
    values[815:820, 302:306] = 20  # another hole, empty
    values[900:950, 380:420] = 220  # and something touches the ring by an edge
    return values


@pytest.fixture
def hard(make_map):
    found = make_map(hard_cases(), origin=(120, 44))
    return found, found.mask(0.5, 0).compute()


def out(found, tmp_path, name, **options):
    return export_map(found, tmp_path / "out", [name], threshold=0.5, sigma_px=0, options=ExportOptions(**options))[0]


@pytest.mark.parametrize("name", ["geojson", "geojson.gz"])
def test_geojson_is_what_qupath_reads_and_loses_no_pixel(hard, tmp_path, name):
    found, mask = hard
    path = out(found, tmp_path, name)
    told = json.loads(gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes())
    jsonschema.validate(told, QUPATH)
    shapes = [shape(feature["geometry"]) for feature in told["features"]]
    assert len(shapes) == ndimage.label(mask)[1]  # touching by a corner is not touching
    assert all(each.is_valid for each in shapes)
    drawn = rasterize(shapely.multipolygons(shapely.transform(shapes, lambda xy: xy + np.array([44, 120]))), mask.shape, found.scale_yx)
    np.testing.assert_array_equal(drawn, mask)
    slide = SimpleNamespace(name="case 7.scn", shape_level0=(5000, 5000), bounds_origin_yx_level0=(120, 44))
    np.testing.assert_array_equal(rasterize(read_regions(path, slide).tumour, mask.shape, found.scale_yx), mask)


def test_gzipped_outlines_are_the_same_and_smaller(hard, tmp_path):
    plain, packed = (out(hard[0], tmp_path, name) for name in ("geojson", "geojson.gz"))
    features = [json.loads(text)["features"] for text in (plain.read_bytes(), gzip.decompress(packed.read_bytes()))]
    assert features[0] == features[1]
    assert packed.stat().st_size < 0.5 * plain.stat().st_size


def test_asap_comes_back_by_its_own_rule_and_by_our_reader(hard, tmp_path):
    found, mask = hard
    path = out(found, tmp_path, "asap")
    drawn = np.zeros(mask.shape, bool)
    cut = np.zeros(mask.shape, bool)
    for annotation in ElementTree.parse(path).getroot().iter("Annotation"):
        points = [(float(c.get("X")), float(c.get("Y"))) for c in annotation.iter("Coordinate")]
        (cut if annotation.get("PartOfGroup") == "Exclusion" else drawn)[rasterize(shapely.Polygon(points), mask.shape, found.scale_yx)] = 1
    assert cut.any()
    np.testing.assert_array_equal(drawn & ~cut, mask)  # as Camelyon's own tool: tumour first, exclusions last
    np.testing.assert_array_equal(rasterize(read_regions(path).tumour, mask.shape, found.scale_yx), mask)


def test_asap_has_the_structure_of_files_that_asap_wrote(hard, tmp_path, shared_data):
    ours = ElementTree.parse(out(hard[0], tmp_path, "asap")).getroot()
    theirs = ElementTree.parse(shared_data / "annotations" / "wsidicom" / "asap" / "asap-polygon.xml").getroot()
    assert [each.tag for each in ours] == [each.tag for each in theirs]
    for path in ("Annotations/Annotation", "Annotations/Annotation/Coordinates", "Annotations/Annotation/Coordinates/Coordinate"):
        a, b = ours.find(path), theirs.find(path)
        assert a.keys() == b.keys()
        assert {child.tag for child in a} == {child.tag for child in b}
    groups = {group.get("Name"): group.get("Color") for group in ours.iter("Group")}
    assert groups == {"Tumor": "#C80000", "Exclusion": "#000000"}
    first = ours.find("Annotations/Annotation/Coordinates")
    assert [int(c.get("Order")) for c in first] == list(range(len(first)))


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_ome_zarr_is_read_by_ome_zarr_py(hard, tmp_path, version):
    found, mask = hard
    path = out(found, tmp_path, "ome-zarr", ome_zarr=version)
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == (3 if version == "0.5" else 2)
    nodes = list(Reader(parse_url(path, mode="r"))())
    image = next(node for node in nodes if node.zarr.basename() == path.name)
    label = next(node for node in nodes if node.zarr.basename() == "tumour")
    np.testing.assert_array_equal(np.asarray(label.data[0]), mask)
    np.testing.assert_array_equal(np.asarray(label.data[1]), mask[::2, ::2])
    np.testing.assert_array_equal(np.asarray(image.data[0]), found.read(0, 0, *found.shape))
    attributes = root["labels/tumour"].attrs.asdict()
    attributes = attributes.get("ome", attributes)
    assert attributes["image-label"]["colors"] == [{"label-value": 1, "rgba": [200, 0, 0, 255]}]
    assert attributes["image-label"]["properties"] == [{"label-value": 1, "name": "Tumor"}]
    assert attributes["image-label"]["source"] == {"image": "../../"}
    (scales,) = attributes["multiscales"]
    assert [axis["unit"] for axis in scales["axes"]] == ["micrometer"] * 2
    for index, dataset in enumerate(scales["datasets"]):
        scale = dataset["coordinateTransformations"][0]["scale"]
        assert scale == pytest.approx([side * 2**index for side in found.pixel_size_um_yx])
    assert root.attrs["napari_ifkd"]["slide"]["quick_hash"] == "ab"


def test_ome_zarr_is_valid_by_its_models(hard, tmp_path):
    from ome_zarr_models.v04.image_label import ImageLabelAttrs
    from ome_zarr_models.v05 import ImageLabel

    new, old = (zarr.open_group(out(hard[0], tmp_path / v, "ome-zarr", ome_zarr=v) / "labels" / "tumour", mode="r") for v in ("0.5", "0.4"))
    ImageLabel.from_zarr(new)
    ImageLabelAttrs.model_validate(old.attrs.asdict())


def test_an_older_export_is_replaced_and_nothing_else(hard, tmp_path):
    path = out(hard[0], tmp_path, "ome-zarr", ome_zarr="0.4")
    assert out(hard[0], tmp_path, "ome-zarr") == path
    assert not (path / ".zgroup").exists()
    other = tmp_path / "other" / "case 7.ome.zarr"
    other.mkdir(parents=True)
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="nothing of this kind"):
        export_map(hard[0], other.parent, ["ome-zarr"], threshold=0.5, sigma_px=0)
    assert (other / "thesis.txt").read_text() == "mine"


def test_probability_goes_out_as_it_is(hard, tmp_path):
    found, _ = hard
    path = out(found, tmp_path, "prob-ome-tiff")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert [level.shape for level in file.series[0].levels] == [level.shape for level in found.levels]
        np.testing.assert_array_equal(file.asarray(), found.read(0, 0, *found.shape))
        assert 'PhysicalSizeX="' in file.ome_metadata


@pytest.mark.parametrize("mpp", [0.4, 3.0])
def test_label_images_at_another_resolution_keep_their_place(hard, tmp_path, mpp):
    found, mask = hard
    path = out(found, tmp_path, "ome-tiff", mpp=mpp)
    extent = np.array(mask.shape) * found.pixel_size_um_yx
    with tifffile.TiffFile(path) as file:
        image = file.asarray()
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
        sides = np.array([float(pixels.get(f"PhysicalSize{axis}")) for axis in "YX"])
    np.testing.assert_allclose(image.shape * sides, extent, rtol=1e-6)
    np.testing.assert_allclose(sides, mpp, rtol=0.01)
    rows, columns = ((np.arange(n) + 0.5) / n * m for n, m in zip(image.shape, mask.shape, strict=True))
    np.testing.assert_array_equal(image, mask[np.ix_(rows.astype(int), columns.astype(int))])


def read_table(path):
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    from pyarrow import parquet

    table = parquet.read_table(path)
    assert json.loads(table.schema.metadata[b"napari_ifkd"])["threshold"] == 0.5
    return table.to_pylist()


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_tables_hold_what_an_independent_program_measures(make_map, tmp_path, name):
    found = make_map()
    lesions, slide, told = export_map(found, tmp_path, [name], threshold=0.5, sigma_px=2)
    mask, values = found.mask(0.5, 2).compute(), found.read(0, 0, *found.shape)
    labels, count = ndimage.label(mask)
    index = np.arange(1, count + 1)
    rows = read_table(lesions)
    assert len(rows) == count > 10
    px = np.prod(found.pixel_size_um_yx)
    y, x = (np.array(ndimage.center_of_mass(mask, labels, index)) + 0.5).T
    wanted = np.column_stack(
        [
            ndimage.sum(mask, labels, index) * px / 1e6,
            ndimage.mean(values, labels, index) / 255,
            ndimage.maximum(values, labels, index) / 255,
            x * found.scale_yx[1],
            y * found.scale_yx[0],
            x * found.pixel_size_um_yx[1],
        ]
    )
    columns = ["area_mm2", "mean_probability", "max_probability", "centroid_x_level0", "centroid_y_level0", "centroid_x_um"]
    got = np.array([[float(row[column]) for column in columns] for row in rows])
    np.testing.assert_allclose(got[np.lexsort(got.T)], wanted[np.lexsort(wanted.T)], atol=0.006)
    boxes = {(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(labels)}
    sides = [found.scale_yx[1], found.scale_yx[0]] * 2
    names = ["left_level0", "top_level0", "right_level0", "bottom_level0"]
    assert {tuple(round(float(row[n]) / side) for n, side in zip(names, sides, strict=True)) for row in rows} == boxes
    (whole,) = read_table(slide)
    assert int(whole["lesions"]) == count
    assert json.loads(told.read_text())["mask_mm2"] == pytest.approx(mask.sum() * px / 1e6, rel=1e-6)
    assert float(whole["tumour_mm2"]) == pytest.approx(mask.sum() * px / 1e6, rel=1e-6)
    assert float(whole["tumour_share_of_looked_at"]) == pytest.approx(mask.sum() / (values > 0).sum(), abs=1e-6)
    assert whole["tissue_mm2"] in (None, "")  # this map does not know


def test_perimeter_of_a_disc_is_near_the_circle_s(make_map, tmp_path):
    y, x = np.mgrid[:400, :400]
    values = np.where(np.hypot(y - 200, x - 200) < 150, 200, 1).astype(np.uint8)
    found = make_map(values, scale=(2.0, 2.0))
    (row,) = read_table(out(found, tmp_path, "csv"))
    assert float(row["perimeter_mm"]) == pytest.approx(2 * np.pi * 150 / 1e3, rel=0.07)
    assert float(row["perimeter_mm"]) < 0.9 * 8 * 150 / 1e3  # the way along pixel edges


def test_ids_join_outlines_and_table(hard, tmp_path):
    outlines = json.loads(out(hard[0], tmp_path, "geojson").read_text())["features"]
    assert [f["id"] for f in outlines] == [row["id"] for row in read_table(out(hard[0], tmp_path, "csv"))]


def test_picture_shows_the_slide_with_the_mask_over_it(tiny_slide, write_map, tmp_path):
    from napari_ifkd.slides import open_slide

    with open_slide(tiny_slide) as slide:
        write_map(tmp_path / "map.zarr", slide)
        plain = slide.overview((384, 512))
    path = export_run(tmp_path / "map.zarr", ["png"], tmp_path / "out", sigma_px=0, slides=[tiny_slide])[0]
    with Image.open(path) as picture:
        shown, told = np.asarray(picture.convert("RGB")).astype(int), json.loads(picture.text["napari_ifkd"])
    assert shown.shape == (384, 512, 3)
    assert told["threshold"] == 0.5
    changed = np.abs(shown - plain).max(-1) > 0
    inside = np.zeros((384, 512), bool)
    inside[96:192, 128:256] = True
    np.testing.assert_array_equal(changed, inside)
    alone = export_run(tmp_path / "map.zarr", ["png"], tmp_path / "alone", sigma_px=0)[0]
    with Image.open(alone) as picture:
        grey = np.asarray(picture)
    assert (grey[~inside] == 225).all()
    assert (grey[inside] != 225).any()


@pytest.mark.parametrize("of", ["CMU-1-Small-Region.svs", "CMU-1-Small-Region.dcm.d"])  # a converted slide, or the DICOM itself
def test_dicom_segmentation_of_a_dicom_slide(shared_data, write_map, tmp_path, of):
    hd = pytest.importorskip("highdicom")
    from napari_ifkd.slides import open_slide

    slides = shared_data / "slides"
    with open_slide(slides / of) as slide:
        write_map(tmp_path / "map.zarr", slide)
    dicom = slides / "CMU-1-Small-Region.dcm.d"
    path, picture, _ = export_run(tmp_path / "map.zarr", ["dicom-seg", "png"], tmp_path / "out", sigma_px=0, slides=[slides / of, dicom])
    assert {file.name for file in path.iterdir()} == {"0.dcm", "1.dcm", "2.dcm"}
    made = hd.seg.segread(path / "0.dcm")
    assert made.segmentation_type == hd.seg.SegmentationTypeValues.BINARY
    shown = made.get_total_pixel_matrix(segment_numbers=[1])[..., 0]
    wanted = np.zeros((2967, 2220), bool)
    wanted[740:1482, 554:1110] = True
    assert shown.shape == wanted.shape
    assert (shown.astype(bool) != wanted).sum() < 4 * 2 * (742 + 556)  # the grids differ by a fraction of a px
    with Image.open(picture) as drawn:
        assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 1000  # the slide, not grey
    with pytest.raises(ExportError, match="needs the slide as DICOM"):
        export_run(tmp_path / "map.zarr", ["dicom-seg"], tmp_path / "none")


def test_dicom_of_another_slide_is_refused(shared_data, make_map, tmp_path):
    pytest.importorskip("highdicom")
    with pytest.raises(ExportError, match="another one"):
        export_run(make_map(), ["dicom-seg"], tmp_path, slides=[shared_data / "slides" / "CMU-1-Small-Region.dcm.d"])


def test_an_empty_mask_goes_out_in_every_format(make_map, tmp_path):
    found = make_map(np.full((80, 90), 3, np.uint8))
    written = export_map(found, tmp_path, ALL, threshold=0.5, sigma_px=0)
    assert len(written) == sum(len(FORMATS[name].files) for name in ALL) + 1
    assert read_table(tmp_path / "case 7.lesions.parquet") == []
    assert read_table(tmp_path / "case 7.lesions.csv") == []


def test_every_format_carries_warning_and_provenance_and_no_folder(make_map, tmp_path):
    found = make_map(warning="knows phantom slides only")
    written = export_map(found, tmp_path / "secret", ALL, threshold=0.5, sigma_px=2, round=1)
    for path in written:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        data = b"".join(gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files)
        assert b"secret" not in data
        assert str(tmp_path).encode() not in data
        if not path.name.endswith("lesions.csv"):
            assert b"knows phantom slides only" in data, path.name


@pytest.mark.parametrize("calls", [2, 12, 20])
def test_cancel_leaves_nothing_of_any_format(hard, tmp_path, calls):
    asked = iter(range(calls))
    with pytest.raises(Cancelled):
        export_map(hard[0], tmp_path / "out", ALL, threshold=0.5, sigma_px=0, should_stop=lambda: next(asked, None) is None)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("wrong", [{"min_area_um2": -1}, {"simplify_um": float("nan")}, {"mpp": 0}, {"ome_zarr": "0.3"}])
def test_options_that_cannot_be_are_told(wrong):
    with pytest.raises(ExportError):
        ExportOptions(**wrong)


def test_simplified_outlines_stay_valid_and_near_in_asap_and_geojson(make_map, tmp_path):
    found = make_map()
    mask = found.mask(0.5, 2).compute()
    geojson, asap, _ = export_map(found, tmp_path, ["geojson", "asap"], threshold=0.5, sigma_px=2, options=ExportOptions(simplify_um=2.0))
    told = json.loads(geojson.read_text())
    jsonschema.validate(told, QUPATH)
    assert all(shape(feature["geometry"]).is_valid for feature in told["features"])
    for path in (geojson, asap):
        drawn = rasterize(read_regions(path).tumour, mask.shape, found.scale_yx)
        assert (drawn & mask).sum() / (drawn | mask).sum() > 0.9


def test_the_command_line_hands_on_what_was_chosen(make_map, tmp_path, capsys):
    from napari_ifkd.cli import main

    found = make_map()
    words = ["export", str(found.path), "--format", "ome-zarr,csv", "--out", str(tmp_path / "out"), "--ome-zarr", "0.4", "--mpp", "2"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--min-area", "300", "--simplify", "1"])
    assert left.value.code == 0
    assert "case 7.ome.zarr" in capsys.readouterr().out.replace("\n", "")
    root = zarr.open_group(tmp_path / "out" / "case 7.ome.zarr", mode="r")
    assert root.metadata.zarr_format == 2
    assert root["labels/tumour/0"].shape == (350, 550)
    told = json.loads((tmp_path / "out" / "case 7.provenance.json").read_text())
    assert (told["min_area_um2"], told["simplify_um"], told["mpp"], told["ome_zarr"]) == (300, 1, 2, "0.4")
    with pytest.raises(SystemExit) as left:
        main([*words[:-3], "0.3"])
    assert left.value.code == 2
    assert "0.5 or 0.4" in capsys.readouterr().err
