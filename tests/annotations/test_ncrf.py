"""NCRF's JSON of the Camelyon16 lesions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from napari_ifkd.annotations import read_regions
from napari_ifkd.errors import AnnotationError

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100]])


def polygon(vertices, name="Annotation 0"):
    return {"name": name, "vertices": np.asarray(vertices).tolist()}


@pytest.fixture
def write(tmp_path):
    def write(**data):
        path = tmp_path / "Tumor_001.json"
        path.write_text(json.dumps(data))
        return path

    return write


def test_holes_are_cut_out_and_normal(write):
    regions = read_regions(write(positive=[polygon(SQUARE), polygon(SQUARE + 300)], negative=[polygon(SQUARE / 2 + 10, "hole")]))
    assert regions.tumour.area == 2 * 100 * 100 - 50 * 50
    assert regions.normal.bounds == (10, 10, 60, 60)
    assert [region.name for region in regions] == ["Annotation 0", "Annotation 0", "hole"]


def test_one_side_alone(write):
    assert read_regions(write(positive=[polygon(SQUARE)])).normal.is_empty
    assert read_regions(write(negative=[polygon(SQUARE)])).tumour.is_empty


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"positive": [{"name": "a"}]}, "positive polygon 1 is broken"),
        ({"positive": [polygon(SQUARE), polygon([[1, 2], [3, 4]])]}, "positive polygon 2 is broken"),
        ({"positive": [polygon([["a", "b"]] * 4)]}, "positive polygon 1 is broken"),
        ({"positive": [3]}, "positive polygon 1 is broken"),
        ({"positive": [polygon(SQUARE)], "negative": {}}, "negative is no list"),
        ({"positive": [polygon(SQUARE * 0)]}, "no polygon"),
    ],
)
def test_what_cannot_be_used_is_told(write, data, said):
    with pytest.raises(AnnotationError, match=said):
        read_regions(write(**data))


def test_real_lesions_keep_their_area(shared_data):
    """The area by the shoelace formula, where no hole is drawn and no outline crosses itself."""
    files = sorted((shared_data / "annotations" / "ncrf_camelyon16_json").glob("*.json"))
    compared = 0
    for path in files:
        data = json.loads(path.read_text())
        regions = read_regions(path)
        assert not regions.tumour.is_empty
        assert regions.normal.is_empty == (not data["negative"])
        assert regions.tumour.intersection(regions.normal).area < 1e-3
        if data["negative"]:
            continue
        for region, said in zip(regions, data["positive"], strict=False):
            x, y = np.array(said["vertices"], float).T
            if len(regions) == len(data["positive"]) and shapely.Polygon(np.c_[x, y]).is_valid:
                assert region.geometry.area == pytest.approx(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
                compared += 1
    assert len(files) == 40
    assert compared > 50
