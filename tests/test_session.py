"""The evented state, without Qt and without napari."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from napari_ifkd.config import Config
from napari_ifkd.errors import InputError, SlideError
from napari_ifkd.events import (
    Decision,
    EpochDone,
    MapReady,
    Progress,
    RoundDone,
    RunCancelled,
    RunContinued,
    RunDone,
    RunFailed,
    RunPaused,
    RunStarted,
    UnknownEvent,
    Warned,
)
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.listing import summarise
from napari_ifkd.runs.resolve import resolve_model
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
    assert [c.label for c in session.here()] == ["Teacher", "Round 1"]
    assert session.shown == session.here()[1]
    assert (session.a, session.b) == session.here()
    assert len(session.curve) == 1
    session.apply(RunDone(0, "the teacher is the best"))
    assert (session.job.state, session.job.alive) == ("done", False)
    assert session.shown == session.here()[0]
    session.show_round(1)
    assert session.shown == session.here()[1]


def test_a_round_that_took_a_prediction_over_stands_for_both(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)

    def told(act: str, identity: str) -> None:
        out = tmp_path / f"{act}-{identity}"
        session.begin(act, out)
        write_map(out / "rounds/00/maps/tiny.zarr", slide, identity=identity)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
        session.apply(RunDone(0, ""))

    told("predict", "one")
    predicted = session.shown
    told("distill", "another")
    assert [c.label for c in session.here()] == ["Prediction (drawn)", "Teacher"]
    told("distill", "one")
    assert [c.label for c in session.here()] == ["Teacher"]
    assert session.shown in session.here()
    assert session.a in session.here()
    session.set_compare("overlay")
    told("predict", "one")  # once more the same: it is seen as round 0
    assert [c.label for c in session.here()] == ["Teacher"]
    assert (session.shown, session.compare) == (session.here()[0], "off")
    told("predict", "two")
    assert session.shown.label == "Prediction (drawn)"
    told("predict", "one")  # takes the place of what is shown, and is seen as round 0
    assert session.shown.label == "Teacher"
    session.forget_run(tmp_path / "distill-one")
    assert [c.label for c in session.here()] == [predicted.label]


def test_a_round_of_the_run_before_stays_to_compare_with(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)

    def run(name: str, rounds: int = 2) -> None:
        session.begin("distill", tmp_path / name)
        for index in range(rounds):
            write_map(tmp_path / name / f"rounds/0{index}/maps/tiny.zarr", slide)
            session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
            session.apply(RoundDone(index, None))
        session.apply(RunDone(rounds - 1, ""))

    run("one")
    assert session.files == ()
    session.show_round(0)
    run("two")
    assert [c.label for c in session.comparable()] == ["Teacher", "Round 1", "Teacher of one"]
    assert [c.label for c in session.here()] == ["Teacher", "Round 1"]  # nothing else can be accepted
    run("three")
    assert [c.label for c in session.files] == ["Round 1 of two"]  # one is enough
    session.set_pair(session.here()[0], session.files[0])
    session.forget_run(tmp_path / "two")
    assert session.files == ()
    assert session.b in session.here()


def test_what_is_looked_at_is_what_is_compared(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    session.begin("distill", tmp_path)
    for index in range(3):
        write_map(tmp_path / f"rounds/0{index}/maps/tiny.zarr", slide)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
    teacher, first, second = session.here()
    assert (session.a, session.b) == (teacher, second)
    session.show(first)
    assert (session.a, session.b) == (teacher, first)
    session.set_pair(second, first)
    session.show(second)  # one of the two already
    assert (session.a, session.b) == (second, first)
    session.show(teacher)
    assert (session.a, session.b) == (teacher, first)
    session.compare_file(replace(first, act="file"))
    session.show_round(2)
    assert (session.a, session.b.act) == (second, "file")


def test_rounds_are_compared_with_their_own_teacher_and_else_with_what_was_in_use(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session = Session()
    slide = session.open(drawn_slide)

    def comes(name: str, index: int, **facts: Any) -> None:
        write_map(tmp_path / name / f"rounds/0{index}/maps/tiny.zarr", slide, identity=f"{name} {index}", **facts)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))

    session.begin("predict", tmp_path / "field")
    comes("field", 0, region="a field")
    session.apply(RunDone(0, ""))
    field = session.shown
    session.begin("distill", tmp_path / "one")
    for index in range(3):
        comes("one", index)
        if index == 0:
            session.set_pair(field, session.shown)  # somebody looks at what they differ in
    assert (session.a.label, session.b.label) == ("Teacher", "Round 2")
    session.set_pair(field, session.b)
    session.apply(RunDone(1, ""))
    assert (session.a.label, session.b.label) == ("Teacher", "Round 1")  # that it recommends
    session.set_pair(session.b, session.a)
    session.apply(RunDone(0, ""))  # the first teacher
    assert (session.shown.round, session.a.label, session.b.label) == (0, "Teacher", "Round 2")
    session.compare_file(replace(field, act="file"))
    session.apply(RunDone(1, ""))
    assert (session.shown.label, session.a.label, session.b.act) == ("Round 1", "Round 1", "file")  # who compares with a file goes on so
    session.files = ()
    session.begin("distill", tmp_path / "two")
    comes("two", 0)
    assert (session.a.label, session.b.label) == ("Teacher", "Round 1 of one")
    session.begin("predict", tmp_path / "again")
    comes("again", 0)
    assert session.shown == session.a
    assert session.shown.run.name == "again"
    session.show_round(0)
    assert session.a.label == "Teacher"


def test_a_new_prediction_is_compared_with_the_file_that_the_former_was(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session = Session()
    slide = session.open(drawn_slide)

    def predict(name: str) -> None:
        session.begin("predict", tmp_path / name)
        write_map(tmp_path / name / "0.zarr", slide, identity=name)
        session.apply(MapReady(0, slide.name, "0.zarr"))
        session.apply(RunDone(0, ""))

    predict("first")
    session.compare_file(replace(session.shown, run=tmp_path / "file", act="file"))
    for mode, stays in (("overlay", True), ("b", False)):  # where B alone is seen it would not be
        session.set_compare(mode)
        predict(mode)
        assert session.shown == session.a
        assert (session.a.run.name, session.b.act, session.compare) == (mode, "file", mode if stays else "off")


def test_who_looks_at_the_uncertainty_of_one_goes_on_so(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    for act, name, index in (("predict", "first", 0), ("distill", "rounds", 0), ("distill", "rounds", 1)):
        if index == 0:
            session.begin(act, tmp_path / name)
        write_map(tmp_path / name / f"{index}.zarr", slide, identity=f"{name} {index}")
        session.apply(MapReady(index, slide.name, f"{index}.zarr"))
        if act == "predict":
            session.set_compare("uncertainty")
        assert session.comparing
        assert session.unsure == session.shown
        assert session.shown.act == "predict"
    session.set_compare("overlay")
    assert session.b.label == "Round 1"


def test_a_comparison_stays_under_the_eyes_when_a_round_comes(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    session.begin("distill", tmp_path)

    def round_done(index: int) -> None:
        write_map(tmp_path / f"rounds/0{index}/maps/tiny.zarr", slide)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
        session.apply(RoundDone(index, None))

    round_done(0)
    round_done(1)
    seen = session.shown, session.a, session.b
    session.set_compare("overlay")
    round_done(2)
    session.apply(RunDone(2, ""))
    assert (session.shown, session.a, session.b) == seen
    assert len(session.here()) == 3
    session.set_compare("off")
    round_done(3)
    assert session.shown == session.here()[3]
    session.held = lambda: True  # somebody judges its lesions
    round_done(4)
    session.apply(RunDone(4, ""))
    assert session.shown == session.here()[3]
    session.held = bool
    session.begin("distill", tmp_path / "other")
    session.held = lambda: True  # yet a run whose rounds are gone is no longer shown
    write_map(tmp_path / "other/rounds/00/maps/tiny.zarr", slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    assert session.shown == session.here()[0]
    assert session.shown.run == tmp_path / "other"


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


def test_a_pause_is_asked_for_begins_and_ends(tmp_path: Path) -> None:
    session, states = Session(), []
    session.begin("distill", tmp_path)
    session.events.job.connect(lambda job: states.append(job.state))
    session.asked("pausing")
    session.apply(Progress("training", 8, 64, "images", 2.0, 28.0, 812.0))  # the batch it is in
    assert (session.job.state, session.job.done, session.job.per_second, session.job.device_mb) == ("pausing", 8, 2.0, 812.0)
    session.apply(RunPaused())
    assert session.job.state == "paused"
    assert session.job.alive
    session.apply(RunContinued())
    session.asked("cancelling")
    session.asked("pausing")  # too late
    assert states == ["pausing", "pausing", "paused", "running", "cancelling"]
    session.apply(RunCancelled())
    assert session.job.resumable


def test_an_epoch_told_twice_stands_once(tmp_path: Path) -> None:
    session = Session()
    session.begin("distill", tmp_path)
    for epoch in (1, 2, 2, 3):
        session.apply(EpochDone(1, epoch, 3, 0.5))
    assert [epoch.epoch for epoch in session.curve] == [1, 2, 3]


def test_a_training_that_is_followed_leaves_the_rounds_of_the_distillation_alone(tmp_path: Path) -> None:
    session = Session()
    session.begin("distill", tmp_path / "distill")
    session.apply(EpochDone(1, 1, 1, 0.5))
    session.begin("train", tmp_path / "train")
    session.apply(EpochDone(0, 1, 1, 0.7))
    assert [epoch.round for epoch in session.curve] == [1]
    assert session.run == tmp_path / "distill"


def _run(path: Path, *events: Any) -> RunFolder:
    run = RunFolder.create(path, "distill", Config(), {"data": [], "mpp": None})
    for event in events:
        run.append(event)
    return run


def test_a_run_that_ended_without_a_word_is_interrupted(tmp_path: Path) -> None:
    for name, last in (("killed", EpochDone(1, 1, 2, 0.5)), ("killed while it waited", RunPaused())):
        story = RunStory.read(_run(tmp_path / name, RunStarted("distill"), last).path)
        assert (story.job.state, story.job.alive, story.job.resumable) == ("interrupted", False, True)


def test_a_run_that_was_taken_up_again_is_at_work(tmp_path: Path) -> None:
    told = RunStarted("distill"), EpochDone(1, 1, 2, 0.5), RunFailed("the disk was full")
    run = _run(tmp_path / "run", *told)
    assert RunStory.read(run.path).job.message == "the disk was full"
    with run.lock():
        assert RunStory.read(run.path).job.alive  # still loading
        run.append(RunStarted("distill", resumed=True))
        story = RunStory.read(run.path)
        assert (story.job.state, story.job.message) == ("running", "")
        assert story.position == run.journal.size()
    session = Session()
    session.take_run(story)
    session.apply(EpochDone(1, 2, 2, 0.4))
    assert [epoch.epoch for epoch in session.curve] == [1, 2]


def test_a_journal_of_a_newer_version_with_a_torn_line_and_a_missing_map_is_read(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", RunStarted("distill"), UnknownEvent("Foreseen", {"by": "nobody"}), EpochDone(1, 1, 1, 0.5))
    run.append(MapReady(1, "slide.svs", "rounds/01/maps/slide.zarr"))
    with run.journal.path.open("ab") as file:
        file.write(b'{"event": "EpochDone", "round": 1, "ep')
    story = RunStory.read(run.path)
    assert len(story.curve) == 1
    assert story.candidates == ()
    assert "slide.zarr" in story.notice


def test_reading_a_long_run_makes_no_noise_for_each_of_its_events(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", RunStarted("distill"))
    for epoch in range(200):
        run.append(EpochDone(1, epoch + 1, 200, 0.5))
    session, seen = Session(), []
    session.events.curve.connect(seen.append)
    session.take_run(RunStory.read(run.path))
    assert [len(curve) for curve in seen] == [200]


def test_a_run_that_was_deleted_is_forgotten(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    session.begin("distill", tmp_path / "run")
    write_map(tmp_path / "run/rounds/00/maps/tiny.zarr", slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    session.apply(RunDone(0, "the teacher is the best"))
    session.forget_run(tmp_path / "another")
    assert len(session.here()) == 1
    session.forget_run(tmp_path / "run")
    assert (session.here(), session.shown, session.run, session.rounds, session.job) == ((), None, None, (), None)


def test_a_prediction_is_seen_again_when_the_run_that_took_it_over_is_deleted(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    for act in ("predict", "distill"):
        session.begin(act, tmp_path / act)
        write_map(tmp_path / act / "rounds/00/maps/tiny.zarr", slide)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    assert session.shown.act == "distill"
    session.forget_run(tmp_path / "distill")
    assert session.shown.act == "predict"


def test_a_new_run_takes_the_place_of_the_former(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session, shown = Session(), list[str | None]()
    slide = session.open(drawn_slide)
    session.events.shown.connect(lambda candidate: shown.append(candidate and candidate.run.name))
    for name in ("first", "second"):
        session.begin("distill", tmp_path / name)
        assert session.run.name == "first"  # until there is something of another
        assert session.shown is None if name == "first" else session.shown.run.name == "first"  # until there is another
        write_map(tmp_path / name / "rounds/00/maps/tiny.zarr", slide)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    assert [c.run.name for c in session.candidates] == ["second"]
    assert session.shown in session.candidates
    assert shown == ["first", "second"]  # and at no time nothing: what was corrected would go


def test_rounds_of_a_slide_that_is_closed_are_not_told(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session, run = Session(), tmp_path / "run"
    slide = session.open(drawn_slide)
    other = session.open(shutil.copy(drawn_slide, tmp_path / "other.tif"))
    session.activate(slide)
    session.begin("distill", run, [slide])
    write_map(run / "rounds/00/maps/tiny.zarr", slide)
    for event in (MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"), RoundDone(0, None)):
        session.apply(event)
    session.close(slide)
    assert session.run == run  # it is at work
    slide = session.open(drawn_slide)
    session.take_maps(slide)
    session.apply(RunDone(0, ""))
    session.activate(other)
    assert session.run == run  # they are told beside another slide
    session.close(slide)
    assert (session.slide, session.run, session.rounds, session.job) == (other, None, (), None)


def test_a_run_that_is_opened_is_what_is_looked_at(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    run = with_teacher(tmp_path / "at-work", drawn_slide)
    for index in range(3):
        write_map(run.map_path(index, slide.name), slide)
        run.append(MapReady(index, slide.name, run.map_path(index, slide.name).relative_to(run.path).as_posix()))
    write_map(tmp_path / "before/maps/tiny.zarr", slide)
    session.begin("predict", tmp_path / "before")
    session.apply(MapReady(0, slide.name, "maps/tiny.zarr"))
    session.compare_file(replace(session.here()[0], run=tmp_path / "file", act="file"))
    session.set_compare("overlay")
    session.take_run(RunStory.read(run.path))  # still at work: it recommends nothing yet
    assert (session.shown.run, session.shown.round) == (run.path, 2)
    assert [(c.run, c.round) for c in (session.a, session.b)] == [(run.path, 0), (run.path, 2)]
    run.append(RunDone(1, "the first"))
    session.take_run(RunStory.read(run.path))
    assert session.shown.round == session.b.round == 1


def with_teacher(path: Path, slide: Path) -> RunFolder:
    """Make a run on a slide that has its teacher, and no map yet."""
    run = RunFolder.create(path, "distill", Config(), {"data": [str(slide)], "mpp": None})
    run.model_path(0).parent.mkdir(parents=True)
    run.model_path(0).touch()
    return run


def test_a_run_that_is_refused_leaves_the_rounds_of_the_former(tmp_path: Path) -> None:
    session, former, refused = Session(), tmp_path / "former", tmp_path / "refused"
    session.begin("distill", former)
    session.apply(RoundDone(0, None))
    session.apply(RunDone(0, "the last"))
    rounds = session.rounds
    session.begin("distill", refused)
    session.apply(RunFailed("slides differ"))
    assert session.job.state == "failed"
    assert (session.run, session.rounds) == (former, rounds)
    session.forget_run(refused)
    assert (session.run, session.rounds) == (former, rounds)
    session.begin("distill", refused)
    session.apply(EpochDone(1, 1, 1, 0.5))
    assert (session.run, session.rounds) == (refused, ())


def test_the_end_of_a_run_shows_what_was_accepted(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    run = with_teacher(tmp_path / "run", drawn_slide)
    session.begin("distill", run.path)
    write_map(run.map_path(0, slide.path), slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    assert session.shown is not None
    session.look(threshold=0.3)
    session.accept(session.shown)
    session.look(threshold=0.8)
    session.apply(RunDone(0, "the teacher is the best"))
    assert session.threshold == 0.3


def test_an_offer_stays_until_it_is_taken(tmp_path: Path, drawn_slide: Path) -> None:
    session = Session()
    for name in ("old", "at-work"):
        RunFolder.create(tmp_path / name, "distill", Config(), {"data": [str(drawn_slide)], "mpp": None})
    offer = replace(summarise(tmp_path / "at-work"), status="running")
    session.offered(offer)
    session.take_run(RunStory.read(tmp_path / "old"))
    assert session.offer == offer
    session.take_run(RunStory.read(tmp_path / "at-work"))
    assert session.offer is None
    session.offered(offer)
    session.begin("predict", tmp_path / "new")
    assert session.offer is None


def test_a_map_that_cannot_be_opened_becomes_a_notice(tmp_path: Path) -> None:
    session = Session()
    session.begin("predict", tmp_path)
    session.apply(MapReady(0, "slide.svs", "rounds/00/maps/slide.zarr"))
    assert "slide.zarr" in session.notice
    assert session.candidates == ()


def test_a_warning_names_the_slide_it_is_of(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    session = Session()
    other = tmp_path / "other.tif"
    other.write_bytes(drawn_slide.read_bytes() + b"another")
    there, here = session.open(other), session.open(drawn_slide)
    teacher = resolve_model(drawn_teacher)
    session.choose_teacher(replace(teacher, card=teacher.card.model_copy(update={"learned_from": (here.quick_hash,), "domain": ""})))
    assert session.warnings() == []
    (told,) = session.warnings((here, there))
    assert told.endswith("(other.tif)")  # which of the two
    assert "not from other.tif" in told
    assert drawn_slide.name not in told


def test_a_run_on_disk_is_looked_at_and_accepted(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    run = with_teacher(tmp_path / "run", drawn_slide)
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


def test_rounds_on_another_slide_stay_while_a_run_is_at_work(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    session = Session()
    slide = session.open(drawn_slide)
    first, other = with_teacher(tmp_path / "first", drawn_slide), tmp_path / "other.tif"
    write_map(first.map_path(0, slide.path), slide)
    session.begin("distill", first.path)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    session.apply(RoundDone(0, None))
    session.apply(RunDone(0, "the only one"))
    other.write_bytes(drawn_slide.read_bytes())
    second = session.open(other)
    assert session.run == first.path
    session.begin("distill", tmp_path / "second")
    assert (session.run, session.rounds) == (tmp_path / "second", ())  # on this slide there were none
    session.activate(slide)
    assert session.run == first.path
    session.activate(second)
    write_map(tmp_path / "second/rounds/00/maps/other.zarr", second)
    session.apply(MapReady(0, second.name, "rounds/00/maps/other.zarr"))
    assert (session.run, session.rounds) == (tmp_path / "second", ())
    session.activate(slide)
    assert (session.run, [r.index for r in session.rounds]) == (first.path, [0])
    assert session.shown is not None
    assert session.shown.run == first.path
    session.look(threshold=0.3)
    accepted = session.accept(session.shown)
    assert session.accepted == accepted
    session.look(threshold=0.8)
    session.apply(RoundDone(0, None))
    session.apply(RunDone(0, "the only one"))
    assert (session.run, session.accepted, session.threshold) == (first.path, accepted, 0.8)  # all that is of the other slide
    assert session.accepted_of(session.shown) == accepted
    session.take_run(RunStory.read(first.path))  # opened once more
    session.activate(second)
    assert (session.run, len(session.rounds), session.accepted) == (tmp_path / "second", 1, None)
    session.activate(slide)
    assert (session.run, session.accepted) == (first.path, accepted)
    session.forget_run(first.path)
    assert session.here() == ()


def test_the_other_slide_of_a_run_shows_the_round_that_is_recommended(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    session, other = Session(), tmp_path / "other.tif"
    other.write_bytes(drawn_slide.read_bytes())
    second, slide = session.open(other), session.open(drawn_slide)
    run = with_teacher(tmp_path / "run", drawn_slide)
    session.begin("distill", run.path)
    for index in (0, 1):
        for each in (slide, second):
            write_map(run.map_path(index, each.path), each)
            session.apply(MapReady(index, each.name, run.map_path(index, each.path).relative_to(run.path).as_posix()))
        session.apply(RoundDone(index, None))
    session.apply(RunDone(0, "the teacher stays"))
    session.activate(second)
    assert session.shown is not None
    assert (session.shown.slide, session.shown.round) == (second.name, 0)


def test_it_needs_neither_qt_nor_napari_nor_torch() -> None:
    code = "import sys, napari_ifkd.session; print([m for m in ('qtpy', 'napari', 'magicgui', 'superqt', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
