"""A run beside the window: pause, cancel, what went wrong and its log, going on, and a window that closes while it works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari._qt.dialogs.confirm_close_dialog import ConfirmCloseDialog
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_ifkd.config import dump_config, load_config
from napari_ifkd.events import RunDone
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def ready(window: Any, drawn_slide: Path, drawn_teacher: Path) -> Any:
    """Return a window with a slide and a teacher, and a long distillation set up."""
    window.docks["Slide"].bench.open(drawn_slide)
    window.docks["Teacher"].choose(drawn_teacher)
    distill = window.docks["Distill"]
    distill.main["rounds.rounds"].value, distill.main["rounds.epochs"].value = 50, 50
    distill.advanced["tiles.positive_above"].value, distill.advanced["tiles.negative_below"].value = 0.5, 0.5
    distill.advanced["rounds.batch"].value, distill.advanced["tiles.max_tiles"].value = 16, 16
    distill.advanced["rounds.robust.averaged_views"].value = False
    session = window.session
    window.wait(lambda: session.tissue is not None and session.teacher is not None and session.teacher.path == drawn_teacher)
    return window


@pytest.fixture
def orphan(tmp_path: Path, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path) -> Iterator[Path]:
    """Return a run at work in the runs folder whose starter was killed, as a napari that crashed leaves it behind."""
    out, settings = tmp_path / "runs" / "orphan", tmp_path / "long.yaml"
    long = {"rounds.rounds": 50, "rounds.epochs": 50, "tiles.positive_above": 0.5, "tiles.negative_below": 0.5, "tiles.max_tiles": 16}
    settings.write_text(dump_config(load_config(drawn_config).replaced(**long)))
    command = ["distill", str(drawn_slide), "--teacher", str(drawn_teacher), "--out", str(out), "--config", str(settings)]
    code = "import sys, time; from napari_ifkd.runs.process import ChildRun; ChildRun.start(sys.argv[2:], sys.argv[1]); time.sleep(600)"
    starter = subprocess.Popen([sys.executable, "-c", code, str(out), *command])
    try:
        _until(lambda: RunFolder(out).writer is not None and any(type(e).__name__ == "EpochDone" for e in RunFolder(out).events()))
        starter.kill()
        starter.wait()
        yield out
    finally:
        starter.kill()
        ChildRun.attach(out).cancel()


def _until(condition: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for too long"
        time.sleep(0.1)


def test_a_run_is_paused_and_continued_and_cancelled_by_clicks(ready: Any) -> None:
    session, distill = ready.session, ready.docks["Distill"]
    ready.click("Distill", distill.run)
    ready.wait(lambda: len(session.curve) > 0 or not session.job.alive, 200)
    assert session.job.alive, session.job.message
    assert not distill.run.isEnabled()
    assert not ready.docks["Teacher"].predict.isEnabled()
    assert distill.progress.log.isHidden()
    folder = RunFolder(session.job.out)

    ready.click("Distill", distill.progress.pause)
    assert session.job.state == "pausing"
    ready.wait(lambda: session.job.state == "paused")
    assert folder.status == "paused"
    assert "Paused" in distill.progress.line.text()
    size = folder.journal.size()
    ready.qtbot.wait(1000)
    assert folder.journal.size() == size  # it does wait
    ready.click("Distill", distill.progress.proceed)
    epochs = len(session.curve)
    ready.wait(lambda: len(session.curve) > epochs)
    assert session.job.state == "running"

    asked = time.monotonic()
    ready.click("Distill", distill.progress.cancel)
    assert session.job.state == "cancelling"
    ready.wait(lambda: not session.job.alive)
    assert time.monotonic() - asked < 5  # two seconds, and what a busy machine adds
    assert session.job.state == "cancelled"
    assert distill.run.isEnabled()
    assert "kept" in distill.progress.line.text()
    assert distill.progress.resume.isVisible()


def test_a_killed_run_is_told_in_one_sentence_shows_its_log_and_goes_on(ready: Any, said: list[str]) -> None:
    session, distill = ready.session, ready.docks["Distill"]
    ready.click("Distill", distill.run)
    ready.wait(lambda: len(session.curve) > 0 or not session.job.alive, 200)
    folder = RunFolder(session.job.out)
    os.kill(folder.writer, signal.SIGKILL)
    ready.wait(lambda: not session.job.alive)
    assert session.job.state == "failed"
    assert said == [session.job.message]
    assert "SIGKILL" in session.job.message
    assert "Resume" in session.job.message
    assert "\n" not in session.job.message
    assert distill.progress.error.isVisible()

    ready.click("Distill", distill.progress.log)
    (dialog,) = ready.dialogs("LogDialog")
    assert dialog.isVisible()
    assert str(folder.log) in dialog.where.text()
    assert "distill begins" in dialog.words.toPlainText()
    assert dialog.words.isReadOnly()
    ready.press(dialog.done_button)

    epochs = len(session.curve)
    ready.click("Distill", distill.progress.resume)
    ready.wait(lambda: len(session.curve) > epochs)
    assert session.job.state == "running"
    assert distill.progress.error.isHidden()
    told = [(epoch.round, epoch.epoch) for epoch in session.curve]
    assert told == sorted(set(told))


def test_a_run_survives_its_window_and_is_followed_by_the_next(
    window: Any,
    orphan: Path,
    make_napari_viewer: Any,
    qtbot: Any,
    drawn_slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, slide = window.session, window.docks["Slide"]
    window.docks["Runs"].bench.runs.look_for_work(orphan.parent)  # as a window does that opens
    window.wait(lambda: session.offer is not None)
    assert "orphan" in slide.offer.notice.text()
    assert "tiny.tif is still at work" in slide.offer.notice.text()
    for dock in ("Distill", "Runs"):
        assert "orphan" in window.docks[dock].offer.notice.text()
    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    session.offered(None)
    assert slide.offer.isHidden()
    window.bench.open(other)  # a slide that it has nothing to do with: it is looked for again
    window.wait(lambda: session.slide is not None and session.slide.name == "other.tif")
    window.wait(lambda: session.offer is not None and "orphan" in slide.offer.notice.text())
    window.click("Slide", slide.offer.follow)
    window.wait(lambda: session.job is not None and session.job.alive and len(session.curve) > 0)
    assert session.slide.path == drawn_slide
    assert session.run == orphan
    assert slide.offer.isHidden()
    epochs = len(session.curve)
    window.wait(lambda: len(session.curve) > epochs)  # it goes on, and so does its curve
    window.wait(lambda: len(window.ours("mask")) >= 1)

    closing = window.docks["Slide"].bench.closing
    frame, told = window.viewer.window._qt_window, []

    def answer(name: str) -> Any:
        def press() -> None:
            told.append(closing.box.text())
            closing.box.button(getattr(closing.box.StandardButton, name)).click()

        window.when(lambda: closing.box is not None and closing.box.isVisible(), press)

    answer("Cancel")
    frame.close()
    assert frame.isVisible()
    assert len(told) == 1
    assert told[0].startswith(f"{orphan.name} is at work: when this window closes, it goes on without it.")

    def stay() -> None:
        question = frame.findChild(ConfirmCloseDialog)
        label = question.findChild(QLabel, "napari_ifkd_run")
        assert label.isVisible()
        told.append(label.text())
        question.cancel_btn.click()

    monkeypatch.setattr(get_settings().application, "confirm_close_window", True)
    window.when(lambda: (question := frame.findChild(ConfirmCloseDialog)) is not None and question.isVisible(), stay)
    frame.close(quit_app=True, confirm_need=True)  # as Ctrl+Q does
    assert frame.isVisible()
    assert told[1].startswith(told[0])
    answer("Close")
    frame.close()
    del window.viewer.window._qt_window  # napari does so where it is asked to close; the fixture must not close it again
    assert len(told) == 3
    qtbot.wait(500)
    assert RunFolder(orphan).status == "running"

    second = window.another(make_napari_viewer(show=True))
    second.docks["Slide"].bench.open(drawn_slide)
    second.wait(lambda: second.session.job is not None and len(second.session.curve) > epochs)  # as it was left: followed
    assert second.session.run == orphan
    assert second.session.offer is None
    second.click("Distill", second.docks["Distill"].progress.cancel)
    second.wait(lambda: not second.session.job.alive)
    assert second.session.job.state == "cancelled"
    assert RunFolder(orphan).status == "cancelled"


def test_an_error_is_told_in_one_sentence_and_the_buttons_come_back(
    ready: Any, drawn_teacher: Path, tmp_path: Path, said: list[str]
) -> None:
    session, distill = ready.session, ready.docks["Distill"]
    lost = tmp_path / "lost.safetensors"
    shutil.copyfile(drawn_teacher, lost)
    ready.docks["Teacher"].choose(lost)
    ready.wait(lambda: session.teacher.path == lost)
    lost.unlink()
    ready.click("Distill", distill.run)
    ready.wait(lambda: not session.job.alive)
    assert session.job.state == "failed"
    assert said == [session.job.message]
    assert "lost.safetensors" in session.job.message
    assert "\n" not in session.job.message
    assert distill.progress.error.isVisible()
    assert distill.run.isEnabled()
    ready.click("Distill", distill.progress.log)
    (dialog,) = ready.dialogs("LogDialog")
    assert "Traceback" in dialog.words.toPlainText()  # the sentence in the window, the whole story in the log
    ready.press(dialog.done_button)
    refused, settings = session.job.out, session.job.out.with_name(f"{session.job.out.name}.config.yaml")
    assert refused.is_dir()
    assert settings.exists()
    shutil.copyfile(drawn_teacher, lost)
    ready.click("Distill", distill.run)
    ready.wait(lambda: not refused.exists() and not settings.exists())  # who asks anew has read why
    ready.click("Distill", distill.progress.cancel)
    ready.wait(lambda: not session.job.alive)


def test_what_is_missing_is_told_before_a_run_starts(window: Any, drawn_slide: Path, said: list[str]) -> None:
    from napari_ifkd.config import Config

    bench = window.docks["Slide"].bench
    bench.predict(Config())
    assert "Open one in the Slide dock" in said[-1]
    bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    if window.session.teacher is None:
        bench.predict(Config())
        assert "Choose one in the Teacher dock" in said[-1]
    bench.open(drawn_slide.parent)
    window.wait(lambda: "no run folder" in said[-1])
    assert window.session.job is None


def test_a_prediction_is_steered_from_the_docks(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    large = np.tile(tifffile.imread(drawn_slide), (9, 9, 1))  # enough for two pauses on a quick machine
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "large.tif", large, photometric="rgb", **options)
    session, teacher, runs = window.session, window.docks["Teacher"], window.docks["Runs"]
    window.bench.open(tmp_path / "large.tif")
    window.wait(lambda: session.tissue is not None and session.teacher is not None)
    window.click("Teacher", teacher.predict)
    for name, dock in (("Teacher", teacher), ("Runs", runs)):
        bar = dock.progress
        window.front(name)
        window.wait(lambda: session.job.total > 0)
        window.click(name, bar.pause)
        window.wait(lambda: session.job.state == "paused")
        window.click(name, bar.proceed)
        window.wait(lambda: session.job.state == "running")
        window.click(name, bar.cancel)
        window.wait(lambda: session.job.state == "cancelled")
        window.click(name, bar.log)
        window.wait(lambda: len(window.dialogs("LogDialog")) == 1)
        (dialog,) = window.dialogs("LogDialog")
        dialog.close()
        window.wait(lambda: not window.dialogs("LogDialog"))
        if dock is teacher:
            window.click(name, bar.resume)
    window.wait(lambda: runs.table.rowCount() == 1)
    place = runs.table.visualItemRect(runs.table.item(0, 0)).center()
    window.qtbot.mouseClick(runs.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    window.wait(runs.resume.isEnabled)  # the list is read once more after the cancel
    window.click("Runs", runs.resume)
    window.wait(lambda: session.job.state == "done", 200)
    assert len(session.here()) == 1


def test_a_threshold_that_was_set_for_something_else_is_told_till_it_is_moved(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    session, line, of_runs = window.session, window.docks["Teacher"].progress.line, window.docks["Runs"].progress.line
    window.bench.open(drawn_slide)
    for name, before in (("one", 0.5), ("two", 0.275)):
        session.look(threshold=before)
        session.begin("predict", tmp_path / name, [session.slide])
        session.apply(RunDone(0, "done"))
        for told in (line.text(), of_runs.text()):
            assert ("The threshold is 0.275, as it was before" in told) == (before != 0.5)
    for threshold in (0.4, 0.275):  # and does not come back
        session.look(threshold=threshold)
        assert "threshold is" not in line.text()
        assert "threshold is" not in of_runs.text()
