"""A whole slide's map against its truth, whatever the mask's resolution."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_ifkd.annotations import read_mask
from napari_ifkd.distill import evaluate
from napari_ifkd.distill.evaluate import evaluate_map
from napari_ifkd.distill.metrics import evaluate_masks
from napari_ifkd.errors import AnnotationError
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
    wanted = evaluate_masks([smooth_window(values, sigma) if sigma else values], [truth])
    assert scores == pytest.approx(wanted)
    assert scores["n"] == 1


def test_coarser_masks_are_stretched(found, values, mask_file):
    coarse = np.random.default_rng(2).random((30, 44)) > 0.5
    assert evaluate_map(found, mask_file(coarse)) == pytest.approx(evaluate_masks([values], [coarse.repeat(5, 0).repeat(5, 1)]))


def test_padded_masks_lie_by_their_resolution(found, values, truth, mask_file):
    padded = np.zeros((192, 224), bool)
    padded[:150, :220] = truth
    assert evaluate_map(found, mask_file(padded, mpp=1.0)) == pytest.approx(evaluate_masks([values], [truth]))
    with pytest.raises(AnnotationError, match=r"does not fit s\.tif"):
        evaluate_map(found, mask_file(padded))


def test_the_mask_of_another_slide_is_refused(found, mask_file):
    with pytest.raises(AnnotationError, match="does not fit"):
        evaluate_map(found, mask_file(np.ones((500, 220)), mpp=1.0))
