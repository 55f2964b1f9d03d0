"""Opening slides: pyramid, resolution, identity, and the marks a file carries."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import open_slide, slide_info

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, image: np.ndarray, **options: object) -> Path:
    settings: dict[str, object] = {"tile": (64, 64), "metadata": None, "photometric": "rgb" if image.ndim == 3 else "minisblack"}
    tifffile.imwrite(path, image, **(settings | options))
    return path


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (301, 203, 3), dtype=np.uint8)


def test_levels_scales_and_resolution(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        assert slide.shape_level0 == (768, 1024)
        assert [level.shape for level in slide.levels] == [(768, 1024, 3), (384, 512, 3)]
        assert slide.level_scales == [(1.0, 1.0), (2.0, 2.0)]
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.5), "file")
        assert slide.bounds_origin_yx_level0 == (0, 0)
        with tifffile.TiffFile(tiny_slide) as tiff:
            np.testing.assert_array_equal(slide.levels[0].compute(), tiff.series[0].levels[0].asarray())
            np.testing.assert_array_equal(slide.levels[1][100:150, 3:9].compute(), tiff.series[0].levels[1].asarray()[100:150, 3:9])


def test_coarse_levels_are_built_and_lie_in_place(tmp_path: Path) -> None:
    y, x = np.mgrid[:4099, :2501]
    ramp = np.stack([y // 17, x // 10, (x + y) // 27], axis=-1).astype(np.uint8)
    with open_slide(write(tmp_path / "flat.tif", ramp, tile=(256, 256), compression="deflate")) as slide:
        assert [level.shape[:2] for level in slide.levels] == [(4099, 2501), (2049, 1250), (1024, 625)]
        assert slide.stored_levels == 1
        assert slide.level_scales[2] == (4099 / 1024, 2501 / 625)
        # 17 chunks of 2048 px and not hundreds of 256: large reads are several times faster
        assert slide.levels[0].npartitions == 3 * 2
        coarse = slide.levels[2].compute().astype(float)
        for row, column in [(0, 0), (511, 300), (1023, 624)]:
            centre_y, centre_x = (row + 0.5) * 4099 / 1024 - 0.5, (column + 0.5) * 2501 / 625 - 0.5
            expected = [centre_y / 17, centre_x / 10, (centre_x + centre_y) / 27]
            np.testing.assert_allclose(coarse[row, column], np.array(expected) - 0.5, atol=1.0)  # // rounds down


@pytest.mark.parametrize("mpp", [0.25, 8.0])
def test_override_goes_first(tiny_slide: Path, mpp: float) -> None:
    with open_slide(tiny_slide, mpp=mpp) as slide:
        assert (slide.require_mpp(), slide.mpp_source) == (mpp, "override")
        told = slide.mpp_of_file
    with open_slide(tiny_slide, mpp=round(told, 4)) as slide:  # the way back: what the file says is the file's
        assert (slide.mpp, slide.mpp_source) == (told, "file")


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.01, 352.8, float("nan"), float("inf")])
def test_senseless_override_is_refused(tiny_slide: Path, mpp: float) -> None:
    with pytest.raises(SlideError, match=r"between 0\.05 and 20"):
        open_slide(tiny_slide, mpp=mpp)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, "352.8 um/px"),
        ({"resolution": (72, 72), "resolutionunit": "NONE"}, "names none"),
        ({"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"}, "axes should not differ"),
    ],
)
def test_resolution_that_cannot_be_believed_is_asked_for(tmp_path: Path, noise: np.ndarray, options: dict[str, object], why: str) -> None:
    with open_slide(write(tmp_path / "x.tif", noise, **options)) as slide:
        assert slide.mpp is None
        assert slide.mpp_source is None
        with pytest.raises(SlideError, match=why) as caught:
            slide.read_working(0, 0, 8, 8, 1.0)
    assert "--mpp X" in str(caught.value)
    assert "x.tif" in str(caught.value)


def test_ome_resolution_is_read(tmp_path: Path, noise: np.ndarray) -> None:
    metadata = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    path = write(tmp_path / "x.ome.tif", noise, metadata=metadata, resolution=(72, 72), resolutionunit="INCH")
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)


def test_grey_planar_and_rgba_slides_read_as_rgb(tmp_path: Path, noise: np.ndarray) -> None:
    with open_slide(write(tmp_path / "grey.tif", noise[..., 0])) as slide:
        np.testing.assert_array_equal(slide.levels[0].compute(), np.repeat(noise[..., :1], 3, axis=2))
    channels = np.ascontiguousarray(np.moveaxis(noise, 2, 0))
    with open_slide(write(tmp_path / "planes.ome.tif", channels, metadata={"axes": "CYX"}, photometric="minisblack")) as slide:
        np.testing.assert_array_equal(slide.levels[0].compute(), noise)
    rgba = np.dstack([noise, np.full(noise.shape[:2], 255, np.uint8)])
    with open_slide(write(tmp_path / "rgba.tif", rgba, extrasamples=["unassalpha"])) as slide:
        np.testing.assert_array_equal(slide.levels[0].compute(), noise)


def test_identity_is_stable_and_names_no_folder(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide, open_slide(tiny_slide) as again:
        identity = slide.identity()
        assert identity == again.identity()
        assert str(tiny_slide.parent) not in json.dumps(identity)
        assert set(identity) == {"name", "size_bytes", "quick_hash", "shape_level0", "mpp", "mpp_source"}
        before = slide.quick_hash
    data = bytearray(tiny_slide.read_bytes())
    data[-1] ^= 1
    tiny_slide.write_bytes(bytes(data))
    with open_slide(tiny_slide) as changed:
        assert changed.quick_hash != before


def test_a_slide_is_not_pickled_and_not_read_once_closed(tiny_slide: Path) -> None:
    slide = open_slide(tiny_slide)
    with pytest.raises(TypeError, match="send its path"):
        pickle.dumps(slide)
    slide.close()
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.thumbnail()
    with pytest.raises(SlideError, match="closed"):
        slide.levels[0][:5].compute()


def test_phantoms_are_known_by_software_or_description(tmp_path: Path, noise: np.ndarray) -> None:
    for name, options, expected in [
        ("software.tif", {"software": "napari-ifkd phantom 0.1"}, True),
        ("description.tif", {"description": "a napari-ifkd phantom slide", "metadata": {}}, True),
        ("ome.ome.tif", {"metadata": {"axes": "YXS", "Description": "napari-ifkd phantom"}}, True),
        ("other.tif", {"software": "napari-ifkd"}, False),
    ]:
        with open_slide(write(tmp_path / name, noise, **options)) as slide:
            assert slide.is_phantom is expected, name


def test_thumbnail_keeps_aspect_and_never_enlarges(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        assert slide.thumbnail(256).shape == (192, 256, 3)
        assert slide.thumbnail(5000).shape == (768, 1024, 3)
        assert abs(float(slide.thumbnail(256).mean()) - float(slide.levels[0].mean().compute())) < 0.5


def test_info_is_json_with_real_numbers(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        info = json.loads(json.dumps(slide_info(slide)))
    assert (info["width"], info["height"], info["has_associated"]) == (1024, 768, [])
    assert [level["scale_yx"] for level in info["levels"]] == [[1, 1], [2, 2]]
    disc_mm2 = np.pi * 250**2 * 0.25 / 1e6
    assert info["tissue"]["area_mm2"] == pytest.approx(disc_mm2, rel=0.06)


def test_aperio_slide(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert (slide.mpp, slide.mpp_source, slide.objective, slide.vendor) == (0.499, "file", 20.0, "aperio")
        assert slide.shape_level0 == (2967, 2220)
        assert [level.shape[:2] for level in slide.levels] == [(2967, 2220), (1483, 1110)]
        assert slide_info(slide)["has_associated"] == ["label", "macro", "thumbnail"]
        assert slide.levels[0].chunksize == (1920, 1920, 3)  # tiles of 240 px
        assert not slide.is_phantom


def test_slide_without_resolution(shared_data: Path) -> None:
    path = shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs"
    with open_slide(path) as slide, pytest.raises(SlideError, match="--mpp X"):
        slide.require_mpp()
    with open_slide(path, mpp=0.25) as slide:
        assert slide.working_shape(1.0) == (892, 1111)


def test_stored_levels_keep_their_real_scales(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "openslide_boxes.tiff") as slide:
        assert slide.level_scales[3] == (250 / 31, 300 / 37)
        assert slide.mpp is None


def test_leica_areas_are_composed_and_offset(tmp_path: Path) -> None:
    """Two scanned areas on a slide of 1000 x 800 px at 0.5 um/px; the first starts at x 200, y 100."""
    rng = np.random.default_rng(0)
    areas = [rng.integers(1, 255, (256, 384, 3), dtype=np.uint8) for _ in range(2)]
    macro = rng.integers(1, 255, (80, 100, 3), dtype=np.uint8)
    places = [(0, 0, 500_000, 400_000), (100_000, 50_000, 192_000, 128_000), (100_000, 250_000, 192_000, 128_000)]
    images = "".join(
        f'<image><creationDate>x</creationDate><device model="m" version="1"/>'
        f'<pixels sizeX="{w}" sizeY="{h}"><dimension sizeX="{w}" sizeY="{h}" r="0" ifd="{i}"/>{extra}</pixels>'
        f'<view sizeX="{sx}" sizeY="{sy}" offsetX="{x}" offsetY="{y}"/>'
        f"<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>"
        f"<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings>"
        f"</scanSettings></image>"
        for i, ((x, y, sx, sy), (w, h), extra) in enumerate(
            zip(
                places,
                [(100, 80), (384, 256), (384, 256)],
                ["", *[f'<dimension sizeX="192" sizeY="128" r="1" ifd="{n}"/>' for n in (3, 4)]],
                strict=True,
            )
        )
    )
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="500000" sizeY="400000">{images}</collection></scn>'
    )
    path = tmp_path / "two.scn"
    pages = [macro, *areas, *[a[::2, ::2] for a in areas]]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index, page in enumerate(pages):
            tiff.write(page, tile=(64, 64), photometric="rgb", metadata=None, description=xml if index == 0 else None)
    with open_slide(path) as slide:
        assert (slide.vendor, slide.mpp, slide.shape_level0) == ("leica", 0.5, (800, 1000))
        assert slide.bounds_origin_yx_level0 == (100, 200)
        whole = slide.levels[0].compute()
        np.testing.assert_array_equal(whole[100:356, 200:584], areas[0])
        np.testing.assert_array_equal(whole[500:756, 200:584], areas[1])
        assert whole[400:480].max() == 0
        assert "macro" not in str(slide_info(slide)["vendor"])
