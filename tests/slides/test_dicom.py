"""Slides in DICOM are slides like any other."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import dicom as reader
from napari_ifkd.slides import find_tissue, open_slide

pytest.importorskip("wsidicom")


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "slides" / "CMU-1-Small-Region.dcm.d"


def test_it_is_the_slide_it_was_made_of(folder, shared_data):
    with open_slide(folder) as ours, open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as made_of:
        assert ours.name == folder.name
        assert ours.shape_level0 == made_of.shape_level0 == (2967, 2220)
        assert ours.mpp == pytest.approx(made_of.mpp)
        assert ours.stored_levels == 1
        assert [level.shape[:2] for level in ours.levels] == [level.shape[:2] for level in made_of.levels]
        a, b = (slide.read_working(100, 200, 300, 400, 1.0).astype(int) for slide in (ours, made_of))
        assert np.abs(a - b).mean() < 2  # the same tiles, by another decoder of JPEG
        assert find_tissue(ours).area_mm2 == pytest.approx(find_tissue(made_of).area_mm2, rel=0.01)
        np.testing.assert_array_equal(np.asarray(ours.levels[0][64:700, 30:900]), ours._sources[0].read(64, 700, 30, 900))


def test_label_and_overview_are_never_opened(folder, tmp_path):
    import pydicom

    copy = shutil.copytree(folder, tmp_path / "slide.dcm.d")
    for file in copy.iterdir():
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if "VOLUME" not in header.ImageType:
            file.write_bytes(file.read_bytes()[:4000])  # whoever opened its pixels would fail
    with open_slide(copy) as slide, open_slide(folder) as whole:
        assert slide.associated_names() == []
        assert slide.quick_hash == whole.quick_hash
        np.testing.assert_array_equal(slide.thumbnail(300), whole.thumbnail(300))


def test_one_file_of_a_slide_says_where_the_slide_is(folder):
    with pytest.raises(SlideError, match="is one file of a slide in DICOM") as caught:
        open_slide(next(folder.glob("*.dcm")))
    assert str(folder) in caught.value.remedy


def test_what_is_missing_is_told(folder, tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SlideError, match="is a folder, not a slide"):
        open_slide(tmp_path / "plain")
    (tmp_path / "plain" / "a.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(SlideError):
        open_slide(tmp_path / "plain")
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(SlideError, match=r"napari-ifkd\[dicom\]"):
        open_slide(folder)


def test_a_closed_one_says_so(folder):
    slide = open_slide(folder, 0.25)
    assert (slide.mpp, slide.mpp_source) == (0.25, "override")
    slide.close()
    with pytest.raises(SlideError, match="has been closed"):
        slide.thumbnail(100)
