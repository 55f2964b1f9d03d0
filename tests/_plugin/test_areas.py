"""What rounds mark of a slide, and who tells it."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile

from napari_ifkd._plugin.measure import area_mm2
from napari_ifkd._plugin.words import marks
from napari_ifkd.runs.folder import RunFolder


def test_areas_follow_threshold_and_exclusions_and_are_of_the_active_slide(
    window: Any, reviewed: Any, drawn_slide: Path, tmp_path: Path
) -> None:
    session, areas, (teacher, student) = window.session, window.bench.areas, window.session.here()
    pixel_mm2 = teacher.found.pixel_size_um_yx[0] * teacher.found.pixel_size_um_yx[1] / 1e6

    def pixels(found: Any, at: float) -> int:
        return int((np.asarray(found.levels[0]) >= 255 * at).sum())

    for at in (0.5, 0.7):
        session.look(threshold=at)
        wanted = {0: pixels(teacher.found, at) * pixel_mm2, 1: pixels(student.found, at) * pixel_mm2}
        window.wait(lambda wanted=wanted: areas.mm2 == pytest.approx(wanted))
    session.look(threshold=0.5)
    height, width = session.slide.shape_level0
    window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, width, height))])
    window.wait(lambda: set(areas.mm2.values()) == {0.0})
    window.bench.open(Path(shutil.copy(drawn_slide, tmp_path / "other.tif")))
    window.wait(lambda: areas.mm2 == {})


def test_f1_against_the_reference_mask_is_of_the_threshold_that_is_set(window: Any, reviewed: Any, tmp_path: Path) -> None:
    session, areas, here = window.session, window.bench.areas, window.session.here()
    table, truth = window.docks["Distill"].table, np.zeros(session.slide.shape_level0, np.uint8)
    truth[20:160, 20:140] = 255
    tifffile.imwrite(tmp_path / "tiny_mask.tif", truth)
    assert table.isColumnHidden(4)
    session.give("reference", tmp_path / "tiny_mask.tif")
    coarse = truth[1::2, 1::2] > 0  # the map has half as many pixels a side
    for at in (0.5, 0.7):
        session.look(threshold=at)
        masks = [np.asarray(candidate.found.levels[0]) >= 255 * at for candidate in here]
        wanted = {index: 2 * (mask & coarse).sum() / (mask.sum() + coarse.sum()) for index, mask in enumerate(masks)}
        window.wait(lambda wanted=wanted: areas.f1 == pytest.approx(wanted, abs=0.01))
        assert not table.isColumnHidden(4)
        assert [table.item(row, 4).text() for row in (0, 1)] == [f"{areas.f1[row]:.3f}" for row in (0, 1)]
        assert table.horizontalHeaderItem(4).text() == f"F1\nat {at:g}"
        assert "against its reference mask" in table.horizontalHeaderItem(4).toolTip()
    height, width = session.slide.shape_level0
    window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, width, height))])
    window.wait(lambda: areas.f1 == {})  # nothing is left to be known
    window.bench.drawings.clear("exclusion", session.slide)
    window.wait(lambda: set(areas.f1) == {0, 1})
    before = dict(areas.f1)
    tifffile.imwrite(tmp_path / "tiny_mask.tif", 255 - truth)  # another one of the same name
    os.utime(tmp_path / "tiny_mask.tif", (1, 1))
    areas.look()
    window.wait(lambda: set(areas.f1) == {0, 1} and areas.f1 != before)
    (tmp_path / "tiny_mask.tif").unlink()
    session.look(threshold=0.6)
    window.wait(lambda: areas.threshold == 0.6 and areas.f1 == {} and set(areas.mm2) == {0, 1})  # areas need none
    session.give("reference", None)
    window.wait(lambda: table.isColumnHidden(4))


def test_a_round_that_marks_much_more_than_the_teacher_says_so_where_it_is_accepted(window: Any, reviewed: Any) -> None:
    session, areas = window.session, window.bench.areas
    window.wait(lambda: set(areas.mm2) == {0, 1})
    grown = areas.mm2[1] / areas.mm2[0] - 1
    told = f"On the slide, round 1 marks {grown:.0%} more than the first teacher at 0.5"
    assert grown > 0.15
    assert areas.growth(1) == told
    assert areas.growth(0) == ""
    session.show_round(1)
    window.wait(lambda: told in reviewed.growth.text())
    assert told in window.docks["Distill"].reason.text()
    session.show_round(0)
    window.wait(lambda: told not in reviewed.growth.text())
    session.show_round(1)
    window.wait(lambda: told in reviewed.growth.text())
    run = RunFolder(session.run)
    session._take_judgement(run.path, run.accept(1, 0.5, "reference", "It is best.", session.sigma_px))
    assert reviewed.growth.text() == ""  # who knows what is tumour has chosen it


def test_compare_tells_how_much_more_b_marks(window: Any, reviewed: Any) -> None:
    a, b = window.session.here()
    window.wait(lambda: set(window.bench.areas.mm2) == {0, 1})
    share = window.bench.areas.mm2[1] / window.bench.areas.mm2[0] - 1
    for pair, told in (((a, b), f"B marks {share:.0%} more"), ((b, a), f"B marks {share / (1 + share):.0%} less")):
        window.session.set_pair(*pair)
        window.wait(lambda told=told: told in reviewed.compare.numbers.text())


@pytest.mark.parametrize(
    ("ratio", "told"),
    [(1.004, "marks as much as the teacher"), (1.006, "marks 1% more than the teacher"), (3.2, "marks 3 times as much as")],
)
def test_how_much_more_is_marked_is_told_in_words(ratio: float, told: str) -> None:
    assert marks(ratio, "the teacher").startswith(told)


def test_areas_that_could_not_be_measured_are_measured_anew(
    window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    session, areas = window.session, window.bench.areas
    window.wait(lambda: set(areas.mm2) == {0, 1})

    def fail(*_: object) -> float:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("napari_ifkd._plugin.areas.area_mm2", fail)
        session.look(threshold=0.9)
        window.wait(lambda: any("the disk is gone" in message for message in said))
    assert areas.mm2 == {}
    assert areas.threshold == 0.9
    areas.look()
    window.wait(lambda: set(areas.mm2) == {0, 1})


def test_growth_is_not_told_at_a_threshold_that_was_not_measured(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, areas, begun, go = window.session, window.bench.areas, threading.Event(), threading.Event()
    session.show_round(1)
    window.wait(lambda: "more than the first teacher" in reviewed.growth.text())
    measure = area_mm2

    def slowly(*of: Any) -> float:
        begun.set()
        go.wait(30)
        return measure(*of)

    monkeypatch.setattr("napari_ifkd._plugin.areas.area_mm2", slowly)
    session.look(threshold=0.7)
    window.wait(begun.is_set)
    told, offered = reviewed.growth.text(), reviewed.accept.text()
    go.set()
    assert "than the first teacher" not in told
    assert "at 0.7" in offered
    window.wait(lambda: "more than the first teacher" in reviewed.growth.text())
    assert areas.threshold == 0.7


def test_nothing_is_measured_while_nobody_tells_it(window: Any, reviewed: Any) -> None:
    session, areas = window.session, window.bench.areas
    window.wait(lambda: set(areas.mm2) == {0, 1})
    for name in ("Review", "Distill"):
        window.viewer.window.remove_dock_widget(window.docks[name])
    window.wait(lambda: len(areas.changed) == 0)
    session.look(threshold=0.6)
    assert areas.mm2 == {}
