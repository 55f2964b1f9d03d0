"""Every event of progress of a run tells how fast it is and how long the stage still takes, once anything can be measured."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from napari_ifkd import pace
from napari_ifkd.config import Config, load_config
from napari_ifkd.events import Event, Progress
from napari_ifkd.runs.acts import distill_run, train_run
from napari_ifkd.runs.rounds import RoundClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def config(drawn_config: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Tiny settings, on a machine that takes a third of a second for whatever is counted, so that each is told."""
    ticks = count(step=0.3)
    monkeypatch.setattr(pace, "now", lambda: next(ticks))
    return load_config(drawn_config)


def stages(events: Iterable[Event]) -> dict[str, list[Progress]]:
    """Sort progress by stage."""
    told: dict[str, list[Progress]] = {}
    for event in events:
        if isinstance(event, Progress):
            told.setdefault(event.stage, []).append(event)
    for stage, progress in told.items():
        for event in progress:
            assert 0 < event.done <= event.total, (stage, event)
            assert event.per_second, (stage, event)
            assert event.seconds_left == pytest.approx((event.total - event.done) / event.per_second), (stage, event)
        assert progress[-1].done == progress[-1].total, stage
    return told


def test_of_a_training(config: Config, drawn_patches: Path, tmp_path: Path) -> None:
    told = stages(train_run([drawn_patches], tmp_path / "run", config))
    assert set(told) == {"training"}
    done = [event.done for event in told["training"]]
    assert done == sorted(set(done))  # over all epochs, never back


def test_of_a_distillation(config: Config, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    told = stages(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", config))
    of_rounds = {f"round {index} of 2: {stage}" for index in (1, 2) for stage in ("asking the teacher", "training", "map")}
    assert {"teacher map", "scoring tiles", "reading tiles", *of_rounds} <= set(told)
    first, second = ([event for stage, events in told.items() if stage.startswith(f"round {k} ") for event in events] for k in (1, 2))
    begun = next(at for at, event in enumerate(first) if event.run_left is not None)  # nobody knows until it is being trained
    assert first[begun].stage.endswith("training")
    assert all(event.run_left is not None and event.run_left > (event.seconds_left or 0) for event in first[begun:])
    assert all(event.run_left is None for event in first[:begun])
    assert all(event.run_left is not None and event.run_left >= (event.seconds_left or 0) for event in second)


def test_what_is_left_of_a_run_is_what_its_rounds_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(pace, "now", lambda: clock[0])
    rest = RoundClock(4, 0, whole=True)
    training = Progress("round", 1, 10, seconds_left=5.0)

    def told(at: float) -> float | None:
        clock[0] = at
        return rest.told(training).run_left

    def begins(round: int, at: float) -> None:
        clock[0] = at
        rest.begin(round)

    of_first = Progress("round 1 of 4: training", 6, 10, seconds_left=20.0)
    assert rest.told(Progress("teacher map", 1, 10, seconds_left=25.0)).run_left is None
    clock[0] = 30.0  # of another slide
    assert rest.told(Progress("teacher map", 9, 10, seconds_left=2.0)).run_left is None
    begins(1, 50.0)
    assert told(60.0) is None
    clock[0] = 110.0
    assert rest.told(of_first).run_left == pytest.approx(20 + 32 + 3 * 112)  # 60 s so far; a round has maps too
    clock[0] = 140.0
    assert rest.told(Progress("round 1 of 4: map", 6, 10, seconds_left=3.0)).run_left == pytest.approx(22 + 3 * 112)
    begins(2, 150.0)  # the first took 100 s
    assert told(180.0) == pytest.approx(70 + 2 * 100)
    assert told(249.0) == pytest.approx(5 + 2 * 100)  # the step knows better
    begins(3, 350.0)  # the second took 200 s
    assert told(360.0) == pytest.approx(140 + 150)
    resumed = RoundClock(4, 2, whole=False)  # it did not see how long the second took
    clock[0] = 400.0
    resumed.begin(3)
    assert resumed.told(training).run_left is None
    taken_over = RoundClock(4, 0, whole=True)  # the teacher's maps were there: nobody knows how long one takes
    taken_over.begin(1)
    assert taken_over.told(of_first).run_left is None
