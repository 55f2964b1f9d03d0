"""A run waits and goes on, in the process it is in, whoever asks."""

from __future__ import annotations

import time

from napari_ifkd.events import EpochDone, RunCancelled, RunContinued, RunPaused
from napari_ifkd.runs.process import ChildRun

Until = "Callable[[ChildRun, type[Event]], list[Event]]"


def test_a_run_pauses_and_goes_on_where_it_was_or_is_cancelled_at_once(working: ChildRun, until: Until) -> None:
    elsewhere = ChildRun.attach(working.folder.path)  # another window, or a command
    elsewhere.pause()
    assert isinstance(until(working, RunPaused)[-1], RunPaused)
    assert working.folder.status == "paused"
    before = working.folder.journal.size()
    time.sleep(1)
    assert working.folder.journal.size() == before  # at some epochs a second, many would have been done
    assert working.running
    elsewhere.proceed()
    seen = until(working, EpochDone)
    assert isinstance(seen[0], RunContinued)
    assert working.folder.status == "running"
    told = [event.epoch for event in working.folder.events() if isinstance(event, EpochDone)]
    assert told == list(range(1, len(told) + 1))  # none twice, none missing
    working.pause()
    until(working, RunPaused)
    start = time.monotonic()
    elsewhere.cancel()
    took = time.monotonic() - start
    assert took < 4  # two seconds, and room for a machine that does other things
    assert isinstance(list(working.follow())[-1], RunCancelled)
    assert working.folder.status == "cancelled"
    assert not working.folder.pause_file.exists()  # or the next process would wait, and nobody know why


def test_a_pause_asked_for_while_the_process_loads_is_kept(loading: ChildRun, until: Until) -> None:
    loading.pause()
    assert isinstance(until(loading, RunPaused)[-1], RunPaused)
    assert not [event for event in loading.folder.events() if isinstance(event, EpochDone)]
