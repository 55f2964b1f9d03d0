"""A run is asked to stop by a file or a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.runs.stop import StopFile, never, stop_on_signals

if TYPE_CHECKING:
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
