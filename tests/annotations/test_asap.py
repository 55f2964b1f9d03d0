"""ASAP's XML: what counts as tumour, what is cut out, and what is refused."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw

from napari_ifkd.annotations import rasterize, read_regions
from napari_ifkd.errors import AnnotationError

SQUARE = ((0, 0), (100, 0), (100, 100), (0, 100))


def box(x, y, side):
    return tuple((x + a * side // 100, y + b * side // 100) for a, b in SQUARE)


def drawn(points, group="None", kind="Polygon", name="a"):
    told = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(points))
    return f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>{told}</Coordinates></Annotation>'


def groups(**parents):
    return "".join(
        f'<Group Name="{name}" PartOfGroup="{parent}" Color="#00ff00"><Attributes /></Group>' for name, parent in parents.items()
    )


@pytest.fixture
def write(tmp_path):
    def write(*annotations, told="", name="slide.xml"):
        path = tmp_path / name
        path.write_text(
            f'<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>\n{"".join(annotations)}</Annotations>\n'
            f"<AnnotationGroups>{told}</AnnotationGroups>\n</ASAP_Annotations>\n"
        )
        return path

    return write


def test_camelyon16_groups(write):
    regions = read_regions(
        write(
            drawn(box(0, 0, 100), "_0"),
            drawn(box(200, 0, 100), "_1"),
            drawn(box(400, 0, 100), "Tumor"),
            drawn(box(25, 25, 50), "_2"),
            drawn(box(225, 25, 50), "Exclusion"),
            drawn(box(450, 50, 100), "None"),
            drawn(box(600, 0, 100), "None", name="Tumor"),
        )
    )
    hole = [shapely.Polygon(box(25, 25, 50)), shapely.Polygon(box(225, 25, 50)), shapely.Polygon(box(450, 50, 100))]
    whole = [shapely.Polygon(box(x, 0, 100)) for x in (0, 200, 400, 600)]
    assert regions.tumour.equals(shapely.union_all(whole).difference(shapely.union_all(hole)))
    assert regions.normal.equals(shapely.union_all(hole))
    assert regions.exclusion.is_empty
    assert regions.other.is_empty


def test_a_hole_is_cut_wherever_it_stands_in_the_file(write):
    first = read_regions(write(drawn(box(25, 25, 50), "_2"), drawn(box(0, 0, 100), "_0")))
    assert first.tumour.area == 100 * 100 - 50 * 50
    assert [region.meaning for region in first] == ["normal", "tumour"]
    whole = read_regions(write(drawn(box(0, 0, 100), "_0"), drawn(box(0, 0, 200), "_2")))
    assert whole.tumour.is_empty
    assert len(whole) == 1


def test_a_group_inherits_its_meaning(write):
    told = groups(lesion="Tumor", Tumor="None", vessel="stroma", stroma="None", a="b", b="a")
    regions = read_regions(
        write(
            drawn(box(0, 0, 10), "lesion"),
            drawn(box(50, 0, 10), "vessel"),
            drawn(box(90, 0, 10), "a"),
            drawn(box(70, 0, 10), "Ignore"),
            told=told,
        )
    )
    assert regions.tumour.bounds == (0, 0, 10, 10)
    assert regions.exclusion.bounds == (70, 0, 80, 10)
    assert {region.classification for region in regions} == {"Tumor", "vessel", "a", "Ignore"}


def test_without_tumour_what_has_no_group_means_nothing(write):
    regions = read_regions(write(drawn(SQUARE), drawn(box(200, 0, 10), name="Tumor")))
    assert regions.other.bounds == (0, 0, 100, 100)
    assert regions.tumour.bounds == (200, 0, 210, 10)  # by its name, as elsewhere


def test_kinds(write):
    regions = read_regions(
        write(
            drawn(SQUARE, "Tumor", "Spline"),
            drawn(box(200, 0, 100), "Tumor", "Rectangle"),
            drawn(((300, 100), (400, 0)), "Tumor", "Rectangle"),
            drawn(SQUARE, "Tumor", "PointSet"),
            drawn(SQUARE[:2], "Tumor", "Polygon"),
            drawn(SQUARE[:1], "Tumor", "Dot"),
        )
    )
    assert len(regions) == 3
    assert regions.tumour.area == 3 * 100 * 100


def test_order_and_decimals(write):
    text = write(drawn(((0, 0), (10.5, 0), (10.5, 10), (0, 10)), "Tumor")).read_text()
    text = (
        text.replace("10.5", "10,5").replace('Order="0"', 'Order="x"').replace('Order="1"', 'Order="0"').replace('Order="x"', 'Order="1"')
    )
    path = write()
    path.write_text(text)
    geometry = next(iter(read_regions(path))).geometry  # the points change places, and make a bow tie
    assert geometry.area == pytest.approx(0.5 * 10.5 * 10)
    assert geometry.bounds == (0, 0, 10.5, 10)


def test_suffix_and_packing_do_not_matter_and_bounds_are_not_added(write, tmp_path):
    packed = tmp_path / "slide.geojson"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf\n" + write(drawn(SQUARE, "Tumor")).read_bytes()[22:]))
    slide = SimpleNamespace(name="s.scn", shape_level0=(1000, 2000), bounds_origin_yx_level0=(100, 300))
    assert read_regions(packed, slide).tumour.bounds == (0, 0, 100, 100)  # ASAP counts from the slide's own corner
    with pytest.raises(AnnotationError, match=r"outside s\.scn"):
        read_regions(write(drawn(box(3000, 0, 100), "Tumor")), slide)


BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:150], "no whole XML"),
        (lambda text: text.replace("ASAP_Annotations", "Annotations"), "not ASAP's"),
        (lambda text: text.replace("<ASAP", BOMB + "<ASAP", 1), "document type definition"),
        (lambda text: text.replace("<ASAP", '<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><ASAP', 1), "document type definition"),
        (lambda text: text.replace('X="100"', 'X="wide"', 1), "line 4: a Coordinate without"),
        (lambda text: text.replace('X="100"', 'X="nan"', 1), "a Coordinate without"),
        (lambda text: text.replace('Y="0"', "", 1), "a Coordinate without"),
        (lambda text: text.replace('Type="Polygon"', 'Type="Measurement"'), "no polygon"),
        (lambda text: text.replace("?>", ' encoding="klingon"?>', 1), "no whole XML"),
    ],
)
def test_what_cannot_be_used_is_told(write, change, said):
    path = write(drawn(SQUARE, "Tumor"))
    path.write_text(change(path.read_text()))
    with pytest.raises(AnnotationError, match=said):
        read_regions(path)


def test_real_files(shared_data):
    folder = shared_data / "annotations" / "wsidicom" / "asap"
    (region,) = read_regions(folder / "asap-polygon.xml")
    points = [(22851.3281, 16551.1797), (22693.1875, 16669.7832), (22911.5078, 16710.6367)]
    points += [(22934.3516, 16636.3984), (23067.4531, 16621.4629), (22954.1191, 16565.2363)]
    assert region.geometry.equals(shapely.Polygon(points))
    assert region.meaning == "other"
    for empty in ("asap-dot.xml", "asap-pointset.xml"):
        with pytest.raises(AnnotationError, match="no polygon"):
            read_regions(folder / empty)


def test_pixels_are_those_another_program_draws(write):
    """Tumour with holes, painted by PIL at 8 times the size and looked up at the pixel centres."""
    rng = np.random.default_rng(5)
    shapes = [
        (group, np.cumsum(rng.integers(-9, 10, (30, 2)), 0) + rng.integers(20, 80, 2)) for group in ("_0", "Tumor", "_2", "_0", "Exclusion")
    ]
    shapes = [(group, shapely.get_coordinates(shapely.convex_hull(shapely.MultiPoint(points)))) for group, points in shapes]
    regions = read_regions(write(*(drawn(points[:-1].tolist(), group) for group, points in shapes)))
    picture = Image.new("L", (800, 800))
    for holes in (False, True):
        for group, points in shapes:
            if holes == (group in ("_2", "Exclusion")):
                ImageDraw.Draw(picture).polygon([tuple(p) for p in points * 8], fill=0 if holes else 255, outline=0 if holes else 255)
    expected = np.asarray(picture)[4::8, 4::8] > 0
    made = rasterize(regions.tumour, (100, 100))
    assert 200 < made.sum() < 9000
    near_edge = shapely.distance(shapely.points(*np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)), regions.tumour.boundary) < 0.2
    assert np.array_equal(made[~near_edge], expected[~near_edge])
