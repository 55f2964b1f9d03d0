"""Every event of progress of a run tells how fast it is and how long the stage still takes, once anything can be measured."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from napari_ifkd import pace
from napari_ifkd.config import Config, load_config
from napari_ifkd.events import Event, Progress
from napari_ifkd.runs.acts import distill_run, train_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture
def config(drawn_config: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Tiny settings, on a machine that takes a third of a second for whatever is counted, so that each is told."""
    ticks = count(step=0.3)
    monkeypatch.setattr(pace, "_now", lambda: next(ticks))
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
