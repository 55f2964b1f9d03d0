"""A run is asked to stop, or to wait, by a file or a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.pace import Pace
from napari_ifkd.runs.stop import StopFile, never, stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_stop_file_is_seen_soon_and_stays_seen(tmp_path: Path) -> None:
    stop = StopFile(tmp_path / "stop")
    assert not stop()
    (tmp_path / "stop").touch()
    deadline = time.monotonic() + 0.5
    while not stop() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stop()
    (tmp_path / "stop").unlink()
    assert stop()


def test_other_reason(tmp_path: Path) -> None:
    assert StopFile(tmp_path / "stop", also=lambda: True)()
    assert not never()


class Waiting:
    """A StopFile asked in a thread, as a run at work asks it."""

    def __init__(self, folder: Path, also: Callable[[], bool] = never) -> None:
        self.told: list[bool] = []
        self.answers: list[bool] = []
        stop = StopFile(folder / "stop", also, folder / "pause", self.told.append)
        self.thread = threading.Thread(target=lambda: self.answers.append(stop()), daemon=True)
        self.thread.start()

    def waits(self) -> bool:
        self.thread.join(0.5)
        return self.thread.is_alive()

    def answer(self) -> bool:
        self.thread.join(5)
        (answer,) = self.answers
        return answer


def test_a_run_waits_while_the_pause_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "pause").touch()
    asked = Waiting(tmp_path)
    assert asked.waits()
    assert asked.told == [True]
    (tmp_path / "pause").unlink()
    assert asked.answer() is False  # it shall not stop
    assert asked.told == [True, False]


def test_a_paused_run_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "pause").touch()
    asked = Waiting(tmp_path)
    assert asked.waits()
    (tmp_path / "stop").touch()
    assert asked.answer() is True
    assert asked.told == [True]  # it never went on
    signalled = threading.Event()
    (tmp_path / "stop").unlink()
    asked = Waiting(tmp_path, also=signalled.is_set)
    assert asked.waits()
    signalled.set()
    assert asked.answer() is True


def test_a_run_that_shall_stop_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "pause").touch()
    (tmp_path / "stop").touch()
    asked = Waiting(tmp_path)
    assert asked.answer() is True
    assert asked.told == []


def test_a_pause_does_not_count_for_throughput(tmp_path: Path) -> None:
    pace = Pace("training", 100, "images")
    (tmp_path / "pause").touch()
    asked = Waiting(tmp_path)
    assert asked.waits()
    assert asked.waits()
    (tmp_path / "pause").unlink()
    asked.answer()
    time.sleep(0.1)
    event = pace.add(10)
    assert event is not None
    assert event.per_second is not None
    assert event.per_second > 20  # of the second and more that went by, only a part was work


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_nothing_is_installed() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_on_signals() as asked:
            seen.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
