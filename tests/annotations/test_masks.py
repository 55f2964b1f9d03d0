"""Label images, read window by window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd.annotations import read_mask
from napari_ifkd.errors import AnnotationError


@pytest.fixture
def labels():
    return (np.random.default_rng(0).random((300, 410)) > 0.5).astype(np.uint8) * 3


def check(path, labels, mpp=None):
    with read_mask(path) as mask:
        assert mask.shape == labels.shape
        assert mask.mpp == (pytest.approx(mpp) if mpp else None)
        np.testing.assert_array_equal(mask.read(0, 0, *mask.shape), labels > 0)
        np.testing.assert_array_equal(mask.read(100, 200, 50, 60), labels[100:150, 200:260] > 0)
        beyond = mask.read(290, 400, 20, 20)
        assert beyond[:10, :10].sum() == (labels[290:, 400:] > 0).sum() == beyond.sum()


def test_tiled_tiff_with_resolution(tmp_path, labels):
    tifffile.imwrite(
        tmp_path / "m.tif", labels, tile=(64, 64), resolution=(1e4 / 0.5,) * 2, resolutionunit="CENTIMETER", compression="zlib"
    )
    check(tmp_path / "m.tif", labels, 0.5)


def test_pyramid_uses_the_finest_level(tmp_path, labels):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as file:
        meta = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
        file.write(labels, tile=(64, 64), subifds=1, metadata=meta)
        file.write(labels[::2, ::2], tile=(64, 64), subfiletype=1)
    check(tmp_path / "m.ome.tif", labels, 0.25)


def test_plain_tiff_and_the_72_dpi_trap(tmp_path, labels):
    tifffile.imwrite(tmp_path / "m.tif", labels.astype(np.uint16), resolution=(72, 72), resolutionunit="INCH")
    check(tmp_path / "m.tif", labels)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "1"])
def test_png(tmp_path, labels, mode):
    image = Image.fromarray((labels > 0).astype(np.uint8) * (255 if mode == "1" else 1))
    if mode == "P":
        image.putpalette([9, 9, 9, 200, 0, 0] + [0] * 750)
    else:
        image = image.convert(mode)
    assert image.mode == mode
    image.save(tmp_path / "m.png")
    check(tmp_path / "m.png", labels)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_cut_at_half(tmp_path, mode):
    """A JPEG is grey beside its edges: there a plain "not 0" would be far off."""
    drawn = np.zeros((300, 410), bool)
    drawn[50:211, 100:333] = drawn[250:290, 10:90] = True
    path = tmp_path / "m.jpg"
    Image.fromarray(drawn.astype(np.uint8) * 255).convert(mode).save(path, quality=60)
    stored = np.asarray(Image.open(path).convert("L"))
    assert ((stored != 0) & ~drawn).sum() > 50
    check(path, drawn)


def test_labels_lost_in_a_jpeg_are_told(tmp_path):
    Image.fromarray(np.ones((64, 64), np.uint8) * 3).save(tmp_path / "m.jpg")
    with pytest.raises(AnnotationError, match="values up to 3"):
        read_mask(tmp_path / "m.jpg")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "black.jpg")
    with read_mask(tmp_path / "black.jpg") as mask:
        assert not mask.read(0, 0, 64, 64).any()


def test_what_cannot_be_used_is_told(tmp_path):
    with pytest.raises(AnnotationError, match="does not exist"):
        read_mask(tmp_path / "no.tif")
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_mask(tmp_path / "bad.tif")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_mask(tmp_path / "bad.png")
    tifffile.imwrite(tmp_path / "float.tif", np.ones((5, 5), np.float32))
    with pytest.raises(AnnotationError, match="float32"):
        read_mask(tmp_path / "float.tif")
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((5, 6, 7), np.uint8), photometric="minisblack")
    with pytest.raises(AnnotationError, match="no single 2-D image"):
        read_mask(tmp_path / "stack.tif")


def test_damage_inside_is_told_when_read(tmp_path, labels):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, labels, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\xff" * count
    path.write_bytes(data)
    with read_mask(path) as mask, pytest.raises(AnnotationError, match="cannot be read at row 0"):
        mask.read(0, 0, 10, 10)


def test_real_truth(shared_data):
    with read_mask(shared_data / "slides" / "luad_mosaic_mask.tif") as mask:
        assert mask.shape == (2048, 8192)
        assert mask.mpp == pytest.approx(1.0)
        share = mask.read(0, 0, 2048, 8192).mean()
    assert 0.05 < share < 0.6
