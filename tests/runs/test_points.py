"""Answered points decide which round of a run is recommended, and from which probability."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.config import Config, load_config
from napari_ifkd.events import Event, RunDone, Warned
from napari_ifkd.runs.acts import distill_run, resume_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.points import PointEvidence
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def done(drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one round."""
    out = tmp_path_factory.mktemp("points") / "run"
    config = load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([drawn_slide], drawn_teacher, out, config))
    return RunFolder.open(out)


@pytest.fixture
def run(done: RunFolder) -> RunFolder:
    """The same without points and judgement."""
    for path in (done.points, done.path / "accepted.json"):
        path.unlink(missing_ok=True)
    return done


def _tumour(x: float) -> bool:
    return x >= 160  # where the drawn slide has it


def _answer(run: RunFolder, slide_path: Path, count: int, says: Callable[[float], bool] = _tumour) -> None:
    with open_slide(slide_path) as slide:
        evidence = PointEvidence(run, [slide], run.config)
        for _ in range(0, count, 10):
            known = read_points(run.points) if run.points.is_file() else []
            asked = evidence.proposals(10)
            write_points(run.points, [*known, *(replace(point, answer="tumour" if says(point.x) else "normal") for point in asked)])


def _again(run: RunFolder) -> tuple[RunDone, list[Event]]:
    events = list(resume_run(run.path))
    assert isinstance(events[-1], RunDone)
    return events[-1], events


def test_points_decide_and_the_reason_says_so(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 30)
    end, _ = _again(run)
    assert end.reason.startswith("By points: ")
    assert "30 answered points" in end.reason
    assert "Without points: " in end.reason
    accepted = run.accepted
    assert accepted is not None
    assert (accepted.by, accepted.round) == ("points", end.accepted_round)
    assert f"At threshold {accepted.threshold:g}" in end.reason


def test_batches_are_numbered_and_keep_their_probabilities(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 20)
    points = read_points(run.points)
    assert [p.stratum for p in points] == ["batch 1 of tiny.tif"] * 10 + ["batch 2 of tiny.tif"] * 10
    assert all(p.probability is not None and 0 < p.probability <= 1 for p in points)


def test_the_users_own_word_stands(run: RunFolder, drawn_slide: Path) -> None:
    run.accept(0, 0.33)
    _answer(run, drawn_slide, 10)
    end, _ = _again(run)
    assert end.reason.startswith("By points: ")
    assert run.accepted is not None
    assert (run.accepted.by, run.accepted.threshold) == ("user", 0.33)


def test_too_few_points_and_points_set_by_hand_do_not_decide(run: RunFolder, drawn_slide: Path) -> None:
    run.points.write_text("slide,x,y,answer\n" + "".join(f"tiny.tif,{60 + x},100,normal\n" for x in range(30)))
    end, events = _again(run)
    assert not end.reason.startswith("By points")
    assert run.accepted is None
    assert any("nobody knows" in e.message for e in events if isinstance(e, Warned))
    run.points.unlink()
    _answer(run, drawn_slide, 10)
    write_points(run.points, read_points(run.points)[:6])
    end, events = _again(run)
    assert not end.reason.startswith("By points")
    assert any("too few" in e.message for e in events if isinstance(e, Warned))


def test_points_that_taught_do_not_judge(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 10)
    taught: Config = run.config.replaced(**{"rounds.points_as_labels": True})
    with open_slide(drawn_slide) as slide:
        evidence = PointEvidence(run, [slide], taught)
        assert evidence.judgement() is None
    assert "cannot judge" in evidence.notes[0]


@pytest.mark.parametrize("tumour", [True, False])
def test_answers_that_are_all_alike_still_end_the_run(run: RunFolder, drawn_slide: Path, tumour: bool) -> None:
    _answer(run, drawn_slide, 10, lambda _: tumour)
    end, _ = _again(run)
    assert end.reason.startswith("By points: ")
