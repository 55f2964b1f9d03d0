"""Runs as rows of a list, whatever state they are in; and their removal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.config import Config
from napari_ifkd.errors import RunError
from napari_ifkd.events import Decision, EpochDone, Event, Progress, RoundDone, RunCancelled, RunDone, RunFailed, RunStarted, Warned
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.listing import delete_run, discard_refused, list_runs, summarise

if TYPE_CHECKING:
    from pathlib import Path

KEPT = Decision(False, "cautious", "area 0.2", "the student marks less than half")
SWITCHED = Decision(True, "cautious", "area 0.4", "the student finds more where it should")


def make_run(path: Path, events: list[Event], act: str = "distill", rounds: int = 3) -> RunFolder:
    """Write a run that went so."""
    config = Config().replaced(**{"rounds.rounds": rounds})
    data = {"data": ["/data/s1.svs", "/data/extra"], "teacher": "t"} if act == "distill" else {"data": ["/data/luad"]}
    slides = [{"name": "s1.svs", "size": 1}] if act == "distill" else []
    run = RunFolder.create(path, act, config, data, slides=slides, model={"name": "phantom-teacher"} if act == "distill" else None)
    for event in events:
        run.append(event)
    return run


def test_a_row_tells_what_a_run_is_about(tmp_path: Path) -> None:
    events = [
        RunStarted("distill"),
        RoundDone(0, None),
        RoundDone(1, SWITCHED),
        RoundDone(2, KEPT),
        RunDone(1, "the last round that was switched in"),
    ]
    run = make_run(tmp_path / "a", events)
    (run.path / "rounds" / "01").mkdir(parents=True)
    (run.path / "rounds" / "01" / "student.safetensors").write_bytes(b"x" * 1000)
    (row,) = list_runs(tmp_path)
    assert (row.path, row.name, row.act, row.status) == (run.path, "a", "distill", "done")
    assert row.slides == ("s1.svs", "extra")
    assert row.model == "phantom-teacher"
    assert (row.rounds, row.rounds_asked) == (2, 3)
    assert row.accepted == "round 1 by the run: the last round that was switched in"
    assert row.size_bytes == sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file()) > 1000
    assert abs(row.changed.timestamp() - time.time()) < 60
    assert row.problem == ""


def test_the_word_of_the_user_stands_before_that_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [RunStarted("distill"), RoundDone(1, KEPT), RunDone(0, "no round was better")])
    for index in (0, 1):
        run.round_dir(index).mkdir(parents=True)
        run.model_path(index).touch()
    run.accept(1, 0.4, by="points")
    assert summarise(run.path).accepted == "round 1 at 0.4 by points"
    run.accept(0, 0.5, by="points", reason="no round was better")
    assert summarise(run.path).accepted == "the teacher at 0.5 by points: no round was better"
    run.accept(1, 0.35)
    assert summarise(run.path).accepted == "round 1 at 0.35 by user"


def test_a_training_has_no_rounds_and_tells_its_patches_and_network(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [RunStarted("train"), EpochDone(0, 1, 1, 0.5), RunDone(0, "the network of the last epoch")], act="train")
    row = summarise(tmp_path / "a")
    assert (row.rounds, row.rounds_asked, row.slides, row.model) == (0, 0, ("luad",), "vgg-mil")
    assert row.accepted == "the network of the last epoch"


@pytest.mark.parametrize(
    ("events", "status", "accepted", "failure"),
    [
        ([], "empty", "", ""),
        ([RunStarted("distill"), RoundDone(1, SWITCHED)], "interrupted", f"round 1 so far: {SWITCHED.reason}", ""),
        ([RunStarted("distill"), RoundDone(1, KEPT), RunCancelled()], "cancelled", f"the teacher so far: {KEPT.reason}", ""),
        ([RunStarted("distill"), RunFailed("The slide is gone.")], "failed", "", "The slide is gone."),
        ([RunStarted("distill"), RunFailed("No space."), RunStarted("distill"), RunCancelled()], "cancelled", "", ""),
    ],
)
def test_runs_that_are_not_done(tmp_path: Path, events: list[Event], status: str, accepted: str, failure: str) -> None:
    make_run(tmp_path / "a", events)
    row = summarise(tmp_path / "a")
    assert (row.status, row.accepted, row.problem, row.failure) == (status, accepted, "", failure)


def test_what_the_log_said_last_is_told_of_a_run_whose_journal_does_not(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [RunStarted("distill")])
    for said, failure in (("a warning\nerror: The disk is full.\n", "The disk is full."), ("error: of before\n50 %\n", ""), ("", "")):
        run.log.write_text(said)
        assert (summarise(run.path).status, summarise(run.path).failure) == ("interrupted", failure)


def test_the_last_changed_comes_first_and_a_run_is_not_looked_into(tmp_path: Path) -> None:
    for age, name in ((300, "old"), (100, "deep/er/new"), (200, "deep/middle")):
        run = make_run(tmp_path / name, [RunStarted("distill")])
        for file in ("journal.jsonl", "run.yaml"):
            os.utime(run.path / file, (time.time() - age, time.time() - age))
    make_run(tmp_path / "old" / "inside", [RunStarted("distill")])  # such as a copy of a run, kept in it
    make_run(tmp_path / "a" / "b" / "c" / "d" / "e", [])  # deeper than is looked
    (tmp_path / "notes.txt").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [row.path.relative_to(tmp_path).as_posix() for row in list_runs(tmp_path)] == ["deep/er/new", "deep/middle", "old"]
    assert [row.name for row in list_runs(tmp_path / "old")] == ["old"]


def test_a_run_that_cannot_be_read_is_a_row_with_its_problem(tmp_path: Path) -> None:
    make_run(tmp_path / "good", [RunStarted("distill"), RunCancelled()])
    newer = make_run(tmp_path / "newer", [RunStarted("distill"), RunCancelled()])
    text = (newer.path / "run.yaml").read_text()
    (newer.path / "run.yaml").write_text(text.replace("format: 1", "format: 99"))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.yaml").write_bytes(b"\xff\xfe\x00 no yaml: [")
    odd = make_run(tmp_path / "odd", [])
    (odd.path / "run.yaml").write_text("format: 1\nact: distill\nconfig: [1]\ndata: what\nslides: 3\nmodel: x\n")
    (odd.path / "journal.jsonl").write_bytes(b'{"event": "RoundDone"}\nnonsense\n{"event": "RunDone", "accepted_round": 0, "rea')
    rows = {row.name: row for row in list_runs(tmp_path)}
    assert set(rows) == {"good", "newer", "damaged", "odd"}
    assert rows["good"].problem == ""
    assert "format" in rows["newer"].problem
    assert rows["newer"].status == "cancelled"  # the journal can be read all the same
    assert str(tmp_path / "damaged") in rows["damaged"].problem
    assert "\n" not in rows["damaged"].problem
    assert rows["odd"].problem != ""
    with pytest.raises(RunError, match="cannot be read"):
        list_runs(tmp_path / "nowhere")


def test_a_run_at_work_is_listed_as_such_and_cannot_be_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [RunStarted("distill")])
    code = (
        "import sys, time; from pathlib import Path; from napari_ifkd.runs import lock\n"
        "with lock.hold(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(run.path / "lock")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        assert summarise(run.path).status == "running"
        for forever in (False, True):
            with pytest.raises(RunError, match=f"another process \\(pid {other.pid}\\)"):
                delete_run(run.path, forever=forever)
    finally:
        other.kill()
        other.communicate()
    assert run.exists
    delete_run(run.path, forever=True)  # a dead process is in nobody's way
    assert not run.path.exists()


def test_only_runs_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    for forever in (False, True):
        with pytest.raises(RunError, match="no run folder"):
            delete_run(tmp_path / "thesis", forever=forever)
    assert (tmp_path / "thesis" / "thesis.tex").exists()


def test_what_is_left_of_a_refused_run_goes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    for name in ("lock", "log.txt"):
        (tmp_path / "refused" / name).touch()
    (tmp_path / "refused.config.yaml").touch()
    discard_refused(tmp_path / "refused", beside=[tmp_path / "refused.config.yaml"])
    assert list(tmp_path.iterdir()) == []
    run, asked = make_run(tmp_path / "a", [RunStarted("distill")]), tmp_path / "a.config.yaml"
    asked.touch()
    discard_refused(run.path, beside=[asked])
    assert run.exists
    assert asked.exists()
    (tmp_path / "thesis").mkdir()
    for name in ("thesis.tex", "log.txt"):
        (tmp_path / "thesis" / name).touch()
    discard_refused(tmp_path / "thesis", beside=[asked])
    assert len(list((tmp_path / "thesis").iterdir())) == 2
    assert asked.exists()
    discard_refused(tmp_path / "never made", beside=[asked])
    assert not asked.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the freedesktop trash")
def test_a_deleted_run_lies_in_the_trash(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", [RunStarted("distill"), RunCancelled()])
    code = "import sys; from napari_ifkd.runs.listing import delete_run; delete_run(sys.argv[1])"
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=True, env={**os.environ, "XDG_DATA_HOME": str(home)}, timeout=60)
    assert not run.path.exists()
    back = home / "Trash" / "files" / "a"
    assert RunFolder.open(back).status == "cancelled"  # whole
    assert str(run.path) in (home / "Trash" / "info" / "a.trashinfo").read_text()


def test_leaving_out_progress_leaves_out_nothing_else(tmp_path: Path) -> None:
    told: list[Event] = [
        RunStarted("train"),
        Progress("training", 1, 9),
        Warned('so it said: {"event": "Progress"}'),
        Progress("training", 9, 9),
    ]
    run = make_run(tmp_path / "a", [*told, RunCancelled()])
    kept = [event for event, _ in run.journal.events(progress=False)]
    assert kept == [event for event in run.events() if not isinstance(event, Progress)]
    assert len(kept) == 3
    ends = [position for _, position in run.journal.events(progress=False)]
    assert [event for event, _ in run.journal.events(ends[0])] == run.events()[1:]  # a position is one to go on from
