"""Damaged and hostile files: one clear error, or the right picture; never a traceback from below, never endless memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import tracemalloc
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import find_tissue, open_slide
from napari_ifkd.slides.dicom import begins_dicom

if TYPE_CHECKING:
    from pathlib import Path

CAUSES = {
    "derived_CMU_truncated_4k.svs": "truncated",
    "derived_CMU_truncated_900k.svs": "truncated",
    "derived_CMU_zeroed_tiles.svs": "damaged",
    "derived_empty.svs": "empty",
    "derived_png_named.svs": "not a TIFF",
    "histolab_broken.svs": "not a TIFF",
    "large_image_zero_gi.tif": "zero",
    "not-a-slide-4d.ome.tiff": "is a stack of pictures",
    "openslide_unopenable.tiff": "compressed by method 52479",
    "openslide_unreadable.svs": "is damaged: a part of the picture cannot be decoded",
}


def read_all(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        slide.thumbnail(256)
        find_tissue(slide)
        return slide.levels[0].compute()


@pytest.mark.parametrize("name", CAUSES)
def test_each_bad_file_gives_one_clear_line(shared_data: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SlideError) as caught:
        read_all(shared_data / "slides" / "bad" / name)
    line = str(caught.value)
    assert name in line
    assert CAUSES[name] in line
    assert caught.value.remedy
    assert "\n" not in line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["derived_CMU_no_mpp.svs", "openslide_small.svs"])
def test_odd_but_sound_files_give_the_right_picture(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / "bad" / name
    with tifffile.TiffFile(path) as tiff:
        np.testing.assert_array_equal(read_all(path), tiff.pages[0].asarray())


def test_every_real_slide_opens_or_says_why(shared_data: Path) -> None:
    for path in sorted((shared_data / "slides").glob("*.*")):
        if path.is_dir() and find_spec("wsidicom") is None:
            with pytest.raises(SlideError, match="wsidicom"):
                open_slide(path)
            continue
        with open_slide(path) as slide:
            thumbnail = slide.thumbnail(200)
            assert max(thumbnail.shape) == 200
            for level in slide.levels:
                assert np.asarray(level[-3:, -3:]).shape == (3, 3, 3)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"none\.svs: does not exist"):
        open_slide(tmp_path / "none.svs")
    with pytest.raises(SlideError, match="is a folder"):
        open_slide(tmp_path)


@pytest.fixture
def jpeg_slide(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "jpeg.tif", image, tile=(128, 128), photometric="rgb", compression="jpeg", metadata=None)
    return tmp_path / "jpeg.tif"


def test_a_tile_zeroed_half_way_is_noticed(jpeg_slide: Path) -> None:
    """Decoders fill such a tile with grey and say nothing."""
    with tifffile.TiffFile(jpeg_slide) as tiff:
        offset, count = tiff.pages[0].dataoffsets[3], tiff.pages[0].databytecounts[3]
    data = bytearray(jpeg_slide.read_bytes())
    data[offset + count // 2 : offset + count] = bytes(count - count // 2)
    jpeg_slide.write_bytes(bytes(data))
    with open_slide(jpeg_slide, mpp=0.5) as slide:
        assert slide.read_working(0, 0, 512, 256, 0.5).shape == (512, 256, 3)  # the sound tiles can be used
        with pytest.raises(SlideError, match=r"jpeg\.tif: is damaged: a tile is cut short \(at x 384, y 0"):
            slide.levels[0].compute()


def test_many_damaged_tiles_give_one_error_and_no_traceback_of_each(tmp_path: Path) -> None:
    """In a process of its own, since zarr's loop complains late."""
    image = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "d.tif", image, tile=(128, 128), photometric="rgb", compression="deflate", metadata=None)
    data = bytearray((tmp_path / "d.tif").read_bytes())
    data[2000 : len(data) // 4] = bytes(len(data) // 4 - 2000)  # the tile that is tried on opening stays sound
    (tmp_path / "d.tif").write_bytes(bytes(data))
    code = (
        "import sys\nfrom napari_ifkd.errors import SlideError\nfrom napari_ifkd.slides import open_slide\n"
        "try:\n    open_slide(sys.argv[1], mpp=0.5).read_working(0, 0, 1024, 1024, 0.5)\n"
        "except SlideError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "d.tif")], capture_output=True, text=True, check=True)
    assert "d.tif: is damaged" in done.stdout
    assert done.stderr == ""


def test_a_file_cut_anywhere_never_gives_wrong_pixels(jpeg_slide: Path) -> None:
    whole = jpeg_slide.read_bytes()
    expected = read_all(jpeg_slide)
    for share in np.linspace(0.0005, 0.9995, 25):
        jpeg_slide.write_bytes(whole[: int(len(whole) * share)])
        try:
            got = read_all(jpeg_slide)
        except SlideError as error:
            assert "jpeg.tif" in str(error)
        else:
            np.testing.assert_array_equal(got, expected)


def test_random_damage_gives_pixels_or_a_slide_error(tiny_slide: Path) -> None:
    sound = tiny_slide.read_bytes()
    rng = np.random.default_rng(5)
    header = np.r_[0:400, len(sound) - 400 : len(sound)]
    for _ in range(60):
        data = bytearray(sound)
        for position in rng.choice(header, 3):
            data[position] = int(rng.integers(256))
        tiny_slide.write_bytes(bytes(data))
        try:
            with open_slide(tiny_slide) as slide:
                if max(slide.shape_level0) < 3000:
                    slide.levels[0].compute()
        except SlideError:
            pass


def sparse_tiff(path: Path, side: int, tile: int, tiles: int) -> Path:
    """Write a header that claims side x side px in `tiles` tiles, none of which is there."""
    entries = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, tiles, 0), (325, 4, tiles, 0),
    ]  # fmt: skip
    out = io.BytesIO()
    out.write(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)))
    data_at = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        out.write(struct.pack("<HHII", tag, kind, count, data_at if count > 1 else value))
    out.write(struct.pack("<I", 0) + bytes(4 * tiles))
    path.write_bytes(out.getvalue())
    return path


def test_a_header_that_claims_a_million_pixels_a_side_is_refused(tmp_path: Path) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(SlideError, match="1000000 x 1000000 px, more than any scanner makes"):
        open_slide(sparse_tiff(tmp_path / "huge.tif", 10**6, 4096, 245 * 245))
    assert time.perf_counter() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_a_large_slide_without_pyramid_opens_but_has_no_overview(tmp_path: Path) -> None:
    with open_slide(sparse_tiff(tmp_path / "large.tif", 200_000, 2048, 98 * 98)) as slide:
        assert slide.levels[0][150_000:150_002, :2].compute().max() == 0
        assert len(slide.levels) == 8
        for ask in (slide.thumbnail, lambda: find_tissue(slide)):
            with pytest.raises(SlideError, match="too large for an overview"):
                ask()


def test_one_block_of_many_gigabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="blocks of"):
        open_slide(sparse_tiff(tmp_path / "block.tif", 65536, 65536, 1))


def test_kinds_of_pixels_that_are_not_supported(tmp_path: Path) -> None:
    for name, image, cause in [
        ("deep.tif", np.zeros((64, 64, 3), np.uint16), "uint16"),
        ("float.tif", np.zeros((64, 64), np.float32), "float32"),
        ("five.tif", np.zeros((5, 64, 64), np.uint8), "has 5 channels|not supported"),
    ]:
        tifffile.imwrite(tmp_path / name, image, photometric="rgb" if image.shape[-1] == 3 else "minisblack", planarconfig=None)
        with pytest.raises(SlideError, match=cause):
            open_slide(tmp_path / name)


def test_a_file_that_is_both_tiff_and_dicom_is_a_tiff(tmp_path: Path) -> None:
    """As DICOM allows (PS3.10, 7.1): its preamble is the head of the TIFF."""
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    tifffile.imwrite(tmp_path / "both.tif", image, tile=(128, 128), photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "both.tif") as tiff:
        directory = 2 + 12 * len(tiff.pages[0].tags) + 4
        assert tiff.pages[0].offset == 8
    data = bytearray((tmp_path / "both.tif").read_bytes())
    data[4:8] = len(data).to_bytes(4, "little")
    data += data[8 : 8 + directory]  # behind all else, so that the place of DICOM's mark is free
    data[128:132] = b"DICM"
    (tmp_path / "both.tif").write_bytes(data)
    assert begins_dicom(tmp_path / "both.tif")
    np.testing.assert_array_equal(read_all(tmp_path / "both.tif"), image)
