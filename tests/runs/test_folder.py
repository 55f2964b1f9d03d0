"""The run folder keeps what it is given, and survives what a dying process leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_ifkd.config import Config
from napari_ifkd.errors import ConfigError, RunError
from napari_ifkd.events import (
    Decision,
    EpochDone,
    Event,
    MapReady,
    Progress,
    RoundDone,
    RunCancelled,
    RunDone,
    RunFailed,
    RunStarted,
    UnknownEvent,
    Warned,
)
from napari_ifkd.runs.folder import RunFolder

EVENTS: list[Event] = [
    RunStarted("distill"),
    Warned("colours of a µ-scope"),
    Progress("bags", 1, 2, "tiles", 3.5, 0.2),
    EpochDone(1, 1, 2, 0.5, {"bag_accuracy": 0.9}),
    RoundDone(0, None, {"f1": 0.5}),
    RoundDone(1, Decision(True, "cautious", "area +2 %", "The student keeps the area."), {"f1": 0.6}),
    MapReady(1, "a.tif", "rounds/01/maps/a.zarr"),
    RunDone(1, "done"),
    RunCancelled(),
    RunFailed("no"),
    UnknownEvent("FromTheFuture", {"x": 1}),
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(
        tmp_path / "run", "distill", Config().replaced(seed=3), {"data": ["/far/a.tif"]}, slides=[{"name": "a.tif"}], model={"name": "t"}
    )


def test_every_event_comes_back(run: RunFolder) -> None:
    for event in EVENTS:
        run.append(event)
    back = run.events()
    assert back[:-1] == EVENTS[:-1]
    assert isinstance(back[-1], UnknownEvent)
    assert back[-1].name == "FromTheFuture"
    assert all("time" in json.loads(line) for line in run.journal.path.read_text(encoding="utf-8").splitlines())


def test_torn_last_line_is_ignored_and_does_not_swallow_the_next_event(run: RunFolder) -> None:
    run.append(EVENTS[0])
    with run.journal.path.open("a") as file:
        file.write('{"event": "Progr')
    assert RunFolder(run.path).events() == [EVENTS[0]]
    later = RunFolder(run.path)  # as a resumed process would
    later.append(EVENTS[3])
    assert later.events() == [EVENTS[0], EVENTS[3]]


def test_unreadable_line_is_skipped(run: RunFolder) -> None:
    run.append(EVENTS[0])
    with run.journal.path.open("a") as file:
        file.write("\0\0\0\n[1]\n")
    run.append(EVENTS[3])
    assert run.events() == [EVENTS[0], EVENTS[3]]


def test_run_yaml_describes_the_run(run: RunFolder) -> None:
    about = RunFolder.open(run.path).about
    assert about["act"] == run.act == "distill"
    assert about["seed"] == 3
    assert about["slides"] == [{"name": "a.tif"}]
    assert about["model"] == {"name": "t"}
    assert {"napari-ifkd", "torch", "python"} <= about["versions"].keys()
    assert run.config == Config().replaced(seed=3)
    assert "/far" not in str({key: value for key, value in about.items() if key != "data"})


def test_same_question_takes_up_the_run_another_is_refused(run: RunFolder) -> None:
    again = RunFolder.create(run.path, "distill", run.config, {"data": ["/far/a.tif"]})
    assert again.about["slides"] == [{"name": "a.tif"}]
    for act, config, data in (
        ("train", run.config, {"data": ["/far/a.tif"]}),
        ("distill", Config(), {"data": ["/far/a.tif"]}),
        ("distill", run.config, {"data": ["/far/b.tif"]}),
    ):
        with pytest.raises(RunError, match=r"another distill run.*--out"):
            RunFolder.create(run.path, act, config, data)


def test_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"not empty.*thesis\.tex.*--out"):
        RunFolder.create(tmp_path, "train", Config(), {})
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex", "train", Config(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_log_alone_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("starting")
    assert RunFolder.create(tmp_path, "train", Config(), {}).exists


def test_a_run_that_was_killed_while_it_wrote_its_first_file_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / ".run.yaml.0123abcd.part").write_text("format: 1\nact: tr")
    assert RunFolder.create(tmp_path, "train", Config(), {}).act == "train"
    assert [p.name for p in tmp_path.iterdir()] == ["run.yaml"]


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.yaml").write_text("act: [")
    with pytest.raises(RunError, match=r"run\.yaml: cannot be read"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.yaml").write_text("{act: train, config: {}, data: {}, format: 99}")
    with pytest.raises(RunError, match="format 99"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.yaml").write_text("{act: train, config: {sead: 1}, data: {}}")
    with pytest.raises(ConfigError, match="sead"):
        _ = RunFolder.open(tmp_path).config


def test_checkpoint_round_trip_and_damage(run: RunFolder) -> None:
    import torch

    assert run.load_checkpoint() is None
    state = {"weights": torch.arange(3.0), "rng": {"state": 2**100, "words": [1, "a", None, True]}}
    run.save_checkpoint(state)
    run.save_checkpoint(state)
    back = run.load_checkpoint()
    assert back is not None
    assert torch.equal(back["weights"], state["weights"])
    assert back["rng"] == state["rng"]
    assert [p.name for p in run.checkpoint.parent.iterdir()] == ["state.pt"]
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:100])
    with pytest.raises(RunError, match=r"state\.pt: cannot be read"):
        run.load_checkpoint()


def test_checkpoint_never_runs_code(run: RunFolder, tmp_path: Path) -> None:
    import pickle

    run.checkpoint.parent.mkdir()
    run.checkpoint.write_bytes(pickle.dumps(Path(tmp_path)))
    with pytest.raises(RunError):
        run.load_checkpoint()


def test_rounds_maps_and_metrics(run: RunFolder) -> None:
    assert run.rounds() == []
    for index in (0, 1, 2):
        run.round_dir(index).mkdir(parents=True)
        run.model_path(index).touch()
    (run.round_dir(3) / "maps").mkdir(parents=True)  # a round in the making
    assert run.rounds() == [0, 1, 2]
    run.write_metrics(1, {"f1": 0.5})
    assert run.metrics(1) == {"f1": 0.5}
    assert run.metrics(2) == {}
    made = run.map_path(1, "/far/a.b.tif")
    made.mkdir(parents=True)
    assert run.maps(1) == {}  # not complete
    (made / "zarr.json").write_text(json.dumps({"attributes": {"napari_ifkd": {"slide": {"name": "a.b.tif"}}}}))
    assert run.maps(1) == {"a.b.tif": made}


def test_accept(run: RunFolder) -> None:
    assert run.accepted is None
    with pytest.raises(RunError, match="no round 1"):
        run.accept(1, 0.5)
    run.round_dir(1).mkdir(parents=True)
    run.model_path(1).touch()
    accepted = run.accept(1, 0.4, "user")
    assert RunFolder(run.path).accepted == accepted
    assert (accepted.round, accepted.threshold, accepted.by) == (1, 0.4, "user")
    assert accepted.is_mask(1, 0.4, 7.0)  # nobody noted at which smoothing
    assert run.take_back() is None
    assert run.accepted is None
    by_points = run.accept(1, 0.3, "points", "better", 3.0)
    assert (by_points.is_mask(1, 0.3, 3.0), by_points.is_mask(1, 0.3, 0.0), by_points.is_mask(1, 0.4, 3.0)) == (True, False, False)
    for _ in range(2):  # once more is no other word
        run.accept(1, 0.6, "user", sigma_px=1.0)
    assert "before" not in run.accept(1, 0.7, "user").record()
    assert RunFolder(run.path).take_back().threshold == 0.6  # type: ignore[union-attr]
    assert RunFolder(run.path).take_back() == by_points == run.accepted
    for n in range(30):
        run.accept(1, n / 100)
    count = 0
    while run.take_back() is not None:
        count += 1
    assert count == 19  # of very many the last ones
    (run.path / "accepted.json").write_text(
        '{"round": 1, "threshold": 0.5, "by": "user", "time": "t", "reason": ""}'
    )  # as earlier versions
    assert run.accepted is not None
    (run.path / "accepted.json").write_text('{"round": 1, "threshold": 0.5, "by": "user", "time": "t", "before": 3}')
    assert run.accepted is not None
    assert run.accepted.before is None


def test_recommended_round_is_the_last_switched_in(run: RunFolder) -> None:
    assert run.recommended_round() == 0
    run.append(RoundDone(1, Decision(True, "cautious", "", "")))
    run.append(RoundDone(2, Decision(False, "cautious", "", "")))
    assert run.recommended_round() == 1


def test_status(run: RunFolder) -> None:
    assert run.status == "empty"
    run.append(RunStarted("train"))
    assert run.status == "interrupted"
    run.append(RunFailed("no"))
    assert run.status == "failed"
    run.append(RunStarted("train", resumed=True))
    assert run.status == "interrupted"
    run.append(RunCancelled())
    assert run.status == "cancelled"
    run.append(RunDone(0, ""))
    assert run.status == "done"
    with run.lock():
        assert run.status == "running"


def test_lock_excludes_another_and_a_dead_process_holds_none(run: RunFolder) -> None:
    code = (
        "import sys, time; from napari_ifkd.runs.folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).lock(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert run.writer == other.pid
        with pytest.raises(RunError, match=f"pid {other.pid}.*--out"), run.lock():
            pass
        other.kill()
        other.wait()
    start = time.monotonic()
    with run.lock():
        assert time.monotonic() - start < 0.5
    assert run.writer is None
