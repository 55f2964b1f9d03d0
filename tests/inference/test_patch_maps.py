"""A folder of maps, one for each patch: found by name, read as probability, every problem told at once."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd.errors import BagError
from napari_ifkd.inference import read_patch_maps

RNG = np.random.default_rng(0)
SHAPE = (9, 11)
NAMES = ["pos/g1_a.png", "pos/g1_b.jpg", "neg/g1_a.png", "deep/er.v2.tif"]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)


def labels():
    return [(RNG.random(SHAPE) > 0.5).astype(np.uint8) for _ in NAMES]


@pytest.mark.parametrize(
    ("dtype", "suffix", "full"),
    [(np.uint8, ".png", 255), (np.uint16, ".tif", 65535), (np.uint16, ".png", 65535), (np.float32, ".npy", 1), (np.float64, ".npy", 1),
     (np.float32, ".tif", 1)],
)  # fmt: skip
def test_probabilities(tmp_path, dtype, suffix, full):
    wanted = [RNG.random(SHAPE) for _ in NAMES]
    for name, values in zip(NAMES, wanted, strict=True):
        stored = values if full == 1 else np.rint(values * full)
        save(tmp_path / f"{name.rpartition('.')[0]}{suffix}", stored.astype(dtype))
    maps = read_patch_maps(tmp_path, NAMES, SHAPE)
    assert maps.dtype == np.float16
    np.testing.assert_allclose(maps, wanted, atol=0.5 / 255 + 3e-4)


@pytest.mark.parametrize("high", [1, 255])
def test_labels(tmp_path, high):
    wanted = labels()
    wanted[2][:] = 0  # what it means is told by the whole folder, not by one image
    for name, values in zip(NAMES, wanted, strict=True):
        save(tmp_path / f"{name.rpartition('.')[0]}.png", values * high)
    np.testing.assert_array_equal(read_patch_maps(tmp_path, NAMES, SHAPE), wanted)


def test_an_almost_empty_probability_among_others_is_no_label(tmp_path):
    faint, strong = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 200, np.uint8)
    faint[0, 0] = 1
    save(tmp_path / "a.png", faint)
    save(tmp_path / "b.png", strong)
    maps = read_patch_maps(tmp_path, ["a.png", "b.png"], SHAPE)
    assert maps[0, 0, 0] == pytest.approx(1 / 255, rel=1e-3)


def test_prefixes_may_be_absent_but_never_differ(tmp_path):
    first, second = labels()[:2]
    save(tmp_path / "a.png", first)
    save(tmp_path / "images" / "b.png", second)
    np.testing.assert_array_equal(read_patch_maps(tmp_path, ["pos/a.png", "neg/b.png"], SHAPE), [first, second])
    np.testing.assert_array_equal(read_patch_maps(tmp_path, ["b.png", "a.png"], SHAPE), [second, first])
    save(tmp_path / "neg" / "c.png", first)
    with pytest.raises(BagError, match=r"pos/c\.png has no map"):
        read_patch_maps(tmp_path, ["pos/c.png"], SHAPE)


def test_every_problem_at_once(tmp_path):
    save(tmp_path / "a.png", np.zeros((5, 5), np.uint8))
    save(tmp_path / "b.png", np.zeros(SHAPE, np.uint8))
    save(tmp_path / "b.npy", np.zeros(SHAPE))
    save(tmp_path / "c.npy", np.full(SHAPE, 1.5))
    save(tmp_path / "d.png", RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8))
    (tmp_path / "e.png").write_bytes(b"no image")
    save(tmp_path / "f.png", np.full(SHAPE, 3, np.uint8))
    with pytest.raises(BagError) as told:
        read_patch_maps(tmp_path, [f"{name}.jpg" for name in "abcdefg"], SHAPE)
    for said in (
        "the map of a.jpg is 5 x 5 px, its image 11 x 9", "b.jpg has several maps (b.npy, b.png)", "c.npy holds values outside 0 to 1",
        "d.png is a colour image", "e.png cannot be read", "whole numbers up to 3", "g.jpg has no map",
    ):  # fmt: skip
        assert said in str(told.value)


def test_no_folder(tmp_path):
    with pytest.raises(BagError, match="does not exist"):
        read_patch_maps(tmp_path / "none", ["a.png"], SHAPE)
