"""Plain pictures: read as a slide of the same pixels is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import find_tissue, open_picture, open_slide, picture, tile_grid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mpp", [0.5, 0.8, 1.0])
def test_as_a_slide_of_the_same_pixels(tiny_slide: Path, tmp_path: Path, mpp: float) -> None:
    pixels = tifffile.imread(tiny_slide)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    tifffile.imwrite(tmp_path / "flat.tif", pixels, tile=(256, 256), photometric="rgb", metadata=None)
    plain = open_picture(tmp_path / "p.png", 0.5)
    with open_slide(tmp_path / "flat.tif", 0.5) as slide:
        assert plain.working_shape(mpp) == slide.working_shape(mpp)
        assert np.array_equal(plain.read_working(-3, 20, 300, 200, mpp), slide.read_working(-3, 20, 300, 200, mpp))
        tissue, expected = find_tissue(plain), find_tissue(slide)
        assert tissue.reason == expected.reason
        assert (tissue.mask == expected.mask).mean() > 0.99
        origins = tile_grid(plain, mpp, 64, tissue=tissue).origins
        assert len(origins) > 10
        assert np.array_equal(origins, tile_grid(slide, mpp, 64, tissue=expected).origins)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.full((20, 30, 3), 255, np.uint8)).convert(mode).save(tmp_path / "p.png")
    read = open_picture(tmp_path / "p.png", 1.0).read_working(0, 0, 20, 30, 1.0)
    assert read.shape == (20, 30, 3)
    assert (read == 255).all()


def test_what_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(SlideError, match=r"352\.8"):
        open_picture(tmp_path / "p.png", 352.8)
    with pytest.raises(SlideError, match="No such file"):
        open_picture(tmp_path / "no.png", 1.0)
    (tmp_path / "torn.png").write_bytes((tmp_path / "p.png").read_bytes()[:50])
    (tmp_path / "text.jpg").write_text("hello")
    for name in ("torn.png", "text.jpg"):
        with pytest.raises(SlideError, match=rf"{name}: cannot be read"):
            open_picture(tmp_path / name, 1.0)
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(SlideError, match="no 8-bit colour or grey image"):
        open_picture(tmp_path / "deep.png", 1.0)
    for limit, module in ((1000, picture), (700, Image)):
        monkeypatch.setattr(module, "_MOST_PX" if module is picture else "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(SlideError, match="too large"):
            open_picture(tmp_path / "p.png", 1.0)
        monkeypatch.undo()
