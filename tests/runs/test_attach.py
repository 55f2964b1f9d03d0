"""A run belongs to nobody: whoever comes later follows it from its first event, and nobody else writes it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.errors import RunError
from napari_ifkd.events import EpochDone, RunStarted
from napari_ifkd.runs import lock
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_run_goes_on_when_its_starter_is_killed(long_argv: list[str], tmp_path: Path, until) -> None:
    code = (
        "import sys, time; from napari_ifkd.runs.process import ChildRun\n"
        "child = ChildRun.start(sys.argv[2:], sys.argv[1])\n"
        "print(child.process.pid, flush=True)\n"
        "time.sleep(600)"
    )
    out = tmp_path / "run"
    starter = subprocess.Popen([sys.executable, "-c", code, str(out), *long_argv], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    attached = ChildRun.attach(out)  # still loading: it is followed all the same
    assert attached.running
    assert attached.folder.writer == pid
    try:
        events = until(attached, EpochDone)
        assert events[0] == RunStarted("train")
        assert isinstance(events[-1], EpochDone)
    finally:
        attached.cancel()
    assert RunFolder(out).status == "cancelled"


def test_a_second_start_is_refused_while_the_first_still_loads(loading: ChildRun, long_argv: list[str]) -> None:
    assert loading.process is not None
    with pytest.raises(RunError, match=f"another process \\(pid {loading.process.pid}\\)"):
        ChildRun.start(long_argv, loading.folder.path)
    assert loading.folder.status == "running"


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
def test_who_looks_at_a_lock_is_never_taken_for_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.hold(path):
        pass
    assert path.read_text() == str(os.getpid())  # of a holder that is gone
    stop = time.monotonic() + 0.5
    found: set[int | None] = set()

    def look() -> None:
        while time.monotonic() < stop:
            found.add(lock.holder(path))

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert found == {None}
    with lock.hold(path):  # and none of them keeps it
        assert lock.holder(path) == os.getpid()


@pytest.mark.skipif(os.name == "nt", reason="descriptors are not inherited there")
def test_a_lock_is_handed_to_a_child_and_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    held = lock.take(path)
    code = "import sys, time; print('here', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=(held,))
    lock.write_pid(held, child.pid)
    assert lock.holder(path) == child.pid
    with monkeypatch.context() as there:  # the child itself looks: nobody else is at work
        there.setenv(lock.HANDED, str(held))
        assert lock.holder(path) is None
    os.close(held)
    assert lock.holder(path) == child.pid
    with pytest.raises(RunError, match=str(child.pid)):
        lock.take(path, patience=0)
    child.kill()
    child.communicate()
    assert lock.holder(path) is None
    os.close(lock.take(path, patience=0))


def test_a_number_in_the_environment_that_is_no_lock_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "other").open("w") as other:
        for value in (str(other.fileno()), "12345", "lock"):
            monkeypatch.setenv(lock.HANDED, value)
            with lock.hold(tmp_path / "lock") as handed:
                assert not handed
                assert lock.holder(tmp_path / "lock") == os.getpid()
        other.write("still open")
