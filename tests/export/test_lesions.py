"""Rejected lesions are in no export; the list holds what an export would."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile
from scipy import ndimage

from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.verdicts import Verdict, Word, outline_of, write_verdicts
from napari_ifkd.config import Config
from napari_ifkd.events import MapReady
from napari_ifkd.export import export_map, export_run
from napari_ifkd.export.give_way import give_way
from napari_ifkd.export.lesions import grown_mm2, lesions_of, verdicts_on
from napari_ifkd.export.taken_back import taken_back
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def said(x: float, y: float, word: Any = "reject", slide: str = "case 7.scn") -> Verdict:
    return Verdict(slide, x, y, word, 0, 0.5, "t")


@pytest.fixture
def found(make_map: Callable[..., Any]) -> Any:
    values = np.full((300, 400), 20, np.uint8)
    values[10:60, 10:60], values[20:50, 20:50], values[30:40, 30:40] = 200, 20, 250  # a ring, and an island in it
    values[100:140, 200:260], values[140, 260], values[200, 300] = 180, 255, 255  # touches by a corner; one px
    return make_map(values, scale=(2.0, 2.0))


def test_they_are_the_objects_of_the_mask(found: Any) -> None:
    lesions = lesions_of(found, 0.5, 0)
    labels, count = ndimage.label(np.asarray(found.levels[0]) >= 128)
    assert len(lesions) == count == 5
    assert sorted(lesion.area_px for lesion in lesions) == sorted(np.bincount(labels.ravel())[1:].tolist())
    means = sorted(ndimage.mean(np.asarray(found.levels[0]) / 255, labels, range(1, count + 1)))
    assert sorted(lesion.mean_probability for lesion in lesions) == pytest.approx(means)


def test_a_verdict_counts_for_the_lesion_that_holds_it_and_the_last_one_wins(found: Any) -> None:
    lesions = lesions_of(found, 0.5, 0)
    given = [said(2 * 15, 2 * 15), said(2 * 35, 2 * 35, "accept"), said(2 * 230, 2 * 120), said(2 * 230, 2 * 121, "accept"), said(5, 5)]
    of_area = {lesion.area_px: word for lesion, word in zip(lesions, verdicts_on(lesions, given, found)[0], strict=True)}
    assert of_area == {50 * 50 - 30 * 30: "reject", 100: "accept", 40 * 60: "accept", 1: None}
    assert verdicts_on(lesions, given, found)[1] == 1  # (5, 5) lies in none
    assert verdicts_on(lesions, [], found) == ([None] * 5, 0)


def test_a_verdict_is_not_of_what_its_lesion_flowed_into(make_map: Callable[..., Any]) -> None:
    values = np.full((300, 400), 90, np.uint8)  # all one lesion at a low threshold
    values[:, :10] = 20
    values[100:140, 100:150], values[100:140, 160:200] = 200, 200
    found = make_map(values, scale=(2.0, 2.0))
    px_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    one, other = (replace(said(2 * x, 2 * 120), area_mm2=px * px_mm2) for x, px in ((125, 2000), (180, 1600)))
    apart = lesions_of(found, 0.5, 0)
    assert verdicts_on(apart, [one, other], found) == (["reject", "reject"], 0)
    (whole,) = lesions_of(found, 0.3, 0)
    assert verdicts_on([whole], [one, other], found) == ([None], 2)
    assert verdicts_on([whole], [replace(one, area_mm2=None)], found) == (["reject"], 0)  # as tables of before mean it
    values[100:140, 150:160] = 200  # both flow into one that is hardly larger
    together = lesions_of(make_map(values, scale=(2.0, 2.0)), 0.5, 0)
    assert verdicts_on(together, [one, other], found) == (["reject"], 0)
    assert grown_mm2(apart, ["reject", "reject"], [one, other], found) == pytest.approx(0)
    assert grown_mm2(together, ["reject"], [one, other], found) == pytest.approx((4000 - 3600) * px_mm2)
    assert grown_mm2(together, ["reject"], [replace(one, area_mm2=None), other], found) == 0  # nobody knows
    assert verdicts_on(together, [one, replace(other, verdict="accept")], found)[0] == [None]
    large, speck = replace(one, verdict="accept", area_mm2=2500 * px_mm2), replace(other, area_mm2=40 * px_mm2)
    assert verdicts_on(together, [large, speck], found) == (["accept"], 1)  # what was said of a speck is not said of all
    assert verdicts_on(together, [speck, large], found)[0] == ["accept"]
    assert verdicts_on(together, [speck], found) == ([None], 1)


def test_a_verdict_is_of_the_parts_its_lesion_falls_into(make_map: Callable[..., Any]) -> None:
    values = np.full((300, 400), 20, np.uint8)
    values[100:140, 100:200] = 150  # one lesion, with three in it at a higher threshold, and another beside it
    values[110:120, 110:120], values[110:120, 140:150], values[120:130, 170:190] = 220, 220, 220
    values[100:140, 300:320] = 220
    found = make_map(values, scale=(2.0, 4.0))
    whole = max(lesions_of(found, 0.5, 0), key=lambda lesion: lesion.area_px)
    outline = outline_of(shapely.transform(whole.polygon, lambda xy: xy * (4.0, 2.0)), 1.0)
    px_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    judged = replace(said(4 * 115, 2 * 115), area_mm2=4000 * px_mm2, outline=outline)

    def words(*verdicts: Verdict) -> tuple[dict[int, Word | None], int]:
        parts = lesions_of(found, 0.8, 0)
        told, unused = verdicts_on(parts, verdicts, found)
        return {round(part.polygon.centroid.x): word for part, word in zip(parts, told, strict=True)}, unused

    assert words(judged) == ({115: "reject", 145: "reject", 180: "reject", 310: None}, 0)
    assert words(replace(judged, outline="")) == ({115: "reject", 145: None, 180: None, 310: None}, 0)  # tables of before
    one = said(4 * 145, 2 * 115, "accept")
    assert words(judged, one)[0] == {115: "reject", 145: "accept", 180: "reject", 310: None}  # the last word
    assert words(one, judged)[0][145] == "reject"
    assert verdicts_on(lesions_of(found, 0.05, 0), [judged], found) == ([None], 1)  # of what it flowed into it is not


def test_a_part_that_was_judged_otherwise_is_told_of(make_map: Callable[..., Any]) -> None:
    values = np.full((300, 400), 20, np.uint8)
    values[100:140, 100:180], values[100:140, 190:200] = 220, 220
    values[100:140, 180:190] = 150  # between them
    found = make_map(values, scale=(2.0, 2.0))
    px_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    small = replace(said(2 * 195, 2 * 120), area_mm2=400 * px_mm2)
    large = replace(said(2 * 140, 2 * 120, "accept"), area_mm2=3200 * px_mm2)
    assert sorted(map(str, verdicts_on(lesions_of(found, 0.8, 0), [small, large], found)[0])) == ["accept", "reject"]
    assert verdicts_on(lesions_of(found, 0.5, 0), [small, large], found) == (["accept"], 1)  # what was rejected is in it
    again = replace(said(2 * 142, 2 * 120), area_mm2=3200 * px_mm2)
    assert verdicts_on(lesions_of(found, 0.8, 0)[:1], [again, large], found) == (["accept"], 0)  # of the same: it was said otherwise later


def test_what_was_said_of_a_lesion_is_taken_back(make_map: Callable[..., Any]) -> None:
    values = np.full((300, 400), 20, np.uint8)
    values[100:140, 100:200] = 150  # one lesion, with two in it at a higher threshold, and another beside it
    values[110:120, 110:120], values[110:120, 140:150], values[100:140, 300:320] = 220, 220, 220
    found = make_map(values, scale=(2.0, 4.0))
    whole, beside = sorted(lesions_of(found, 0.5, 0), key=lambda lesion: lesion.polygon.centroid.x)
    left, right, _ = sorted(lesions_of(found, 0.8, 0), key=lambda lesion: lesion.polygon.centroid.x)
    outline = outline_of(shapely.transform(whole.polygon, lambda xy: xy * (4.0, 2.0)), 1.0)
    px_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    of_whole = replace(said(4 * 145, 2 * 115), area_mm2=4000 * px_mm2, outline=outline)
    of_left, of_beside, elsewhere = said(4 * 115, 2 * 115, "accept"), said(4 * 310, 2 * 110), said(4 * 115, 2 * 115, slide="other.svs")
    all_of_it = [of_left, of_whole, of_beside, elsewhere, replace(of_left, verdict="reject")]
    assert taken_back(beside, all_of_it, found) == [of_left, of_whole, elsewhere, all_of_it[-1]]
    assert taken_back(whole, all_of_it, found) == [of_beside, elsewhere]  # with what was said of its parts before
    rest = taken_back(right, all_of_it, found)
    assert rest == [of_left, of_beside, elsewhere, all_of_it[-1]]
    rest = taken_back(left, all_of_it, found)  # of which only the larger one, of which it is a part, was left
    assert verdicts_on([left, right, beside], [one for one in rest if one is not elsewhere], found) == ([None, None, "reject"], 0)


def test_what_was_rejected_is_in_no_format(found: Any, make_map: Callable[..., Any], tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "predict", Config().replaced(**{"inference.sigma_px": 0}), {})
    path = run.map_path(0, "case 7.scn")
    make_map(np.asarray(found.levels[0]), path=path, scale=(2.0, 2.0))
    run.append(MapReady(0, "case 7.scn", path.relative_to(run.path).as_posix()))
    write_verdicts(run.verdicts, [said(2 * 15, 2 * 15), said(2 * 230, 2 * 120, "accept"), said(2 * 35, 2 * 35, slide="other.svs")])
    export_run(run.path, ["ome-tiff", "geojson", "csv"], tmp_path / "out", round=0, threshold=0.5)
    wanted = np.asarray(found.levels[0]) >= 128
    wanted[10:60, 10:60] = False
    wanted[30:40, 30:40] = True  # the island in the ring is another lesion
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "case 7_round0.ome.tif"), wanted)
    assert len(json.loads((tmp_path / "out" / "case 7_round0.geojson").read_text())["features"]) == 4
    with (tmp_path / "out" / "case 7_round0.slide.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert float(line["tumour_mm2"]) == pytest.approx(wanted.sum() / 1e6)
    told = json.loads((tmp_path / "out" / "case 7_round0.provenance.json").read_text())
    ring_mm2 = (50 * 50 - 30 * 30) * found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    assert told["verdicts"] == {"accept": 1, "reject": 1, "reject_mm2": pytest.approx(ring_mm2), "of_no_lesion": 0}


def test_rejected_lesions_give_way_to_what_is_painted_since(found: Any, tmp_path: Path, drawn_slide: Path) -> None:
    corrections = half_as_fine(tmp_path, drawn_slide)
    lesions = lesions_of(found, 0.5, 0)
    ring = next(one for one in lesions if one.area_px == 1600)
    verdicts = [said(2 * 15, 2 * 15), said(2 * 230, 2 * 120), said(2 * 35, 2 * 35, "accept"), said(5, 5, slide="another.scn")]
    assert give_way(lesions, verdicts, found, corrections, nothing) == (verdicts, 0)  # nothing was painted
    corrections.paint(6, 31, np.full((3, 3), 2, np.uint8))  # beside the ring, apart from it by a pixel
    assert give_way(lesions, verdicts, found, corrections, nothing) == (verdicts, 0)
    corrections.paint(6, 30, np.full((3, 1), 2, np.uint8))  # side by side with it
    assert give_way(lesions, verdicts, found, corrections, corrections.read) == (verdicts, 0)  # it was so when it was rejected
    assert give_way(lesions, verdicts, found, corrections, nothing) == (verdicts[1:], 1)
    painted = corrections.read(0, 0, 40, 40)
    assert (painted[6:9, 30:34] == 2).all()
    assert (painted == 1).sum() * 4 == ring.area_px  # all of it, and not the island in it
    assert not painted[15:20, 15:20].any()


def test_what_was_rejected_with_a_lesion_that_gives_way_does_not_come_back(
    make_map: Callable[..., Any], tmp_path: Path, drawn_slide: Path
) -> None:
    values = np.full((300, 400), 20, np.uint8)
    values[40:80, 20:120] = 150  # one lesion at a low threshold, at a high one these three
    values[45:75, 25:45], values[45:75, 60:80], values[45:75, 95:115] = 220, 220, 220
    source, corrections = make_map(values, scale=(2.0, 2.0)), half_as_fine(tmp_path, drawn_slide)
    (whole,), parts = lesions_of(source, 0.5, 0), lesions_of(source, 0.8, 0)
    outline = outline_of(shapely.transform(whole.polygon, lambda xy: xy * 2), 2)
    middle = Verdict("case 7.scn", 2 * 70, 2 * 60, "accept", 0, 0.8, "t", 600 / 1e6, outline_of(shapely.box(120, 90, 160, 150), 2))
    verdicts = [Verdict("case 7.scn", 2 * 30, 2 * 42, "reject", 0, 0.5, "t", 4000 / 1e6, outline), middle]
    assert verdicts_on(parts, verdicts, source)[0].count("reject") == 2
    corrections.paint(25, 14, np.full((4, 4), 2, np.uint8))  # into the left one
    assert give_way(parts, verdicts, source, corrections, nothing) == ([middle], 2)
    painted = corrections.read(0, 0, 60, 80)
    assert (painted[25:29, 14:18] == 2).all()
    wanted = np.zeros((60, 80), np.uint8)
    wanted[20:40, 10:60], wanted[22:38, 30:40] = 1, 0  # all that was rejected at the low threshold but the lesion that was accepted
    wanted[25:29, 14:18] = 2
    assert (painted != wanted).sum() <= 32  # px that are half in


def half_as_fine(tmp_path: Path, drawn_slide: Path) -> Corrections:
    with open_slide(drawn_slide) as slide:
        corrections = Corrections.create(tmp_path / "corrections.zarr", slide, 1.0)
    corrections.scale_yx = (4.0, 4.0)
    return corrections


def nothing(_y: int, _x: int, h: int, w: int) -> np.ndarray:
    return np.zeros((h, w), np.uint8)


def test_an_empty_mask_is_told_of(make_map: Callable[..., Any], tmp_path: Path) -> None:
    export_map(make_map(np.full((300, 400), 20, np.uint8)), tmp_path / "out", ["ome-tiff"], threshold=0.5, sigma_px=0)
    (file,) = (tmp_path / "out").glob("*.provenance.json")
    assert json.loads(file.read_text())["lesions"] == 0
