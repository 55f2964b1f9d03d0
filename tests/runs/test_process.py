"""A run in a process of its own: started, followed, and told in one sentence when it fails."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.errors import RunError
from napari_ifkd.events import EpochDone, RunDone, RunFailed, RunPaused, RunStarted
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from pathlib import Path


def train_argv(patches: Path, out: Path, config: Path) -> list[str | Path]:
    return ["train", patches, "--out", out, "--config", config]


def test_child_is_followed_to_its_end(drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"  # not even its parent is there
    child = ChildRun.start(train_argv(drawn_patches, out, drawn_config), out)
    assert child.process is not None
    if os.name == "posix":
        assert os.getsid(child.process.pid) == child.process.pid  # a session of its own
    events = list(child.follow())
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunDone)
    assert not child.running
    assert child.process.returncode == 0
    attached = list(ChildRun.attach(out).follow())  # later, by whoever
    assert attached == events


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_child_is_told_and_can_be_resumed_at_once_and_forgets_what_it_was_asked(working: ChildRun, until) -> None:
    child, out = working, working.folder.path
    assert child.process is not None
    child.process.send_signal(signal.SIGKILL)
    last = list(child.follow())[-1]
    assert isinstance(last, RunFailed)
    assert "SIGKILL" in last.message
    assert RunFolder(out).status == "interrupted"
    told = list(ChildRun.attach(out).follow())[-1]
    assert isinstance(told, RunFailed)
    assert "Resume" in told.message
    told_of = max(e.epoch for e in RunFolder(out).events() if isinstance(e, EpochDone))
    stored = RunFolder(out).load_checkpoint()
    assert stored is not None
    done = stored["epoch"]
    assert done in (told_of, told_of + 1)  # an epoch is stored before it is told: the kill may have come between
    again = ChildRun.start(["resume", out], out)
    try:
        events = until(again, EpochDone)
        assert events[0] == RunStarted("train", resumed=True)  # follows from where the journal was
        assert isinstance(events[-1], EpochDone)
        assert events[-1].epoch == done + 1

        again.pause()  # the next process is to go on, though this one was asked to wait
        until(again, RunPaused)
        assert again.process is not None
        again.process.kill()
        list(again.follow())
        assert again.folder.status == "interrupted"
        again = ChildRun.start(["resume", out], out)
        assert isinstance(until(again, EpochDone)[-1], EpochDone)
    finally:
        again.cancel()


def test_bad_input_is_told_in_one_sentence(drawn_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    child = ChildRun.start(train_argv(tmp_path / "nothing", out, drawn_config), out)
    (event,) = child.follow()
    assert isinstance(event, RunFailed)
    assert event.message.startswith(str(tmp_path / "nothing"))
    assert "\n" not in event.message
    child = ChildRun.start(["train", "--what"], out)
    (event,) = child.follow()
    assert isinstance(event, RunFailed)
    assert "--what" in event.message


def test_foreign_folder_gets_no_log(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="not empty"):
        ChildRun.start(["train"], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="no run folder"):
        ChildRun.attach(tmp_path)


def test_following_can_end_while_the_run_goes_on(loading: ChildRun) -> None:
    start = time.monotonic()
    list(loading.follow(until=lambda: time.monotonic() - start > 0.3))
    assert loading.running
