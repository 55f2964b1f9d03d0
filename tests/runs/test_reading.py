"""A run folder can be read at every instant, and whatever was torn, damaged, taken away or written by a newer version."""

from __future__ import annotations

import json
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import RunError
from napari_ifkd.events import EpochDone, Event, MapReady, RoundDone, RunDone, UnknownEvent
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model
from napari_ifkd.runs.acts import distill_run, resume_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.listing import list_runs
from napari_ifkd.runs.process import ChildRun
from napari_ifkd.session_story import RunStory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


@pytest.fixture(scope="module")
def whole(drawn_slide: Path, drawn_teacher: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    list(distill_run([drawn_slide], drawn_teacher, out, config))
    return out


@pytest.fixture(scope="module")
def stopped(drawn_slide: Path, drawn_teacher: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that was stopped after its first epoch."""
    out, seen = tmp_path_factory.mktemp("stopped") / "run", []
    for event in distill_run(
        [drawn_slide], drawn_teacher, out, config, should_stop=lambda: any(isinstance(event, EpochDone) for event in seen)
    ):
        seen.append(event)
    return out


def add_line(text: str) -> Callable[[RunFolder], None]:
    def add(run: RunFolder) -> None:
        with run.journal.path.open("a", encoding="utf-8") as file:
            file.write(text)

    return add


def without_a_map(run: RunFolder) -> None:
    shutil.rmtree(next(iter(run.maps(0).values())))


def with_a_map_of_another_program(run: RunFolder) -> None:
    path = next(iter(run.maps(0).values())) / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attributes": {"napari_ifkd": ["odd"]}}))


def without_metrics(run: RunFolder) -> None:
    for path in run.path.glob("rounds/*/metrics.json"):
        path.unlink()


def with_torn_metrics(run: RunFolder) -> None:
    for path in run.path.glob("rounds/*/metrics.json"):
        path.write_text(path.read_text()[:20])


def with_torn_judgement(run: RunFolder) -> None:
    (run.path / "accepted.json").write_text('{"round": 1, "thresh')


def without_a_journal(run: RunFolder) -> None:
    run.journal.path.unlink()


def with_asides_of_a_killed_writer(run: RunFolder) -> None:
    run.round_dir(1).mkdir(parents=True, exist_ok=True)
    (run.round_dir(1) / ".student.safetensors.0123abcd.part").write_bytes(b"half")
    (run.round_dir(0) / "maps" / ".other.zarr.partial").mkdir()
    (run.round_dir(0) / "maps" / ".other.zarr.partial" / "zarr.json").write_text("{}")
    (run.checkpoint.parent / ".state.pt.0123abcd.part").write_bytes(b"half")


NEWER = [
    {"event": "SlideTurned", "degrees": 90},
    {"event": "EpochDone", "round": 1},  # lacks what we need
    {"event": "RoundDone", "index": 0, "decision": {"switched": True, "criterion": "x", "evidence": "", "reason": "", "vote": 3}, "by": 1},
    {"event": "RoundDone", "index": 0, "decision": {"verdict": "good"}},
    {"event": ["odd"]},
    {},
]
LINES = "".join(json.dumps(record) + "\n" for record in NEWER)

HARMLESS: list[Any] = [
    add_line('{"event": "EpochDone", "rou'),
    add_line(LINES),
    add_line('\0\0\0\0{"a"\n[3]\n"x"\n\udcff\n'.encode("utf-8", "surrogatepass").decode("latin-1")),
    without_a_map,
    with_a_map_of_another_program,
    without_metrics,
    with_torn_metrics,
    with_torn_judgement,
    without_a_journal,
    with_asides_of_a_killed_writer,
]
NAMES = ["torn-line", "newer-events", "odd-lines", *(case.__name__ for case in HARMLESS[3:])]


def look(run: RunFolder) -> list[Event]:
    """Read all that anybody reads of a run, the rows of a list and the window's story too."""
    events = run.events()
    assert run.status
    for index in run.rounds():
        load_model(run.model_path(index))
        assert isinstance(run.metrics(index), dict)
        assert isinstance(run.maps(index), dict)
    assert run.recommended_round() >= 0
    _ = run.accepted
    row = list_runs(run.path)[0]
    assert row.status == run.status
    assert RunStory.read(run.path).job.out == run.path
    return events


@pytest.mark.parametrize("damage", HARMLESS, ids=NAMES)
def test_a_damaged_run_is_read_and_resumed(tmp_path: Path, stopped: Path, whole: Path, damage: Callable[[RunFolder], None]) -> None:
    run = RunFolder(shutil.copytree(stopped, tmp_path / "run"))
    before = look(run)
    damage(run)
    after = look(run)
    if damage is not without_a_journal:
        assert after[: len(before)] == before
    assert isinstance(list(resume_run(run.path))[-1], RunDone)
    ended = look(run)
    assert run.status == "done"
    done = [event for event in RunFolder(whole).events() if isinstance(event, RoundDone) and event.index]
    assert [event for event in ended if isinstance(event, RoundDone) and event.index][-2:] == done
    assert [path.name for path in run.path.rglob(".*.part")] == []


def test_newer_events_are_kept_and_what_we_know_of_them_is_read(tmp_path: Path, whole: Path) -> None:
    run = RunFolder(shutil.copytree(whole, tmp_path / "run"))
    before = run.events()
    add_line(LINES)(run)
    turned, lacking, decided, undecided, odd, empty = run.events()[len(before) :]
    assert turned == UnknownEvent("SlideTurned", {"degrees": 90})
    assert isinstance(lacking, UnknownEvent)
    assert isinstance(decided, RoundDone)
    assert decided.decision is not None
    assert decided.decision.switched
    assert all(isinstance(event, UnknownEvent) for event in (undecided, odd, empty))
    assert run.status == "done"
    assert list(ChildRun.attach(run.path).follow())[: len(before)] == before


def test_a_missing_map_is_told_by_the_window_and_its_round_stays(tmp_path: Path, whole: Path) -> None:
    run = RunFolder(shutil.copytree(whole, tmp_path / "run"))
    shutil.rmtree(run.maps(1)["tiny.tif"])
    story = RunStory.read(run.path)
    assert "does not exist" in story.notice
    assert {candidate.round for candidate in story.candidates} == {0, 2}
    assert [event.index for event in story.rounds] == [0, 1, 2]
    assert run.maps(1) == {}
    with pytest.raises(RunError, match="does not exist"):
        open_map(run.map_path(1, "tiny.tif"))


def test_a_newer_format_is_refused_by_all_that_would_go_on_with_it_and_listed(tmp_path: Path, whole: Path) -> None:
    run = RunFolder(shutil.copytree(whole, tmp_path / "run"))
    about = yaml.safe_load((run.path / "run.yaml").read_text())
    (run.path / "run.yaml").write_text(yaml.safe_dump({**about, "format": 99, "more": {"than": "we know"}}))
    assert run.status == "done"
    assert isinstance(run.events()[-1], RunDone)
    for use in (RunFolder.open, RunStory.read, lambda path: list(resume_run(path))):
        with pytest.raises(RunError, match=r"has format 99, this version knows 1\. Use the version that made the run\."):
            use(run.path)
    assert "format 99" in list_runs(run.path)[0].problem


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "other"])
def test_a_damaged_checkpoint_stops_nobody_but_who_would_go_on_from_it(tmp_path: Path, stopped: Path, damage: str) -> None:
    run = RunFolder(shutil.copytree(stopped, tmp_path / "run"))
    content = run.checkpoint.read_bytes()
    half = len(content) // 2
    run.checkpoint.write_bytes({"empty": b"", "half": content[:half], "zeros": content[:half] + bytes(half), "other": b"PK\3\4 no"}[damage])
    look(run)
    with pytest.raises(RunError, match=r"state\.pt: cannot be read\. Delete it, and resume starts the training of this run anew\."):
        list(resume_run(run.path))
    look(run)
    run.checkpoint.unlink()
    assert isinstance(list(resume_run(run.path))[-1], RunDone)


def test_it_can_be_read_at_every_instant(
    tmp_path: Path, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "run"
    child = ChildRun.start(["distill", drawn_slide, "--teacher", drawn_teacher, "--out", out, "--config", drawn_config], out)
    run, seen, looks, states, rounds = RunFolder(out), [], 0, set(), set()
    maps: dict[tuple[int, str], bytes] = {}
    request.addfinalizer(child.cancel)
    while child.running:
        events = run.events()
        assert events[: len(seen)] == seen  # what was told stays told
        seen = events
        time.sleep(0.03)  # or the run would hardly get on
        if not run.exists:
            continue
        assert run.about["act"] == "distill"
        states.add(run.status)
        for event in events:
            if isinstance(event, MapReady):
                assert (out / event.path).is_dir()
        for index in run.rounds():
            if index not in rounds:
                load_model(run.model_path(index))
            rounds.add(index)
            for name, path in run.maps(index).items():
                values = np.asarray(open_map(path).levels[0]).tobytes()
                assert maps.setdefault((index, name), values) == values  # whole when it appears
            metrics = run.path / "rounds" / f"{index:02d}" / "metrics.json"
            if metrics.exists():
                json.loads(metrics.read_text())
        epochs = [event for event in events if isinstance(event, EpochDone)]
        state = run.load_checkpoint()
        assert state is not None or not epochs  # an epoch that was told is on disk
        assert not list_runs(out)[0].problem
        RunStory.read(out)
        looks += 1
    assert child.process is not None
    assert child.process.wait() == 0, run.log.read_text()
    assert looks > 5
    assert {"running"} <= states <= {"running", "done", "empty"}
    assert {index for index, _ in maps} | rounds == {0, 1, 2}
    assert not re.search(r"Traceback", run.log.read_text())
