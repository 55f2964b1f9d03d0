"""Docks as such: tooltips, widths, the settings they show, and what they open."""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile
from qtpy.QtCore import QPoint
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QDockWidget, QLabel, QLineEdit, QSlider, QTabBar

from napari_ifkd._plugin.docks import DOCKS, add_docks
from napari_ifkd._plugin.look import field_px
from napari_ifkd._plugin.words import area
from napari_ifkd.config import Config
from napari_ifkd.errors import InputError
from napari_ifkd.events import MapReady, Progress, RoundDone, RunDone, Warned

from .conftest import quiet

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_off_in_a_window_of_1280_by_800(window: Any, drawn_slide: Path, theme: str) -> None:
    window.viewer.theme = theme
    window.docks["Slide"].bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    window.docks["Distill"].fold.click()
    for name, dock in window.docks.items():
        assert dock.widget().minimumSizeHint().width() <= dock.minimumWidth(), name
        window.front(name)
        window.qtbot.wait(100)
        for field in dock.findChildren(QAbstractSpinBox):
            assert not field.isVisible() or field.geometry().right() < field.parentWidget().width(), field.toolTip()
    (tabs,) = [bar for bar in window.docks["Slide"].window().findChildren(QTabBar) if bar.count() == len(window.docks)]
    for index in range(tabs.count()):
        assert tabs.tabRect(index).width() > tabs.fontMetrics().horizontalAdvance(tabs.tabText(index)), tabs.tabText(index)
    assert window.viewer.window.geometry()[2:] == (1280, 800)


def test_what_docks_say_of_themselves(window: Any) -> None:
    # every control tells what it does
    for name, dock in window.docks.items():
        for kind in (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider):
            for control in dock.findChildren(kind):
                told = control.toolTip()
                parent = control.parentWidget()
                while not told and parent is not dock and parent is not None:  # a part of a control is explained by the whole
                    told, parent = parent.toolTip(), parent.parentWidget()
                assert told, f"{name}: {control} {getattr(control, 'text', lambda: '')()}"

    # tabs have room for their names, however a dock is opened: napari names it after the package too
    for name, dock in window.docks.items():
        assert dock.parentWidget().windowTitle() == name

    # the form shows the defaults of the settings
    distill = window.docks["Distill"]
    assert distill.settings() == Config()
    assert "released" not in distill.advanced["rounds.mode"].choices
    distill.advanced["rounds.mode"].value = "paper"
    distill.advanced["student.name"].value = "resnet-mil"
    distill.area_prior.value = 0.4
    settings = distill.settings()
    assert (settings.rounds.mode, settings.student.name, settings.acceptance.area_prior) == ("paper", "resnet-mil", 0.4)


def test_every_key_is_listed_every_listed_key_acts_and_the_menu_shows_them(window: Any) -> None:
    from napari_ifkd._plugin.docks import show_keys
    from napari_ifkd._plugin.keys import KEYS

    docks = window.docks
    review = docks["Review"]
    pages = {
        "Teacher": {"W": docks["Teacher"].key},
        "Review": review.keys,
        "Review, Compare": review.compare.keys,
        "Review, Points": review.count.keys,
        "Review, Lesions": review.lesions.keys,
    }
    listed = [(page, key) for page, keys in KEYS.items() for row in keys for key in row.split()]
    assert sorted(listed) == sorted((page, key) for page, keys in pages.items() for key in keys)
    ours = {shortcut for dock in docks.values() for shortcut in dock.findChildren(QShortcut)}
    assert ours == {shortcut for keys in pages.values() for shortcut in keys.values()}  # none besides
    page = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
    for name, keys in KEYS.items():
        for key, what in keys.items():
            assert f"| {name} | {' or '.join(f'`{each}`' for each in key.split())} | {what} |" in page

    show_keys()
    (dialog,) = window.dialogs("KeysDialog")
    assert "Preview the visible field" in dialog.text.text()
    dialog.buttons.button(dialog.buttons.StandardButton.Close).click()
    window.wait(lambda: not window.dialogs("KeysDialog"))


def test_a_missing_resolution_is_asked_for(window: Any, shared_data: Path, said: list[str]) -> None:
    slide, session = window.docks["Slide"], window.session
    window.docks["Slide"].bench.open(shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs")
    window.wait(lambda: session.tissue is not None)
    assert "No usable resolution" in slide.notice.text()
    assert not window.docks["Teacher"].predict.isEnabled()
    window.type("Slide", slide.mpp.native.lineEdit(), "99")  # a field that took the first 9 alone would say nothing
    window.wait(lambda: any("99 µm/px cannot be right" in one for one in said))
    assert session.slide.mpp is None
    assert float(slide.mpp.value) == 99
    slide.mpp.value = 0.5
    window.click("Slide", slide.use_mpp)
    assert session.slide.mpp == 0.5
    (layer,) = window.ours("slide")
    assert tuple(layer.scale) == (0.5, 0.5)
    assert str(layer.units[0]) == "micrometer"
    window.wait(lambda: session.tissue is not None)
    assert "given by you" in slide.card.text()


def test_what_comes_and_goes_moves_no_button(window: Any, drawn_slide: Path, phantom_teacher: Path) -> None:
    teacher, runs, session = window.docks["Teacher"], window.docks["Runs"], window.session
    window.bench.open(drawn_slide)
    teacher.choose(phantom_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.card.name == "knows-phantoms")
    window.front("Teacher")
    window.wait(lambda: teacher.seen and teacher.warning.isVisible())

    def places(*parts: Any) -> list[int]:
        window.qtbot.wait(50)
        return [part.mapTo(part.window(), QPoint(0, 0)).y() for part in parts]

    warned = places(teacher.preview, teacher.predict)
    teacher.warning.say(None)
    assert not teacher.warning.isVisible()
    assert places(teacher.preview, teacher.predict) == warned
    sliders = places(teacher.threshold.native, teacher.smoothing.native)
    session.begin("predict", drawn_slide.parent / "at work")
    assert teacher.progress.isVisible()
    assert places(teacher.threshold.native, teacher.smoothing.native) == sliders
    assert "its progress is below" in teacher.previewed.text()
    session.forget_run(drawn_slide.parent / "at work")

    window.front("Runs")
    window.wait(lambda: runs.seen)
    quiet = places(runs.table, runs.open)
    runs.progress.setVisible(True)
    runs.offer.setVisible(True)
    assert places(runs.table, runs.open) == quiet


def test_what_is_told_of_a_run_moves_none_of_its_buttons(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    distill, session = window.docks["Distill"], window.session
    window.bench.open(drawn_slide)
    window.wait(lambda: session.teacher is not None)
    window.front("Distill")
    session.begin("distill", tmp_path / "one", [session.slide])
    parts, told = (distill.run, distill.progress.pause, distill.progress.cancel), (distill.what, distill.known, distill.warning)

    def tops() -> list[int]:
        window.qtbot.wait(50)
        return [part.mapTo(distill.content, QPoint(0, 0)).y() for part in parts]

    before = tops()
    distill.taken_along._tell(4 * "Corrections of one, and twelve answered points of it. ")
    distill.warning.say("What is painted on a slide is not written back.")
    assert all(part.isVisible() for part in (*parts, *told))
    assert tops() == before
    assert min(part.mapTo(distill.content, QPoint(0, 0)).y() for part in told) > max(before)


def test_the_table_of_rounds_stays_where_it_is_before_a_run_while_it_is_at_work_and_after(
    window: Any, drawn_slide: Path, tmp_path: Path
) -> None:
    distill, session = window.docks["Distill"], window.session
    window.bench.open(drawn_slide)
    window.wait(lambda: session.teacher is not None)
    window.front("Distill")

    def tops() -> list[int]:
        window.qtbot.wait(50)
        return [part.mapTo(distill.content, QPoint(0, 0)).y() for part in (distill.table, distill.reason)]

    window.qtbot.wait(200)
    before = tops()
    for name in ("one", "two"):  # the second begins beside the rounds of the first
        session.begin("distill", tmp_path / name, [session.slide])
        assert tops() == before
        session.apply(Progress("round 1 of 3: training", 1000, 2000, "images", 35.0, 600.0, 12_345.0, 7200.0))
        assert "of this step" in distill.progress.line.text()
        assert tops() == before
        session.apply(RoundDone(0, None))
        session.apply(RunDone(0, "done"))
        assert tops() == before
    session.begin("predict", tmp_path / "three", [session.slide])
    assert not distill.progress.bar.isVisible()
    assert tops() == before


def test_a_run_on_another_slide_is_called_by_its_name_and_its_notes_stay_there(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    bar, session = window.docks["Distill"].progress, window.session
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    for path in (tmp_path / "other.tif", drawn_slide):
        window.bench.open(path)
    first, other = session.slide, session.slides[0]
    window.front("Distill")
    for name, slide in (("before", other), ("run", first)):
        session.activate(slide)
        session.begin("distill", tmp_path / name, [slide])
        write_map(tmp_path / f"{name}/rounds/00/maps/tiny.zarr", slide)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
        session.apply(RunDone(0, "done") if slide is other else Progress("training", 0, 2))
    session.apply(Warned("Some tiles were learnt from."))
    session.apply(Progress("training", 1, 2))
    assert bar.bar.format() == "%p% of this step"
    assert bar.warned.isVisible()
    session.activate(other)  # whose rounds are looked at there
    assert bar.bar.format() == "run: %p% of this step"
    session.activate(first)
    session.apply(RunDone(0, "done"))
    assert bar.line.text().startswith("Done.")
    assert bar.warned.isVisible()
    session.activate(other)
    assert bar.line.text().endswith("run is done, on another slide.")
    assert not bar.warned.isVisible()


def test_a_fold_that_opens_comes_into_sight(window: Any, drawn_slide: Path) -> None:
    teacher = window.docks["Teacher"]
    window.bench.open(drawn_slide)
    window.viewer.window.resize(1280, 600)
    window.click("Teacher", teacher.teach_fold.button)
    window.qtbot.wait(200)
    top = teacher.teach_fold.mapTo(teacher.viewport(), QPoint(0, 0)).y()
    assert teacher.verticalScrollBar().value() > 0
    assert 0 <= top <= teacher.viewport().height() - teacher.teach_fold.height()
    train = teacher.teach.train
    assert train.mapTo(teacher.viewport(), train.rect().bottomLeft()).y() < teacher.viewport().height()


def test_what_went_wrong_is_told_beside_what_was_clicked_and_leaves_the_scrolling_to_the_user(window: Any, drawn_slide: Path) -> None:
    dock = window.docks["Export"]
    window.viewer.window.resize(1280, 600)
    window.bench.open(drawn_slide)
    window.click("Export", dock.bring_fold.button)
    window.qtbot.wait(200)
    dock.bring_in.use.setFocus()
    dock.say_error("It went wrong.")
    window.qtbot.wait(50)
    low = dock.bring_in.use.mapTo(dock.viewport(), dock.bring_in.use.rect().bottomLeft()).y()
    assert 0 < low <= dock.viewport().height()
    bar = dock.verticalScrollBar()
    bar.setValue(0)
    window.viewer.window.resize(1280, 602)
    window.qtbot.wait(100)
    assert bar.value() == 0


def test_choices_stand_in_order_wherever_a_new_one_comes(window: Any) -> None:
    from magicgui.widgets import ComboBox

    from napari_ifkd._plugin.widgets.parts import offer

    box = ComboBox(choices=[("none", None)])
    for names in (["one", "four"], ["one", "two", "three", "four"], ["two", "one"]):
        offer(box, [(name, name) for name in names], "one", "none")
        assert [box.native.itemText(at) for at in range(box.native.count())] == names
        assert box.value == "one"


@pytest.mark.parametrize(
    ("message", "begins"),
    [
        ("It is short.", "It is short."),
        ("It cannot run: the patch folder /some/where/that/has/a/name/so/long/that/nobody/would/like/to/read/it does not exist.",) * 2,
        (
            "The teacher knows phantom slides only: on this slide its map shows how the program works, not where tumour is.",
            "The teacher knows phantom slides only.",
        ),
        (
            "a.tif: 3 tiles of it can be called positive for sure (score >= 0.7): so that there are a few, all of the rest count.",
            "a.tif: 3 tiles of it can be called positive for sure (score >= 0.7).",
        ),
    ],
)
def test_a_brief_notice_tells_the_rest_when_it_is_asked_for(qtbot: Any, message: str, begins: str) -> None:
    from napari_ifkd._plugin.widgets.parts import Notice

    notice = Notice(brief=True)
    qtbot.addWidget(notice)
    notice.show()
    notice.say(message, None, "<b> is no tag.")
    beginning, end = escape(begins), escape("<b> is no tag.")
    assert notice.text().startswith(f"⚠ {beginning} {end}")
    assert ("More" in notice.text()) == (begins != message)
    notice.linkActivated.emit("more")
    assert notice.text().startswith(f"⚠ {escape(message)} {end}")
    notice.say("Another.")
    assert notice.text() == "⚠ Another."
    notice.say(None)
    assert notice.isHidden()


def test_another_model_than_predicted_the_slide_is_told_of(
    window: Any, drawn_slide: Path, drawn_teacher: Path, phantom_teacher: Path, tmp_path: Path, write_map: Any
) -> None:
    from dataclasses import replace

    session, distill = window.session, window.docks["Distill"]
    window.bench.open(drawn_slide)
    window.docks["Teacher"].choose(drawn_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    write_map(tmp_path / "run/maps/tiny.zarr", session.slide, model={"name": session.teacher.card.name})
    session.begin("predict", tmp_path / "run")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    session.apply(RunDone(0, ""))
    assert "was predicted by" not in distill.warning.text()
    first = session.teacher
    window.docks["Teacher"].choose(phantom_teacher)
    window.wait(lambda: session.teacher.path == phantom_teacher)
    assert f"This slide was predicted by {first.card.name}; the model chosen now" in distill.warning.text()
    session.choose_teacher(replace(session.teacher, path=tmp_path / "run" / "rounds" / "01" / "model.safetensors"))  # go on from it
    assert "was predicted by" not in distill.warning.text()


@pytest.mark.parametrize(("value", "told"), [(1, "marks nothing"), (254, "nearly all"), (None, "of what it looked at.")])
def test_a_mask_of_nothing_or_next_to_all_says_what_to_do(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Any, value: int | None, told: str
) -> None:
    session = window.session
    window.front("Teacher")
    window.bench.open(drawn_slide)
    height, width = (side // 2 for side in session.slide.shape_level0)
    area_half = area(height * width / 2 * (2 * session.slide.mpp) ** 2 / 1e6)
    write_map(tmp_path / "run/maps/tiny.zarr", session.slide, None if value is None else np.full((height, width), value, np.uint8))
    session.begin("predict", tmp_path / "run")
    session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
    marked = window.docks["Teacher"].marked
    window.wait(lambda: told in marked.text())
    if value == 254:
        window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, width, 2 * height))])
        window.wait(lambda: area_half in marked.text())
        assert "nearly all" in marked.text()  # of what is left
        window.bench.drawings.add("exclusion", session.slide, [("pen", shapely.box(0, 0, 2 * width, 2 * height))])
        window.wait(lambda: "is excluded" in marked.text())
    session.forget_run(tmp_path / "run")
    assert not window.docks["Teacher"].marked.text()


def test_home_is_the_slide_that_is_looked_at(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    """And not all that are open."""
    camera = window.viewer.scene.camera
    window.bench.open(drawn_slide)
    window.wait(lambda: window.bench.memory.settled and window.bench.layers.settled)
    small = window.session.slide
    large = tmp_path / "large.tif"
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(large, np.full((4000, 3000, 3), 200, np.uint8), photometric="rgb", **options)
    window.bench.open(large)
    window.wait(lambda: window.bench.memory.settled and window.bench.layers.settled)
    for slide in (small, window.session.slide):
        window.bench.look_at(slide)
        window.wait(lambda slide=slide: window.bench.memory.notes.followed is slide and window.bench.layers.settled)
        window.viewer.reset_view(layers=[window.bench.layers.find("slide", small.path)])  # as a script may ask
        asked = camera.zoom
        window.qtbot.wait(50)
        assert camera.zoom == asked
        camera.zoom, camera.center = 9.0, (0.0, 10.0, 10.0)
        window.press(window.viewer.window._qt_viewer.viewerButtons.resetViewButton)
        window.wait(lambda: camera.zoom != 9.0)
        window.qtbot.wait(50)
        height, width = (side * slide.mpp for side in slide.shape_level0)
        assert np.allclose(camera.center[-2:], (height / 2, width / 2), atol=1)
        left, top, right, bottom = field_px(slide, window.viewer)
        assert left < 0 < width < right * slide.mpp
        assert top < 0 < height < bottom * slide.mpp
        assert min((right - left) / slide.shape_level0[1], (bottom - top) / slide.shape_level0[0]) < 1.1  # it fills the picture


def test_a_slide_without_tissue_is_not_distilled(window: Any, tmp_path: Path) -> None:
    session, distill = window.session, window.docks["Distill"]
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "glass.tif", np.full((700, 600, 3), 245, np.uint8), photometric="rgb", **options)
    window.bench.open(tmp_path / "glass.tif")
    window.wait(lambda: session.tissue is not None and session.teacher is not None)
    assert not session.tissue.found
    assert not distill.run.isEnabled()
    assert "no tissue was found on this slide" in distill.run.toolTip()


@pytest.mark.parametrize("reader", ["bench.find_tissue", "widgets.exclusions.find_artefacts"])
def test_a_slide_that_is_closed_while_it_is_read_is_not_called_damaged(
    window: Any, drawn_slide: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    slide, let, failed = window.docks["Slide"], Event(), list[str]()

    def read(of: Any, *_: object) -> None:
        let.wait(20)
        with pytest.raises(InputError) as told:
            of._sources[0].read(0, 8, 0, 8)
        failed.append(str(told.value))
        raise told.value

    monkeypatch.setattr(f"napari_ifkd._plugin.{reader}", read)
    window.bench.open(drawn_slide)
    if "tissue" not in reader:
        window.click("Slide", slide.exclusions_fold.button)
        window.click("Slide", slide.exclusions.check)
    window.viewer.layers.remove(window.ours("slide")[0])
    let.set()
    window.wait(lambda: bool(failed))
    quiet()
    window.qtbot.wait(50)
    assert "was closed" in failed[0] or "has been closed" in failed[0]
    assert not said


def test_the_tissue_outline_comes_and_goes(window: Any, drawn_slide: Path) -> None:
    slide = window.docks["Slide"]
    slide.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    window.click("Slide", slide.outline)
    assert [layer.visible for layer in window.ours("tissue")] == [True]
    window.click("Slide", slide.outline)
    assert not any(layer.visible for layer in window.ours("tissue"))
    window.click("Slide", slide.outline)
    assert [layer.visible for layer in window.ours("tissue")] == [True]


def test_closing_the_slide_layer_closes_the_slide(window: Any, drawn_slide: Path) -> None:
    window.docks["Slide"].bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    window.viewer.layers.clear()
    assert window.session.slides == ()
    assert "No slide yet" in window.docks["Slide"].card.text()


def test_the_built_in_teacher_is_chosen_and_a_later_choice_stands(window: Any, drawn_teacher: Path) -> None:
    teacher, session = window.docks["Teacher"], window.session
    window.wait(lambda: session.teacher is not None)
    assert session.teacher.label == "phantom-teacher"
    assert "phantom" in teacher.card.text()
    teacher.choose("phantom-teacher")
    teacher.choose(drawn_teacher)
    window.wait(lambda: session.teacher.path == drawn_teacher)
    assert teacher.model.value == "tiny-teacher"


def test_an_error_stays_in_the_dock_that_was_seen_and_leaves_room(window: Any) -> None:
    from napari_ifkd._plugin.worker import say_error

    teacher, review = window.docks["Teacher"], window.docks["Review"]
    window.front("Teacher")
    window.wait(lambda: [dock for dock in window.docks.values() if not dock.visibleRegion().isEmpty()] == [teacher])
    say_error("a word " * 2000)
    assert teacher.trouble.isVisible()
    assert teacher.viewport().height() >= teacher.height() // 2 - 2
    assert teacher.trouble.dismiss.geometry().top() < 20
    window.front("Review")
    window.wait(lambda: not review.visibleRegion().isEmpty())
    assert not review.trouble.isVisible()  # it is not of this
    window.front("Teacher")
    window.click("Teacher", teacher.trouble.dismiss)
    assert not teacher.trouble.isVisible()
    review.say_error("It went wrong.")  # asked for in Review; the user is elsewhere by now
    assert teacher.trouble.notice.text() == "⚠ Review dock: It went wrong."
    teacher.say_error("This too.")
    assert teacher.trouble.notice.text() == "⚠ This too."
    teacher.say_error(NotADirectoryError(20, "Not a directory", "/a/file.svs/slides"))
    assert teacher.trouble.notice.text() == "⚠ slides: cannot be used (not a directory). Check the disk and the folder."
    window.click("Teacher", teacher.trouble.dismiss)
    assert teacher.viewport().height() > 0.9 * teacher.height()


def test_what_lies_behind_another_tab_hears_no_keys(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qt calls it visible too."""
    heard: list[str] = []
    teacher, review, runs = (window.docks[name] for name in ("Teacher", "Review", "Runs"))
    teacher.key.activated.connect(lambda: heard.append("W"))
    review.keys["."].activated.connect(lambda: heard.append("."))
    window.wait(lambda: window.session.teacher is not None)  # which shows anew what can be pressed
    teacher.preview.setEnabled(True)  # its key acts then
    for name, keys in (("Review", ["."]), ("Teacher", ["W"]), ("Slide", [])):
        window.front(name)
        window.wait(lambda name=name: window.docks[name].seen)
        assert [dock for dock in window.docks.values() if dock.seen] == [window.docks[name]]
        heard.clear()
        window.key("W")
        window.key(".")
        assert heard == keys
    looks: list[bool] = []
    monkeypatch.setattr(runs, "look", lambda: looks.append(runs.seen))
    window.front("Runs")
    window.wait(lambda: bool(looks))  # the disk is looked at each time it comes to the front
    window.front("Slide")
    window.front("Runs")
    window.wait(lambda: len(looks) == 2)
    assert all(looks)


def test_a_long_name_pushes_nothing_beyond_the_border(window: Any) -> None:
    for name, dock in window.docks.items():
        window.front(name)
        label = QLabel("TCGA-CR-7395-01A-01-TS1-distill-1" * 9)
        dock.add(label)
        window.wait(lambda dock=dock, label=label: dock.seen and label.isVisible())
        window.qtbot.wait(50)
        assert dock.content.width() == dock.viewport().width()
    distill = window.docks["Distill"]
    distill.whose.setText("Rounds of luad_mosaic-distill-1, on another slide than the one before")
    assert distill.whose.heightForWidth(300) > distill.whose.heightForWidth(3000)  # it wraps


def test_the_picture_stays_while_it_is_held(window: Any, drawn_slide: Path) -> None:
    """Also where the rest of the window is drawn meanwhile: what the screen shows counts."""
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None and window.bench.layers.settled)
    native, screen = window.viewer.window._qt_window, window.viewer.window._qt_window.screen()
    canvas = window.viewer.window._qt_viewer.canvas.native
    middle = canvas.mapTo(native, canvas.rect().center())

    def colour() -> int:
        return screen.grabWindow(native.winId()).toImage().pixel(middle)

    window.wait(lambda: colour() not in (0xFF000000, 0xFF262930))
    before = colour()
    window.bench._hold_canvas(True)
    for _ in range(3):
        native.update()
        window.qtbot.wait(100)
        assert colour() == before
    window.session.slide, slide = None, window.session.slide
    window.bench._hold_canvas(False)
    window.wait(lambda: colour() != before)
    slide.close()


def test_the_window_stays_on_its_screen(make_napari_viewer: Any, qtbot: Any) -> None:
    """As large as the screen, napari would widen it for the docks beyond the border."""
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    room = window.screen().availableGeometry()
    viewer.window.resize(room.width() - 10, room.height() - 10)
    add_docks(viewer)
    qtbot.waitUntil(lambda: room.contains(window.frameGeometry()), timeout=5000)
    qtbot.wait(200)
    assert room.contains(window.frameGeometry())


def test_the_menu_opens_all_docks(make_napari_viewer: Any, qtbot: Any) -> None:
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QDockWidget

    viewer = make_napari_viewer(show=True)
    get_app_model().commands.execute_command("napari-ifkd.show_docks")

    def docks() -> list[Any]:
        found = viewer.window._qt_window.findChildren(QDockWidget)
        return [dock for dock in found if dock.windowTitle() in DOCKS]

    qtbot.waitUntil(lambda: len(docks()) == len(DOCKS), timeout=60_000)
    qtbot.wait(50)
    assert [dock.windowTitle() for dock in docks() if not dock.visibleRegion().isEmpty()] == ["Slide"]


def test_a_dock_that_floated_comes_back_in_front(window: Any) -> None:
    review = window.docks["Review"]
    window.front("Review")
    review.parentWidget().setFloating(True)
    window.wait(lambda: review.seen)
    window.front("Runs")
    assert review.seen  # beside the others
    review.parentWidget().setFloating(False)
    window.wait(lambda: [dock for dock in window.docks.values() if dock.seen] == [review])


def test_a_dock_that_is_opened_again_is_one_tab_among_the_others(window: Any) -> None:
    """However it was closed, and by whichever of the names that napari has for it it is opened."""
    from napari._app_model import get_app_model

    native, commands = window.viewer.window._qt_window, get_app_model().commands

    def shells(kind: str) -> list[Any]:
        return [shell for shell in native.findChildren(QDockWidget) if shell.windowTitle() == kind]

    review = window.docks["Review"].parentWidget()
    review.destroyOnClose()  # the x in its title
    assert window.bench.docks.find("Review") is None
    commands.execute_command("napari-ifkd.review")  # the menu Plugins
    window.wait(lambda: window.bench.docks.find("Review") is not None and window.bench.docks.find("Review").seen)
    window.wait(lambda: len(native.tabifiedDockWidgets(window.bench.docks.find("Review").parentWidget())) == len(DOCKS) - 1)
    add_docks(window.viewer)
    window.viewer.window.add_plugin_dock_widget("napari-ifkd", "Review")  # as by napari --with: another name of it
    window.wait(lambda: [shell.widget() for shell in shells("Review")] == [window.bench.docks.find("Review")])
    assert all(len(shells(kind)) == 1 for kind in DOCKS)
    commands.execute_command("napari-ifkd.slide")  # it is open: napari's menu knows, and hides it
    window.wait(lambda: not window.docks["Slide"].parentWidget().isVisible())
    add_docks(window.viewer)
    window.wait(lambda: window.docks["Slide"].seen)
    assert all(len(shells(kind)) == 1 for kind in DOCKS)


def test_the_table_of_rounds_tells_at_which_threshold_before_there_are_any(window: Any) -> None:
    table = window.docks["Distill"].table
    window.session.look(threshold=0.45)
    assert "mm²\nat 0.45" in [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]


def test_the_table_of_rounds_tells_what_its_decisions_mean(window: Any) -> None:
    from napari_ifkd.events import Decision, RoundDone
    from napari_ifkd.runs.accepted import Accepted

    table = window.docks["Distill"].table
    table.show_rounds([RoundDone(0, None), *(RoundDone(n, Decision(n == 1, "cautious", "", f"Because {n}.")) for n in (1, 2))], {}, 0.5)
    assert table.item(0, 1).toolTip() == "The first teacher, before any round"
    assert table.item(1, 1).toolTip() == "This round became the teacher of the next\nBecause 1."
    assert table.item(2, 1).toolTip() == "The teacher before was kept\nBecause 2."
    rounds = [RoundDone(0, None), RoundDone(1, Decision(False, "cautious", "", "Because."))]
    for by, told in (("user", "by you"), ("reference", "by reference masks")):
        table.show_rounds(rounds, {}, 0.5, Accepted(1, 0.3, by, "", ""))
        assert (table.item(1, 0).text(), table.item(1, 1).text()) == ("1 ✓", "accepted")
        assert told in table.item(1, 1).toolTip()
    for several, told in ((False, "F1\nat 0.5"), (True, "F1 of\nthe run")):
        table.show_rounds(rounds, {}, 0.5, several_slides=several)
        assert told in [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]


def test_the_table_of_rounds_has_room_for_its_words_beside_f1(window: Any) -> None:
    from napari_ifkd.events import Decision, RoundDone

    window.front("Distill")
    table = window.docks["Distill"].table
    scores = {"agreement": 0.93, "reference_f1": 0.878}
    window.session.rounds = (RoundDone(0, None, scores), RoundDone(1, Decision(False, "cautious", "", "Because."), scores))
    window.session.look(threshold=0.355)
    window.qtbot.wait(50)
    assert not table.isColumnHidden(4)
    for row in (0, 1):
        item = table.item(row, 1)
        assert table.fontMetrics().horizontalAdvance(item.text()) + 6 <= table.columnWidth(1), table.columnWidth(1)


def test_a_run_that_is_paused_is_called_so_where_it_hinders(window: Any, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    session, distill, teacher = window.session, window.docks["Distill"], window.docks["Teacher"]
    window.bench.open(drawn_slide)
    teacher.choose(drawn_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    session.begin("distill", tmp_path / "one", [session.slide])
    session.apply(Progress("training", 0, 2))
    for state, told in (("pausing", "one is paused: continue it"), ("running", "a run is at work; wait for it")):
        session.asked(state)
        assert all(told in made.toolTip() for made in (distill.run, teacher.predict))


def test_the_rounds_of_the_run_before_are_called_so_until_there_are_others(window: Any, tmp_path: Path) -> None:
    session, whose = window.session, window.docks["Distill"].whose
    for name, told in (("one", "of one"), ("two", "of one, not the run at work")):
        session.begin("distill", tmp_path / name)
        assert told in whose.text()
        session.apply(RoundDone(0, None))
        assert whose.text().endswith(f"of {name}")
        session.apply(RunDone(0, ""))
    session.begin("predict", tmp_path / "three")
    assert whose.text().endswith("of two")


def test_a_distillation_that_ends_is_told_of_in_the_dock_of_slides_too(window: Any, tmp_path: Path) -> None:
    session, slide = window.session, window.docks["Slide"]
    window.front("Slide")
    session.begin("distill", tmp_path / "one")
    session.apply(RoundDone(0, None))
    session.apply(RunDone(0, ""))  # which chooses what is shown
    assert slide.ended.isVisible()
    assert slide.ended.text().startswith("one: Done. The run recommends the teacher")
    window.front("Review")
    window.wait(lambda: not slide.seen)
    window.front("Slide")
    window.wait(lambda: slide.seen)
    assert not slide.ended.isVisible()
    window.front("Distill")
    window.wait(lambda: not slide.seen)
    session.begin("distill", tmp_path / "two")
    session.apply(RunDone(0, ""))
    window.front("Slide")
    window.wait(lambda: slide.seen)
    assert not slide.ended.isVisible()  # it was seen there
