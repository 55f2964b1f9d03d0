"""What the next run takes along is looked for in a thread: the last look counts, and a run at work keeps what it took."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ifkd._plugin.widgets.taken_along import TakenAlong
from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.points import Point, write_points
from napari_ifkd.config import Config
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.slides import Slide


class Dock:
    """Stands in for a dock: its threads come to an end when they are let."""

    def __init__(self) -> None:
        self.session = Session()
        self.runs: dict[str, Path] = {}
        self.began: Path | None = None
        memory = SimpleNamespace(run_of=lambda slide: lambda: self.runs.get(slide.name), began_here=lambda run: run == self.began)
        self.bench = SimpleNamespace(memory=memory)
        self.threads: list[tuple[Any, Any]] = []

    def in_thread(self, work: Any, done: Any, failed: Any) -> None:
        self.threads.append((work, done))

    def end(self, at: int = 0) -> None:
        work, done = self.threads.pop(at)
        done(work())


@pytest.fixture
def dock(qapp: Any) -> Dock:
    return Dock()


def judged(path: Path, slide: Slide, *, corrected: bool = False, points: int = 0) -> Path:
    """Make a run in which something was said of a slide."""
    run = RunFolder.create(path, "predict", Config(), {"slides": [str(slide.path)]}, slides=[slide.identity()])
    if corrected:
        Corrections.create(run.corrections_path(slide.name), slide, 1.0).paint(0, 0, np.full((8, 8), 2, np.uint8))
    if points:
        write_points(run.points, [Point(slide.name, k, k, "tumour", stratum=f"batch 1 of {slide.name}") for k in range(points)])
    return run.path


def test_what_was_said_is_told_and_hidden_where_there_is_nothing(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, found = TakenAlong(dock), list[str]()
    known.found.connect(lambda: found.append(known.label.text()))
    slide = dock.session.open(drawn_slide)
    known.look([slide])
    dock.end()
    assert known.label.isHidden()
    dock.runs[slide.name] = judged(tmp_path / "a&b", slide, corrected=True)
    known.look([slide])
    dock.end()
    assert found == ["", "The next run takes along: corrections of a&amp;b."]
    assert not known.label.isHidden()


def test_the_last_look_counts_and_nothing_is_told_of_the_slide_before(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slide = session.open(drawn_slide)
    dock.runs[slide.name] = judged(tmp_path / "run", slide, corrected=True)
    known.look([slide])
    dock.end()
    known.look([slide])
    assert "corrections of run" in known.label.text()  # it stays till something else is found
    other = session.open(shutil.copy(drawn_slide, tmp_path / "other.tif"))
    known.look([other])
    assert known.label.isHidden()
    dock.end()  # of the slide before
    assert known.label.isHidden()


def test_a_run_at_work_keeps_what_it_took(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slide = session.open(drawn_slide)
    dock.runs[slide.name] = judged(tmp_path / "run", slide, corrected=True)
    known.look([slide])
    dock.began = tmp_path / "at work"
    session.begin("distill", dock.began)
    known.look([slide])  # what is looked for still is what it took
    dock.end()
    dock.runs.clear()
    known.look([slide])
    assert known.label.text() == "Taken along: corrections of run."
    assert not dock.threads


def test_a_run_that_is_followed_tells_what_it_took(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slide = session.open(drawn_slide)
    run = judged(tmp_path / "at work", slide, corrected=True, points=1)
    session.begin("distill", run, [slide])
    session.here = lambda: (SimpleNamespace(run=run),)
    for _ in range(3):  # once: what it took stays
        known.look([slide])
    dock.end()
    assert not dock.threads
    assert known.label.text().startswith("Taken along: corrections and 1 answered point of at work.")
    known.look([slide])
    assert not dock.threads
    assert known.label.text().startswith("Taken along: corrections and 1 answered point of at work.")


def test_another_slide_does_not_speak_for_the_run_at_work(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slide, other = session.open(drawn_slide), session.open(shutil.copy(drawn_slide, tmp_path / "other.tif"))
    dock.runs = {each.name: judged(tmp_path / f"of {each.name}", each, corrected=True) for each in (slide, other)}
    session.activate(slide)
    known.look([slide])
    dock.end()
    dock.began = tmp_path / "at work"
    session.begin("distill", dock.began)
    known.look([slide])
    session.activate(other)
    dock.began = None  # not on this one
    known.look([other])
    dock.end()
    assert known.label.text() == "The next run takes along: corrections of of other.tif."
    session.activate(slide)
    dock.began = tmp_path / "at work"
    known.look([slide])
    assert known.label.text() == "Taken along: corrections of of tiny.tif."


def test_points_of_one_slide_do_not_choose_for_several(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slides = [session.open(drawn_slide), session.open(shutil.copy(drawn_slide, tmp_path / "other.tif"))]
    for slide in slides:
        dock.runs[slide.name] = judged(tmp_path / f"of {slide.name}", slide, points=12)
    known.look(slides[:1])
    dock.end()
    assert "12 answered points of of tiny.tif. Ten or more points choose its round and threshold; " in known.label.text()
    known.look(slides)
    dock.end()
    assert "do not choose for all" in known.label.text()


def test_reference_masks_stand_above_points(dock: Dock, drawn_slide: Path, tmp_path: Path) -> None:
    known, session = TakenAlong(dock), dock.session
    slide = session.open(drawn_slide)
    dock.runs[slide.name] = judged(tmp_path / "run", slide, points=12)
    session.give("reference", tmp_path / "mask.tif", slide)
    known.look([slide])
    dock.end()
    assert known.label.text().endswith("The reference mask chooses, and the points do not.")
    session.give("reference", None, slide)
    known.look([slide])
    dock.end()
    assert "Ten or more points choose" in known.label.text()
