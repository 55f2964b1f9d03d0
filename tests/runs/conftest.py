"""Runs in processes of their own, to be looked at and disturbed while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_ifkd.events import EpochDone, Event
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def long(drawn_config: Path, tmp_path: Path) -> Path:
    """Settings of a training that takes minutes."""
    path = tmp_path / "long.yaml"
    path.write_text(drawn_config.read_text().replace("stage1: {epochs: 2", "stage1: {epochs: 2000"))
    return path


@pytest.fixture
def long_argv(drawn_patches: Path, long: Path, tmp_path: Path) -> list[str]:
    """Command of a training that takes minutes, into ``tmp_path / "run"``."""
    return ["train", str(drawn_patches), "--out", str(tmp_path / "run"), "--config", str(long)]


@pytest.fixture
def loading(long_argv: list[str], tmp_path: Path) -> Iterator[ChildRun]:
    """A long training that has only just been started: its process still loads."""
    child = ChildRun.start(long_argv, tmp_path / "run")
    yield child
    child.cancel()


@pytest.fixture
def until() -> Callable[[ChildRun, type[Event]], list[Event]]:
    """Return a function that follows a run until an event of a kind, and returns the events so far."""

    def follow(child: ChildRun, kind: type[Event]) -> list[Event]:
        seen: list[Event] = []
        for event in child.follow():
            seen.append(event)
            if isinstance(event, kind):
                break
        return seen

    return follow


@pytest.fixture
def working(loading: ChildRun, until: Callable[[ChildRun, type[Event]], list[Event]]) -> ChildRun:
    """A long training of which the first epoch is done."""
    until(loading, EpochDone)
    return loading
