"""A whole slide's map against its truth, whatever the mask's resolution."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_ifkd.annotations import read_mask
from napari_ifkd.distill import evaluate
from napari_ifkd.distill.evaluate import evaluate_map
from napari_ifkd.distill.metrics import evaluate_masks, settled
from napari_ifkd.errors import AnnotationError
from napari_ifkd.inference import open_file_map
from napari_ifkd.inference.map_writer import MapWriter
from napari_ifkd.inference.pseudo_mask import smooth_window


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(0, 256, (150, 220)).astype(np.uint8)


@pytest.fixture
def found(tmp_path, values):
    facts = {"mpp": 1.0, "scale_yx": [4.0, 4.0], "pixel_size_um_yx": [1.0, 1.0]}
    slide = {"name": "s.tif", "mpp": 0.25, "shape_level0": [600, 880]}
    with MapWriter(tmp_path / "m.zarr", values.shape) as writer:
        writer.append(values)
        return writer.complete({**facts, "slide": slide}, lambda: None)


@pytest.fixture
def mask_file(tmp_path):
    def write(truth, mpp=None):
        options = {"resolution": (1e4 / mpp,) * 2, "resolutionunit": "CENTIMETER"} if mpp else {}
        tifffile.imwrite(tmp_path / "t.tif", truth.astype(np.uint8), tile=(64, 64), **options)
        return read_mask(tmp_path / "t.tif")

    return write


@pytest.fixture
def truth():
    return np.random.default_rng(1).random((150, 220)).repeat(1, 0) > 0.6


@pytest.mark.parametrize("finer", [1, 2, 4])
@pytest.mark.parametrize("sigma", [0, 2])
@pytest.mark.parametrize("block", [64, 2048])
def test_equals_scoring_whole_arrays(found, values, truth, mask_file, finer, sigma, block, monkeypatch):
    monkeypatch.setattr(evaluate, "_BLOCK", block)
    scores = evaluate_map(found, mask_file(truth.repeat(finer, 0).repeat(finer, 1)), 0.5, sigma)
    wanted = evaluate_masks([settled(smooth_window(values, sigma)) if sigma else values], [truth], mpp=1.0)
    assert scores == pytest.approx(wanted)
    assert scores["n"] == 1


def test_coarser_masks_are_stretched(found, values, mask_file):
    coarse = np.random.default_rng(2).random((30, 44)) > 0.5
    assert evaluate_map(found, mask_file(coarse)) == pytest.approx(evaluate_masks([values], [coarse.repeat(5, 0).repeat(5, 1)], mpp=1.0))


def test_padded_masks_lie_by_their_resolution(found, values, truth, mask_file):
    padded = np.zeros((192, 224), bool)
    padded[:150, :220] = truth
    assert evaluate_map(found, mask_file(padded, mpp=1.0)) == pytest.approx(evaluate_masks([values], [truth], mpp=1.0))
    with pytest.raises(AnnotationError, match=r"does not fit s\.tif"):
        evaluate_map(found, mask_file(padded))


def test_the_mask_of_another_slide_is_refused(found, mask_file):
    with pytest.raises(AnnotationError, match="does not fit"):
        evaluate_map(found, mask_file(np.ones((500, 220)), mpp=1.0))


def test_an_image_of_the_slide_scores_as_a_map(tmp_path, truth, mask_file):
    labels = np.random.default_rng(3).random(truth.shape) > 0.5
    np.save(tmp_path / "labels.npy", labels)
    with open_file_map(tmp_path / "labels.npy") as found:
        scores = evaluate_map(found, mask_file(truth))
    assert scores == pytest.approx(evaluate_masks([labels.astype(float)], [truth])), "no resolution, so no HD95"


def test_hd95_of_degenerate_slides(found, values, mask_file):
    nothing, one = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
    one[70, 90] = True
    assert "hd95_um" not in evaluate_map(found, mask_file(nothing)), "no tumour, nothing to measure"
    high = evaluate_map(found, mask_file(one), threshold=1.0)
    assert high["hd95_um"] > 50
    assert evaluate_map(found, mask_file(one), threshold=1.1)["hd95_um"] == pytest.approx(np.hypot(150, 220)), "missed altogether"


def test_hd95_is_left_out_where_outlines_are_without_end(found, truth, mask_file, monkeypatch):
    monkeypatch.setattr("napari_ifkd.distill.hausdorff._MOST_PX", 1000)
    assert "hd95_um" not in evaluate_map(found, mask_file(truth))
