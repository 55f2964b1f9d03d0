"""Each slide comes back as it was left: when one turns to it again, and when napari is started again."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from napari_ifkd._plugin import memory, settings
from napari_ifkd._plugin.layers import tag
from napari_ifkd._plugin.settings import slide_folder, slides_folder
from napari_ifkd._plugin.trouble import TROUBLE
from napari_ifkd._plugin.views import View, read_view, recent_slides
from napari_ifkd.annotations import Corrections
from napari_ifkd.config import Config
from napari_ifkd.events import MapReady, RoundDone, RunCancelled, RunDone
from napari_ifkd.models import read_card
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.resolve import Resolved
from napari_ifkd.session_story import RunStory
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> RunFolder:
    """Return a run of two rounds on the drawn slide."""
    return two_rounds(tmp_path / "run", drawn_slide, write_map)


def two_rounds(path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> RunFolder:
    with open_slide(drawn_slide) as slide:
        about = {"data": [str(drawn_slide)], "mpp": None, "regions": None}
        made = RunFolder.create(path, "distill", Config(), about, slides=[slide.identity()])
        for index in (0, 1, 2):
            write_map(made.map_path(index, drawn_slide), slide)
            made.append(MapReady(index, slide.name, made.map_path(index, drawn_slide).relative_to(made.path).as_posix()))
            made.model_path(index).write_bytes(b"")
            made.append(RoundDone(index, None))
    made.append(RunDone(2, "the last"))
    return made


def look(window: Any) -> tuple[Any, ...]:
    session, camera = window.session, window.viewer.scene.camera
    where = tuple(np.round((*camera.center[-2:], camera.zoom), 3))
    return (
        where,
        session.threshold,
        session.sigma_px,
        session.compare,
        session.region,
        *(c and c.round for c in (session.shown, session.a, session.b)),
    )


def left(window: Any) -> tuple[Any, ...]:
    """Set a slide up as no default would."""
    session, camera = window.session, window.viewer.scene.camera
    here = {candidate.round: candidate for candidate in session.here()}
    session.look(threshold=0.7, sigma_px=1.5)
    session.set_region("field")
    session.show(here[1])
    session.set_pair(here[2], here[1])
    session.set_compare("contours")
    camera.zoom, camera.center = 7.0, (0.0, 60.0, 90.0)
    return look(window)


def test_slides_come_back_as_they_were_left(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, make_napari_viewer: Any
) -> None:
    session = window.session
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and window.bench.memory.settled)
    wanted = left(window)
    first = session.slide
    other = tmp_path / "other.tif"
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(other, np.full((2000, 1000, 3), 200, np.uint8), photometric="rgb", **options)
    window.bench.open(other)
    window.wait(lambda: window.bench.memory.settled)
    assert np.allclose(window.viewer.scene.camera.center[-2:], (999.5, 499.5))  # a new slide is shown whole
    session.look(threshold=0.2)
    session.activate(first)
    window.wait(lambda: window.bench.memory.notes.followed is first)
    assert look(window) == wanted
    session.activate(session.slides[1])
    window.wait(lambda: window.bench.memory.notes.followed is session.slides[1])
    assert session.threshold == 0.2
    session.activate(first)
    window.wait(lambda: window.bench.memory.notes.followed is first)
    camera, grid, layers = window.viewer.scene.camera, window.viewer.canvas.grid, window.bench.layers
    session.set_compare("side by side")
    window.wait(lambda: grid.enabled and layers.settled)
    assert camera.zoom == pytest.approx(wanted[0][2] / 2, rel=1e-3)
    for slide in (session.slides[1], first):
        session.activate(slide)
        window.wait(lambda slide=slide: window.bench.memory.notes.followed is slide and layers.settled)
    window.wait(lambda: grid.enabled and layers.settled)
    assert camera.zoom == pytest.approx(wanted[0][2] / 2, rel=1e-3)
    session.set_compare("contours")
    window.wait(lambda: not grid.enabled and layers.settled)
    assert look(window) == wanted
    window.remembered()

    later = window.another(make_napari_viewer(show=True))  # tomorrow
    dock = later.docks["Slide"]
    later.wait(lambda: len(later.bench.memory.recent) == 2)
    assert dock.recent.isEnabled()
    entries = {action.text(): action for action in dock.recent_menu.actions()}
    assert set(entries) == {drawn_slide.name, "other.tif"}
    assert entries["other.tif"].toolTip() == str(other)
    entries[drawn_slide.name].trigger()
    later.wait(lambda: later.bench.memory.settled)
    assert look(later) == wanted
    assert later.session.run == run.path
    assert [r.index for r in later.session.rounds] == [0, 1, 2]
    twin = tmp_path / "elsewhere" / "other.tif"
    later.bench.memory._listed([twin, *later.bench.memory.recent])
    names = {action.toolTip(): action.text() for action in dock.recent_menu.actions()}  # of two of one name, the folder is told too
    assert names == {str(drawn_slide): drawn_slide.name, **{str(path): f"other.tif ({path.parent})" for path in (other, twin)}}


def test_settings_and_a_compared_file_come_back(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, distill = window.session, window.docks["Distill"]
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and session.teacher is not None and window.bench.memory.settled)
    marked = np.zeros(session.shown.found.shape, np.uint8)
    marked[10:40, 10:40] = 255
    tifffile.imwrite(tmp_path / "by hand.tif", marked, metadata=None)
    window.docks["Review"].compare.compare_file(tmp_path / "by hand.tif")
    window.wait(lambda: session.b is not None and session.b.act == "file")
    shutil.copy(tmp_path / "by hand.tif", tmp_path / "seen.tif")
    window.bench.dropped(tmp_path / "seen.tif")  # as a layer
    bring = window.docks["Export"].bring_in
    bring.file.value = tmp_path / "by hand.tif"
    bring.use.setCurrentText("Reference")
    window.click("Export", window.docks["Export"].bring_fold.button)
    window.click("Export", bring.bring)
    window.wait(lambda: bool(session.given))
    assert len(window.ours("brought")) == 2
    assert session.a == session.shown  # what is looked at is compared with it
    session.set_pair(session.b, session.here()[1])
    session.set_compare("overlay")
    distill.main["rounds.rounds"].value = 2
    distill.main["rounds.epochs"].value = 4
    monkeypatch.setattr(window.bench.runner, "start", lambda *_: None)
    window.click("Distill", distill.run)
    export = window.docks["Export"]
    export.folder.value, export.formats.value = tmp_path / "masks", ["csv"]
    export.options.area.setValue(0.002)
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())
    file = slides_folder() / "asked.json"
    window.wait(lambda: file.is_file() and {"rounds.rounds", "export"} <= json.loads(file.read_text()).keys())
    view = slide_folder(session.slide) / "view.json"  # a thread writes it
    window.wait(view.is_file)
    window.wait(lambda: (kept := json.loads(view.read_text()))["compare"] == "overlay" and len(kept["brought"]) == 2)

    later = window.another(make_napari_viewer(show=True))
    fields = later.docks["Distill"].main
    later.wait(lambda: fields["rounds.rounds"].value == 2)  # whatever slide comes
    later.bench.open(drawn_slide)
    later.wait(lambda: later.session.a is not None and later.session.a.label == "by hand.tif")
    later.wait(lambda: later.session.compare == "overlay")
    assert later.session.given_here() == {"reference": tmp_path / "by hand.tif"}
    assert sorted(tag(layer)["use"] for layer in later.ours("brought")) == ["look", "reference"]
    later.front("Export")
    later.click("Export", later.docks["Export"].bring_fold.button)
    later.click("Export", later.docks["Export"].bring_in.forget["reference"])
    assert not later.session.given
    assert [tag(layer)["use"] for layer in later.ours("brought")] == ["look"]
    assert later.session.b.round == 1
    assert (np.asarray(later.session.a.found.levels[0]) > 128).sum() == 900
    assert (fields["rounds.rounds"].value, fields["rounds.epochs"].value) == (2, 4)
    export = later.docks["Export"]
    assert (export.formats.value, export.options.value.min_area_um2) == (["csv"], pytest.approx(2000))


def test_lesions_are_listed_as_they_were_last(window: Any, reviewed: Any, make_napari_viewer: Any) -> None:
    lesions = reviewed.lesions
    reviewed.pages.setCurrentWidget(lesions)
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() == 3)
    window.type("Review", lesions.least.findChild(QLineEdit), "0.001")
    assert lesions.model.rowCount() == 2
    lesions.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    file = slides_folder() / "asked.json"
    window.wait(lambda: file.is_file() and json.loads(file.read_text())["lesions"] == {"column": 1, "order": 0, "least": 0.001})

    later = window.another(make_napari_viewer(show=True))
    lesions = later.docks["Review"].lesions
    later.wait(lambda: lesions.least.value() == 0.001)
    head = lesions.table.horizontalHeader()
    assert (head.sortIndicatorSection(), head.sortIndicatorOrder()) == (1, Qt.SortOrder.AscendingOrder)


def test_a_reference_that_is_gone_is_told_of_and_a_pen_stays_in_the_hand(
    window: Any, drawn_slide: Path, tmp_path: Path, make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    session, layers = window.session, window.bench.layers
    window.bench.open(drawn_slide)
    window.wait(lambda: session.tissue is not None and window.bench.memory.settled)
    region = {"type": "Polygon", "coordinates": [[[40, 20], [120, 20], [120, 100], [40, 20]]]}
    for name in ("seen", "hidden", "gone"):
        feature = {"type": "Feature", "geometry": region, "properties": {"classification": {"name": "Tumor"}}}
        (tmp_path / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    for name in ("seen", "hidden"):
        window.bench.dropped(tmp_path / f"{name}.geojson")
    session.give("reference", tmp_path / "gone.geojson")
    file = slide_folder(session.slide) / "view.json"
    window.wait(lambda: file.is_file() and len(json.loads(file.read_text())["brought"]) == 3)
    next(layer for layer in layers.ours("brought") if layer.name == "hidden.geojson").visible = False
    window.wait(lambda: [seen for _, path, seen in json.loads(file.read_text())["brought"] if "hidden" in path] == [False])
    (tmp_path / "gone.geojson").unlink()

    go = threading.Event()
    read = memory.brought_layer
    monkeypatch.setattr(memory, "brought_layer", lambda *known: go.wait(60) and read(*known))
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.wait(lambda: later.session.tissue is not None)
    later.bench.drawings.begin("exclusion")
    assert later.bench.drawings.drawing == "exclusion"
    go.set()
    later.wait(lambda: len(later.ours("brought")) == 2)
    assert later.bench.drawings.drawing == "exclusion"
    assert {layer.name: layer.visible for layer in later.ours("brought")} == {"seen.geojson": True, "hidden.geojson": False}
    later.wait(lambda: any("gone.geojson: the reference of tiny.tif cannot be read" in told for told in said))
    assert not later.session.given


def test_what_is_set_before_the_last_settings_are_known_stays(window: Any) -> None:
    distill, memory = window.docks["Distill"], window.bench.memory
    distill.main["rounds.epochs"].value = 7
    memory._recall({"rounds.rounds": 2, "rounds.epochs": 4, "rounds.mode": "paper"})
    assert distill.settings() == Config().replaced(**{"rounds.rounds": 2, "rounds.epochs": 7})  # the fold begins with the defaults
    memory.asked = {}
    memory._recall({"rounds.rounds": 10**9})  # as another version took it
    assert distill.settings().rounds.rounds == 2


def test_a_compared_file_is_not_forgotten_while_it_is_read(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ifkd._plugin import memory

    session = window.session
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and window.bench.memory.settled)
    tifffile.imwrite(tmp_path / "by hand.tif", np.full(session.shown.found.shape, 255, np.uint8), metadata=None)
    window.docks["Review"].compare.compare_file(tmp_path / "by hand.tif")
    window.wait(lambda: session.b is not None and session.b.act == "file")
    first, file = session.slide, session.b
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: window.bench.memory.settled)
    session.files = ()  # as after a restart
    go, kept = threading.Event(), memory.kept_candidate
    monkeypatch.setattr(memory, "kept_candidate", lambda *args: go.wait(20) and kept(*args))
    session.activate(first)
    window.qtbot.wait(300)
    session.activate(session.slides[1])
    go.set()
    window.wait(lambda: window.bench.memory.notes.followed is session.slides[1])
    session.activate(first)
    window.wait(lambda: session.b is not None and session.b.run == file.run)


def test_a_run_on_several_slides_leaves_the_one_that_is_looked_at(window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    about = {"data": [str(drawn_slide), str(other)], "mpp": None, "regions": None}
    with open_slide(drawn_slide) as one, open_slide(other) as two:
        both = RunFolder.create(tmp_path / "both", "distill", Config(), about, slides=[one.identity(), two.identity()])
    both.append(RunDone(0, "nothing"))
    window.bench.open(drawn_slide)
    window.bench.open(both.path)
    window.wait(lambda: len(window.session.slides) == 2 and window.session.run == both.path)
    assert window.session.slide.name == drawn_slide.name
    assert tag(window.viewer.layers.selection.active)["path"] == str(drawn_slide)
    window.bench.drawings.begin("exclusion")
    window.bench.open(both.path)
    window.qtbot.wait(500)
    assert window.bench.drawings.drawing == "exclusion"  # the pen stays in the hand


def test_what_cannot_be_restored_is_left_out(
    window: Any, run: RunFolder, drawn_slide: Path, make_napari_viewer: Any, said: list[str]
) -> None:
    window.bench.open(run.path)
    window.wait(lambda: len(window.session.here()) == 3 and window.bench.memory.settled)
    left(window)
    file = slide_folder(window.session.slide) / "view.json"
    window.remembered()
    shutil.rmtree(run.path)
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.wait(lambda: later.bench.memory.settled)
    assert later.session.threshold == 0.7
    assert later.session.here() == ()
    later.remembered()
    file.write_text("{")
    last = window.another(make_napari_viewer(show=True))
    last.bench.open(drawn_slide)
    last.wait(lambda: last.bench.memory.settled)
    assert last.session.threshold == 0.5
    assert not said


def test_a_resolution_that_was_given_is_given_again(window: Any, tmp_path: Path, make_napari_viewer: Any) -> None:
    path = tmp_path / "unknown.tif"
    tifffile.imwrite(path, np.full((600, 800, 3), 200, np.uint8), photometric="rgb", tile=(128, 128), metadata=None)
    window.bench.open(path)
    window.wait(lambda: window.bench.memory.settled)
    dock, drawings, session = window.docks["Slide"], window.bench.drawings, window.session
    from shapely.geometry import box

    drawings.add("exclusion", session.slide, [("pen", box(100, 50, 300, 250))])
    assert dock.mpp.native.text() == "unknown"
    assert "type the resolution first" in dock.use_mpp.toolTip()  # nobody accepts a number that nobody gave
    line = dock.mpp.native.findChild(QLineEdit)
    window.click("Slide", line)
    QTest.qWait(1)
    QTest.keyClicks(line, "0.25")  # in place of the word
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert session.slide.mpp == 0.25
    assert drawings.geometry("exclusion", session.slide).symmetric_difference(box(100, 50, 300, 250)).area < 1
    drawings.add("exclusion", session.slide, [("fold", box(400, 50, 500, 250))])
    assert drawings.geometry("exclusion", session.slide).area == pytest.approx(60_000)
    window.remembered()
    window.wait(lambda: drawings.file("exclusion", session.slide).is_file() and not drawings._stale)
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(path)
    later.wait(lambda: later.bench.memory.settled)
    assert later.session.slide.mpp == 0.25
    later.wait(lambda: later.bench.drawings.count("exclusion", later.session.slide) == 2)
    assert later.bench.drawings.geometry("exclusion", later.session.slide).area == pytest.approx(60_000)


def test_a_slide_dropped_onto_a_dock_is_opened(window: Any, drawn_slide: Path) -> None:
    from qtpy.QtCore import QMimeData, QPointF, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    dock, data = window.docks["Review"], QMimeData()
    window.front("Review")
    data.setUrls([QUrl.fromLocalFile(str(drawn_slide))])
    args = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entered = QDragEnterEvent(QPointF(20, 20).toPoint(), *args)
    assert dock.viewport().acceptDrops()
    QApplication.sendEvent(dock.viewport(), entered)
    assert entered.isAccepted()
    QApplication.sendEvent(dock.viewport(), QDropEvent(QPointF(20, 20), *args))
    window.wait(lambda: window.session.slide is not None and window.session.slide.path == drawn_slide)


def test_slides_are_looked_for_where_the_user_s_own_lie(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    sample = settings.cache_folder() / "samples" / "sample.tif"
    window.bench.memory.recent = [sample, drawn_slide]
    assert window.bench.memory.folder() == str(drawn_slide.parent)
    window.bench.memory.recent = [sample]
    assert window.bench.memory.folder() == ""


def test_what_went_wrong_takes_no_place_to_drop_on(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    from qtpy.QtCore import QMimeData, QPointF, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    (tmp_path / "bad.tif").write_bytes(b"not a tiff at all")
    window.front("Slide")
    assert window.viewer.open(str(tmp_path / "bad.tif"), plugin="napari-ifkd") == []  # as napari opens what is dropped onto the picture
    bar, data = window.docks["Slide"].trouble, QMimeData()
    assert bar.isVisible()
    assert "bad.tif: is not a slide" in bar.notice.text()
    data.setUrls([QUrl.fromLocalFile(str(drawn_slide))])
    args = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entered = QDragEnterEvent(QPointF(9, 9).toPoint(), *args)
    QApplication.sendEvent(bar, entered)
    assert entered.isAccepted()
    QApplication.sendEvent(bar, QDropEvent(QPointF(9, 9), *args))
    window.wait(lambda: window.session.slide is not None and window.session.slide.path == drawn_slide)
    assert not bar.isVisible()


def test_what_is_dropped_is_opened_by_whoever_knows_it(window: Any, shared_data: Path, tmp_path: Path, said: list[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.jpg")
    (tmp_path / "words.odd").write_text("nobody knows such a thing")
    window.bench.dropped(tmp_path / "words.odd")
    assert "words.odd" in said[0]
    window.bench.dropped(tmp_path / "picture.jpg")
    assert [layer.name for layer in window.viewer.layers] == ["picture"]
    dicom = shared_data / "slides" / "CMU-1-Small-Region.dcm.d"
    window.bench.dropped(dicom)
    assert window.session.slide.path == dicom
    assert len(said) == 1


def taken(run: RunFolder, name: str, tmp_path: Path) -> RunFolder:
    """Return the run once more, as another."""
    shutil.copytree(run.path, tmp_path / name)
    return RunFolder.open(tmp_path / name)


def test_a_run_that_is_opened_stays_though_another_was_left(window: Any, run: RunFolder, tmp_path: Path, make_napari_viewer: Any) -> None:
    window.bench.open(run.path)
    window.wait(lambda: len(window.session.here()) == 3 and window.bench.memory.settled)
    view = slide_folder(window.session.slide) / "view.json"
    window.wait(lambda: view.is_file() and str(run.path) in view.read_text())
    other = taken(run, "other", tmp_path)
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(other.path)
    later.wait(lambda: later.bench.memory.settled and len(later.session.here()) == 3)
    later.qtbot.wait(300)
    assert {candidate.run for candidate in later.session.here()} == {other.path}


def test_what_could_not_be_opened_yet_is_not_forgotten(window: Any, run: RunFolder, make_napari_viewer: Any, drawn_slide: Path) -> None:
    window.bench.open(run.path)
    window.wait(lambda: len(window.session.here()) == 3 and window.bench.memory.settled)
    view = slide_folder(window.session.slide) / "view.json"
    window.wait(lambda: view.is_file() and str(run.path) in view.read_text())
    later = window.another(make_napari_viewer(show=True))
    later.session.begin("train", run.path.parent / "at-work")
    with run.lock():  # somebody goes on with it: it would be followed, and one is followed at a time
        later.bench.open(drawn_slide)
        later.wait(lambda: later.bench.memory.settled)
        assert later.session.here() == ()
        later.session.look(threshold=0.9)
        later.wait(lambda: "0.9" in view.read_text())
    assert str(run.path) in view.read_text()
    assert "come back when the run at work has ended" in later.docks["Review"].about.text()
    later.session.apply(RunCancelled())
    later.wait(lambda: len(later.session.here()) == 3)
    assert not later.bench.memory.waiting(later.session.slide)
    assert later.session.run == run.path


def test_a_run_read_late_is_not_shown_on_another_slide(window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    window.bench.open(drawn_slide)
    slide, done = window.session.slide, []
    window.bench.runs.restore(slide, [run.path], done.append)
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")  # before it is read
    window.wait(lambda: done == [True])
    assert window.session.candidates == ()


def test_a_run_that_has_no_map_yet_comes_back_too(window: Any, run: RunFolder, drawn_slide: Path, make_napari_viewer: Any) -> None:
    session, memory = window.session, window.bench.memory
    window.bench.open(drawn_slide)
    window.wait(lambda: memory.settled)
    session.begin("distill", run.path)
    file = slide_folder(session.slide) / "view.json"
    window.wait(lambda: file.is_file() and json.loads(file.read_text())["runs"] == [str(run.path)])
    session.forget_run(run.path)
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.wait(lambda: later.session.run == run.path)


def test_runs_of_a_slide_come_back_and_stay_while_one_of_another_is_at_work(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], make_napari_viewer: Any
) -> None:
    window.bench.open(run.path)
    window.wait(lambda: len(window.session.here()) == 3 and window.bench.memory.settled)
    file = slide_folder(window.session.slide) / "view.json"
    window.wait(lambda: file.is_file() and json.loads(file.read_text())["runs"] == [str(run.path)])
    later = window.another(make_napari_viewer(show=True))
    session, memory = later.session, later.bench.memory
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    later.bench.open(tmp_path / "other.tif")
    later.wait(lambda: memory.settled)
    session.begin("distill", tmp_path / "at work")
    later.bench.open(drawn_slide)
    later.wait(lambda: len(session.here()) == 3 and memory.settled)
    assert not memory.waiting(session.slide)
    assert session.run == run.path
    assert session.job.out == tmp_path / "at work"
    session.show_round(0)
    session.look(threshold=0.3)
    later.bench.open(tmp_path / "other.tif")
    with open_slide(tmp_path / "other.tif") as slide:  # the first map of the run at work
        write_map(tmp_path / "at work" / "rounds/00/maps/other.zarr", slide)
    session.apply(MapReady(0, "other.tif", "rounds/00/maps/other.zarr"))
    assert session.run == tmp_path / "at work"
    later.wait(lambda: memory.settled)
    later.bench.open(drawn_slide)
    later.wait(lambda: memory.settled)
    assert (session.run, session.shown.run, session.shown.round, session.threshold) == (run.path, run.path, 0, 0.3)
    known = later.docks["Distill"].known
    later.wait(lambda: known.text() == "")  # of the run at work it was told on its slide
    session.apply(RunDone(0, "the teacher"))
    assert (session.run, session.shown.round, session.threshold) == (run.path, 0, 0.3)  # nothing changes under the eyes


def test_a_run_that_is_followed_has_one_follower_whoever_comes_back_to_its_slide(
    window: Any, run: RunFolder, drawn_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, followers, done = window.session, list[Any](), list[bool]()
    monkeypatch.setattr(window.bench.runner, "attach", followers.append)
    window.bench.open(drawn_slide)
    with run.lock():  # as while it works; it has no map yet
        session.begin("distill", run.path)
        session.asked("cancelling")
        window.bench.runs.restore(session.slide, [run.path], done.append)
        window.wait(lambda: done == [True])
    assert not followers
    assert session.job.state == "cancelling"


def test_a_run_that_comes_back_leaves_rounds_of_others_on_its_other_slides(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    other, session, done = tmp_path / "other.tif", window.session, list[bool]()
    shutil.copy(drawn_slide, other)
    with open_slide(other) as slide:
        both, second = (tmp_path / name for name in ("both", "second"))
        for path, slides in ((both, (drawn_slide.name, other.name)), (second, (other.name,))):
            made = RunFolder.create(path, "distill", Config(), {"data": [str(drawn_slide), str(other)], "mpp": None, "regions": None})
            for name in slides:
                write_map(made.map_path(0, name), slide)
                made.append(MapReady(0, name, made.map_path(0, name).relative_to(path).as_posix()))
            made.append(RunDone(0, "the only one"))
    window.bench.open(other)
    session.take_run(RunStory.read(second))
    window.bench.open(drawn_slide)
    window.bench.runs.restore(session.slide, [both], done.append)
    window.wait(lambda: done == [True])
    assert {c.slide: c.run.name for c in session.candidates} == {other.name: "second", drawn_slide.name: "both"}


@pytest.mark.parametrize("later_one", [True, False])
def test_a_run_on_several_slides_is_told_of_on_each_the_next_time_and_a_later_one_of_one_stays_there(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], make_napari_viewer: Any, later_one: bool
) -> None:
    other, session = tmp_path / "other.tif", window.session
    shutil.copy(drawn_slide, other)
    paths = (drawn_slide, other)
    acts = {"first": ("predict", paths[:1]), "second": ("predict", paths[1:]), "both": ("distill", paths)}
    if later_one:
        acts["last"] = ("distill", paths[:1])
    for name, (act, slides) in acts.items():
        with open_slide(drawn_slide) as one, open_slide(other) as two:
            about = {"data": [*map(str, slides)], "mpp": None, "regions": None}
            identities = [slide.identity() for slide in (one, two) if slide.path in slides]
            made = RunFolder.create(tmp_path / name, act, Config(), about, slides=identities)
        for path in slides:
            with open_slide(path) as slide:
                write_map(made.map_path(0, path.name), slide, identity=name)
            made.append(MapReady(0, path.name, made.map_path(0, path.name).relative_to(made.path).as_posix()))
        made.append(RoundDone(0, None, {"reference_f1": 0.8}))
        made.append(RunDone(0, "the only one"))
    for path in paths:
        window.bench.open(path)
        window.wait(lambda: window.bench.memory.settled)
    for name in ("second", "first", "both"):
        session.take_run(RunStory.read(tmp_path / name))
    session.activate(session.slides[0])
    window.wait(lambda: window.bench.memory.settled)
    if later_one:
        session.take_run(RunStory.read(tmp_path / "last"))
    session.look(threshold=0.3)
    for slide in reversed(session.slides):
        session.activate(slide)
        window.wait(lambda: window.bench.memory.settled)
    session.look(threshold=0.3)
    window.remembered()
    for order in (paths, paths[::-1]):
        later = window.another(make_napari_viewer(show=True))
        for path in order:
            later.bench.open(path)
            later.wait(lambda later=later: later.bench.memory.settled)
            now, distill = later.session, later.docks["Distill"]
            run = "last" if later_one and path == drawn_slide else "both"
            threshold = 0.3 if path == drawn_slide else 0.5
            assert {(c.act, c.run.name) for c in now.here() if c.act == "distill"} == {("distill", run)}
            assert (now.run.name, now.threshold) == (run, threshold)
            assert distill.progress.line.text().startswith("Done. The run recommends the teacher")
            header = distill.table.horizontalHeaderItem(4).text()
            assert header == ("F1\nat 0.5" if run == "last" else "F1 of\nthe run")
        later.remembered()


def test_a_run_on_slides_that_nobody_turned_to_comes_back_on_them(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], make_napari_viewer: Any
) -> None:
    other, session = tmp_path / "other.tif", window.session
    shutil.copy(drawn_slide, other)
    for path in (other, drawn_slide):
        window.bench.open(path)
        window.wait(lambda: window.bench.memory.settled)
    for name in ("before", "both"):
        with open_slide(drawn_slide) as one, open_slide(other) as two:
            about = {"data": [str(drawn_slide), str(other)], "mpp": None, "regions": None}
            made = RunFolder.create(tmp_path / name, "distill", Config(), about, slides=[one.identity(), two.identity()])
        session.begin("distill", made.path, session.slides)
        for path in (drawn_slide, other):
            with open_slide(path) as slide:
                write_map(made.map_path(0, path.name), slide)
            event = MapReady(0, path.name, made.map_path(0, path.name).relative_to(made.path).as_posix())
            made.append(event)
            session.apply(event)
        for event in (RoundDone(0, None), RunDone(0, "the only one")):
            made.append(event)
            session.apply(event)
    window.remembered()
    later = window.another(make_napari_viewer(show=True))
    later.wait(lambda: [path.name for path in later.bench.memory.recent][:2] == [drawn_slide.name, other.name])
    later.bench.open(other)
    later.wait(lambda: later.bench.memory.settled)
    assert later.session.shown is not None
    assert (later.session.shown.run, later.session.run) == (made.path, made.path)
    assert later.session.former().run == tmp_path / "before"
    later.remembered()
    with open_slide(other) as slide:
        (slide_folder(slide) / "view.json").unlink()  # as where nobody had looked at it at all
    last = window.another(make_napari_viewer(show=True))
    for path in (drawn_slide, other):
        last.bench.open(path)
        last.wait(lambda: last.bench.memory.settled)
        assert last.session.shown.run == made.path
        assert last.docks["Distill"].progress.line.text().startswith("Done. The run recommends")
    last.bench.look_at(last.session.slides[0])  # nothing else is done there
    last.wait(lambda: last.bench.memory.settled)
    last.wait(lambda: [path.name for path in recent_slides()][:2] == [drawn_slide.name, other.name])


def test_a_row_of_the_rounds_of_another_slide_shows_that_round(window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    session, memory, table = window.session, window.bench.memory, window.docks["Distill"].table
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and memory.settled)
    teacher, first, second = session.here()
    session.show(second)
    session.set_compare("overlay")
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: memory.settled)
    window.front("Distill")
    window.wait(lambda: "on another slide" in window.docks["Distill"].whose.text())
    assert table.isColumnHidden(3)  # there are no areas on this slide
    place = table.visualItemRect(table.item(1, 0)).center()
    window.docks["Distill"].ensureWidgetVisible(table)
    window.qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    window.wait(lambda: memory.settled and session.slide.path == drawn_slide)
    assert (session.shown, session.a, session.b, session.compare) == (first, teacher, first, "off")  # and not the pair of before
    assert not table.isColumnHidden(3)


@pytest.fixture
def predicted(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> RunFolder:
    """Return a prediction of a field of the drawn slide."""
    with open_slide(drawn_slide) as slide:
        made = RunFolder.create(tmp_path / "predicted", "predict", Config(), {"slides": [str(drawn_slide)]}, slides=[slide.identity()])
        write_map(made.map_path(0, slide.name), slide, identity="other", region="a field")
        made.append(MapReady(0, slide.name, made.map_path(0, slide.name).relative_to(made.path).as_posix()))
        made.append(RunDone(0, "the only one"))
    return made


@pytest.mark.parametrize(("accepted", "threshold", "shown"), [(True, 0.4, 1), (False, 0.7, 2)])
def test_a_run_that_is_opened_is_what_is_looked_at_in_place_of_the_last(
    window: Any, run: RunFolder, predicted: RunFolder, drawn_slide: Path, tmp_path: Path, accepted: bool, threshold: float, shown: int
) -> None:
    session, memory = window.session, window.bench.memory
    window.bench.open(predicted.path)
    window.wait(lambda: session.shown is not None and memory.settled)
    session.look(threshold=0.7)
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: memory.settled)
    session.look(threshold=0.2)
    session.set_compare("a")
    if accepted:
        run.accept(1, 0.4, "user")
    window.bench.open(run.path)
    window.wait(lambda: session.slide.path == drawn_slide and session.shown is not None and session.shown.run == run.path)
    if accepted:  # somebody turns away before all is as it was
        window.bench.look_at(session.slides[1])
        window.bench.look_at(session.slides[0])
    window.wait(lambda: memory.settled)
    seen = f"Round {shown}"
    assert (session.shown.label, session.threshold, session.compare) == (seen, threshold, "off")
    assert (session.a.label, session.b.label) == ("Teacher", seen)
    window.bench.look_at(session.slides[1])
    window.wait(lambda: memory.settled)
    window.bench.look_at(session.slides[0])  # without asking for anything: as it was left
    window.wait(lambda: memory.settled)
    assert (session.shown.label, session.threshold) == (seen, threshold)
    assert not memory._asked_for


def test_the_run_that_was_looked_at_last_comes_back_as_it_was_however_it_is_opened(
    window: Any, run: RunFolder, tmp_path: Path, make_napari_viewer: Any
) -> None:
    window.bench.open(run.path)
    session = window.session
    window.wait(lambda: len(session.here()) == 3 and session.teacher is not None and window.bench.memory.settled)
    tifffile.imwrite(tmp_path / "by hand.tif", np.full(session.shown.found.shape, 255, np.uint8), metadata=None)
    session.show_round(0)
    window.docks["Review"].compare.compare_file(tmp_path / "by hand.tif")
    window.wait(lambda: session.b is not None and session.b.act == "file" and session.compare == "overlay")
    session.look(threshold=0.7)
    window.remembered()
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(run.path)
    later.wait(lambda: later.session.slide is not None and later.bench.memory.settled)
    now = later.session
    assert (now.shown.round, now.a.round, now.b.label, now.compare, now.threshold) == (0, 0, "by hand.tif", "overlay", 0.7)


def test_a_slide_that_was_left_during_a_run_shows_what_that_recommends(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session, memory = window.session, window.bench.memory
    window.bench.open(drawn_slide)
    window.wait(lambda: memory.settled)
    first = session.slide
    session.begin("distill", tmp_path / "run", [first])
    for index in (0, 1):
        write_map(tmp_path / f"run/rounds/0{index}/maps/tiny.zarr", first)
        session.apply(MapReady(index, first.name, f"rounds/0{index}/maps/tiny.zarr"))
    assert session.shown.round == 1
    window.remembered()
    assert read_view(first).at_work == str(tmp_path / "run")
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: memory.settled)
    write_map(tmp_path / "run/rounds/02/maps/tiny.zarr", first)
    session.apply(MapReady(2, first.name, "rounds/02/maps/tiny.zarr"))
    session.apply(RunDone(2, "the last"))
    window.wait(lambda: read_view(first).shown == (str(tmp_path / "run"), 2))  # also if napari is closed now
    window.bench.look_at(first)
    window.wait(lambda: memory.notes.followed is first)
    assert (session.shown.round, session.a.round, session.b.round) == (2, 0, 2)
    session.show_round(1)  # what one chooses then stays, though the run is looked at again from another slide
    window.bench.look_at(session.slides[1])
    window.wait(lambda: memory.settled)
    session.events.job.emit(session.job, session.job)  # as when it is told once more
    window.bench.look_at(first)
    window.wait(lambda: memory.notes.followed is first)
    assert session.shown.round == 1


def test_what_a_run_chose_that_ended_while_nobody_looked_is_shown(
    window: Any, run: RunFolder, drawn_slide: Path, make_napari_viewer: Any
) -> None:
    session = window.session
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and window.bench.memory.settled)
    session.show_round(0)
    session.set_pair(session.here()[0], session.here()[2])
    session.set_compare("contours")
    window.remembered()
    file = slide_folder(session.slide) / "view.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "at_work": str(run.path)}))  # as if it had been then
    run.accept(1, 0.3, by="reference", reason="Better.")
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    now = later.session
    later.wait(lambda: now.slide is not None and later.bench.memory.settled)
    assert (now.shown.round, now.threshold, now.compare) == (1, 0.3, "off")
    ended = later.docks["Slide"].ended  # which is in front
    assert ended.text().endswith("Done. Round 1 is accepted by reference masks, at threshold 0.3.")
    later.remembered()
    assert read_view(now.slide).at_work is None


def test_what_is_asked_for_stands_above_what_a_run_chose_meanwhile(
    window: Any, run: RunFolder, predicted: RunFolder, drawn_slide: Path, make_napari_viewer: Any
) -> None:
    session = window.session
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and window.bench.memory.settled)
    window.remembered()
    file = slide_folder(session.slide) / "view.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "at_work": str(run.path)}))
    later = window.another(make_napari_viewer(show=True))
    now = later.session
    for path in (drawn_slide, predicted.path):  # while the slide comes back
        later.bench.open(path)
    later.wait(lambda: later.bench.memory.settled and {c.run for c in now.here()} == {run.path, predicted.path})
    assert now.shown.run == predicted.path


def test_a_run_that_ended_under_the_eyes_of_who_compares_is_of_the_past(window: Any, run: RunFolder, drawn_slide: Path) -> None:
    session = window.session
    window.bench.open(drawn_slide)
    window.wait(lambda: window.bench.memory.settled)
    session.begin("distill", run.path, [session.slide])
    for index in (0, 1, 2):
        path = run.map_path(index, drawn_slide).relative_to(run.path).as_posix()
        session.apply(MapReady(index, session.slide.name, path))
    session.set_pair(*session.here()[:2])
    session.set_compare("contours")
    window.remembered()
    assert read_view(session.slide).at_work == str(run.path)
    session.apply(RunDone(2, "the last"))
    window.wait(lambda: read_view(session.slide).at_work is None)  # else the next start would show something else
    assert read_view(session.slide).compare == "contours"


def test_rounds_that_came_while_one_looked_at_another_slide_are_what_is_looked_at(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    """And not the round before, which is there to compare with only."""
    session, memory = window.session, window.bench.memory
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and memory.settled)
    first = session.slide
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: memory.settled)
    session.begin("distill", tmp_path / "next", session.slides)
    for index in (0, 1):
        write_map(tmp_path / f"next/rounds/0{index}/maps/tiny.zarr", first)
        session.apply(MapReady(index, first.name, f"rounds/0{index}/maps/tiny.zarr"))
    session.apply(RunDone(0, "the teacher"))
    window.bench.look_at(first)
    window.wait(lambda: memory.settled)
    assert (session.shown.run, session.shown.round) == (tmp_path / "next", 0)
    assert session.shown in session.here()
    assert "Teacher" in window.docks["Review"].shown.native.currentText()


def test_what_was_accepted_of_the_run_before_is_told_the_next_time_too(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], make_napari_viewer: Any
) -> None:
    session = window.session
    window.bench.open(run.path)
    window.wait(lambda: len(session.here()) == 3 and window.bench.memory.settled)
    session.show_round(1)
    session.accept(session.shown)
    window.bench.open(two_rounds(tmp_path / "next", drawn_slide, write_map).path)
    window.wait(lambda: session.run == tmp_path / "next")
    window.remembered()
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.wait(lambda: later.session.former() is not None and later.bench.memory.settled)
    assert later.session.run == tmp_path / "next"
    for each in (window, later):
        told = each.docks["Review"].accepted
        assert "Nothing accepted yet." in told.text()
        assert "Of run, the run before, round 1 is accepted." in told.text()
    later.session.begin("distill", tmp_path / "next", [later.session.slide])  # taken up again: it would take the place of its rounds
    later.wait(lambda: told.text().endswith("It can be opened once the run at work has ended."))
    later.bench.runs.open(run.path)
    later.wait(lambda: "on a slide whose rounds are coming in" in TROUBLE.message)
    later.session.apply(RunCancelled())
    assert not TROUBLE.message  # nobody has to wait any more
    assert "href='former'" in told.text()
    told.linkActivated.emit("former")
    later.wait(lambda: later.session.run == run.path)
    later.wait(lambda: told.text().startswith("✓ Accepted: round 1"))


def test_the_layer_of_the_active_slide_is_picked_however_it_became_that(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    session, selection = window.session, window.viewer.layers.selection
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    for path in (drawn_slide, tmp_path / "other.tif", drawn_slide):  # the last is open already
        window.bench.open(path)
        assert tag(selection.active)["path"] == str(session.slide.path) == str(path)
    other = window.bench.layers.find("slide", session.slides[1].path)
    selection.active = other  # as by a click in the list
    assert session.slide is session.slides[1]
    mine = window.viewer.add_shapes(name="mine")
    window.bench.open(drawn_slide)
    assert selection.active is mine  # what is in the hand stays there


def test_a_run_opened_while_its_slide_comes_back_is_what_is_looked_at(
    window: Any, run: RunFolder, predicted: RunFolder, drawn_slide: Path, make_napari_viewer: Any
) -> None:
    window.bench.open(predicted.path)
    window.wait(lambda: window.session.shown is not None and window.bench.memory.settled)
    window.session.look(threshold=0.7)
    window.remembered()
    run.accept(1, 0.4, "user")
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.bench.open(run.path)
    session = later.session
    later.wait(lambda: later.bench.memory.settled and any(c.run == run.path for c in session.here()))
    assert (session.shown.label, session.threshold) == ("Round 1", 0.4)
    assert (session.a.label, session.b.label) == ("Teacher", "Round 1")


def test_what_was_said_of_each_slide_goes_on_in_a_run_on_all(
    window: Any, run: RunFolder, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slide has its own run by then; that of the active slide is not the only one."""
    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    with open_slide(other) as slide:
        second = RunFolder.create(tmp_path / "second", "predict", Config(), {"slides": [str(other)]}, slides=[slide.identity()])
        write_map(second.map_path(0, slide.name), slide)
        second.append(MapReady(0, slide.name, second.map_path(0, slide.name).relative_to(second.path).as_posix()))
        second.append(RunDone(0, "the only one"))
        for folder, path in ((run, drawn_slide), (second, other)):
            corrections = Corrections.create(folder.corrections_path(path.name), slide, 1.0)
            corrections.paint(0, 0, np.full((8, 8), 2, np.uint8))
    session, distill, commands = window.session, window.docks["Distill"], []
    monkeypatch.setattr(window.bench.runner, "start", lambda _, command, *__: commands.append(command()))
    for folder in (run, second):
        window.bench.open(folder.path)
        window.wait(lambda folder=folder: session.shown is not None and session.shown.run == folder.path)
    window.wait(lambda: session.teacher is not None and distill.known.text() == "The next run takes along: corrections of second.")
    window.click("Distill", distill.all_slides)
    window.wait(lambda: "corrections of run (tiny.tif)" in distill.known.text())
    assert "corrections of second (other.tif)" in distill.known.text()
    assert "drawn on one slide" not in distill.known.text()
    assert "Areas" not in distill.reason.text()  # the rounds are of the other slide: none are told
    window.bench.look_at(next(slide for slide in session.slides if slide.name == "tiny.tif"))
    window.wait(lambda: "Areas are without regard to corrections and rejections" in distill.reason.text())
    window.bench.look_at(next(slide for slide in session.slides if slide.name == "other.tif"))
    window.wait(lambda: "corrections of second (other.tif)" in distill.known.text())
    window.click("Distill", distill.run)
    (words,) = commands
    assert [words[at + 1] for at, word in enumerate(words) if word == "--judged"] == [str(second.path), str(run.path)]
    shutil.rmtree(run.path)  # deleted, or moved
    window.click("Distill", distill.run)
    assert [commands[1][at + 1] for at, word in enumerate(commands[1]) if word == "--judged"] == [str(second.path)]


def test_a_resolution_that_is_the_file_s_is_remembered_without_end(window: Any, drawn_slide: Path) -> None:
    """As an earlier version wrote it: the slide is opened once."""
    with open_slide(drawn_slide) as slide:
        folder, told = slide_folder(slide), slide.mpp
    folder.mkdir(parents=True)
    (folder / "view.json").write_text(json.dumps(asdict(View(str(drawn_slide), 0.6, 3.0, False, mpp=told + 1e-5))))
    turns: list[Any] = []
    window.session.events.slide.connect(lambda slide: turns.append(slide))
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.threshold == 0.6)
    window.qtbot.wait(300)
    assert len(turns) == 1
    assert window.session.slide.mpp_source == "file"


def test_what_f1_is_of_and_what_stands_above_the_rule_is_told(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    other, session, told = tmp_path / "other.tif", window.session, window.docks["Distill"].reason
    f1 = window.docks["Distill"].table.horizontalHeaderItem(4)
    shutil.copy(drawn_slide, other)
    runs = {}
    for name, slides in (("one", [drawn_slide]), ("both", [drawn_slide, other])):
        runs[name] = made = RunFolder.create(
            tmp_path / name, "distill", Config(), {"data": [*map(str, slides)], "mpp": None, "regions": None}
        )
        for path in slides:
            with open_slide(path) as slide:
                write_map(made.map_path(0, path.name), slide)
            made.append(MapReady(0, path.name, made.map_path(0, path.name).relative_to(made.path).as_posix()))
        made.model_path(0).write_bytes(b"")
        made.append(RoundDone(0, None, {"reference_f1": 0.8}))
        made.append(RunDone(0, "the only one"))
        made.accept(0, 0.5, "reference" if name == "both" else "user", "It is best.")
    for name, of_all in (("one", False), ("both", True)):
        window.bench.open(runs[name].path)
        window.wait(lambda name=name: session.run == runs[name].path and session.shown is not None and session.shown.run == session.run)
        window.wait(lambda: window.bench.memory.settled)  # else its threshold is still to come back
        assert ("of all slides of the run that have reference masks" in f1.toolTip()) == of_all
        assert ("The teacher was accepted by reference masks</b>, which stand above the rule." in told.text()) == of_all
    session.look(threshold=0.7)
    area = window.docks["Distill"].table.horizontalHeaderItem(3)
    window.wait(lambda: area.text() == "mm²\nat 0.7" and area.toolTip().endswith("At 0.7, the threshold that is set"))
    assert "At 0.5, the threshold that distillation itself goes by" in f1.toolTip()


def test_the_model_of_the_last_time_comes_back_though_one_turns_away_at_once(
    window: Any, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, make_napari_viewer: Any
) -> None:
    window.bench.open(drawn_slide)
    window.docks["Teacher"].choose(drawn_teacher)
    window.wait(lambda: window.session.teacher is not None and window.session.teacher.path == drawn_teacher)
    window.remembered()
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    later = window.another(make_napari_viewer(show=True))
    later.bench.open(drawn_slide)
    later.bench.open(tmp_path / "other.tif")
    later.bench.look_at(later.session.slides[0])
    later.wait(lambda: later.session.teacher is not None and later.session.teacher.path == drawn_teacher)


def test_a_threshold_of_a_round_is_not_that_of_another_model_on_another_slide(
    window: Any, run: RunFolder, drawn_teacher: Path, drawn_slide: Path, tmp_path: Path
) -> None:
    """Of a round it stays where that is the model; of a prediction it stays, for that is of the model."""
    session, others = window.session, iter(range(9))
    window.bench.open(run.path)
    window.wait(lambda: window.bench.memory.settled and len(session.here()) == 3)
    here = session.slide

    def threshold_elsewhere(round: int) -> float:
        session.activate(here)
        window.wait(lambda: window.bench.memory.settled)
        session.show_round(round)
        session.look(threshold=0.05)
        session.open(shutil.copy(drawn_slide, tmp_path / f"other{next(others)}.tif"))
        window.wait(lambda: window.bench.memory.settled)
        return float(session.threshold)

    session.choose_teacher(Resolved(drawn_teacher, read_card(drawn_teacher), "drawn"))
    assert threshold_elsewhere(2) == 0.5
    assert threshold_elsewhere(0) == 0.05
    session.activate(here)
    window.wait(lambda: window.bench.memory.settled)
    session.show_round(2)
    session.look(threshold=0.05, sigma_px=1)
    for _ in range(2):  # two at once
        session.open(shutil.copy(drawn_slide, tmp_path / f"other{next(others)}.tif"))
    window.wait(lambda: window.bench.memory.settled)
    assert (session.threshold, session.sigma_px) == (0.5, 3)
    session.choose_teacher(replace(session.teacher, path=run.model_path(2)))
    assert threshold_elsewhere(2) == 0.05
    assert threshold_elsewhere(1) == 0.5
