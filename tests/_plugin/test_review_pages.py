"""Count points, judge lesions, correct: each by clicks in a real viewer, and what lies in the run afterwards."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile
from napari._qt.dialogs.confirm_close_dialog import ConfirmCloseDialog
from napari.settings import get_settings
from qtpy.QtCore import QPoint, QPointF, QRect, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QLabel, QLineEdit, QSlider

from napari_ifkd._plugin.docks import add_docks
from napari_ifkd._plugin.layers import tag
from napari_ifkd._plugin.look import field_px
from napari_ifkd._plugin.side_by_side import divided_by
from napari_ifkd._plugin.verdicts import Mask
from napari_ifkd._plugin.words import acceptance, area
from napari_ifkd._plugin.worker import in_thread
from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.annotations.verdicts import Verdict, read_verdicts, write_verdicts
from napari_ifkd.events import Decision, MapReady, Progress, RoundDone, RunDone
from napari_ifkd.inference import ProbabilityMap
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.session_records import Job
from napari_ifkd.session_story import RunStory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def page(window: Any, dock: Any, name: str) -> Any:
    index = next(i for i in range(dock.pages.count()) if dock.pages.tabText(i) == name)
    bar = dock.pages.tabBar()
    window.qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(index).center())
    assert dock.pages.currentIndex() == index
    return dock.pages.currentWidget()


def test_from_one_disagreement_to_the_next_and_back(window: Any, reviewed: Any) -> None:
    session = window.session
    page(window, reviewed, "Compare")
    a, b = session.here()
    session.set_pair(a, b)
    window.wait(lambda: "F1" in reviewed.compare.numbers.text())
    window.click("Review", reviewed.compare.next)
    window.wait(lambda: bool(reviewed.compare._places))
    values = [np.asarray(c.found.levels[0]) >= 128 for c in (a, b)]
    y, x = np.nonzero(values[0] != values[1])  # the second round marks 20 columns more, all within one square of 200 um
    mpp = session.slide.mpp
    middle = [((n.mean() + 0.5) * scale - 0.5) * mpp for n, scale in zip((y, x), a.found.scale_yx, strict=True)]
    assert len(reviewed.compare._places) == 1
    assert np.allclose(window.viewer.scene.camera.center[-2:], middle, atol=0.5)
    assert reviewed.compare.place.text().startswith("Place 1 of 1")
    window.viewer.reset_view()
    window.key("Shift+D")
    assert np.allclose(window.viewer.scene.camera.center[-2:], middle, atol=0.5)

    whole = reviewed.compare.numbers.text()
    window.click("Review", reviewed.compare.in_field)
    window.viewer.scene.camera.zoom = 100  # now all that is seen is what B alone marks
    window.wait(lambda: "F1 0.000" in reviewed.compare.numbers.text())
    window.click("Review", reviewed.compare.in_field)
    window.wait(lambda: reviewed.compare.numbers.text() == whole)

    session.set_compare("overlay")
    for wanted in ("a", "b"):
        window.click("Review", reviewed.compare.flick)
        assert session.compare == wanted
        assert session.shown == {"a": a, "b": b}[wanted]  # what is seen is what Accept speaks of
        window.wait(lambda wanted=wanted: [tag(layer)["round"] for layer in window.ours("mask") if layer.visible] == ["ab".index(wanted)])
        window.wait(reviewed.compare.mode.buttons[wanted].isChecked)
    seen: list[str] = []
    session.set_compare("overlay")
    session.events.compare.connect(seen.append)
    with window.held("F"):
        window.wait(lambda: len(seen) >= 3)
        assert session.shown == b
    assert session.compare == "overlay"
    assert seen == [*("ab" * len(seen))[: len(seen) - 1], "overlay"]
    window.key("F")
    assert session.compare == "overlay"


def test_the_pictures_side_by_side_are_seen_at_their_size_from_the_first_frame_on(window: Any, reviewed: Any) -> None:
    canvas, viewer = window.viewer.window._qt_viewer.canvas.native, window.viewer
    window.wait(lambda: window.bench.layers.settled)

    def seen() -> Any:
        whole = canvas.screen().grabWindow(0).toImage().copy(QRect(canvas.mapToGlobal(QPoint(0, 0)), canvas.size()))
        return np.frombuffer(whole.constBits().asstring(whole.sizeInBytes()), np.uint8).astype(int)

    frames: list[Any] = []
    canvas.frameSwapped.connect(lambda: frames.append(seen()) if viewer.canvas.grid.enabled else None)
    window.click("Review", reviewed.compare.mode.buttons["side by side"])
    window.wait(lambda: viewer.canvas.grid.enabled and window.bench.layers.settled and bool(frames))
    window.qtbot.wait(300)
    last = seen()
    assert max(np.abs(frame - last).mean() for frame in frames) < 5  # huge pixels, of a picture without a size, are 90 from it


def test_side_by_side_moves_together_and_ends_as_it_was(window: Any, reviewed: Any) -> None:
    session, viewer = window.session, window.viewer
    viewer.add_points([(0.0, 0.0)], name="of the user")
    a, b = session.here()
    zoom = viewer.scene.camera.zoom
    across = field_px(session.slide, viewer)[::2]
    window.click("Review", reviewed.compare.mode.buttons["side by side"])
    window.wait(lambda: viewer.canvas.grid.enabled and window.bench.layers.settled)
    assert np.allclose(field_px(session.slide, viewer)[::2], across, atol=2)  # what was seen from left to right is seen in each
    assert viewer.scene.camera.zoom * divided_by(viewer) == pytest.approx(zoom)

    def seen(side: int) -> set[tuple[str, object]]:
        inside = viewer.canvas.grid.contents_at((0, side), viewer.layers)
        layers = [viewer.layers[at] for at in inside if viewer.layers[at].visible]
        return {(tag(layer)["kind"], tag(layer).get("round")) for layer in layers if tag(layer)}

    assert viewer.canvas.grid.actual_shape(viewer.layers) == (1, 2)
    assert {("slide", None), ("mask", a.round)} <= seen(0)
    assert seen(1) == {("twin", None), ("mask", b.round)}
    assert "left" in reviewed.compare.legend.text()
    reviewed.compare._differ(1)
    window.wait(lambda: bool(reviewed.compare._places))
    x, y = reviewed.compare._places[0]
    field = field_px(session.slide, viewer)
    assert np.allclose(((field[0] + field[2]) / 2, (field[1] + field[3]) / 2), (x, y), atol=1)
    assert (field[2] - field[0]) / (field[3] - field[1]) == pytest.approx(viewer.canvas.size[1] / 2 / viewer.canvas.size[0])

    viewer.add_points([(0.0, 0.0)], name="one more")  # comes while two are shown
    window.wait(lambda: window.bench.layers.settled)
    assert seen(1) == {("twin", None), ("mask", b.round)}
    session.look(opacity=0.5)
    session.set_pair(b, a)
    window.wait(lambda: window.bench.layers.settled)
    assert seen(1) == {("twin", None), ("mask", a.round)}
    window.click("Review", reviewed.compare.mode.buttons["off"])
    window.wait(lambda: window.bench.layers.settled)
    assert not viewer.canvas.grid.enabled
    assert divided_by(viewer) == 1
    assert not window.ours("twin")
    assert [layer.name for layer in viewer.layers if not tag(layer)] == ["of the user", "one more"]


def test_uncertainty_is_greatest_at_the_threshold(window: Any, reviewed: Any) -> None:
    session = window.session
    b = session.b
    values = np.asarray(b.found.levels[0]) / 255
    for threshold in (0.5, 0.8):
        session.look(threshold=threshold)
        window.click("Review", reviewed.compare.mode.buttons["uncertainty"])
        (layer,) = window.ours("uncertainty")
        wanted = np.where(values < threshold, values / threshold, (1 - values) / (1 - threshold))
        assert np.allclose(np.asarray(layer.data[0]) / 255, wanted, atol=0.005)
        assert not [mask for mask in window.ours("mask", "heat") if mask.visible]
    window.click("Review", reviewed.compare.mode.buttons["overlay"])
    assert not window.ours("uncertainty")


def test_the_uncertainty_of_a_single_prediction_is_seen(window: Any, reviewed: Any) -> None:
    session, modes = window.session, reviewed.compare.mode.buttons
    alone = session.a
    session.set_pair(alone, None)
    assert {mode for mode, button in modes.items() if button.isEnabled()} == {"off", "uncertainty"}
    window.click("Review", modes["uncertainty"])
    (layer,) = window.ours("uncertainty")
    assert tag(layer)["path"] == str(alone.path)
    assert f"{alone.label} is unsure" in reviewed.compare.legend.text()
    assert not [mask for mask in window.ours("mask", "heat") if mask.visible]
    session.look(threshold=0.8)
    values = np.asarray(alone.found.levels[0]) / 255
    assert np.allclose(np.asarray(layer.data[0]) / 255, np.where(values < 0.8, values / 0.8, (1 - values) / 0.2), atol=0.005)
    window.click("Review", modes["off"])
    assert not window.ours("uncertainty")
    session.set_pair(None, None)
    assert not any(button.isEnabled() for button in modes.values())


def test_who_chooses_one_as_the_other_too_changes_them_round(window: Any, reviewed: Any) -> None:
    session, compare = window.session, reviewed.compare
    a, b = session.a, session.b
    compare.b.value = a
    assert (session.a, session.b) == (b, a) == (compare.a.value, compare.b.value)
    compare.a.value = a
    assert (session.a, session.b) == (a, b) == (compare.a.value, compare.b.value)


def test_what_is_seen_alone_is_what_is_accepted_and_exported(window: Any, reviewed: Any) -> None:
    session, compare, what = window.session, reviewed.compare, window.docks["Export"].what
    teacher, last = session.here()
    former = replace(last, run=last.run.with_name("before"), act="former")
    session.files = (former,)
    session.set_pair(teacher, last)
    window.click("Review", compare.mode.buttons["b"])
    assert session.shown == last
    compare.b.value = teacher  # who chooses the one as the other changes them round
    assert (session.b, session.shown) == (teacher, teacher)
    assert reviewed.accept.text() == "Accept teacher at 0.5"
    compare.b.value = former
    window.wait(lambda: window.bench.layers.settled)
    assert [tag(layer)["act"] for layer in window.ours("mask") if layer.visible] == ["former"]
    assert not reviewed.accept.isEnabled()
    assert (reviewed.accept.text(), "Round 1 of before is seen alone" in reviewed.accept.toolTip()) == ("Another mask is seen", True)
    assert "Round 1 of before is what is seen, alone: it is not what is written." in what.text()
    window.click("Review", compare.mode.buttons["overlay"])
    assert reviewed.accept.isEnabled()
    assert "is not what is written" not in what.text()
    window.viewer.window._qt_window.activateWindow()
    compare.flicker.begin()  # nothing is said of what is seen for a moment
    session.set_compare("b")
    assert reviewed.accept.isEnabled()
    compare.flicker.end()


def test_what_somebody_compares_with_stays_when_they_come_back(window: Any, reviewed: Any, drawn_slide: Path, tmp_path: Path) -> None:
    session, compare = window.session, reviewed.compare
    teacher, last = session.here()
    former = replace(last, run=last.run.with_name("before"), act="former")
    session.files = (former,)
    window.wait(lambda: window.bench.memory.settled)
    compare.b.value = former
    window.click("Review", compare.mode.buttons["overlay"])
    window.wait(lambda: window.bench.memory.notes.rested)
    slide = session.slide
    window.bench.open(shutil.copy(drawn_slide, tmp_path / "other.tif"))
    window.wait(lambda: window.bench.memory.settled)
    window.bench.look_at(slide)
    window.wait(lambda: window.bench.memory.settled)
    assert (session.a, session.b, session.picked) == (teacher, former, True)
    lesions = page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    assert session.compare == "off"
    page(window, reviewed, "Compare")
    assert (session.compare, session.b) == ("overlay", former)


def test_the_legend_tells_what_is_seen_by_now(window: Any, reviewed: Any) -> None:
    session, legend, layers = window.session, reviewed.compare.legend, window.bench.layers
    session.set_compare("disagreement")
    window.wait(lambda: layers.settled)
    before = legend.text()
    assert f"{session.b.label} only" in before
    session.set_compare("a")
    assert not layers.settled
    modes = reviewed.compare.mode.buttons
    assert legend.text() == before  # until the picture is another
    assert (modes["disagreement"].isChecked(), modes["a"].isChecked()) == (True, False)
    window.wait(lambda: layers.settled)
    assert (modes["disagreement"].isChecked(), modes["a"].isChecked()) == (False, True)
    assert session.a.label in legend.text()
    assert session.b.label not in legend.text()


def test_a_round_that_comes_does_not_take_the_place_of_what_is_judged(window: Any, reviewed: Any, write_map: Callable[..., None]) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    looked_at, run = session.shown, session.run
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    session._story.job = Job("distill", run)  # it goes on
    write_map(run / "rounds/02/maps/tiny.zarr", session.slide)
    session.apply(MapReady(2, session.slide.name, "rounds/02/maps/tiny.zarr"))
    assert session.shown == looked_at
    assert lesions.model.rowCount() == 3
    assert "Round 2 has come in" in reviewed.about.text()
    reviewed.about.linkActivated.emit("newest")
    assert session.shown.round == 2
    window.key(",")
    assert session.shown == looked_at
    window.key(".")
    assert session.shown.round == 2
    assert "has come in" not in reviewed.about.text()
    for dock, held in (("Export", True), ("Review", True), ("Distill", False)):
        window.front(dock)
        window.wait(lambda held=held: session.held() == held)
    write_map(run / "rounds/03/maps/tiny.zarr", session.slide)
    session.apply(MapReady(3, session.slide.name, "rounds/03/maps/tiny.zarr"))
    assert session.shown.round == 3


def test_rounds_are_gone_through_accepted_and_used_again(window: Any, reviewed: Any, drawn_teacher: Path) -> None:
    session = window.session
    assert "next teacher" not in reviewed.accepted.text()

    # the slider goes through the rounds
    assert reviewed.steps.maximum() == 1
    reviewed.steps.setFocus()
    for key, wanted in ((",", 0), (",", 0), (".", 1), (",", 0)):
        window.key(key)
        assert (session.shown.round, reviewed.steps.value()) == (wanted, wanted)
    reviewed.steps.setValue(1)
    assert session.shown.round == 1

    # the threshold is at hand
    before = session.threshold
    window.use("Review", reviewed.threshold.native.findChild(QSlider))
    window.wait(lambda: session.threshold != before)
    assert window.docks["Teacher"].threshold.value == pytest.approx(session.threshold)
    assert f"{session.threshold:.2f}" in reviewed.accept.text()
    session.look(threshold=0.125)  # all digits, as on the button
    assert reviewed.threshold.native.findChild(QAbstractSpinBox).text() == "0.125"
    assert "0.125" in reviewed.accept.text()

    # the round that is shown is accepted
    window.choose("Review", reviewed.shown, 0)
    window.click("Review", reviewed.accept)
    assert session.accepted.round == 0
    assert "Accepted: the teacher" in reviewed.accepted.text()
    assert (reviewed.accept.isEnabled(), reviewed.accept.text()) == (False, "✓ Accepted")
    assert "Not now: it is what is accepted" in reviewed.accept.toolTip()
    session.look(threshold=0.25)  # another threshold was not
    assert (reviewed.accept.isEnabled(), reviewed.accept.text()) == (True, "Accept teacher at 0.25")
    session.look(threshold=0.125)
    assert not reviewed.accept.isEnabled()
    assert "Show it" not in reviewed.accepted.text()
    session.look(threshold=0.5)
    window.choose("Review", reviewed.shown, 1)
    assert "Show it" in reviewed.accepted.text()
    window.qtbot.wait(50)
    places = [reviewed.pages.y(), reviewed.accept.y()]
    session.show_round(0)
    session.look(threshold=0.125)
    assert "Show it" not in reviewed.accepted.text()
    window.qtbot.wait(50)
    assert [reviewed.pages.y(), reviewed.accept.y()] == places
    session.look(threshold=0.5)
    window.choose("Review", reviewed.shown, 1)
    reviewed.accepted.linkActivated.emit("accepted")
    assert (session.shown.round, session.threshold) == (0, 0.125)

    # what was accepted becomes the model
    shutil.copyfile(drawn_teacher, RunFolder(session.run).model_path(1))
    window.choose("Review", reviewed.shown, 1)
    window.click("Review", reviewed.accept)
    assert "Take it as the next teacher" in reviewed.accepted.text()
    reviewed.accepted.linkActivated.emit("further")
    window.wait(lambda: session.teacher is not None and session.teacher.path == RunFolder(session.run).model_path(1))
    assert "It is the model: the next distillation begins with it." in reviewed.accepted.text()
    assert session.teacher.label == "round 1 of run"
    assert window.docks["Teacher"].model.value == session.teacher.label


def test_which_round_is_recommended_is_told_until_one_is_accepted(window: Any, reviewed: Any) -> None:
    session = window.session
    session.show(session.here()[0])
    assert "The run recommends round 1" in reviewed.about.text()
    session.show(session.here()[1])
    assert "The run recommends it" in reviewed.about.text()
    session._story.job = Job("distill", session.run)  # it goes on
    session.apply(Progress("training", 1, 2, "epochs"))
    assert "recommend" not in reviewed.about.text()
    session.apply(RunDone(1, "the last"))
    assert "The run recommends it" in reviewed.about.text()
    window.qtbot.wait(50)
    places = reviewed.accept.pos().y(), reviewed.pages.pos().y()
    session.show(session.here()[0])  # of which more is said
    window.qtbot.wait(50)
    assert (reviewed.accept.pos().y(), reviewed.pages.pos().y()) == places
    session.show(session.here()[1])
    session.accept(session.here()[1])
    window.qtbot.wait(50)
    assert (reviewed.accept.pos().y(), reviewed.pages.pos().y()) == places
    session.accept(session.here()[1])
    assert "recommend" not in reviewed.about.text()


def test_a_prediction_of_another_run_comes_after_the_rounds(
    window: Any, reviewed: Any, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    """So that left is the teacher."""
    session = window.session
    write_map(tmp_path / "other/maps/tiny.zarr", session.slide, model={"name": "other"})
    session.begin("predict", tmp_path / "other")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    assert reviewed.steps.maximum() == 2
    seen = []
    for at in range(3):
        reviewed.steps.setValue(at)
        seen.append(session.shown.label)
    assert seen == ["Teacher", "Round 1", "Prediction (other)"]
    assert [reviewed.shown.native.itemText(at) for at in range(3)] == seen


def test_what_was_accepted_of_the_rounds_is_told_beside_a_prediction(
    window: Any, reviewed: Any, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session = window.session
    session.accept(session.shown)
    rounds = session.shown
    write_map(tmp_path / "other/maps/tiny.zarr", session.slide, model={"name": "other"})
    session.begin("predict", tmp_path / "other")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    assert session.shown.act == "predict"
    assert "Nothing accepted yet." in reviewed.accepted.text()
    assert f"Of {rounds.run.name} round 1 is accepted." in reviewed.accepted.text()
    session.look(threshold=0.3)
    reviewed.accepted.linkActivated.emit("beside")
    assert (session.shown, session.threshold) == (rounds, 0.5)
    assert reviewed.accepted.text().startswith("✓ Accepted: round 1")


def test_what_is_said_of_the_tissue_goes_along_with_a_prediction_too(
    window: Any, reviewed: Any, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session, memory = window.session, window.bench.memory
    run = RunFolder(session.run)
    Corrections.create(run.corrections_path(session.slide.name), session.slide, 1.0).paint(0, 0, np.full((8, 8), 2, np.uint8))
    write_map(tmp_path / "other/maps/tiny.zarr", session.slide, model={"name": "other"})
    session.begin("predict", tmp_path / "other")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    (tmp_path / "other" / "run.yaml").write_text("")
    session.apply(RunDone(0, ""))
    assert memory.run_of(session.slide)() == run.path
    window.wait(lambda: "The next run takes along: corrections of run." in window.docks["Distill"].known.text())
    verdicts = tmp_path / "other" / "verdicts.csv"
    verdicts.write_text("slide,x,y,verdict\n")  # all were taken back
    Corrections.create(RunFolder(tmp_path / "other").corrections_path(session.slide.name), session.slide, 1.0)  # nothing is painted
    assert memory.run_of(session.slide)() == run.path
    verdicts.write_text("slide,x,y,verdict\ntiny.tif,1,1,accept\n")
    assert memory.run_of(session.slide)() == tmp_path / "other"


def test_steps_stay_in_the_way_of_comparing(window: Any, reviewed: Any, write_map: Callable[..., None]) -> None:
    session = window.session
    run, teacher = RunFolder(session.run), session.here()[0]
    page(window, reviewed, "Compare")
    write_map(run.map_path(2, session.slide.path), session.slide)
    session.apply(MapReady(2, session.slide.name, run.map_path(2, session.slide.path).relative_to(run.path).as_posix()))
    session.show_round(1)
    session.set_pair(*session.here()[:2])
    window.click("Review", reviewed.compare.mode.buttons["contours"])
    window.key(".")
    assert (session.compare, session.a, session.b.round, session.shown.round) == ("contours", teacher, 2, 2)
    window.key(",")
    assert (session.compare, session.b.round) == ("contours", 1)
    window.key(",")  # the teacher, with which it is compared
    assert (session.compare, session.shown) == ("off", teacher)
    window.key(".")  # and back
    assert (session.compare, session.b.round, session.shown.round) == ("contours", 1, 1)
    window.key(",")
    window.click("Review", reviewed.compare.mode.buttons["overlay"])  # another way since
    window.click("Review", reviewed.compare.mode.buttons["off"])
    window.key(".")
    assert session.compare == "off"


def test_the_table_of_rounds_tells_the_reason_when_it_is_asked_for(window: Any, reviewed: Any) -> None:
    reason = window.docks["Distill"].reason
    window.session.show_round(1)
    first = window.session.rounds[0]
    window.session.rounds = (first, RoundDone(1, Decision(True, "cautious", "", "It switched: it is better")))
    window.front("Distill")
    for told in (False, True, False):
        window.wait(lambda told=told: "It switched" in reason.text() and ("it is better" in reason.text()) == told)
        window.qtbot.wait(50)  # till it is drawn: before that it has no link to go to
        reason.setFocus()
        window.qtbot.keyClick(reason, Qt.Key.Key_Tab)  # to the link
        window.qtbot.keyClick(reason, Qt.Key.Key_Return)


def test_what_was_deleted_in_the_list_of_layers_comes_back_by_the_next_act(
    window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, layers, told = window.session, window.viewer.layers, list[str]()
    monkeypatch.setattr("napari_ifkd._plugin.deleted.show_info", told.append)
    compare = page(window, reviewed, "Compare")
    path = RunFolder(session.run).corrections_path(session.slide.name)
    Corrections.create(path, session.slide, 1.0).paint(0, 0, np.full((8, 8), 2, np.uint8))
    window.bench.corrected.emit()
    reviewed.correct.look()
    window.wait(lambda: len(window.ours("corrections")) == 1 and compare.corrections.isChecked())
    mask = next(layer for layer in window.ours("mask") if layer.visible)
    mask.visible = False  # by its eye: it stays so while the threshold moves
    session.look(threshold=0.45)
    window.qtbot.wait(100)
    assert not mask.visible
    mask.visible = True
    again = reviewed.shown.native
    acts = (
        lambda: window.click("Review", compare.mode.buttons["off"]),
        lambda: session.look(threshold=0.4),
        lambda: again.activated.emit(again.currentIndex()),
    )
    for act in acts:
        layers.remove(next(layer for layer in window.ours("mask") if layer.visible))
        assert not any(layer.visible for layer in window.ours("mask"))
        window.wait(lambda: told == [f"Move the threshold to see it again: {session.shown.label} is kept."])
        told.clear()
        act()
        window.wait(lambda: [layer.visible for layer in window.ours("mask")].count(True) == 1)
    layers.remove(window.ours("corrections")[0])
    assert compare.corrections.isVisible()
    assert not compare.corrections.isChecked()
    window.wait(lambda: bool(told))
    assert told[0].startswith("Compare, Show corrections: brings them back")
    told.clear()
    window.click("Review", compare.corrections)
    window.wait(lambda: [layer.visible for layer in window.ours("corrections")] == [True])
    assert compare.corrections.isChecked()
    session.activate(None)  # what goes with its slide is not told of
    window.qtbot.wait(100)
    assert not told


def test_a_comparison_comes_back_after_lesions_were_judged(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, reviewed.lesions
    window.click("Review", reviewed.compare.mode.buttons["disagreement"])
    page(window, reviewed, "Lesions")
    window.key("J")
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert session.compare == "off"  # it is the one mask that is judged
    page(window, reviewed, "Compare")
    assert session.compare == "disagreement"
    window.click("Review", reviewed.compare.mode.buttons["off"])  # asked for
    page(window, reviewed, "Lesions")
    page(window, reviewed, "Compare")
    assert session.compare == "off"


def test_points_are_of_a_distillation_on_this_slide(window: Any, reviewed: Any, drawn_slide: Path, tmp_path: Path) -> None:
    count = page(window, reviewed, "Points")
    assert count.start.isEnabled()
    shutil.copyfile(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: window.session.tissue is not None)
    assert window.session.run is not None  # of the other slide
    assert not count.start.isEnabled()
    assert "Distil first" in count.what.text()


def test_long_names_are_shortened_in_the_middle(window: Any, reviewed: Any, tmp_path: Path, write_map: Callable[..., None]) -> None:
    """Where the number is that tells them apart is at the end."""
    session = window.session
    name = "luad_mosaic-train-of-last-week-12"
    write_map(tmp_path / "other/maps/tiny.zarr", session.slide, model={"name": name})
    session.begin("predict", tmp_path / "other")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    shown = reviewed.shown.native
    assert shown.currentText().startswith("Prediction (")
    assert shown.currentText().endswith("-week-12)")
    assert "…" in shown.currentText()
    assert shown.fontMetrics().horizontalAdvance(shown.currentText()) < shown.width() - 24  # all of it is seen
    assert shown.itemData(shown.currentIndex(), Qt.ItemDataRole.ToolTipRole) == f"Prediction ({name})"


def test_contours_are_as_wide_on_the_screen_whatever_the_zoom(window: Any, reviewed: Any) -> None:
    window.click("Review", reviewed.compare.mode.buttons["contours"])
    camera, seen = window.viewer.scene.camera, set[int]()
    for zoom in (0.2, 0.5, 3.0, 0.5, 0.2):
        camera.zoom = zoom

        def fit(zoom: float = zoom) -> bool:
            masks = [layer for layer in window.ours("mask") if layer.visible]
            pixels = [m.scale[-1] * m.downsample_factors[m.data_level][-1] * zoom for m in masks]  # one of the level, px of the screen
            return len(masks) == 2 and all(1.3 < m.contour * pixel <= max(2.7, pixel) for m, pixel in zip(masks, pixels, strict=True))

        window.wait(lambda fit=fit: window.bench.layers.settled and fit())
        seen |= {layer.contour for layer in window.ours("mask") if layer.visible}
    assert len(seen) > 1


def test_what_was_accepted_is_taken_back(window: Any, reviewed: Any) -> None:
    session = window.session
    session.show_round(1)
    top = reviewed.accept.mapTo(reviewed.content, QPoint()).y()
    reviewed.about.linkActivated.emit("why")
    window.qtbot.wait(50)
    assert reviewed.accept.mapTo(reviewed.content, QPoint()).y() == top  # whatever is unfolded
    window.click("Review", reviewed.accept)
    assert RunFolder(session.run).accepted is not None
    assert ">Undo</a>" in reviewed.accepted.text()
    reviewed.accepted.linkActivated.emit("back")
    assert RunFolder(session.run).accepted is None
    assert (session.accepted, session.accepted_of(session.shown)) == (None, None)
    assert reviewed.accepted.text() == "Nothing accepted yet."
    run = RunFolder(session.run)
    session._take_judgement(run.path, run.accept(0, 0.05, "reference", "It is best.", 3.0))
    assert "Accepted by reference masks: the teacher at 0.05, smoothing 3 px." in reviewed.accepted.text()
    assert ">Undo</a>" not in reviewed.accepted.text()  # nobody clicked for that
    window.click("Review", reviewed.accept)
    session.look(threshold=0.6)
    window.click("Review", reviewed.accept)
    assert "Accepted: round 1 at 0.6." in reviewed.accepted.text()
    for told in ("Accepted: round 1 at 0.5", "Accepted by reference masks: the teacher at 0.05"):  # one after the other comes back
        reviewed.accepted.linkActivated.emit("back")
        assert told in reviewed.accepted.text()
    reviewed.accepted.linkActivated.emit("accepted")
    assert (session.shown.round, session.threshold, session.sigma_px) == (0, 0.05, 3)
    session.show_round(1)
    session._take_judgement(run.path, run.accept(1, 0.05, "reference", "It is best.", 12.0))
    session.look_as(session.accepted)  # more than the slider takes as a rule
    assert session.sigma_px == window.docks["Teacher"].smoothing.value == 12
    assert reviewed.accept.text() == "✓ Accepted"
    session.look(sigma_px=3.0)
    assert reviewed.accept.text() == "Accept round 1 at 0.05"
    for _ in range(2):
        reviewed.accepted.linkActivated.emit("back")
    assert reviewed.accept.isEnabled()
    assert "✓" not in window.docks["Distill"].table.item(1, 0).text()


def test_what_is_told_of_a_round_is_of_that_round(window: Any, reviewed: Any, write_map: Callable[..., None]) -> None:
    session = window.session
    session.show_round(0)
    assert "The teacher before any round." in reviewed.about.text()
    write_map(session.run / "rounds/02/maps/tiny.zarr", session.slide)
    session.begin("distill", session.run, [session.slide])  # it goes on
    for index in (0, 1):
        write_map(session.run / f"rounds/{index:02d}/maps/tiny.zarr", session.slide)
        session.apply(MapReady(index, session.slide.name, f"rounds/{index:02d}/maps/tiny.zarr"))
    session.show_round(1)  # whose map comes before its decision
    assert "It is not over yet." in reviewed.about.text()
    assert "before any round" not in reviewed.about.text()


def test_pages_are_as_high_as_the_one_that_is_seen(window: Any, reviewed: Any) -> None:
    window.viewer.window.resize(1280, 800)
    count = page(window, reviewed, "Points")
    count._lacking = "<br>".join(map(str, range(80)))
    count._show()
    window.wait(lambda: reviewed.content.height() > 1300)
    correct = page(window, reviewed, "Correct")
    window.wait(lambda: reviewed.content.height() <= max(reviewed.viewport().height(), reviewed.content.minimumSizeHint().height()))
    assert reviewed.content.height() < 1000
    assert correct.told.mapTo(reviewed.content, correct.told.rect().bottomLeft()).y() <= reviewed.content.height()


def test_the_pages_stay_whichever_round_is_shown_and_whatever_is_rejected(
    window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = window.session
    growth = {0: "", 1: "On the slide, round 1 marks 60% more than the first teacher at 0.5"}
    monkeypatch.setattr(window.bench.areas, "growth", growth.__getitem__)
    long = "the network was trained on another tissue than that of this slide. " * 3
    monkeypatch.setattr(type(session.shown), "warnings", property(lambda self: (long,) if self.round else ()))

    def top() -> int:
        window.qtbot.wait(50)
        return reviewed.pages.mapTo(reviewed.content, QPoint()).y()

    session.show_round(1)
    reviewed._show_round()
    places = {top()}
    for _ in range(2):
        for mode in ("a", "b"):
            window.click("Review", reviewed.compare.mode.buttons[mode])
            places.add(top())
    monkeypatch.setattr(window.bench.verdicts, "rejected", lambda _: 1)
    reviewed._show_round()
    assert "without regard to corrections and rejections" in reviewed.growth.text()
    assert places | {top()} == places
    assert len(places) == 1


def test_the_wheel_over_the_tabs_changes_no_page(window: Any, reviewed: Any) -> None:
    bar = reviewed.pages.tabBar()
    at = bar.rect().center()
    for step in (-120, 120):
        event = QWheelEvent(
            QPointF(at),
            QPointF(bar.mapToGlobal(at)),
            QPoint(),
            QPoint(0, step),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(bar, event)
        assert reviewed.pages.currentIndex() == 0


def test_what_is_told_of_rounds_moves_no_button_and_widens_no_dock(window: Any, reviewed: Any) -> None:
    """Though there is more to say of one than of another."""
    session, tops = window.session, set()
    session.rounds = (
        session.rounds[0],
        replace(session.rounds[1], decision=Decision(True, "cautious", "", f"It switched: {'it is better. ' * 40}")),
    )
    for told in (False, True):  # as short as it is first, and with all of the reason
        tops.clear()
        for key in (",", ".", ",", "."):
            window.key(key)
            window.qtbot.wait(50)
            tops.add(reviewed.pages.mapTo(reviewed.content, QPoint()).y())
            assert reviewed.about.height() >= reviewed.about.heightForWidth(reviewed.about.width())
        assert len(tops) == 1
        assert "It switched" in reviewed.about.text()
        assert ("it is better" in reviewed.about.text()) == told
        reviewed.about.setFocus()
        window.qtbot.keyClick(reviewed.about, Qt.Key.Key_Tab)  # to the link
        window.qtbot.keyClick(reviewed.about, Qt.Key.Key_Return)
        window.qtbot.wait(50)
    assert "it is better" not in reviewed.about.text()
    rounds, below = session.rounds, reviewed.pages.mapTo(reviewed.content, QPoint()).y()
    session.rounds = (rounds[0], replace(rounds[1], decision=Decision(True, "cautious", "", f"{'It switched. ' * 4}: x")))
    session.accept(session.shown)
    window.qtbot.wait(50)
    assert reviewed.pages.mapTo(reviewed.content, QPoint()).y() == below  # for what is told usually there is room
    session.take_back(session.shown)
    session.rounds = rounds
    window.qtbot.wait(50)
    reach = ((x, y) for y in range(2, reviewed.about.height(), 4) for x in range(2, reviewed.about.width(), 4))
    while "it is better" not in reviewed.about.text():  # the mouse finds it too
        window.qtbot.mouseClick(reviewed.about, Qt.MouseButton.LeftButton, pos=QPoint(*next(reach)))

    long = replace(session.here()[0], act="predict")
    long.found.model["name"] = "teacher of a slide with a very long name indeed, as scanners make them"
    session.candidates = (long, *session.candidates)
    session.show(long)
    window.qtbot.wait(50)
    assert reviewed.widget().width() <= reviewed.viewport().width()
    assert reviewed.widget().minimumSizeHint().width() <= 322
    page(window, reviewed, "Points")
    button = reviewed.count.accept
    button.show()
    button.setText(acceptance(0, 0.375, "the advice: "))  # the longest there is
    window.qtbot.wait(50)
    assert button.fontMetrics().horizontalAdvance(button.text()) < button.width() - 8


def test_a_file_of_another_program_is_compared(window: Any, reviewed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtpy.QtWidgets import QFileDialog

    session = window.session
    a = session.here()[1]
    marked = np.asarray(a.found.levels[0]) >= 128
    y, x = (n.astype(float) for n in np.nonzero(marked[:62]))
    (top, bottom), (left, right) = ((v.min() * 2, (v.max() + 1) * 2) for v in (y, x))
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    drawn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"classification": {"name": "Tumor"}}}
    (tmp_path / "by hand.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    (tmp_path / "bad.geojson").write_text("{")
    for name in ("bad.geojson", "by hand.geojson"):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, name=name: (str(tmp_path / name), ""))
        window.click("Review", reviewed.compare.file)
        window.wait(lambda: reviewed.compare.file.isEnabled())
        assert reviewed.trouble.isVisible() == (name == "bad.geojson")
        assert (name in reviewed.trouble.notice.text()) == (name == "bad.geojson")
    assert session.b.label == "by hand.geojson"
    assert session.b not in session.here()  # nothing that a run could accept
    session.set_pair(a, session.b)
    window.click("Review", reviewed.compare.mode.buttons["overlay"])
    window.wait(lambda: len([layer for layer in window.ours("mask") if layer.visible]) == 2)
    masks = {tag(layer)["act"]: np.asarray(layer.data[0]) for layer in window.ours("mask") if layer.visible}
    assert set(masks) == {"distill", "file"}
    inside = np.zeros_like(marked)
    inside[int(top // 2) : int(bottom // 2), int(left // 2) : int(right // 2)] = True
    assert (masks["file"] == inside).mean() > 0.999
    window.wait(lambda: "F1" in reviewed.compare.numbers.text())
    session.show(session.here()[0])
    assert "by hand.geojson" in reviewed.compare.legend.text()


def test_thirty_points_say_which_round(window: Any, reviewed: Any) -> None:
    session, count = window.session, page(window, reviewed, "Points")
    run = RunFolder(session.run)
    corrections = Corrections.create(run.corrections_path(session.slide.name), session.slide, session.shown.found.mpp)
    corrections.paint(0, 0, np.full((9, 9), 2, np.uint8))
    reviewed.correct._show()
    window.wait(lambda: len(window.ours("corrections")) == 1)
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    assert count.bar.maximum() == len(read_points(run.path / "points-asked.csv", unanswered=True)) > 10
    assert not [layer for layer in window.ours("mask", "heat", "corrections") if layer.visible]  # nobody is told what to answer
    window.front("Export")  # who looks at something else meanwhile sees them
    window.wait(lambda: any(layer.visible for layer in window.ours("mask")) and window.ours("corrections")[0].visible)
    window.key("T")
    window.front("Review")
    window.wait(lambda: not [layer for layer in window.ours("mask", "heat", "corrections") if layer.visible])
    assert count.bar.value() == 0  # nor was an answer heard
    (ring,) = window.ours("counting")
    seen = np.asarray(window.viewer.scene.camera.center[-2:])
    assert np.allclose(ring.data[0], seen, atol=1e-3)
    window.click("Review", count.answers["tumour"])
    assert count.bar.value() == 1
    assert not np.allclose(window.viewer.scene.camera.center[-2:], seen)
    window.click("Review", count.back)
    assert np.allclose(window.viewer.scene.camera.center[-2:], seen, atol=1e-3)
    assert "you said: <b>tumour</b>" in count.what.text()
    assert count.bar.value() == 1  # it is answered
    for key, answer in (("U", "unsure"), ("N", "normal"), ("T", "tumour")):
        window.key(key)
        window.wait(lambda answer=answer: any(p.answer == answer for p in read_points(run.path / "points-asked.csv")))
    assert count.bar.value() == 3
    assert "Place 4. At place 3 you said: tumour." in count.what.text()
    for _ in range(3):
        window.click("Review", count.back)
    assert "An answer here leads on to place 4" in count.what.text()
    assert np.allclose(window.viewer.scene.camera.center[-2:], seen, atol=1e-3)
    window.key("T")  # one is mended, and on it goes where it was
    assert [point.answer for point in count.points[:4]] == ["tumour", "normal", "tumour", ""]
    assert (count.at, count.bar.value()) == (3, 3)
    assert "Place 4. At place 1 you now said: tumour." in count.what.text()
    truth = session.here()[1].found
    while count.points:
        asked = count.points[count.at]
        value = truth.levels[0][int(asked.y / truth.scale_yx[0]), int(asked.x / truth.scale_yx[1])]
        window.click("Review", count.answers["tumour" if value >= 128 else "normal"])
    window.wait(lambda: "F1" in count.card.text())
    assert "95 %" in count.card.text()
    assert len([p for p in read_points(run.points) if p.answer]) == count.bar.maximum() or len(read_points(run.points)) > 10
    assert not window.ours("counting")
    window.wait(lambda: any(layer.visible for layer in window.ours("mask")))
    assert window.ours("corrections")[0].visible
    window.viewer.layers.remove(window.ours("corrections")[0])
    reviewed.correct.look()  # as when one turns to another slide
    window.wait(lambda: [layer.visible for layer in window.ours("corrections")] == [True])
    judging = window.bench.judging
    advised = judging.advised.round
    for index, words in ((advised, "it"), (1 - advised, ("the teacher", "round 1")[advised])):
        session.show(session.here()[index])
        assert f"Points recommend {words} at {judging.advised.threshold.value:.3g}." in reviewed.about.text()
    session.accept(session.show_round(1 - advised) or session.shown)  # before the last answer, as it were
    judging.found = judging.found._replace(answered=time.time() + 60)
    judging.changed.emit()
    assert judging.advises
    reviewed.pages.setCurrentWidget(reviewed.correct)  # wherever one is: they speak against what is accepted
    assert "Points recommend" in reviewed.about.text()
    bar = window.docks["Distill"].progress.line
    assert bar.text().startswith(f"Done. Points recommend {('the teacher', 'round 1')[advised]} at ")
    reviewed.pages.setCurrentWidget(count)
    judging.found = judging.found._replace(answered=0.0)
    assert "Masks at smoothing 3 px, as in the run: to accept one sets it." in count.card.text()
    window.click("Review", count.accept)
    assert session.sigma_px == session.accepted.sigma_px == 3
    assert "Masks at smoothing" not in count.card.text()
    assert "is accepted by points" in bar.text()
    assert "Points recommend" not in reviewed.about.text()
    assert session.accepted is not None
    assert session.accepted.round == judging.judgement.chosen.round
    assert session.accepted.threshold == judging.judgement.chosen.threshold.value
    assert session.accepted.by == "points"
    assert session.accepted.reason == judging.judgement.reason
    assert "Accepted by points" in reviewed.accepted.text()
    assert session.accepted.reason not in reviewed.accepted.text()  # the card beside it says why
    assert (count.accept.isEnabled(), count.accept.text()) == (False, "The advice is accepted")
    assert reviewed.accept.styleSheet() != count.start.styleSheet()
    said, slide = count.card.text(), session.slide
    session.activate(None)  # what was answered comes back with its slide and run
    assert count.card.text() == ""
    session.activate(slide)
    window.wait(lambda: count.card.text() == said)
    assert count.accept.isVisible()
    session.accept(session.shown)  # at another threshold, or another round
    session.look(threshold=0.9)
    session.accept(session.shown)
    assert count.accept.isEnabled()
    assert "Accept the advice" in count.accept.text()
    assert not judging.advises  # it was overruled: another button stands out
    assert "Points recommend" in reviewed.about.text()  # which is told still
    assert "<b>The points" not in reviewed.about.text()
    assert "bold" not in count.accept.styleSheet()
    assert "bold" in reviewed.accept.styleSheet()
    reviewed.pages.setCurrentWidget(reviewed.correct)  # whichever page is in front: what the points advise is told above it
    session.activate(None)
    session.activate(slide)
    window.wait(lambda: "that stands unless you accept the advice" in count.card.text())
    assert not judging.advises  # for good


def test_points_are_judged_anew_when_a_run_goes_on(window: Any, reviewed: Any, write_map: Callable[..., None]) -> None:
    session, run = window.session, RunFolder(window.session.run)
    count = page(window, reviewed, "Points")
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    while count.points:
        window.click("Review", count.answers["normal" if count.at % 2 else "tumour"])
    window.wait(lambda: "F1" in count.card.text())
    assert "Round&nbsp;2" not in count.card.text()
    session.accept(session.shown)
    if window.bench.judging.advised is not None:
        assert "that stands unless you accept the advice" in count.card.text()
    session.begin("distill", run.path, [session.slide])
    assert "F1" in count.card.text()  # it holds for the rounds there are
    write_map(run.map_path(2, session.slide.path), session.slide)
    run.model_path(2).write_bytes(b"")
    for event in (MapReady(2, session.slide.name, run.map_path(2, session.slide.path).relative_to(run.path).as_posix()), RunDone(2, "x")):
        run.append(event)
    session.take_run(RunStory.read(run.path))
    window.wait(lambda: "Round&nbsp;2" in count.card.text())


def test_points_do_not_speak_against_reference_masks(window: Any, reviewed: Any) -> None:
    session, run = window.session, RunFolder(window.session.run)
    session._take_judgement(run.path, run.accept(1, 0.05, "reference", "It is best.", 3.0))
    count = page(window, reviewed, "Points")
    assert "Reference masks chose the round." in count.what.text()
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    while count.points:
        window.click("Review", count.answers["normal" if count.at % 2 else "tumour"])
    window.wait(lambda: "F1" in count.card.text())
    assert "Reference masks have chosen round 1 at 0.05, smoothing 3 px, and stand above points." in count.card.text()
    assert not window.bench.judging.advises
    assert "bold" not in count.accept.styleSheet()
    assert run.accepted.by == "reference"
    distill = window.docks["Distill"]
    assert "is accepted by reference" in distill.progress.line.text()


def test_a_count_that_was_left_goes_on_where_it_was(window: Any, reviewed: Any) -> None:
    count, run = page(window, reviewed, "Points"), RunFolder(window.session.run)
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    for answer in ("unsure", "normal", "normal"):  # unsure is an answer
        window.click("Review", count.answers[answer])
    window.wait(lambda: sorted(p.answer for p in read_points(run.path / "points-asked.csv")) == ["normal", "normal", "unsure"])
    count._stop()  # as when the window goes
    assert count.start.text() == "Go on counting at place 4"
    count.start.setText("")
    count._look_for_begun()  # as when it is opened again
    window.wait(lambda: count.start.text() == "Go on counting at place 4")
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    assert count.bar.value() == 3
    count._stop()
    table = run.path / "points-asked.csv"
    asked = read_points(table, unanswered=True)
    write_points(table, [replace(point, answer="normal" if at in (0, 2, 5) else "") for at, point in enumerate(asked)])  # by hand
    count._look_for_begun()
    window.wait(lambda: count.start.text() == "Go on counting at place 2")
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    assert (count.at, count.bar.value()) == (1, 3)
    window.click("Review", count.finish)
    window.wait(lambda: "too few" in count.card.text())
    assert count.start.text() == "Go on counting at place 2"  # as it is when napari is started again
    assert "so far" in count.what.text()
    assert len(read_points(run.points)) == 3
    assert not count.accept.isVisible()


def test_a_slide_that_was_closed_in_a_count_comes_back_as_it_was_looked_at_before(window: Any, reviewed: Any) -> None:
    session, camera, memory = window.session, window.viewer.scene.camera, window.bench.memory
    window.wait(lambda: memory.settled and memory.notes.rested)
    before = camera.zoom
    count = page(window, reviewed, "Points")
    window.click("Review", count.start)
    window.wait(lambda: bool(count.points))
    assert camera.zoom > 1.1 * before
    window.wait(lambda: memory.notes.rested)
    path = session.slide.path
    window.viewer.layers.remove(window.ours("slide")[0])
    assert not count.points
    window.bench.open(path)
    window.wait(lambda: memory.settled)
    assert camera.zoom == pytest.approx(before, rel=0.01)


def test_a_slide_that_was_left_in_a_count_comes_back_as_it_was_looked_at_before(window: Any, reviewed: Any, tmp_path: Path) -> None:
    count, camera, slide = page(window, reviewed, "Points"), window.viewer.scene.camera, window.session.slide
    window.wait(lambda: window.bench.memory.settled)
    camera.zoom, camera.center = 1.25, (0.0, 55.0, 66.0)
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    assert camera.zoom != 1.25
    window.session.open(shutil.copy(slide.path, tmp_path / "other.tif"))
    window.wait(lambda: window.bench.memory.settled)
    assert not count.points
    window.session.activate(slide)
    window.wait(lambda: window.bench.memory.settled)
    assert (camera.zoom, camera.center[-2:]) == (1.25, (55.0, 66.0))
    window.wait(lambda: window.bench.memory.notes.rested)
    assert window.bench.memory.notes.views[str(slide.path)].zoom == 1.25


def test_lesions_are_listed_sorted_and_judged(window: Any, reviewed: Any, tmp_path: Path) -> None:
    from napari_ifkd.export import export_run

    session, lesions = window.session, page(window, reviewed, "Lesions")
    run, candidate = RunFolder(session.run), session.shown
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    areas = [lesions.model.lesion(i).area_mm2 for i in range(3)]
    assert areas == sorted(areas, reverse=True)
    lesions.table.sortByColumn(2, lesions.table.horizontalHeader().sortIndicatorOrder().DescendingOrder)
    assert lesions.model.lesion(0).uncertainty == max(lesions.model.lesion(i).uncertainty for i in range(3))
    before = np.asarray(window.viewer.scene.camera.center[-2:])
    window.click("Review", lesions.next)
    first = lesions.model.lesion(0)
    mpp = session.slide.mpp
    left, top, right, bottom = first.box
    middle = (((top + bottom) / 2 - 0.5) * mpp, ((left + right) / 2 - 0.5) * mpp)
    assert np.allclose(window.viewer.scene.camera.center[-2:], middle, atol=1e-3)
    assert not np.allclose(before, middle)
    found = candidate.found
    (ring,) = window.ours("lesion")  # drawn round the one that is picked
    corners = np.asarray([ring.data_to_world(corner) for corner in ring.data[0]]) / mpp + 0.5
    assert np.allclose((*corners.min(0)[::-1], *corners.max(0)[::-1]), first.box, atol=1e-3)
    assert np.allclose(ring.edge_color, [[0, 0, 0, 1], [1, 1, 1, 1]])  # black and white upon it: seen on any mask
    assert ring.edge_width[0] > ring.edge_width[1]

    def on_screen() -> np.ndarray:
        (mask,) = [layer for layer in window.ours("mask") if layer.visible]
        return np.asarray(mask.data[0]) > 0

    whole = on_screen()
    window.click("Review", lesions.reject)
    window.wait(lambda: len(read_verdicts(run.verdicts)) == 1 and not lesions._busy)
    assert lesions._row() == 1  # on to the next
    (box_left, box_top, box_right, box_bottom), (scale_y, scale_x) = first.box, found.scale_yx
    alone = np.zeros_like(whole)
    alone[round(box_top / scale_y) : round(box_bottom / scale_y), round(box_left / scale_x) : round(box_right / scale_x)] = True
    assert (whole & alone).any()
    window.wait(lambda: np.array_equal(on_screen(), whole & ~alone))  # a box, as drawn
    assert not np.array_equal(np.asarray(found.levels[0]) >= 128, on_screen())  # the map itself stays as it is
    window.key("A")
    window.wait(lambda: len(read_verdicts(run.verdicts)) == 2 and not lesions._busy)
    window.click("Review", lesions.before)
    assert lesions._row() == 1
    window.wait(lambda: [len(marks.data) for marks in window.ours("verdicts")] == [2])
    (marks,) = window.ours("verdicts")
    marked = {
        symbol.name: np.asarray(marks.data_to_world(place)) / mpp + 0.5 for symbol, place in zip(marks.symbol, marks.data, strict=True)
    }
    assert sorted(marked) == ["DISC", "SQUARE"]
    assert np.allclose(marked["SQUARE"], (first.y, first.x), atol=0.02)
    assert "2 of these judged. 1 rejected" in lesions.told.text()
    export_run(session.run, ["csv"], tmp_path / "out", round=candidate.round, threshold=session.threshold, sigma_px=0)
    assert len((tmp_path / "out" / f"tiny_round{candidate.round}.lesions.csv").read_text().splitlines()) == 3  # a head, and two of three
    session.look(threshold=0.7)  # another mask has other lesions
    assert on_screen().any()
    assert not (on_screen() & alone).any()  # what was rejected does not come back until they are found
    window.wait(lambda: lesions.model.rowCount() == 0)
    assert not window.ours("lesion")
    window.wait(lambda: lesions.model.rowCount() == 2)  # the list follows
    window.wait(lambda: window.bench.verdicts.settled)
    assert not window.ours("verdicts") or len(window.ours("verdicts")[0].data) <= 1
    session.look(threshold=0.5)
    window.wait(lambda: [len(marks.data) for marks in window.ours("verdicts")] == [2])  # without any list
    count = page(window, reviewed, "Points")
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    assert not any(marks.visible for marks in window.ours("verdicts"))  # who answers points sees no verdict


def test_the_list_of_lesions_follows_what_is_looked_at(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    window.key("R")  # nothing is picked yet
    assert lesions.list.isVisible()
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert "no lesion is picked" in lesions.reject.toolTip()
    window.key("R")  # which is seen first
    window.wait(lambda: lesions._row() == 0 and lesions.reject.isEnabled())
    assert not lesions.model.judged()
    assert not lesions.list.isVisible()
    sizes = [lesions.model.lesion(at).area_mm2 for at in range(3)]
    window.key("J")
    picked, seen = lesions.model.lesion(1), (window.viewer.camera.center, window.viewer.camera.zoom)
    session.look(threshold=0.55)
    assert lesions.table.isVisible()  # nothing jumps below the mouse while they are found again
    assert lesions.steps.isVisible()
    assert "Finding" in lesions.what.text()
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert "at threshold 0.55" in lesions.what.text()
    assert lesions.model.lesion(lesions._row()).box == picked.box  # where one was, and the picture stays
    assert (window.viewer.camera.center, window.viewer.camera.zoom) == seen
    session.look(threshold=0.65)  # it is gone
    window.wait(lambda: lesions.model.rowCount() == 2)
    assert lesions._row() == -1
    session.look(threshold=0.5)  # and back
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert lesions.model.lesion(lesions._row()) == picked
    other = next(candidate for candidate in session.here() if candidate != session.shown)
    session.show(other)
    window.wait(lambda: lesions.model.rowCount() == 3 and other.label in lesions.what.text())
    assert [lesions.model.lesion(at).area_mm2 for at in range(3)] != sizes
    assert lesions._row() == -1  # its lesions are others
    page(window, reviewed, "Compare")
    session.look(threshold=0.7)
    window.wait(lambda: window.bench.verdicts.settled)
    assert lesions.model.rowCount() == 0  # nobody looks at it
    page(window, reviewed, "Lesions")
    window.wait(lambda: lesions.model.rowCount() == 2)
    lesions.model.judge(lesions.model.lesion(0), "accept")
    window.key("J")
    assert lesions._row() == 1  # the first that nobody judged


def test_no_verdict_on_a_lesion_that_was_not_drawn_yet(window: Any, reviewed: Any) -> None:
    """Keys that wait while the window is busy come all at once."""
    lesions = page(window, reviewed, "Lesions")
    window.key("J")
    window.wait(lambda: lesions.model.rowCount() == 3 and lesions._row() == 0)
    for act in ("J", "A", "R"):
        lesions.keys[act].activated.emit()
    assert not lesions.model.judged()
    lesions._still = True  # one that is picked again in a new list was not drawn either
    lesions.table.selectRow(0)
    lesions.table.selectRow(1)
    lesions._still = False
    lesions.keys["A"].activated.emit()
    assert not lesions.model.judged()
    window.session.set_compare("overlay")
    window.key("K")
    assert window.session.compare == "off"  # it is this mask that is judged
    window.key("J")
    window.key("A")
    window.wait(lambda: lesions.model.word(1) == "accept")


def test_a_list_of_another_prediction_begins_nowhere(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    window.key("J")
    window.wait(lambda: lesions.model.rowCount() == 3 and lesions._row() == 0)
    first, other = session.shown, next(candidate for candidate in session.here() if candidate != session.shown)
    session.look(threshold=0.55)
    session.show(other)  # before those of the first are found again
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert lesions._row() == -1
    session.show(first)
    window.wait(lambda: lesions.model.rowCount() == 3)
    assert lesions._row() == 0  # where one was
    window.type("Review", lesions.least.findChild(QLineEdit), "0.00001")
    assert lesions._row() == 0
    find, go_on = window.bench.verdicts.lesions, threading.Event()

    def slow(mask: Mask) -> list[Any]:
        go_on.wait(60)
        return find(mask)

    monkeypatch.setattr(window.bench.verdicts, "lesions", slow)
    lesions._asked = False  # as before the first
    session.look(threshold=0.56)
    window.key("J")
    page(window, reviewed, "Points")
    seen = window.viewer.scene.camera.center
    go_on.set()
    window.wait(lambda: not lesions._busy)
    assert window.viewer.scene.camera.center == seen  # who looks at something else by now is not taken away
    page(window, reviewed, "Lesions")

    def broken(mask: Mask) -> list[Any]:
        raise OSError("the share is away")

    monkeypatch.setattr(window.bench.verdicts, "lesions", broken)
    session.look(threshold=0.57)
    window.wait(lesions.list.isVisible)  # who wants to may try again
    assert "the share is away" in reviewed.trouble.notice.text()
    monkeypatch.setattr(window.bench.verdicts, "lesions", find)
    session.look(threshold=0.58)
    window.wait(lambda: lesions.model.rowCount() == 3)  # and a list follows


def test_a_verdict_is_taken_back_by_saying_it_once_more(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    path = RunFolder(session.shown.run).verdicts
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)

    def on_screen() -> np.ndarray:
        return np.asarray(window.bench.layers.masks.of(session.shown)[0])

    whole = on_screen()
    for key in "JRKRRA":  # rejected, taken back and rejected again; the next one accepted
        window.key(key)
    window.wait(lambda: lesions._writer.idle)
    assert [verdict.verdict for verdict in read_verdicts(path)] == ["reject", "accept"]
    window.wait(lambda: not np.array_equal(on_screen(), whole))
    assert "2 of these judged. 1 rejected" in lesions.told.text()
    for move in (lesions.before, lesions.before):
        window.click("Review", move)
    window.click("Review", lesions.reject)
    assert lesions._row() == 0  # where it is seen to be gone
    window.wait(lambda: [verdict.verdict for verdict in read_verdicts(path)] == ["accept"])
    window.wait(lambda: np.array_equal(on_screen(), whole))
    assert lesions.told.text() == "1 of these judged. What was said of it is taken back."
    window.click("Review", lesions.reject)
    assert lesions._row() == 2  # the one between is judged: of it the same key would take back what was said
    window.wait(lambda: len(read_verdicts(path)) == 2)
    for move in (lesions.before, lesions.before):
        window.click("Review", move)
    window.click("Review", lesions.reject)
    window.wait(lambda: [verdict.verdict for verdict in read_verdicts(path)] == ["accept"])
    assert "taken back" in lesions.told.text()
    window.click("Review", lesions.next)
    assert "taken back" not in lesions.told.text()  # it was of another
    window.click("Review", lesions.accept)
    window.wait(lambda: read_verdicts(path) == [] and not window.ours("verdicts"))
    assert "None of these is judged" in lesions.told.text()


def test_who_judges_fast_takes_nothing_back_at_the_end(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lesions = page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    monkeypatch.setattr("napari_ifkd._plugin.widgets.lesions._OVERSHOT_S", 60.0)
    for key in "JAAAAA":
        window.key(key)
    assert [word for _, word in lesions.model.judged()] == ["accept"] * 3
    monkeypatch.setattr("napari_ifkd._plugin.widgets.lesions._OVERSHOT_S", 0.0)
    window.key("A")
    assert len(lesions.model.judged()) == 2
    window.wait(lambda: len(read_verdicts(RunFolder(window.session.shown.run).verdicts)) == 2)


def test_a_verdict_on_a_larger_lesion_is_taken_back_as_a_whole(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    path = RunFolder(session.shown.run).verdicts
    session.look(threshold=0.1)  # all flows together
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 1)
    window.key("J")
    window.key("A")
    window.wait(lambda: len(read_verdicts(path)) == 1)
    session.look(threshold=0.5)
    window.wait(lambda: len(lesions.model.judged()) == 3)
    assert "3 of these judged. Some are parts of larger ones that were judged" in lesions.told.text()
    with RunFolder(session.shown.run).verdicts.open("a") as table:  # and one that holds for no lesion
        table.write(f"{session.slide.name},250,10,reject,1,0.5,2026-01-01T00:00:00+00:00,0.001,\n")
    session.look(threshold=0.45)
    window.wait(lambda: not lesions._busy and lesions._of is not None and lesions._of.threshold == 0.45)
    assert "1 verdict does not count on this mask" in lesions.told.text()
    assert "Some are parts of larger ones" in lesions.told.text()
    write_verdicts(path, read_verdicts(path)[:1])
    session.look(threshold=0.5)
    window.wait(lambda: not lesions._busy and lesions._of is not None and lesions._of.threshold == 0.5)
    window.key("J")
    window.key("R")  # of this one by itself
    window.wait(lambda: len(read_verdicts(path)) == 2)
    window.key("J")
    window.key("A")
    window.wait(lambda: [word for _, word in lesions.model.judged()] == ["reject"])
    assert [verdict.verdict for verdict in read_verdicts(path)] == ["reject"]
    assert "taken back on 1 other part of it too" in lesions.told.text()


def test_marks_are_of_lesions_that_are_there_also_after_points_were_answered(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.key("J")
    for _ in range(3):
        window.key("A")
    window.wait(lambda: [len(marks.data) for marks in window.ours("verdicts")] == [3])
    (layer,) = window.ours("verdicts")
    session.look(threshold=0.9)  # one lesion is left
    window.wait(lambda: [len(marks.data) for marks in window.ours("verdicts")] == [1])
    assert window.ours("verdicts") == [layer]  # not made anew
    count = page(window, reviewed, "Points")
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    session.look(threshold=0.5)
    window.wait(lambda: window.bench.verdicts.settled and not any(marks.visible for marks in window.ours("verdicts")))
    page(window, reviewed, "Lesions")
    window.wait(lambda: [(len(marks.data), marks.visible) for marks in window.ours("verdicts")] == [(3, True)])


def test_lesions_are_rejected_faster_than_masks_are_made(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_ifkd._plugin import verdicts

    lesions_of, looked = verdicts.lesions_of, []

    def slow(source: Any, *arguments: Any) -> Any:
        looked.append(source)
        for _ in range(20):
            arguments[-1](0, 1)  # stops where nobody waits any more
            time.sleep(0.1)
        return lesions_of(source, *arguments)

    session, lesions = window.session, page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    monkeypatch.setattr(verdicts, "lesions_of", slow)  # for the other of the pair: those of this one are known
    window.click("Review", lesions.next)
    for _ in range(3):
        window.key("R")
    run = RunFolder(session.shown.run)
    window.wait(lambda: len(read_verdicts(run.verdicts)) == 3, 10)
    shown = session.shown
    window.wait(lambda: not np.asarray(window.bench.layers.masks.of(shown)[0]).any(), 10)
    for threshold in (0.61, 0.62, 0.63):
        session.look(threshold=threshold)
        window.bench.verdicts.look()
    done: list[int] = []
    in_thread(lambda: 1, done.append)
    window.wait(lambda: bool(done), 10)  # threads are free for others
    window.wait(lambda: window.bench.verdicts.settled)
    for candidate in session.here():
        assert not np.asarray(window.bench.layers.masks.of(candidate)[0]).any()
    assert len(looked) <= 6


def test_verdicts_that_hold_no_more_are_told_of(window: Any, reviewed: Any) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    lesions.table.selectRow(2)  # the smallest
    window.click("Review", lesions.reject)
    window.wait(lambda: window.bench.verdicts.settled and bool(read_verdicts(RunFolder(session.shown.run).verdicts)))
    session.set_pair(*session.here())
    page(window, reviewed, "Compare")
    numbers = reviewed.compare.numbers
    window.wait(lambda: "F1" in numbers.text())
    assert "verdict" not in numbers.text()
    session.look(threshold=0.1)  # all flows together
    named = " and ".join(candidate.label for candidate in session.here())
    window.wait(lambda: f"{named}: 1 verdict does not count on this mask: its lesion is gone here" in numbers.text())
    session.look(threshold=0.5)
    window.wait(lambda: "F1" in numbers.text() and "verdict" not in numbers.text())


def test_the_table_of_lesions_is_sorted_clicked_and_shortened(window: Any, reviewed: Any) -> None:
    lesions = page(window, reviewed, "Lesions")
    view, model, head = lesions.table, lesions.model, lesions.table.horizontalHeader()
    window.click("Review", lesions.list)
    window.wait(lambda: model.rowCount() == 3)

    def press_head(column: int) -> None:
        at = QPoint(head.sectionViewportPosition(column) + head.sectionSize(column) // 2, head.height() // 2)
        window.qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=at)

    # one stays picked when the list is sorted
    window.click("Review", lesions.next)
    picked = model.lesion(lesions._row())
    for column, value in ((2, "uncertainty"), (1, "probability"), (0, "area_mm2")):
        press_head(column)
        values = [getattr(model.lesion(row), value) for row in range(3)]
        assert values == sorted(values, reverse=True)  # at the first click already
        assert model.lesion(lesions._row()) == picked
    press_head(0)
    assert [model.lesion(row).area_mm2 for row in range(3)] == sorted(values)
    assert model.lesion(lesions._row()) == picked
    assert lesions._row() == 2
    window.click("Review", lesions.reject)
    window.wait(lambda: len(model.judged()) == 1)
    assert model.judged()[0][0] == picked

    # small ones are not listed, and the outline goes with the page
    areas = sorted(values)
    window.click("Review", lesions.next)
    assert window.ours("lesion")
    window.type("Review", lesions.least.findChild(QLineEdit), f"{(areas[0] + areas[1]) / 2:.4f}")
    assert [model.lesion(i).area_mm2 for i in range(model.rowCount())] == areas[1:]  # sorted as before
    assert "and 1 smaller" in lesions.what.text()
    window.type("Review", lesions.least.findChild(QLineEdit), "0")
    assert model.rowCount() == 3
    window.click("Review", lesions.next)
    assert window.ours("lesion")
    page(window, reviewed, "Compare")
    assert not window.ours("lesion")
    page(window, reviewed, "Lesions")
    assert window.ours("lesion")

    # one is clicked and accepted
    for row in (1, 0):
        place = view.visualRect(model.index(row, 0)).center()
        window.qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
        lesion = model.lesion(row)
        left, top, right, bottom = lesion.box
        middle = np.asarray([(top + bottom) / 2, (left + right) / 2]) * window.session.slide.mpp
        assert np.allclose(window.viewer.scene.camera.center[-2:], middle, atol=2)
    assert lesion != picked
    window.click("Review", lesions.accept)
    window.wait(lambda: any(word == "accept" for _, word in model.judged()))
    assert [one for one, word in model.judged() if word == "accept"] == [lesion]
    assert [one for one, word in model.judged() if word != "accept"] == [picked]
    assert lesion.area_mm2 == areas[0]
    window.type("Review", lesions.least.findChild(QLineEdit), f"{(areas[0] + areas[1]) / 2:.4f}")
    assert "2 of these judged, 1 of them smaller than is listed. 1 rejected" in lesions.told.text()
    window.type("Review", lesions.least.findChild(QLineEdit), "0")
    orders = []
    for _ in range(2):
        press_head(1)
        orders.append([model.lesion(row).probability for row in range(3)])
    assert orders[0] == orders[1][::-1]
    assert sorted(set(orders[0])) in orders


@pytest.mark.parametrize(("marked", "said"), [(5.2, "higher threshold"), (0.4, "lower threshold"), (2.0, "")])
def test_the_card_says_so_where_the_advice_marks_more_or_less_than_the_points_allow(marked: float, said: str) -> None:
    from napari_ifkd._plugin.widgets.points_card import points_card
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.judgement import Judgement, RoundFigures

    near = Interval(0.5, 0.4, 0.6)
    figures = RoundFigures(0, "the teacher", Interval(0.23, 0.2, 0.3), 0.9, marked, near, near, near)
    tumour = Interval(2.8, 1.4, 4.2)
    judgement = Judgement("points", "30 points", (figures,), figures, True, True, "It is best.", near, tumour)
    assert (f"The teacher marks {marked:g} mm² there; the points say 2.8 mm²." in points_card(judgement, (0,), [])) == bool(said)
    assert said in points_card(judgement, (0,), [])


@pytest.mark.parametrize(("share", "said"), [(0.5, True), (0.2, False)])
def test_the_card_says_so_where_the_answers_fit_no_prediction(share: float, said: bool) -> None:
    """F1 of all tissue: 0.67 where half of it is tumour, 0.33 where a fifth is."""
    from napari_ifkd._plugin.widgets.points_card import points_card
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.judgement import Judgement, RoundFigures

    near = Interval(0.5, 0.4, 0.6)
    figures = RoundFigures(0, "the teacher", near, 0.9, 2.0, near, near, near)
    tumour = Interval(share, share - 0.1, share + 0.1)
    judgement = Judgement("points", "30 points", (figures,), figures, True, True, "It is best.", tumour, None)
    assert ("Marking all tissue would score as well (F1 0.67)" in points_card(judgement, (0,), [])) == said


@pytest.mark.parametrize(("low", "said"), [(0.1, True), (0.4, False)])
def test_the_card_says_so_where_the_points_hardly_tell_how_good_the_advice_is(low: float, said: bool) -> None:
    from napari_ifkd._plugin.widgets.points_card import points_card
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.judgement import Judgement, RoundFigures

    near = Interval(0.5, 0.4, 0.6)
    figures = RoundFigures(0, "the teacher", near, 0.9, 2.0, near, near, Interval(0.5, low, 0.7))
    judgement = Judgement("points", "30 points", (figures,), figures, True, True, "It is best.", Interval(0.2, 0.1, 0.3), None)
    assert ("F1 may be anything from 0.10 to 0.70. Count more." in points_card(judgement, (0,), [])) == said


@pytest.mark.parametrize("decides", [True, False])
def test_the_card_tells_thresholds_only_where_the_points_decide(decides: bool) -> None:
    from napari_ifkd._plugin.widgets.points_card import points_card
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.judgement import Judgement, RoundFigures

    near = Interval(0.5, 0.4, 0.6)
    figures = RoundFigures(0, "the teacher", Interval(0.93, 0.2, 0.95), 0.9, 2.0, near, near, near)
    card = points_card(Judgement("points", "points", (figures,), figures, True, decides, "So it is.", near, near), (0,), [])
    assert ("0.93" in card) == decides
    assert ("suits it best so far" in card) != decides


def test_twenty_thousand_lesions_are_no_burden(window: Any, reviewed: Any) -> None:
    from napari_ifkd._plugin.widgets.lesion_table import Lesion

    lesions = page(window, reviewed, "Lesions")
    rng = np.random.default_rng(0)
    many = [Lesion(1, 1, (0, 0, 2, 2), float(area), float(p)) for area, p in rng.random((20_000, 2))]
    asked = 0
    data = lesions.model.data

    def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return data(*args)

    lesions.model.data = counted
    lesions._of = window.bench.verdicts.mask(window.session.shown)
    lesions.model.show(many, [None] * len(many))
    lesions._show()
    window.qtbot.wait(100)
    assert lesions.model.rowCount() == 20_000
    assert asked < 20_000  # only what is seen is asked for


def test_painted_corrections_are_written_shown_and_taken_back(window: Any, reviewed: Any) -> None:
    session, correct = window.session, page(window, reviewed, "Correct")
    path = RunFolder(session.run).corrections_path(session.slide.name)
    window.viewer.reset_view()
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    layer = correct.layer()
    assert window.viewer.layers.selection.active is layer
    assert (layer.mode, layer.selected_label) == ("paint", 2)
    (image,) = window.ours("slide")
    assert (np.abs(layer.extent.world - image.extent.world) <= np.max(layer.scale) + 1e-6).all()
    (mask,) = [mask for mask in window.ours("mask") if mask.visible]
    assert mask.contour > 0  # on which paint is seen
    layer.visible = False  # by the eye in the list of layers
    window.wait(lambda: window.bench.layers.settled and mask.contour == 0)
    layer.visible = True
    session.set_compare("overlay")
    window.wait(lambda: window.bench.layers.settled)
    assert all(one.contour > 0 for one in window.ours("mask") if one.visible)
    session.set_compare("off")
    window.wait(lambda: window.bench.layers.settled and mask.contour > 0)
    window.click("Review", correct.normal)
    assert layer.selected_label == 1
    window.click("Review", correct.erase)
    assert layer.mode == "erase"
    window.click("Review", correct.tumour)
    layer.paint((30, 40), 2)  # as napari's brush does
    window.click("Review", correct.write)
    window.wait(lambda: window.bench.layers.settled and mask.contour == 0)
    window.wait(lambda: "mm² tumour" in correct.told.text() and correct.layer() is None)
    painted = Corrections.open(path)
    assert painted.read(30, 40, 1, 1)[0, 0] == 2
    area = painted.area_mm2()
    assert area > 0
    window.wait(lambda: len(window.ours("corrections")) == 1)
    (shown,) = window.ours("corrections")
    at_once = np.array(shown.data)
    correct.look()  # as it is read
    window.wait(lambda: window.ours("corrections")[0].data is not shown.data or np.array_equal(shown.data, at_once))
    assert np.array_equal(window.ours("corrections")[0].data, at_once)
    page(window, reviewed, "Compare")
    window.click("Review", reviewed.compare.corrections)
    assert not shown.visible
    shown.visible = True  # by the eye in the list of layers
    assert reviewed.compare.corrections.isChecked()
    page(window, reviewed, "Correct")
    spot = np.argwhere(np.asarray(shown.data) == 2).mean(0)
    assert np.allclose(shown.data_to_world(spot), layer.data_to_world((30, 40)), atol=np.max(shown.scale))
    heights = [part.mapTo(correct, QPoint(0, 0)).y() for part in (correct.brushes, correct.write, correct.undo, correct.told)]
    window.click("Review", correct.begin)  # again: what was painted is there
    window.wait(lambda: correct.layer() is not None)
    assert np.asarray(correct.layer().data)[30, 40] == 2
    window.wait(lambda: not np.asarray(shown.data).any())  # and not once more below it
    assert [part.mapTo(correct, QPoint(0, 0)).y() for part in (correct.brushes, correct.write, correct.undo, correct.told)] == heights
    assert "a field is open already" in correct.begin.toolTip()
    correct.layer().data[:] = 1
    window.when(lambda: reviewed.box is not None, lambda: reviewed.box.button(reviewed.box.StandardButton.Cancel).click())
    window.click("Review", correct.discard)
    assert correct.layer() is not None  # nothing else would bring it back
    window.when(lambda: reviewed.box is not None, lambda: reviewed.yes.click())
    window.click("Review", correct.discard)
    assert correct.layer() is None
    assert np.asarray(shown.data).any()  # at once, and not when it has been read again
    for part in (correct.tumour, correct.normal, correct.erase, correct.write, correct.discard):
        assert not part.isEnabled()
        assert "no field is open" in part.toolTip()
    assert Corrections.open(path).area_mm2() == area
    here = window.session.shown
    window.session.show(replace(here, run=here.run.parent / "another"))  # its corrections were not written
    assert not correct.undo.isEnabled()
    assert "is of another run" in correct.undo.toolTip()
    window.session.show(here)
    window.click("Review", correct.undo)
    window.wait(lambda: Corrections.open(path).is_empty)
    window.wait(lambda: not window.ours("corrections") and correct.redo.isEnabled())
    assert not correct.undo.isEnabled()
    window.click("Review", correct.redo)
    window.wait(correct.undo.isEnabled)
    assert Corrections.open(path).area_mm2() == area
    assert not correct.redo.isEnabled()
    window.click("Review", correct.undo)
    window.wait(lambda: not window.ours("corrections") and correct.redo.isEnabled())
    page(window, reviewed, "Compare")
    assert not reviewed.compare.corrections.isVisible()
    taken_back = Corrections.open(path)
    taken_back.paint(0, 0, np.full((4, 4), 2, np.uint8))
    taken_back.paint(0, 0, np.zeros((4, 4), np.uint8))  # stored, and nothing is said
    correct.told.setText("")
    window.bench.corrected.emit()
    window.wait(lambda: correct.told.text() == "No corrections are written on this slide yet.")
    assert not window.ours("corrections")


def test_what_was_accepted_within_what_was_rejected_is_seen_when_a_run_is_opened(
    window: Any, reviewed: Any, make_napari_viewer: Any
) -> None:
    session, shown = window.session, window.session.shown
    run, (scale_y, scale_x) = RunFolder(session.run), shown.found.scale_yx
    boxes = ((2, 2, 98, 75), (10, 10, 80, 60))
    around, lesion = (shapely.box(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y) for x0, y0, x1, y1 in boxes)
    told: tuple[Any, ...] = (("reject", around, 4, 4), ("accept", lesion, 30, 30))
    size = np.prod(shown.found.pixel_size_um_yx) / 1e6 / scale_y / scale_x
    write_verdicts(
        run.verdicts,
        [Verdict(shown.slide, x * scale_x, y * scale_y, word, 1, 0.5, "t", shape.area * size, shape.wkt) for word, shape, x, y in told],
    )
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(run.path)
    later.wait(lambda: later.bench.layers.find("mask", shown.path) is not None and later.bench.verdicts.settled)
    later.wait(lambda: np.asarray(later.bench.layers.find("mask", shown.path).data[0])[20:50, 20:70].all(), 20)


def test_painting_that_is_not_written_back_is_told_of_before_the_window_closes(
    window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct, frame, closing = page(window, reviewed, "Correct"), window.viewer.window._qt_window, window.bench.closing
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    correct.layer().paint((30, 40), 2)
    told: list[str] = []

    def cancel() -> None:
        told.append(closing.box.text())
        closing.box.button(closing.box.StandardButton.Cancel).click()

    window.when(lambda: closing.box is not None and closing.box.isVisible(), cancel)
    frame.close()
    assert frame.isVisible()

    def stay() -> None:
        question = frame.findChild(ConfirmCloseDialog)
        told.append(question.findChild(QLabel, "napari_ifkd_run").text())
        question.cancel_btn.click()

    monkeypatch.setattr(get_settings().application, "confirm_close_window", True)
    window.when(lambda: (question := frame.findChild(ConfirmCloseDialog)) is not None and question.isVisible(), stay)
    frame.close(quit_app=True, confirm_need=True)  # as Ctrl+Q does
    assert frame.isVisible()
    assert told[0] == told[1]
    assert told[0].startswith("What is painted on tiny.tif is not written back: closing loses it.")
    correct.layer().paint((30, 40), 0)  # as it was
    assert not window.bench.unwritten()


def test_what_was_rejected_is_not_seen_for_a_moment_when_a_run_is_opened(
    window: Any, reviewed: Any, make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, lesions = window.session, page(window, reviewed, "Lesions")
    run, shown = RunFolder(session.run), session.shown
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.click("Review", lesions.next)
    window.click("Review", lesions.reject)  # the large one
    window.wait(lambda: len(read_verdicts(run.verdicts)) == 1 and window.bench.verdicts.settled)
    found = threading.Event()
    monkeypatch.setattr(Mask, "lesions", lambda *_: found.wait() and [])  # as on a large slide
    try:
        later = window.another(make_napari_viewer(show=True))
        later.bench.open(run.path)
        later.wait(lambda: later.bench.layers.find("mask", shown.path) is not None)
        later.wait(lambda: not np.asarray(later.bench.layers.find("mask", shown.path).data[0])[10:60, 10:80].any(), 5)
        assert np.asarray(later.bench.layers.find("mask", shown.path).data[0]).any()
        assert not later.bench.verdicts.settled
    finally:
        found.set()
    later.wait(lambda: later.bench.verdicts.settled)


def test_the_brush_is_in_the_hand_again_when_one_comes_back_to_what_is_painted(window: Any, reviewed: Any, tmp_path: Path) -> None:
    session, correct, layers = window.session, page(window, reviewed, "Correct"), window.viewer.layers
    slide, shown = session.slide, session.shown
    Corrections.create(RunFolder(shown.run).corrections_path(slide.name), slide, shown.found.mpp).paint(0, 0, np.full((9, 9), 1, np.uint8))
    window.bench.corrected.emit()
    window.wait(lambda: len(window.ours("corrections")) == 1)
    assert "nothing was written here since napari was opened" in correct.undo.toolTip()
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    correct.layer().paint((30, 40), 2)
    assert "write back what is painted" in correct.undo.toolTip()
    window.click("Review", reviewed.accept)  # who accepts now would think that it counts
    assert "is not written back" in reviewed.trouble.notice.text()
    assert session.accepted is None
    shutil.copy(slide.path, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: "still open on" in correct.what.text())
    assert layers.selection.active is not correct.layer()
    window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, 100, 100))])
    assert window.bench.drawings.excluded() is not None
    assert window.bench.verdicts.mask(shown).excluded is None  # what is written back from here is of the first slide
    window.bench.look_at(slide)
    window.wait(lambda: layers.selection.active is correct.layer() and len(window.ours("corrections")) == 1)
    window.wait(lambda: layers.index(correct.layer()) > layers.index(window.ours("corrections")[0]))
    assert correct.layer().mode == "paint"
    assert list(layers.selection) == [correct.layer()]
    window.when(lambda: reviewed.box is not None, lambda: reviewed.yes.click())
    window.click("Review", correct.discard)
    assert list(layers.selection) == window.ours("slide")[:1]
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    assert window._has_keyboard()  # Space pans
    correct.write.click()
    assert not correct.discard.isEnabled()  # meanwhile
    layers.remove(correct.layer())  # as napari's bin does
    window.wait(lambda: not correct.tumour.isChecked())
    window.wait(lambda: correct.begin.isEnabled())
    assert window._has_keyboard()


def test_the_brush_leaves_nothing_on_the_picture(window: Any, reviewed: Any) -> None:
    """As napari does from when the background may have changed: by the theme, or by what is drawn anew while a layer comes."""
    correct, viewer = page(window, reviewed, "Correct"), window.viewer
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    middle = window._picture().rect().center()
    window.qtbot.mouseMove(window._picture(), middle)
    viewer.mouse_over_canvas = True
    window.wait(lambda: viewer.canvas.overlays["_brush_circle"].visible)
    viewer.canvas.events.background_color()
    viewer.mouse_over_canvas = False
    window.click("Review", correct.discard)
    window.wait(lambda: window.bench.layers.settled)
    left = viewer.screenshot(canvas_only=True, flash=False)
    viewer.canvas.overlays["_brush_circle"].box = True
    viewer.canvas.overlays["_brush_circle"].box = False
    assert np.array_equal(viewer.screenshot(canvas_only=True, flash=False), left)


def test_it_is_told_how_much_a_rejected_lesion_grew(window: Any, reviewed: Any) -> None:
    lesions, table = page(window, reviewed, "Lesions"), RunFolder(window.session.run).verdicts
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.click("Review", lesions.next)
    window.click("Review", lesions.reject)
    window.wait(lambda: len(read_verdicts(table)) == 1 and window.bench.verdicts.settled)
    assert "1 rejected" in lesions.told.text()
    assert "more than when" not in lesions.told.text()
    (verdict,) = read_verdicts(table)
    write_verdicts(table, [replace(verdict, area_mm2=0.75 * verdict.area_mm2)])  # as if it had been at a higher threshold
    window.session.look(threshold=0.49)
    more = f"That is {area(0.25 * verdict.area_mm2)} more than when it was rejected"
    window.wait(lambda: more in lesions.told.text())
    window.click("Review", lesions.before)
    window.click("Review", lesions.reject)
    window.wait(lambda: "more than when" not in lesions.told.text())


def test_a_rejected_lesion_gives_way_to_what_is_painted_into_it(window: Any, reviewed: Any, tmp_path: Path) -> None:
    from napari_ifkd.export import export_run

    session, lesions = window.session, page(window, reviewed, "Lesions")
    run, shown = RunFolder(session.run), session.shown
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.click("Review", lesions.next)
    window.click("Review", lesions.accept)  # the large one
    window.click("Review", lesions.before)
    window.click("Review", lesions.reject)
    window.wait(lambda: len(read_verdicts(run.verdicts)) == 2 and window.bench.verdicts.settled)
    known = read_verdicts(run.verdicts)

    def exported() -> np.ndarray:
        export_run(run.path, ["ome-tiff"], tmp_path / "out", round=shown.round, threshold=0.5, sigma_px=0)
        return tifffile.imread(tmp_path / "out" / f"tiny_round{shown.round}.ome.tif") > 0

    what = window.docks["Export"].what
    assert "Without 1 rejected lesion." in what.text()
    assert "As corrected." not in what.text()
    before, correct = exported(), page(window, reviewed, "Correct")
    assert not before[10:60, 10:80].any()
    assert before[80:100, 100:120].all()
    window.viewer.reset_view()
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    assert "A rejected lesion lies here" in correct.warning.text()
    (outlined,) = window.ours("rejected")
    (line,) = outlined.data
    assert np.allclose([line.min(0), line.max(0)], [(9.5, 9.5), (59.5, 79.5)], atol=1)  # of the one that was rejected, not of its neighbour
    assert window.viewer.layers.selection.active is correct.layer()
    window.bench.layers.hide_predictions(True)
    assert not outlined.visible
    window.bench.verdicts.settled_down.emit()  # as when the threshold moves meanwhile
    window.bench.layers.hide_predictions(False)
    (outlined,) = window.ours("rejected")
    assert outlined.visible
    window.viewer.layers.selection = {correct.layer(), outlined}
    window.viewer.layers.remove_selected()  # both at once, and nothing was painted
    window.wait(lambda: correct.begin.isEnabled())
    assert not window.ours("rejected")
    window.click("Review", correct.begin)
    window.wait(lambda: bool(window.ours("rejected")))
    slide = session.slide
    session.open(shutil.copy(slide.path, tmp_path / "other.tif"))
    assert not window.ours("rejected")
    session.activate(slide)
    window.wait(lambda: bool(window.ours("rejected")) and window.bench.memory.settled)
    stroke = np.zeros(before.shape, bool)
    stroke[50:90, 70:72], stroke[88:90, 70:104] = True, True  # from inside it to the lesion beside it
    correct.layer().data[stroke] = 2
    window.click("Review", correct.write)
    window.wait(lambda: "gave way: outside what was painted it is painted normal now" in correct.told.text())
    window.wait(lambda: "As corrected." in what.text() and "rejected" not in what.text())
    wanted = before | stroke  # neither the stroke nor its neighbour goes with what was rejected
    assert np.array_equal(exported(), wanted)
    assert read_verdicts(run.verdicts) == []
    window.wait(
        lambda: [set(np.unique(layer.data)) for layer in window.ours("corrections")] == [{0, 1, 2, 3}]
    )  # seen as painted, with a line around it
    page(window, reviewed, "Lesions")
    window.wait(lambda: lesions.model.rowCount() == 2)
    assert not lesions.model.judged()
    page(window, reviewed, "Correct")
    assert not window.ours("rejected")
    window.click("Review", correct.undo)
    window.wait(correct.redo.isEnabled)
    window.wait(lambda: correct.told.text() == "No corrections are written on this slide. The lesion that had given way is rejected again.")
    assert np.array_equal(exported(), before)
    assert read_verdicts(run.verdicts) == known  # the last one counts
    window.click("Review", correct.redo)
    window.wait(correct.undo.isEnabled)
    window.wait(lambda: "gave way: outside what was painted it is painted normal now" in correct.told.text())
    assert np.array_equal(exported(), wanted)


def test_a_prediction_says_that_it_was_made_at_another_resolution(window: Any, reviewed: Any, tmp_path: Path) -> None:
    session, slide = window.session, window.docks["Slide"]
    made = session.slide.mpp
    assert "was made at" not in reviewed.warning.text()
    slide.mpp.value = 2 * made
    window.click("Slide", slide.use_mpp)
    told = f"This prediction was made at {made:g} µm/px, and the slide has {2 * made:g} now"
    export, distill = window.docks["Export"], window.docks["Distill"]
    assert all(told in dock.warning.text() for dock in (reviewed, export, distill))
    window.front("Teacher")
    window.wait(lambda: told in window.docks["Teacher"].marked.text())
    export.folder.value = tmp_path / "masks"
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())
    (provenance,) = (tmp_path / "masks").glob("*.provenance.json")
    (warning,) = json.loads(provenance.read_text())["warnings"]
    assert warning.startswith(told)
    assert "The mask covers" in export.result.text()
    other = tmp_path / "other.tif"
    shutil.copy(session.slide.path, other)
    window.bench.open(other)  # another slide, which has the resolution of the prediction
    window.wait(lambda: session.slide.path == other)
    assert all("was made at" not in dock.warning.text() for dock in (reviewed, export, distill))
    window.bench.look_at(next(slide for slide in session.slides if slide.path != other))
    window.wait(lambda: all(told in dock.warning.text() for dock in (reviewed, export, distill)))
    slide.mpp.value = made
    window.click("Slide", slide.use_mpp)
    assert all("was made at" not in dock.warning.text() for dock in (reviewed, export, distill))
    window.click("Review", page(window, reviewed, "Correct").begin)
    window.wait(lambda: reviewed.correct.layer() is not None)
    slide.mpp.value = 2 * made
    window.click("Slide", slide.use_mpp)
    assert "Write back or Discard" in slide.trouble.notice.text()  # what is painted lies where it lies
    assert session.slide.mpp == made


def test_a_field_that_is_open_stays_with_its_slide(window: Any, reviewed: Any, drawn_slide: Path, tmp_path: Path) -> None:
    session, correct = window.session, page(window, reviewed, "Correct")
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: session.slide.name == "other.tif")
    assert not correct.layer().visible
    assert correct.layer().mode == "pan_zoom"
    assert not correct.tumour.isEnabled()
    assert "still open on <b>tiny.tif</b>" in correct.what.text()
    session.activate(session.slides[0])
    assert correct.layer().visible
    window.click("Review", correct.tumour)
    assert correct.layer().mode == "paint"
    window.click("Review", correct.discard)


def test_what_is_painted_and_counted_outlives_the_dock(window: Any, reviewed: Any) -> None:
    """Closed by its x and opened again: the field is still open, and the ring of a count is gone."""
    path = RunFolder(window.session.run).corrections_path(window.session.slide.name)
    window.click("Review", page(window, reviewed, "Correct").begin)
    window.wait(lambda: reviewed.correct.layer() is not None)
    reviewed.correct.layer().data[20:30, 20:30] = 2
    page(window, reviewed, "Points")
    window.click("Review", reviewed.count.start)
    window.wait(lambda: bool(window.ours("counting")))
    reviewed.parentWidget().destroyOnClose()
    assert not window.ours("counting")
    window.wait(lambda: any(layer.visible for layer in window.ours("mask")))
    add_docks(window.viewer)
    again = window.docks["Review"] = window.bench.docks.find("Review")
    assert again.pages.currentWidget() is again.correct
    window.click("Review", again.correct.write)
    window.wait(lambda: again.correct.layer() is None)
    assert Corrections.open(path).read(25, 25, 1, 1)[0, 0] == 2


def test_what_is_painted_on_a_prediction_goes_to_the_run_that_took_it_over(
    window: Any, tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]
) -> None:
    session, dock = window.session, window.docks["Review"]
    slide = session.open(drawn_slide)

    def told(act: str) -> None:
        session.begin(act, tmp_path / act)
        write_map(tmp_path / act / "rounds/00/maps/tiny.zarr", slide, identity="the same")
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
        session.apply(RunDone(0, ""))

    told("predict")
    window.viewer.reset_view()
    correct = page(window, dock, "Correct")
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    told("distill")
    correct.layer().paint((30, 40), 2)
    window.click("Review", correct.write)
    window.wait(lambda: "mm² tumour" in correct.told.text() and correct.layer() is None)
    assert session.shown.run == tmp_path / "distill"
    assert Corrections.open(RunFolder(tmp_path / "distill").corrections_path(slide.name)).read(30, 40, 1, 1)[0, 0] == 2
    assert Corrections.open(RunFolder(tmp_path / "predict").corrections_path(slide.name)).is_empty


def test_what_comes_while_a_field_is_open_stays_and_what_is_painted_is_not_forgotten(
    window: Any, reviewed: Any, tmp_path: Path, said: list[str]
) -> None:
    session, correct, export = window.session, page(window, reviewed, "Correct"), window.docks["Export"]
    path = RunFolder(session.run).corrections_path(session.slide.name)
    window.viewer.reset_view()
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    export.folder.value = tmp_path / "masks"
    correct.layer().paint((30, 40), 2)
    window.click("Export", export.export)  # not without what was just painted
    assert "Write back or Discard" in export.trouble.notice.text()
    assert len(said) == 1
    assert not (tmp_path / "masks").exists()

    drawn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[20, 20], [60, 20], [60, 60], [20, 60], [20, 20]]]}}
    drawn["properties"] = {"classification": {"name": "Tumor"}}
    (tmp_path / "drawn.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    bring = export.bring_in
    window.click("Export", export.bring_fold.button)
    bring.file.value = tmp_path / "drawn.geojson"
    bring.use.setCurrentText("Corrections")
    window.click("Export", bring.bring)
    window.wait(lambda: "mm² tumour" in correct.told.text())
    brought = Corrections.open(path).area_mm2(2)
    page(window, reviewed, "Correct")
    window.click("Review", correct.write)
    window.wait(lambda: correct.layer() is None and not correct.write.isEnabled())
    assert Corrections.open(path).area_mm2(2) > brought
    for left in (brought, 0.0):  # the painting, then what was brought in
        window.wait(correct.undo.isEnabled)
        window.click("Review", correct.undo)
        window.wait(lambda left=left: (Corrections.open(path).area_mm2(2) if path.is_dir() else 0.0) == pytest.approx(left))
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())


def test_each_choice_of_compare_shows_what_it_says(window: Any, reviewed: Any) -> None:
    session = window.session
    page(window, reviewed, "Compare")
    first, second = session.here()
    for index, one in enumerate((first, second)):
        window.choose("Review", reviewed.shown, index)
        assert session.shown is one
    coarse = replace(
        first,
        act="file",
        found=ProbabilityMap(
            first.found.path.with_name("coarse.zarr"), [np.asarray(first.found.levels[0])[::2, ::2]], first.found.attributes
        ),
    )
    session.take_file(coarse)
    session.set_compare("disagreement")
    window.choose("Review", reviewed.compare.b, 2)
    assert session.compare == "overlay"
    assert "different resolutions" in reviewed.trouble.notice.text()
    session.set_compare("disagreement")  # by whatever way
    window.wait(lambda: window.bench.layers.settled)
    assert not window.ours("disagreement")
    window.choose("Review", reviewed.compare.a, 1)
    window.choose("Review", reviewed.compare.b, 0)
    assert (session.a, session.b) == (second, first)
    for mode, one in (("a", second), ("b", first)):
        window.click("Review", reviewed.compare.mode.buttons[mode])
        assert session.compare == mode
        assert [tag(layer)["round"] for layer in window.ours("mask") if layer.visible] == [one.round]
    for part in (QSlider, QAbstractSpinBox):
        before = session.opacity
        window.use("Review", reviewed.compare.opacity.native.findChild(part))
        window.wait(lambda before=before: session.opacity != before)
    window.wait(lambda: all(layer.opacity == pytest.approx(session.opacity) for layer in window.ours("mask") if layer.visible))
    window.wait(lambda: "F1" in reviewed.compare.numbers.text())
    for turn in (reviewed.compare.last, reviewed.compare.last):  # the first looks for the places
        window.viewer.reset_view()
        seen = np.asarray(window.viewer.scene.camera.center[-2:])
        window.click("Review", turn)
        window.wait(lambda seen=seen: not np.allclose(window.viewer.scene.camera.center[-2:], seen))
    window.choose("Review", reviewed.shown, 1)
    shown = session.shown.round
    window.use("Review", reviewed.steps)
    assert session.shown.round != shown


def test_what_is_excluded_later_counts_no_more(window: Any, reviewed: Any) -> None:
    session, table = window.session, window.docks["Distill"].table
    a, b = session.here()
    session.set_pair(a, b)
    window.wait(lambda: "F1" in reviewed.compare.numbers.text() and "B only 0 mm²" not in reviewed.compare.numbers.text())
    window.wait(lambda: table.item(0, 3).text() != "")
    before = [float(table.item(row, 3).text()) for row in (0, 1)]
    lesions = page(window, reviewed, "Lesions")
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    shown = session.shown.path

    def on_screen() -> np.ndarray:
        return np.asarray(window.bench.layers.find("mask", shown).data[0])

    assert on_screen()[:68].any()
    width = session.slide.shape_level0[1]
    window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, width, 140))])  # all but the small square
    window.wait(lambda: "B only 0 mm²" in reviewed.compare.numbers.text())
    window.wait(lambda: [float(table.item(row, 3).text()) for row in (0, 1)] < before)
    window.wait(lambda: not on_screen()[:70].any() and bool(on_screen()[70:].any()))
    window.wait(lambda: lesions.model.rowCount() == 2)  # those that an export holds now
    window.click("Slide", window.docks["Slide"].exclusions_fold.button)
    window.click("Slide", window.docks["Slide"].exclusions.clear)
    window.wait(lambda: [float(table.item(row, 3).text()) for row in (0, 1)] == before)
    window.wait(lambda: bool(on_screen()[:68].any()))
    window.wait(lambda: "F1" in reviewed.compare.numbers.text() and "B only 0 mm²" not in reviewed.compare.numbers.text())


def test_what_is_rejected_is_what_an_export_rejects_whatever_is_excluded(window: Any, reviewed: Any, tmp_path: Path) -> None:
    from napari_ifkd.export import export_run
    from napari_ifkd.runs.regions import write_regions

    session, lesions = window.session, page(window, reviewed, "Lesions")
    slide, shown = session.slide, session.shown
    stripe = shapely.box(0, 80, slide.shape_level0[1], 86)  # through the large lesion
    write_regions(tmp_path / "tiny.geojson", {"Exclusion": stripe}, slide)

    def exported(*exclude: Path) -> np.ndarray:
        export_run(session.run, ["ome-tiff"], tmp_path / "out", round=shown.round, threshold=0.5, sigma_px=0, exclude=exclude)
        return tifffile.imread(tmp_path / "out" / f"tiny_round{shown.round}.ome.tif") > 0

    def on_screen() -> np.ndarray:
        return np.asarray(window.bench.layers.find("mask", shown.path).data[0]) > 0

    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.click("Review", lesions.next)
    window.click("Review", lesions.reject)
    window.wait(lambda: np.array_equal(on_screen(), exported()))
    window.bench.drawings.add("exclusion", slide, [("pen", stripe)])
    window.wait(lambda: lesions.model.rowCount() == 4)
    window.wait(lambda: np.array_equal(on_screen(), exported(tmp_path / "tiny.geojson")))
    window.front("Slide")
    window.bench.drawings.clear("exclusion", slide)
    window.wait(lambda: np.array_equal(on_screen(), exported()))
    for index in (0, 1):  # another mask, and this one again: without a word from the user
        session.show_round(index)
        window.wait(lambda: window.bench.verdicts.settled)
    window.wait(lambda: np.array_equal(on_screen(), exported()))
    session.look(threshold=0.7)
    session.look(threshold=0.5)
    window.wait(lambda: np.array_equal(on_screen(), exported()))

    a, b = session.here()
    before = reviewed.compare.numbers.text()
    session.set_pair(a, b)
    session.set_compare("disagreement")
    window.wait(lambda: bool(window.ours("disagreement")))
    left_out = (shown.found.mask(0.5, 0).compute()) & ~exported()
    assert left_out.any()
    window.wait(lambda: not np.asarray(window.ours("disagreement")[0].data[0])[left_out].any())  # in both, for they are of one run
    page(window, reviewed, "Compare")
    window.wait(lambda: "F1" in reviewed.compare.numbers.text() and reviewed.compare.numbers.text() != before)
    classes = np.asarray(window.ours("disagreement")[0].data[0])
    pixel_mm2 = np.prod(shown.found.pixel_size_um_yx) / 1e6
    assert f"both {(classes == 3).sum() * pixel_mm2:.3g} mm²" in reviewed.compare.numbers.text()
    window.wait(lambda: window.bench.verdicts.settled)
    looks = reviewed.compare._looks
    session.show(b if session.shown == a else a)  # the same two are compared: where they differ is not looked for again
    window.wait(lambda: window.bench.verdicts.settled)
    assert reviewed.compare._looks == looks
