"""The evented state, without Qt and without napari."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from napari_ifkd.config import Config
from napari_ifkd.errors import InputError, SlideError
from napari_ifkd.events import Decision, EpochDone, MapReady, Progress, RoundDone, RunCancelled, RunDone, RunFailed, Warned
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.session import Session
from napari_ifkd.session_story import RunStory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_opening_a_slide_twice_is_opening_it_once(drawn_slide: Path) -> None:
    session, seen = Session(), []
    session.events.slide.connect(seen.append)
    first = session.open(drawn_slide)
    assert session.open(drawn_slide) is first
    assert session.slides == (first,)
    assert seen == [first]
    session.close(first)
    assert session.slide is None
    assert session.slides == ()


def test_a_slide_that_cannot_be_opened_changes_nothing(drawn_slide: Path, tmp_path: Path) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    with pytest.raises(SlideError):
        session.open(tmp_path / "missing.svs")
    assert session.slide is slide


def test_the_resolution_can_be_overridden(drawn_slide: Path) -> None:
    session = Session()
    with pytest.raises(SlideError, match="none is open"):
        session.override_mpp(0.5)
    session.open(drawn_slide)
    session.override_mpp(0.25)
    assert session.slide is not None
    assert (session.slide.mpp, session.slide.mpp_source) == (0.25, "override")
    assert session.slides == (session.slide,)


def test_a_run_is_followed_event_by_event(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    out = tmp_path / "run"
    session.begin("distill", out)
    assert session.job is not None
    assert session.job.alive
    session.apply(Progress("teacher map", 3, 10, "tiles", 2.0, 3.5))
    assert (session.job.stage, session.job.done, session.job.total, session.job.seconds_left) == ("teacher map", 3, 10, 3.5)
    session.apply(Warned("few tiles"))
    assert session.notice == "few tiles"
    for index in (0, 1):
        if index:
            session.apply(EpochDone(index, 1, 1, 0.5, {"agreement": 0.9}))
        write_map(out / f"rounds/0{index}/maps/tiny.zarr", slide)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
        session.apply(RoundDone(index, None if index == 0 else Decision(True, "cautious", "", "It is better."), {"agreement": 0.9}))
    assert [c.label for c in session.here()] == ["Round 0 (teacher)", "Round 1"]
    assert session.shown == session.here()[1]
    assert (session.a, session.b) == session.here()
    assert len(session.curve) == 1
    session.apply(RunDone(0, "the teacher is the best"))
    assert (session.job.state, session.job.alive) == ("done", False)
    assert session.shown == session.here()[0]
    session.show_round(1)
    assert session.shown == session.here()[1]


@pytest.mark.parametrize(("event", "state"), [(RunCancelled(), "cancelled"), (RunFailed("out of memory"), "failed")])
def test_a_run_can_end_otherwise(event: Any, state: str, tmp_path: Path) -> None:
    session = Session()
    session.apply(event)  # no run: nothing happens
    session.begin("predict", tmp_path)
    session.asked("cancelling")
    assert session.job is not None
    assert session.job.state == "cancelling"
    session.apply(Progress("predict", 1, 2))
    assert session.job.state == "cancelling"
    session.apply(event)
    assert session.job.state == state


def test_a_new_run_takes_the_place_of_the_former(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    for name in ("first", "second"):
        session.begin("distill", tmp_path / name)
        write_map(tmp_path / name / "rounds/00/maps/tiny.zarr", slide)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    assert [c.run.name for c in session.candidates] == ["second"]
    assert session.shown in session.candidates


def test_a_map_that_cannot_be_opened_becomes_a_notice(tmp_path: Path) -> None:
    session = Session()
    session.begin("predict", tmp_path)
    session.apply(MapReady(0, "slide.svs", "rounds/00/maps/slide.zarr"))
    assert "slide.zarr" in session.notice
    assert session.candidates == ()


def test_a_run_on_disk_is_looked_at_and_accepted(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    run = RunFolder.create(tmp_path / "run", "distill", Config(), {"data": [str(drawn_slide)], "mpp": None})
    run.model_path(0).parent.mkdir(parents=True)
    run.model_path(0).touch()
    write_map(run.map_path(0, slide.path), slide)
    run.append(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    session.take_run(RunStory.read(run.path))
    assert session.job is not None
    assert not session.job.alive
    assert session.shown is not None
    session.look(threshold=0.4)
    session.accept(session.shown)
    accepted = RunFolder.open(run.path).accepted
    assert accepted is not None
    assert (accepted.round, accepted.threshold, accepted.by) == (0, 0.4, "user")
    with pytest.raises(InputError):
        RunStory.read(tmp_path / "nothing")


def test_a_slide_of_its_own_predictions_only(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    other = tmp_path / "other.tif"
    other.write_bytes(drawn_slide.read_bytes())
    session.begin("predict", tmp_path / "run")
    write_map(tmp_path / "run/rounds/00/maps/tiny.zarr", slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    session.open(other)
    assert session.here() == ()
    assert session.shown is None
    session.activate(slide)
    assert session.shown is session.here()[0]


def test_it_needs_neither_qt_nor_napari_nor_torch() -> None:
    code = "import sys, napari_ifkd.session; print([m for m in ('qtpy', 'napari', 'magicgui', 'superqt', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
