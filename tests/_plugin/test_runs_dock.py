"""The list of runs: what it shows, and what its buttons do."""

from __future__ import annotations

import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_ifkd._plugin import settings
from napari_ifkd.config import Config
from napari_ifkd.errors import RunError
from napari_ifkd.events import Decision, MapReady, RoundDone, RunCancelled, RunDone, RunFailed, RunStarted
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> Path:
    """Return the runs folder of the window with a finished run, one that was cancelled, and one that cannot be read."""
    for name, end in (("finished", RunDone(1, "Round 1 is the last that was switched in.")), ("stopped", RunCancelled())):
        about = [{"name": drawn_slide.name}]
        data = {"data": [str(drawn_slide)], "mpp": None}
        run = RunFolder.create(
            tmp_path / "runs" / name, "distill", Config().replaced(**{"rounds.rounds": 2}), data, slides=about, model={"name": "drawn"}
        )
        run.append(RunStarted("distill"))
        with open_slide(drawn_slide) as slide:
            for index in (0, 1):
                write_map(run.map_path(index, drawn_slide), slide)
                run.append(MapReady(index, drawn_slide.name, f"rounds/{index:02d}/maps/tiny.zarr"))
        run.append(RoundDone(0, None))
        run.append(RoundDone(1, Decision(True, "cautious", "", "It is better.")))
        run.append(end)
    odd = tmp_path / "runs" / "odd"
    odd.mkdir()
    (odd / "run.yaml").write_text("format: 99\nact: distill\nconfig: {}\ndata: {}\n")
    return tmp_path / "runs"


@pytest.fixture
def listed(window: Any, folder: Path) -> Any:
    """Return a window whose Runs dock is in front and filled."""
    window.front("Runs")
    window.wait(lambda: window.docks["Runs"].table.rowCount() == 3)
    return window


def _pick(window: Any, name: str) -> Any:
    table = window.docks["Runs"].table
    (row,) = [row for row in range(table.rowCount()) if table.item(row, 0).text() == name]
    table.selectRow(row)
    return [table.item(row, column).text() for column in range(table.columnCount())]


def test_a_row_tells_of_its_run_and_opens_it_in_place_of_the_one_looked_at(listed: Any, folder: Path) -> None:
    dock, session = listed.docks["Runs"], listed.session

    # a row tells state, rounds and size, and the card what to use and why
    assert _pick(listed, "finished") == ["finished", "done", "1 of 2"]
    for words in ("tiny.tif", "round 1", "Round 1 is the last that was switched in.", "kB"):
        assert words in dock.card.text()
    assert not dock.resume.isEnabled()
    assert _pick(listed, "stopped")[1] == "cancelled"
    assert dock.resume.isEnabled()
    _pick(listed, "odd")
    assert "99" in dock.card.text()  # a run of another version is a row that says so

    # a run is opened from the list
    _pick(listed, "finished")
    listed.click("Runs", dock.open)
    listed.wait(lambda: len(session.here()) == 2)
    assert session.run == folder / "finished"
    assert session.shown.round == 1
    assert session.slide.name == "tiny.tif"
    assert session.job.state == "done"
    listed.wait(lambda: len(listed.ours("mask", "heat")) == 1)

    # an older one takes its place
    for name in ("finished", "stopped", "finished"):
        _pick(listed, name)
        listed.click("Runs", dock.open)
        listed.wait(lambda name=name: session.run == folder / name and len(session.here()) == 2)
        for _ in range(5):  # what comes with the layers, comes a little later
            listed.ours("mask")
            listed.qtbot.wait(60)
        assert {candidate.run for candidate in session.here()} == {folder / name}
        assert session.run == folder / name


def test_what_is_told_of_a_run_that_ended_stands_not_above_the_card_of_another(listed: Any, folder: Path) -> None:
    dock = listed.docks["Runs"]
    _pick(listed, "stopped")
    listed.click("Runs", dock.open)
    listed.wait(lambda: listed.session.run == folder / "stopped")
    listed.wait(lambda: dock.progress.isVisible() and "Cancelled" in dock.progress.line.text())
    _pick(listed, "finished")
    assert not dock.progress.isVisible()
    _pick(listed, "stopped")
    assert dock.progress.isVisible()


def test_a_row_tells_the_slides_of_its_run(listed: Any) -> None:
    table = listed.docks["Runs"].table
    (row,) = [row for row in range(table.rowCount()) if table.item(row, 0).text() == "finished"]
    assert "tiny.tif" in table.item(row, 0).toolTip().splitlines()


def test_a_run_is_moved_to_the_trash_after_a_question_and_removed_where_there_is_none(
    listed: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_ifkd.runs import listing

    dock, session = listed.docks["Runs"], listed.session
    config, drawn = folder / "finished.config.yaml", folder / "stopped.regions"  # as the window writes them for a run
    config.touch()
    (folder / "finished.notes.txt").touch()  # of a person
    drawn.mkdir()
    trashed: list[Path] = []

    def trash(path: Path, *, forever: bool = False, beside: Iterable[Path] = ()) -> None:
        trashed.extend((path, *beside))
        path.rename(folder.parent / "trash")

    monkeypatch.setattr("napari_ifkd._plugin.run_desk.delete_run", trash)
    _pick(listed, "finished")
    listed.click("Runs", dock.open)
    listed.wait(lambda: len(session.here()) == 2)
    asked: list[str] = []

    def cancel() -> None:
        asked.append(dock.box.informativeText())
        dock.box.button(dock.box.StandardButton.Cancel).click()

    chosen = session.teacher
    for run, warned in ((folder / "stopped", False), (folder / "finished", True)):
        session.choose_teacher(SimpleNamespace(path=run / "rounds/01/teacher.safetensors", label="mine", card=chosen.card))
        listed.when(lambda: dock.box is not None, cancel)
        listed.click("Runs", dock.delete)
        assert ("mine, the model that is chosen, is of this run" in asked[-1]) == warned
    assert trashed == []
    listed.when(lambda: dock.box is not None, lambda: dock.yes.click())
    listed.click("Runs", dock.delete)
    listed.wait(lambda: dock.table.rowCount() == 2)
    assert trashed == [folder / "finished", config]
    assert dock.card.text() == "<b>finished</b> is in the trash. Pick a run."
    teacher = listed.docks["Teacher"]  # which has no network any more
    assert session.teacher is None
    assert "No network is chosen" in teacher.card.text()
    assert "mine" not in [name for name, _ in teacher.model._widget._mgui_get_choices()]
    assert not teacher.predict.isEnabled()
    session.choose_teacher(chosen)
    assert session.here() == ()
    assert session.run is None
    listed.wait(lambda: not listed.ours("mask", "heat"))

    # where there is no trash, it asks again

    def no_trash(path: Path, *, forever: bool = False, beside: Iterable[Path] = ()) -> None:
        if not forever:
            raise RunError(path, "cannot be moved to the trash (no trash here)", "Delete it forever instead (--forever)")
        listing.delete_run(path, forever=True, beside=beside)

    monkeypatch.setattr("napari_ifkd._plugin.run_desk.delete_run", no_trash)
    _pick(listed, "stopped")
    asked: list[str] = []

    def yes() -> None:
        asked.append(dock.box.text())
        dock.yes.click()
        if len(asked) < 2:
            listed.when(lambda: dock.box is not None and dock.box.text() not in asked, yes)

    listed.when(lambda: dock.box is not None, yes)
    listed.click("Runs", dock.delete)
    listed.wait(lambda: dock.table.rowCount() == 1)
    assert len(asked) == 2
    assert "trash" in asked[1]
    assert not (folder / "stopped").exists()
    assert not drawn.exists()
    assert (folder / "finished.notes.txt").exists()


def test_another_folder_is_read_at_once(listed: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.settings import get_plugin_settings

    dock, runs = listed.docks["Runs"], get_plugin_settings(settings.PACKAGE).runs
    assert dock.table.rowCount()
    try:
        runs.folder = str(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "slides" / "drawn").mkdir(parents=True)
        (tmp_path / "elsewhere" / "slides" / "drawn" / "view.json").write_text("{}")
        listed.wait(lambda: dock.card.text() == "No runs in this folder yet.")
        assert str(tmp_path / "elsewhere") in dock.where.text()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
        listed.click("Runs", dock.folder)
        listed.wait(lambda: dock.table.rowCount() == 3)
        assert dock.where.text() == runs.folder == str(folder)
        assert (folder / "slides" / "drawn" / "view.json").read_text() == "{}"  # what is kept of slides goes along
        (tmp_path / "file.svs").touch()
        runs.folder = str(tmp_path / "file.svs")  # as it is typed in Preferences
        listed.wait(lambda: "file.svs is no folder: runs are kept in" in dock.where.text())
        assert str(tmp_path / "runs") in dock.where.text()
        assert settings.runs_folder() == tmp_path / "runs"
        runs.folder = "x" * 5000
        assert settings.runs_folder() == tmp_path / "runs"
    finally:
        runs.folder = ""


def test_without_a_runs_folder_the_list_says_so_once_it_was_looked_for(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    let, card = threading.Event(), window.docks["Runs"].card
    settings.runs_folder().mkdir(parents=True)
    monkeypatch.setattr("napari_ifkd._plugin.widgets.runs.list_runs", lambda _: [] if let.wait(20) else None)
    window.front("Runs")
    window.wait(lambda: window.docks["Runs"].looking)
    assert card.text() == "Reading the folder …"
    let.set()
    window.wait(lambda: card.text() == "No runs in this folder yet.")


def test_rows_are_clicked_and_the_list_is_looked_at_again(listed: Any, folder: Path) -> None:
    dock, session = listed.docks["Runs"], listed.session
    shutil.copytree(folder / "stopped", folder / "copied")
    listed.click("Runs", dock.refresh)
    listed.wait(lambda: dock.table.rowCount() == 4)
    (row,) = [row for row in range(4) if dock.table.item(row, 0).text() == "finished"]
    place = dock.table.visualItemRect(dock.table.item(row, 0)).center()
    listed.qtbot.mouseClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert "round 1" in dock.card.text()
    listed.qtbot.mouseDClick(dock.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    listed.wait(lambda: len(session.here()) == 2)
    assert session.run == folder / "finished"
    table = listed.docks["Distill"].table
    listed.front("Distill")
    listed.wait(lambda: table.isVisible() and table.rowCount() == 2)
    for row in (0, 1):
        place = table.visualItemRect(table.item(row, 0)).center()
        listed.qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert session.shown.round == row


def test_a_run_that_failed_says_why(window: Any, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "sad", "predict", Config(), {"data": []})
    for event in (RunStarted("predict"), RunFailed("a.tif: no tissue found <here>.")):
        run.append(event)
    window.front("Runs")
    window.wait(lambda: window.docks["Runs"].table.rowCount() == 1)
    _pick(window, "sad")
    assert "no tissue found &lt;here&gt;." in window.docks["Runs"].card.text()
