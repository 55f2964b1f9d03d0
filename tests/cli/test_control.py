"""The commands that look after runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.config import Config
from napari_ifkd.events import Decision, EpochDone, RoundDone, RunCancelled, RunContinued, RunDone, RunPaused, RunStarted
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

if TYPE_CHECKING:
    from pathlib import Path


def one_line(text: str) -> bool:
    return text.startswith("error: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.fixture
def done(tmp_path: Path) -> RunFolder:
    """A distillation that is done."""
    slides, model = [{"name": "s1.svs"}], {"name": "phantom-teacher"}
    folder = RunFolder.create(tmp_path / "some" / "done", "distill", Config(), {"data": ["/s1.svs"]}, slides=slides, model=model)
    for event in (RunStarted("distill"), RoundDone(1, Decision(True, "cautious", "", "it is better")), RunDone(1, "it is better")):
        folder.append(event)
    return folder


def test_runs_are_listed_as_a_table_and_as_json(run, done: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.yaml").write_text("[")
    said = run("runs", tmp_path)
    assert said.status == 0
    heading, *rows = said.out.splitlines()
    assert heading.split() == ["name", "slide", "act", "state", "rounds", "size", "changed", "accepted"]
    (row,) = [line for line in rows if line.startswith("some/done")]
    for words in ("s1.svs", "distill", "done", "1 of 3", "round 1 by the run"):
        assert words in row
    assert "warning: " in said.err
    assert str(tmp_path / "broken") in said.err
    said = run("runs", tmp_path, "--json")
    assert said.err == ""
    told = {item["name"]: item for item in json.loads(said.out)["runs"]}
    assert told["done"]["slides"] == ["s1.svs"]
    assert (told["done"]["rounds"], told["done"]["rounds_asked"], told["done"]["status"]) == (1, 3, "done")
    assert told["done"]["size_bytes"] > 0
    assert datetime.fromisoformat(told["done"]["changed"]).tzinfo is not None
    assert told["broken"]["problem"]


def test_a_folder_without_runs(run, tmp_path: Path) -> None:
    said = run("runs", tmp_path)
    assert (said.status, said.out) == (0, "")
    assert "holds no runs" in said.err
    assert json.loads(run("runs", tmp_path, "--json").out)["runs"] == []
    said = run("runs", tmp_path / "nowhere")
    assert said.status == 2
    assert one_line(said.err)


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_what_is_over_can_neither_be_paused_nor_cancelled(run, done: RunFolder, tmp_path: Path, command: str) -> None:
    said = run(command, done.path)
    assert said.status == 2
    assert one_line(said.err)
    assert "no process works on it (it is done)" in said.err
    assert not done.pause_file.exists()
    assert not done.stop_file.exists()
    said = run(command, tmp_path)
    assert said.status == 2
    assert "no run folder" in said.err


def test_a_run_is_deleted_after_a_question_only(run, done: RunFolder) -> None:
    said = run("delete", done.path, "--forever")  # nobody to answer
    assert said.status == 2
    assert one_line(said.err)
    assert "--yes" in said.err
    assert done.exists
    said = run("delete", done.path, "--forever", "--yes")
    assert said.status == 0
    assert not done.path.exists()
    assert run("delete", done.path, "--yes").status == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
@pytest.mark.parametrize(("answer", "status"), [("n", 130), ("y", 0)])
def test_the_question_is_asked_on_a_terminal(done: RunFolder, answer: str, status: int) -> None:
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "napari_ifkd", "delete", str(done.path), "--forever"]
    asking = subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, err = asking.communicate(timeout=60)
    os.close(ours)
    assert asking.returncode == status
    assert f"Remove {done.path} (done distill run, " in err
    assert ("removed" in out) == (answer == "y") == (not done.exists)


def test_a_run_at_work_is_paused_continued_and_cancelled_from_elsewhere(run, drawn_patches, drawn_config, tmp_path: Path) -> None:
    config = tmp_path / "long.yaml"
    config.write_text(drawn_config.read_text().replace("stage1: {epochs: 2", "stage1: {epochs: 2000"))
    out = tmp_path / "run"
    child = ChildRun.start(["train", drawn_patches, "--out", out, "--config", config], out)
    try:
        events = child.follow()
        next(event for event in events if isinstance(event, EpochDone))
        for command in ("resume", "delete --yes"):
            said = run(*command.split(), out)
            assert said.status == 2
            assert "another process" in said.err
        said = run("pause", out)
        assert said.status == 0
        assert "is paused" in said.out
        assert next(event for event in events if isinstance(event, RunPaused))
        assert "paused" in run("runs", tmp_path).out
        said = run("resume", out)
        assert said.status == 0
        assert "goes on" in said.out
        assert next(event for event in events if isinstance(event, RunContinued))
        assert next(event for event in events if isinstance(event, EpochDone))
        said = run("cancel", out)
        assert said.status == 0
        assert "is cancelled" in said.out
        assert isinstance(list(events)[-1], RunCancelled)
        assert not child.running
    finally:
        child.cancel()
    assert RunFolder(out).status == "cancelled"
