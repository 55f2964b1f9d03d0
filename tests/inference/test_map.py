"""Maps on disk: opened, cut, smoothed without seams; foreign folders told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_ifkd.errors import RunError
from napari_ifkd.inference import open_map
from napari_ifkd.inference.map_writer import MapWriter, halved
from napari_ifkd.inference.pseudo_mask import smooth_window

FACTS = {"mpp": 1.0, "scale_yx": [2.0, 2.0], "pixel_size_um_yx": [1.0, 1.0], "slide": {"name": "s.tif", "mpp": 0.5}}


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (20, 28)).astype(np.uint8).repeat(70, 0).repeat(70, 1)[:1300, :1900]
    return np.where(rng.random(coarse.shape) < 0.1, 0, coarse).astype(np.uint8)


@pytest.fixture
def found(tmp_path, values):
    with MapWriter(tmp_path / "m.zarr", values.shape) as writer:
        for y in range(0, len(values), 77):
            writer.append(values[y : y + 77])
        return writer.complete(FACTS, lambda: None)


def test_windows_read_back(found, values):
    np.testing.assert_array_equal(found.read(0, 0, *values.shape), values)
    np.testing.assert_array_equal(found.read(500, 1000, 30, 40), values[500:530, 1000:1040])
    beyond = found.read(-5, 1890, 10, 20)
    np.testing.assert_array_equal(beyond[5:, :10], values[:5, 1890:])
    assert beyond[:5].sum() == beyond[:, 10:].sum() == 0


@pytest.mark.parametrize("sigma", [0, 3])
def test_lazy_mask_equals_the_whole_one(found, values, sigma):
    smoothed = smooth_window(values, sigma)
    lazy = found.mask(0.5, sigma)
    assert lazy.dtype == bool
    assert lazy.shape == values.shape
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), (smoothed >= 0.5) & (smoothed > 0))
    np.testing.assert_array_equal(lazy[1000:1100, 1020:1030].compute(), lazy.compute()[1000:1100, 1020:1030])


def test_what_was_not_looked_at_is_never_tumour(found, values):
    assert not found.mask(0.0, 3).compute()[values == 0].any()
    assert found.mask(0.0, 3).compute()[values > 0].all()


def test_mask_levels_match_the_levels(found, values):
    masks = found.mask_levels(0.5, 3)
    assert [m.shape for m in masks] == [level.shape for level in found.levels]
    fine, coarse = masks[0].compute()[::2, ::2], masks[1].compute()
    assert (fine == coarse)[values[::2, ::2] > 0].mean() > 0.9


def test_only_the_chunks_with_values_are_stored(tmp_path):
    with MapWriter(tmp_path / "m.zarr", (2048, 2048)) as writer:
        rows = np.zeros((2048, 2048), np.uint8)
        rows[100, 100] = 9
        writer.append(rows)
        found = writer.complete(FACTS, lambda: None)
    assert len([p for p in (found.path / "0").rglob("*") if p.is_file()]) == 2  # its zarr.json and one chunk
    assert open_map(found.path).read(100, 100, 1, 1)[0, 0] == 9


def test_other_programs_read_it_as_ome_zarr(found):
    ome = zarr.open_group(found.path, mode="r").attrs["ome"]
    assert ome["version"] == "0.5"
    assert [d["path"] for d in ome["multiscales"][0]["datasets"]] == [str(k) for k in range(len(found.levels))]


def test_halving_odd_sides():
    np.testing.assert_array_equal(halved(np.array([[0, 2, 9], [4, 7, 9], [1, 2, 5]], np.uint8)), [[3, 9], [2, 5]])


def test_foreign_folders_are_told(tmp_path, found):
    with pytest.raises(RunError, match="does not exist"):
        open_map(tmp_path / "nowhere.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no probability map"):
        open_map(tmp_path / "empty")
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array("0", shape=(4, 4), dtype="uint8")
    with pytest.raises(RunError, match="no probability map"):
        open_map(tmp_path / "other.zarr")
    meta = json.loads((found.path / "zarr.json").read_text())
    del meta["attributes"]["napari_ifkd"]["scale_yx"]
    meta.pop("consolidated_metadata", None)
    (found.path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(RunError, match="damaged"):
        open_map(found.path)
