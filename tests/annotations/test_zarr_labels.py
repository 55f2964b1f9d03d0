"""OME-Zarr labels that another program wrote are masks like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image, write_labels

from napari_ifkd.annotations import read_mask
from napari_ifkd.annotations.images import is_image
from napari_ifkd.errors import AnnotationError
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((90, 130), np.uint8)
    found[10:40, 20:70], found[60, 100] = 1, 3
    return found


def written(path: Path, labels: np.ndarray, fmt: object, *names: str, axes: str = "yx") -> Path:
    root = zarr.open_group(path, mode="w", zarr_format=fmt.zarr_format)
    told = {"axes": axes, "scale": dict.fromkeys(axes, 1.5), "axes_units": dict.fromkeys(axes, "micrometer"), "fmt": fmt}
    write_image(np.zeros(labels.shape, np.uint8), root, scale_factors=None, **told)
    for name in names:
        write_labels(labels, root, name, **told)
    return path


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])
def test_labels_come_from_the_image_or_from_themselves(tmp_path: Path, labels: np.ndarray, fmt: object) -> None:
    path = written(tmp_path / "a.ome.zarr", labels, fmt, "lesions")
    for given in (path, path / "labels" / "lesions"):
        assert is_image(given)
        with read_mask(given) as mask:
            assert (mask.shape, mask.mpp) == ((90, 130), 1.5)
            np.testing.assert_array_equal(mask.read(0, 0, 90, 130), labels > 0)
            np.testing.assert_array_equal(mask.read(-5, 60, 30, 80)[5:, :70], labels[:25, 60:] > 0)


def test_axes_of_length_one_are_no_matter(tmp_path: Path, labels: np.ndarray) -> None:
    with read_mask(written(tmp_path / "a.zarr", labels[None], FormatV05(), "x", axes="zyx")) as mask:
        np.testing.assert_array_equal(mask.read(0, 0, 90, 130), labels > 0)


def test_it_must_be_clear_which_labels_are_meant(tmp_path: Path, labels: np.ndarray) -> None:
    path = written(tmp_path / "a.zarr", labels, FormatV05(), "nuclei", "cells")
    with pytest.raises(AnnotationError, match="several label images: cells, nuclei"):
        read_mask(path)
    path = written(tmp_path / "b.zarr", labels, FormatV05(), "nuclei", "tumour")
    with read_mask(path) as mask:
        assert mask.read(0, 0, 90, 130).sum() == (labels > 0).sum()


def test_what_has_no_labels_is_told(tmp_path: Path, labels: np.ndarray, tiny_slide: Path, write_map: Callable[..., None]) -> None:
    image = written(tmp_path / "a.zarr", labels, FormatV05())
    with open_slide(tiny_slide) as slide:
        write_map(tmp_path / "map.zarr", slide)  # a probability of ours: not 0 is not tumour
    (tmp_path / "torn.zarr").mkdir()
    (tmp_path / "torn.zarr" / "zarr.json").write_text("{")
    for path in (image, tmp_path / "map.zarr", tmp_path / "torn.zarr"):
        assert not is_image(path)
        with pytest.raises(AnnotationError, match=path.name):
            read_mask(path)
