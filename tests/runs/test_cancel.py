"""A run ends within two seconds of being asked to, whatever it does; what was complete stands."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd.events import EpochDone, Event, Progress, RunCancelled
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 4.0  # two seconds, and room for a machine that does other things


def cancelled_in(child: ChildRun) -> float:
    """Cancel, and return how long it took, s."""
    start = time.monotonic()
    child.cancel()
    took = time.monotonic() - start
    assert not child.running
    assert isinstance(list(child.follow())[-1], RunCancelled)
    assert not child.folder.stop_file.exists()
    return took


def in_stage(child: ChildRun, stage: str) -> None:
    """Follow until a stage is at work."""
    for event in child.follow():
        if isinstance(event, Progress) and event.stage == stage:
            return
    raise AssertionError(f"{stage} never began: {child.folder.log.read_text()}")


def test_in_training_the_last_complete_epoch_stands_and_all_who_follow_see_the_same(working: ChildRun) -> None:
    seen: list[list[Event]] = [[], []]
    followers = [
        threading.Thread(target=lambda events=events: events.extend(ChildRun.attach(working.folder.path).follow())) for events in seen
    ]
    for follower in followers:
        follower.start()
    time.sleep(0.5)
    took = cancelled_in(working)
    assert took < LIMIT_S
    for follower in followers:
        follower.join(10)
    assert seen[0] == seen[1] == working.folder.events()
    assert isinstance(seen[0][-1], RunCancelled)
    assert working.folder.status == "cancelled"
    told = [event.epoch for event in working.folder.events() if isinstance(event, EpochDone)]
    state = working.folder.load_checkpoint()
    assert state is not None
    assert state["epoch"] == told[-1]


def test_while_the_process_loads(loading: ChildRun) -> None:
    time.sleep(0.3)  # amid its imports
    took = cancelled_in(ChildRun.attach(loading.folder.path))  # by somebody who did not start it
    assert took < LIMIT_S
    assert not loading.running
    again = ChildRun.start(["doctor"], loading.folder.path)  # and nothing is left that holds the folder
    list(again.follow())


def test_while_the_teacher_answers_for_its_images(drawn_config: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    patches = tmp_path / "patches"
    rng = np.random.default_rng(0)
    for name in ("pos", "neg"):
        (patches / name).mkdir(parents=True)
        for k in range(100):
            Image.fromarray(rng.integers(0, 255, (128, 128, 3), np.uint8)).save(patches / name / f"g{k % 4}_{k}.png")
    config = tmp_path / "long.yaml"
    config.write_text(
        drawn_config.read_text().replace("size_px: 32", "size_px: 128").replace("averaged_views: false", "averaged_views: true")
    )
    out = tmp_path / "run"
    child = ChildRun.start(["distill", patches, "--teacher", drawn_teacher, "--out", out, "--config", config], out)
    try:
        in_stage(child, "round 1 of 2: asking the teacher")
        took = cancelled_in(child)
    finally:
        child.cancel()
    assert took < LIMIT_S
    assert RunFolder(out).status == "cancelled"


def test_in_a_big_prediction(drawn_config: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    slide = tmp_path / "big.tif"
    pixels = np.random.default_rng(0).integers(90, 200, (3072, 3072, 3), np.uint8)
    tifffile.imwrite(slide, pixels, photometric="rgb", tile=(256, 256), resolution=(1e4, 1e4), resolutionunit="CENTIMETER", metadata=None)
    out = tmp_path / "run"
    config = tmp_path / "whole.yaml"
    config.write_text(drawn_config.read_text().replace("overlap: 0,", "overlap: 0.5, tissue_only: false,"))
    child = ChildRun.start(["predict", slide, "--model", drawn_teacher, "--out", out, "--config", config], out)
    try:
        in_stage(child, "map")
        took = cancelled_in(child)
    finally:
        child.cancel()
    assert took < LIMIT_S
    run = RunFolder(out)
    assert run.status == "cancelled"
    assert run.maps(0) == {}  # no half map is taken for a whole one


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "deaf" / "napari_ifkd"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('listening', 'w').close()\ntime.sleep(60)\n"
    )
    monkeypatch.chdir(package.parent)  # where `python -m` looks first
    child = ChildRun.start(["train"], tmp_path / "run")
    deadline = time.monotonic() + 20
    while not (package.parent / "listening").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    took = cancelled_in(child)
    assert 1.5 < took < LIMIT_S
