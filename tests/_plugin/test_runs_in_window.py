"""A run beside the window: cancel, error, and a window that closes while it works."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the user was told of errors."""
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", told.append)
    return told


@pytest.fixture
def ready(window: Any, drawn_slide: Path, drawn_teacher: Path) -> Any:
    """Return a window with a slide and a teacher, and a long distillation set up."""
    window.docks["Slide"].bench.open(drawn_slide)
    window.docks["Teacher"].choose(drawn_teacher)
    distill = window.docks["Distill"]
    distill.main["rounds.rounds"].value, distill.main["rounds.epochs"].value = 50, 50
    distill.advanced["tiles.positive_above"].value, distill.advanced["tiles.negative_below"].value = 0.5, 0.5
    session = window.session
    window.wait(lambda: session.tissue is not None and session.teacher is not None and session.teacher.path == drawn_teacher)
    return window


def test_cancel_ends_the_run_within_two_seconds(ready: Any) -> None:
    session, distill = ready.session, ready.docks["Distill"]
    ready.click("Distill", distill.run)
    ready.wait(lambda: session.job.done > 0 or not session.job.alive)
    assert session.job.alive, session.job.message
    assert not distill.run.isEnabled()
    assert not ready.docks["Teacher"].predict.isEnabled()
    asked = time.monotonic()
    ready.click("Distill", distill.progress.cancel)
    assert session.job.state == "cancelling"
    ready.wait(lambda: not session.job.alive)
    assert time.monotonic() - asked < 3.5  # two seconds, and what a busy machine adds
    assert session.job.state == "cancelled"
    assert distill.run.isEnabled()
    assert "kept" in distill.progress.line.text()


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
