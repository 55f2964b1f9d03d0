"""Fields, lists and buttons used with mouse and keys: each does what its tooltip says, and nothing else."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import yaml
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QFileDialog, QLineEdit, QRadioButton, QSlider, QToolTip

from napari_ifkd._plugin import settings
from napari_ifkd._plugin.layers import tag
from napari_ifkd._plugin.region import region_geometry
from napari_ifkd._plugin.settings import device, set_device
from napari_ifkd._plugin.widgets.parts import chosen_path
from napari_ifkd._plugin.widgets.teacher import _known_models
from napari_ifkd._plugin.worker import say_error
from napari_ifkd.config import Config
from napari_ifkd.events import RunCancelled
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def flat(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, settings


def each_changes_its_own(window: Any, dock: str, fields: list[Any], settings: Callable[[], Config]) -> None:
    for field in fields:
        before = dict(flat(settings().model_dump()))
        window.use(dock, field)
        after = dict(flat(settings().model_dump()))
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        owner = "acceptance.area_prior" if field.name == "" else field.name
        assert changed and all(key.startswith(owner.rpartition(".")[0] if owner.startswith("student") else owner) for key in changed), (
            field.name,
            changed,
        )


def test_each_field_sets_what_it_says(window: Any) -> None:
    distill, teacher = window.docks["Distill"], window.docks["Teacher"]
    window.click("Distill", distill.fold)
    each_changes_its_own(window, "Distill", [*distill.main, *distill.advanced], distill.settings)
    window.click("Teacher", teacher.teach_fold.button)
    window.click("Teacher", teacher.teach.fold.button)
    each_changes_its_own(window, "Teacher", [*teacher.teach.epochs, *teacher.teach.form], teacher.teach._asked)


def test_the_device_is_kept_and_works(window: Any, drawn_slide: Path, drawn_teacher: Path) -> None:
    teacher, session = window.docks["Teacher"], window.session
    window.wait(lambda: "cpu" in teacher.device.choices)
    assert device() == "auto"
    try:
        window.use("Teacher", teacher.device)
        assert device() == teacher.device.value == "cpu"
        session.open(drawn_slide)
        window.wait(lambda: session.tissue is not None)
        teacher.choose(drawn_teacher)
        window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
        window.click("Teacher", teacher.predict)
        window.wait(lambda: session.job is not None and session.job.state != "running")
        assert yaml.safe_load((session.job.out / "run.yaml").read_text(encoding="utf-8"))["config"]["device"] == "cpu"
    finally:
        set_device("auto")


def test_a_network_is_fetched_from_the_hub(window: Any, drawn_teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    teacher, session, asked = window.docks["Teacher"], window.session, []
    go_on, came = threading.Event(), threading.Event()

    def download(repo: str, file: str, revision: str | None = None) -> str:
        asked.append((repo, file, revision))
        if repo == "org/none":
            raise OSError("no connection")
        if repo == "org/slow":
            go_on.wait(60)
            came.set()
        return str(drawn_teacher)

    def typed(text: str) -> None:
        (dialog,) = window.dialogs("QInputDialog")
        QTest.keyClicks(dialog.findChild(QLineEdit), text)
        QTest.keyClick(dialog, Qt.Key.Key_Return)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    window.wait(lambda: session.teacher is not None)
    for text in ("org/none", "hf-hub:org/repo@v2#small.safetensors"):
        window.when(lambda: bool(window.dialogs("QInputDialog")), lambda text=text: typed(text))
        window.click("Teacher", teacher.hub)
        window.wait(lambda: "Getting" not in teacher.card.text())
        assert ("hf-hub:org/none" in teacher.trouble.notice.text()) == teacher.trouble.isVisible() == (text == "org/none")
    assert asked == [("org/none", "model.safetensors", None), ("org/repo", "small.safetensors", "v2")]
    assert session.teacher.path == drawn_teacher
    before = session.teacher
    window.when(lambda: bool(window.dialogs("QInputDialog")), lambda: typed("org/slow"))
    window.click("Teacher", teacher.hub)
    window.wait(lambda: len(asked) == 3)
    window.click("Teacher", teacher.hub)  # nobody waits any more
    assert teacher.hub.text() == "From hub …"
    assert before.label in teacher.card.text()
    go_on.set()
    window.wait(came.is_set)
    QTest.qWait(500)
    assert session.teacher is before


def test_where_to_predict_is_chosen(window: Any, drawn_slide: Path, drawn_teacher: Path) -> None:
    slide, session = window.docks["Slide"], window.session
    slide.bench.open(drawn_slide)
    teacher = window.docks["Teacher"]
    teacher.choose(drawn_teacher)
    window.wait(lambda: session.tissue is not None and teacher.predict.isEnabled())
    for label, region in (("Visible field", "field"), ("Drawn region", "shapes"), ("Whole tissue", "tissue")):
        (choice,) = [one for one in slide.region.native.findChildren(QRadioButton) if one.text() == label]
        window.click("Slide", choice)
        assert session.region == region
        assert teacher.predict.isEnabled() == (region != "shapes")
        assert (window.bench.drawings.drawing == "region") == (region == "shapes")  # the pen comes to hand
        if region == "shapes":
            assert "nothing is drawn yet" in teacher.predict.toolTip()
            assert teacher.previewed.text().startswith("Predict cannot begin: nothing is drawn yet")  # for who rests on no button
            layer = window.viewer.add_shapes()
            layer.add_paths([[[0, 0], [50, 50]]])
            assert "no closed shape" in teacher.predict.toolTip()
            layer.add_rectangles([[10, 20], [10, 60], [30, 60], [30, 20]])
            assert teacher.predict.isEnabled()
            assert slide.shapes.text().startswith(f"Predict looks in 1 closed shape of the layer {layer.name}, ")
            lines = window.viewer.add_shapes()
            lines.add_paths([[[0, 0], [50, 50]]])
            window.viewer.layers.selection.active = lines
            assert "no closed shape" in teacher.predict.toolTip()
            window.viewer.layers.selection.active = layer  # of several the one that is picked counts
            assert teacher.predict.isEnabled()
            window.viewer.layers.remove(lines)
            window.viewer.layers.remove(layer)
            assert "No shape yet" in slide.shapes.text()
            assert not teacher.predict.isEnabled()


def test_a_region_is_drawn_kept_and_of_its_slide(
    window: Any, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, make_napari_viewer: Any
) -> None:
    dock, session, drawings = window.docks["Slide"], window.session, window.bench.drawings
    window.bench.open(drawn_slide)
    window.docks["Teacher"].choose(drawn_teacher)
    window.wait(lambda: session.tissue is not None and window.docks["Teacher"].predict.isEnabled())
    radio = {one.text(): one for one in dock.region.native.findChildren(QRadioButton)}
    window.click("Slide", dock.exclusions_fold.button)
    window.click("Slide", dock.exclusions.draw)
    window.click("Slide", radio["Visible field"])
    assert drawings.drawing == "exclusion"  # still drawn
    window.click("Slide", radio["Drawn region"])
    assert drawings.drawing == "region"  # what is drawn from now on is the region, and not left out
    window.click("Slide", radio["Whole tissue"])
    assert drawings.drawing is None
    window.click("Slide", radio["Drawn region"])
    assert drawings.drawing == "region"  # nothing is drawn yet
    window.click("Slide", dock.draw)
    assert drawings.drawing is None
    other = window.viewer.add_shapes([[[10, 20], [10, 60], [30, 60], [30, 20]]], shape_type="polygon")
    for label in ("Whole tissue", "Drawn region"):
        window.click("Slide", radio[label])
    assert drawings.drawing is None  # a layer of one's own is the region
    window.viewer.layers.remove(other)
    first = session.slide
    drawings.add("region", first, [("", shapely.box(40, 20, 120, 100))])
    window.wait(drawings.file("region", first).is_file)
    assert dock.shapes.text().startswith("Predict looks in 1 closed shape of the layer Predict in")
    assert region_geometry("shapes", first, window.viewer).equals(shapely.box(40, 20, 120, 100))
    own = window.viewer.add_shapes([[[10, 20], [10, 60], [30, 60], [30, 20]]], shape_type="polygon")

    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: session.tissue is not None)
    assert not own.visible  # it would look as if it were of this slide
    assert not drawings.layer("region", first).visible
    window.wait(lambda: session.region == dock.region.value == "tissue")  # where to look is chosen for each slide
    session.set_region("shapes")
    assert not window.docks["Teacher"].predict.isEnabled()
    window.bench.look_at(first)
    assert own.visible
    window.wait(lambda: window.docks["Teacher"].predict.isEnabled())
    assert session.region == dock.region.value == "shapes"
    assert drawings.layer("region", first).visible
    window.click("Slide", radio["Whole tissue"])
    assert not drawings.layer("region", first).visible  # it means nothing then
    window.click("Slide", radio["Drawn region"])
    assert drawings.layer("region", first).visible
    window.remembered()

    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.wait(lambda: later.bench.drawings.count("region", later.session.slide) == 1 and later.session.region == "shapes")


def test_a_resolution_is_typed(window: Any, tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 400, 3), 200, np.uint8)).save(tmp_path / "plain.tif")
    slide, session = window.docks["Slide"], window.session
    slide.bench.open(tmp_path / "plain.tif")
    window.wait(lambda: session.tissue is not None)
    window.type("Slide", slide.mpp.native.findChild(QLineEdit), "0.75")
    assert session.slide.mpp == 0.75


def test_a_mask_opened_as_a_slide_is_told_where_it_belongs(window: Any, tmp_path: Path) -> None:
    Image.fromarray(np.eye(300, dtype=np.uint8)).convert("RGB").save(tmp_path / "mask.tif")
    window.bench.open(tmp_path / "mask.tif")
    window.wait(lambda: window.session.tissue is not None)
    assert "black throughout. Is it a mask?" in window.docks["Slide"].notice.text()


def test_the_card_tells_a_small_area_in_a_small_unit(window: Any, drawn_slide: Path) -> None:
    from napari_ifkd._plugin.widgets.slide import card

    session = window.session
    window.bench.open(drawn_slide)
    window.wait(lambda: session.tissue is not None)
    assert "3.49 µm²" in card(session.slide, replace(session.tissue, area_mm2=3.49e-6))


def test_the_resolution_of_a_file_can_be_replaced(window: Any, drawn_slide: Path) -> None:
    slide, session = window.docks["Slide"], window.session
    slide.bench.open(drawn_slide)
    window.wait(lambda: session.tissue is not None)
    told = session.slide.mpp
    assert float(slide.mpp.value) == pytest.approx(told, abs=1e-4)
    assert not slide.use_mpp.isEnabled()
    line = slide.mpp.native.findChild(QLineEdit)
    window.click("Slide", line)
    line.selectAll()
    QTest.keyClicks(line, f"{2 * told:g}")
    session.found_tissue(session.slide, session.tissue)  # what comes meanwhile leaves what is typed
    window.click("Slide", slide.use_mpp)
    assert session.slide.mpp == pytest.approx(2 * told)
    assert f"given by you; the file says {told:.4g}" in slide.card.text()
    assert not slide.use_mpp.isEnabled()
    window.type("Slide", line, f"{told:g}")  # the way back; Enter takes it too
    assert (session.slide.mpp, session.slide.mpp_source) == (told, "file")
    assert "given by you" not in slide.card.text()


def test_a_field_tells_its_range_where_it_takes_no_more(window: Any, drawn_slide: Path) -> None:
    distill, slide = window.docks["Distill"], window.docks["Slide"]
    window.bench.open(drawn_slide)
    for name, field, typed, said in (
        ("Distill", distill.main["rounds.epochs"], "1000000", "Takes numbers from 1 to 100,000"),
        ("Slide", slide.mpp, "x", "4 digits after the point"),
        ("Distill", distill.main["rounds.epochs"], "0", "Takes numbers from 1 to 100,000"),  # which becomes 1
    ):
        QToolTip.hideText()
        window.type(name, field.native.findChild(QLineEdit), typed)
        window.wait(lambda said=said: said in QToolTip.text())


def test_the_wheel_scrolls_and_changes_no_setting(window: Any) -> None:
    from qtpy.QtCore import QPoint, QPointF
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    distill = window.docks["Distill"]
    window.click("Distill", distill.fold)
    for field in (distill.main["rounds.epochs"], distill.advanced["rounds.mode"]):
        window.show("Distill", field.native)
        field.native.setFocus()
        before = field.value
        at = QPointF(5, 5)
        wheel = QWheelEvent(
            at, QPointF(field.native.mapToGlobal(QPoint(5, 5))), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(field.native, wheel)
        assert field.value == before


def test_buttons_tell_what_they_wait_for(window: Any, drawn_slide: Path, drawn_teacher: Path) -> None:
    teacher, distill, session = window.docks["Teacher"], window.docks["Distill"], window.session
    for made in (teacher.predict, teacher.preview, distill.run):
        assert not made.isEnabled()
        assert "no slide is open" in made.toolTip()
    assert "both kinds" in teacher.teach.train.toolTip()
    session.open(drawn_slide)
    teacher.choose(drawn_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    for made in (teacher.predict, teacher.preview, distill.run):
        assert made.isEnabled()
        assert "Not now" not in made.toolTip()
    session.begin("distill", drawn_slide.parent / "none")
    assert "a run is at work" in distill.run.toolTip()
    assert "a run is at work" in teacher.predict.toolTip()
    assert teacher.preview.isEnabled()


def test_one_of_several_slides_is_chosen_in_the_dock(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    slide, session = window.docks["Slide"], window.session
    (tmp_path / "there").mkdir()
    paths = [drawn_slide, tmp_path / "another.tif", tmp_path / "there" / drawn_slide.name]
    for path in paths:
        assert not slide.which_row.isVisibleTo(slide) or len(session.slides) > 1
        if path != drawn_slide:
            shutil.copy(drawn_slide, path)
        window.bench.open(path)
    assert session.slide.path == paths[2]
    assert len(set(slide.which.choices)) == 3
    for path in paths[:2]:
        window.front("Slide")
        say_error("something is wrong with the slide before")
        assert slide.trouble.isVisible()
        window.choose("Slide", slide.which, [choice.path for choice in slide.which.choices].index(path))
        assert not slide.trouble.isVisible()
        window.wait(lambda path=path: session.slide.path == path)
        assert [tag(layer)["path"] for layer in window.ours("slide")] == list(map(str, paths))  # each has its place


def test_who_deletes_a_layer_stays_on_the_slide(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    for path in (drawn_slide, tmp_path / "other.tif"):
        window.bench.open(path)
        window.wait(lambda: window.bench.memory.settled)
    layers, session = window.viewer.layers, window.session
    window.bench.look_at(session.slides[0])  # whose layer lies below that of the other
    window.wait(lambda: window.bench.memory.settled)
    drawn = window.viewer.add_points(np.zeros((0, 2)), name="Own")
    assert layers.selection.active is drawn
    layers.remove_selected()  # as the bin does
    window.qtbot.wait(50)
    assert drawn not in layers
    assert session.slide is session.slides[0]
    assert tag(layers.selection.active)["path"] == str(drawn_slide)
    layers.selection.active = window.bench.layers.find("slide", tmp_path / "other.tif")  # a click on it turns to it, as ever
    assert session.slide is session.slides[1]


def test_all_slides_need_a_resolution_to_distil(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 400, 3), 200, np.uint8)).save(tmp_path / "plain.tif")
    distill, session = window.docks["Distill"], window.session
    window.wait(lambda: session.teacher is not None)
    for path in (tmp_path / "plain.tif", drawn_slide):
        window.bench.open(path)
    assert distill.run.isEnabled()
    before = distill.all_slides.native.pos()
    window.click("Distill", distill.all_slides)
    assert not distill.run.isEnabled()
    window.qtbot.wait(100)
    assert distill.all_slides.native.pos() == before  # a second click hits it
    assert "plain.tif is not known: give it in the Slide dock" in distill.run.toolTip()
    assert "It cannot run: the resolution of plain.tif is not known" in distill.warning.text()


def test_all_slides_are_ticked_as_in_the_run_that_is_followed(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    distill, session = window.docks["Distill"], window.session
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    assert distill.use_drawn.native.toolTip().startswith("Tiles in the regions drawn")
    assert distill.use_drawn.native.isHidden()  # none are drawn
    for path in (drawn_slide, tmp_path / "other.tif"):
        window.bench.open(path)
    for slides in (session.slides, session.slides[:1]):
        session.begin("distill", tmp_path / f"{len(slides)}", slides)
        assert distill.all_slides.value == (len(slides) == 2)
        session.apply(RunCancelled())


def test_a_patch_folder_that_is_not_there_is_told_before_a_run_begins(window: Any, drawn_slide: Path, drawn_patches: Path) -> None:
    distill = window.docks["Distill"]
    window.bench.open(drawn_slide)
    window.wait(distill.run.isEnabled)
    window.type("Distill", distill.patches.line_edit.native, "1")  # meant for another field
    assert not distill.run.isEnabled()
    assert "the patch folder 1 does not exist" in distill.run.toolTip()
    distill.patches.value = drawn_patches
    assert distill.run.isEnabled()


def test_the_device_follows_preferences(window: Any) -> None:
    teacher = window.docks["Teacher"]
    window.wait(lambda: "cpu" in teacher.device.choices)
    offered = list(teacher.device.choices)
    try:
        for typed, taken in (("c", "auto"), ("cu", "auto"), ("cuda:3", "cuda:3"), (" CPU", "cpu"), ("gpu", "auto")):
            set_device(typed)
            assert teacher.device.value == device() == taken  # a word that names none counts as auto
            assert list(teacher.device.choices) == list(dict.fromkeys((*offered, taken)))
    finally:
        set_device("auto")
    assert teacher.device.value == "auto"


def test_a_recent_slide_and_a_run_are_opened(window: Any, drawn_slide: Path, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slide, session = window.docks["Slide"], window.session
    (image,), run = window.ours("slide"), session.run
    window.viewer.layers.remove(image)
    assert session.slide is session.run is None
    window.wait(slide.recent.isEnabled)
    window.when(slide.recent_menu.isVisible, lambda: QTest.keyClick(slide.recent_menu, Qt.Key.Key_Down))
    window.when(lambda: slide.recent_menu.activeAction() is not None, lambda: QTest.keyClick(slide.recent_menu, Qt.Key.Key_Return))
    window.click("Slide", slide.recent)
    window.wait(lambda: session.slide is not None)
    assert session.slide.path == drawn_slide
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *asked: asked[2] == str(settings.runs_folder()) and str(run))
    window.click("Slide", slide.open_run)
    window.wait(lambda: session.run == run and len(session.here()) == 2)


def test_what_is_seen_follows_the_fields_of_the_teacher_dock(window: Any, reviewed: Any) -> None:
    teacher, session = window.docks["Teacher"], window.session
    assert not window.ours("heat")
    for shown in (True, False):
        window.use("Teacher", teacher.heat)
        window.wait(lambda shown=shown: session.heat is shown and [layer.visible for layer in window.ours("heat")] == [shown])
    for field, value in ((teacher.threshold, "threshold"), (teacher.smoothing, "sigma_px"), (teacher.opacity, "opacity")):
        before = getattr(session, value)
        slider, number = (field.native.findChild(kind) for kind in (QSlider, QAbstractSpinBox))
        for part in (slider, number):
            window.use("Teacher", part)
            window.wait(lambda value=value, before=before: getattr(session, value) != before)
            before = getattr(session, value)
        assert field.value == pytest.approx(before)
    (mask,) = [layer for layer in window.ours("mask") if layer.visible]
    window.wait(lambda: mask.opacity == pytest.approx(session.opacity))


def test_a_network_is_chosen_from_the_list_and_from_a_run(
    window: Any, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, session, models = window.docks["Teacher"], window.session, tmp_path / "models"
    models.mkdir()
    shutil.copyfile(drawn_teacher, models / "mine.safetensors")
    run = RunFolder.create(tmp_path / "a-run", "distill", Config(), {"data": [str(drawn_slide)], "mpp": None})
    run.model_path(0).parent.mkdir(parents=True)
    shutil.copyfile(drawn_teacher, run.model_path(0))
    window.wait(lambda: session.teacher is not None)
    teacher.in_thread(_known_models, teacher._offer)  # as when the dock is opened
    window.wait(lambda: len(teacher.model.choices) > 1)  # the built-in one, mine
    window.use("Teacher", teacher.model)
    window.wait(lambda: session.teacher.path.parent == models)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *asked: asked[2] == str(settings.runs_folder()) and str(run.path))
    window.click("Teacher", teacher.from_run)
    window.wait(lambda: session.teacher.path == run.model_path(0))
    assert teacher.model.value == session.teacher.label == "teacher of a-run"
    for name, path in (("mine", models / "mine.safetensors"), ("teacher of a-run", run.model_path(0))):  # and back again
        window.choose("Teacher", teacher.model, list(teacher.model.choices).index(name))
        window.wait(lambda path=path: session.teacher.path == path)
        assert session.teacher.label == name
    assert sorted(teacher.model.choices) == ["mine", "phantom-teacher", "teacher of a-run"]  # none under two names


def test_folders_of_patches_are_typed_and_chosen(window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window.click("Teacher", window.docks["Teacher"].teach_fold.button)
    for dock, field in (("Teacher", window.docks["Teacher"].teach.patches), ("Distill", window.docks["Distill"].patches)):
        window.type(dock, field.line_edit.native, "some/folder")
        assert chosen_path(field) == Path("some/folder")
        monkeypatch.setattr(field, "_show_file_dialog", lambda *_, **__: str(tmp_path))
        window.click(dock, field.choose_btn)
        assert chosen_path(field) == tmp_path


def test_a_comma_in_a_number_is_a_point_and_no_step_to_another_round(window: Any, reviewed: Any) -> None:
    session, field = window.session, reviewed.threshold.native.findChild(QDoubleSpinBox)
    line, shown = field.findChild(QLineEdit), session.shown
    window.viewer.window._qt_window.activateWindow()
    window.qtbot.mouseDClick(line, Qt.MouseButton.LeftButton, pos=line.rect().center())
    field.setFocus()
    window.qtbot.keyClicks(field, "0,25")
    window.qtbot.keyClick(field, Qt.Key.Key_Return)
    window.wait(lambda: session.threshold == 0.25)
    assert session.shown == shown
    reviewed.about.setFocus()
    window.key(",")
    assert session.shown == session.here()[0]


def test_a_double_click_takes_the_whole_of_a_number(window: Any) -> None:
    teacher = window.docks["Teacher"]
    window.front("Teacher")
    field = teacher.threshold.native.findChild(QDoubleSpinBox)
    line = field.findChild(QLineEdit)
    at = line.rect().center()
    window.qtbot.mouseClick(line, Qt.MouseButton.LeftButton, pos=at)
    window.qtbot.mouseDClick(line, Qt.MouseButton.LeftButton, pos=at)
    window.qtbot.keyClicks(line, "0.4")
    window.qtbot.keyClick(line, Qt.Key.Key_Return)
    window.wait(lambda: window.session.threshold == 0.4)
    window.qtbot.mouseDClick(line, Qt.MouseButton.LeftButton, pos=at)
    window.qtbot.keyClicks(field, "0,25")  # as many write it
    window.qtbot.keyClick(field, Qt.Key.Key_Return)
    window.wait(lambda: window.session.threshold == 0.25)
