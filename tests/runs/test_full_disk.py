"""A run on a full or read-only disk: one sentence, nothing lost, and resumed once there is room."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ifkd.cli import main
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import InputError, RunError
from napari_ifkd.events import EpochDone, Event, MapReady, Progress, RoundDone, RunDone, RunFailed, RunStarted
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs.acts import distill_run, predict_run, resume_run, train_run
from napari_ifkd.runs.failure import disk_now
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.process import ChildRun

from .disks import fill, read_only, resize, small_disk, use_up

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

SENTENCE = re.compile(
    r"^(?P<file>/.+): cannot be written \((?P<cause>[^()]+)\)\. Make (space|it writable), then `napari-ifkd resume /.+`\.$"
)


@dataclass(frozen=True)
class Acts:
    """What the tests run, into any folder, and what comes out undisturbed."""

    run: dict[str, Callable[[Path], Generator[Event, None, None]]]
    argv: dict[str, list[str]]
    whole: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def acts(drawn_patches: Path, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Acts:
    config: Config = load_config(drawn_config)
    run: dict[str, Callable[[Path], Generator[Event, None, None]]] = {
        "train": lambda out: train_run([drawn_patches], out, config),
        "predict": lambda out: predict_run([drawn_slide], drawn_teacher, out, config),
        "distill": lambda out: distill_run([drawn_slide], drawn_teacher, out, config),
    }
    more = ["--config", str(drawn_config)]
    argv = {
        "train": ["train", str(drawn_patches), *more],
        "predict": ["predict", str(drawn_slide), "--model", str(drawn_teacher), *more],
        "distill": ["distill", str(drawn_slide), "--teacher", str(drawn_teacher), *more],
    }
    whole = {}
    for act, start in run.items():
        out = tmp_path_factory.mktemp("whole") / "run"
        list(start(out))
        whole[act] = made(out)
    return Acts(run, argv, whole)


def made(out: Path) -> dict[str, str]:
    """Return hashes of all networks and maps of a run, every one of them read."""
    run, found = RunFolder.open(out), {}
    for index in run.rounds():
        found[f"network {index}"] = weights_hash(load_model(run.model_path(index))[0])
        for name, path in run.maps(index).items():
            found[f"map {index} of {name}"] = str(hash(np.asarray(open_map(path).levels[0]).tobytes()))
    return found


def epochs(out: Path) -> list[tuple[int, int]]:
    return [(e.round, e.epoch) for e in RunFolder(out).events() if isinstance(e, EpochDone)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "48m") as folder:
        yield folder


def is_epoch(round: int, epoch: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, EpochDone) and (event.round, event.epoch) == (round, epoch)


MOMENTS: list[Any] = [
    pytest.param("train", lambda e: isinstance(e, RunStarted), id="train-begins"),
    pytest.param("train", is_epoch(0, 1), id="train-between-epochs"),
    pytest.param("train", is_epoch(0, 2), id="train-last-epoch"),
    pytest.param("predict", lambda e: isinstance(e, RunStarted), id="predict-begins"),
    pytest.param("predict", lambda e: isinstance(e, Progress), id="predict-amid-map"),
    pytest.param("distill", lambda e: isinstance(e, MapReady) and e.round == 0, id="distill-teacher-map"),
    pytest.param("distill", is_epoch(1, 1), id="distill-between-epochs"),
    pytest.param("distill", is_epoch(1, 2), id="distill-end-of-round"),
    pytest.param("distill", lambda e: isinstance(e, RoundDone) and e.index == 1, id="distill-between-rounds"),
]


def disturbed(events: Generator[Event, None, None], moment: Callable[[Event], bool], disturb: Callable[[], None]) -> list[Event]:
    """Drive a run that is disturbed at a moment; it must fail, in words, and tell no more than that it did."""
    seen: list[Event] = []
    with pytest.raises(RunError) as told:
        for event in events:
            seen.append(event)
            if moment(event):
                disturb()
                moment = lambda _: False  # noqa: E731
    assert isinstance(seen[-1], RunFailed)
    assert seen[-1].message == str(told.value)
    assert SENTENCE.match(str(told.value)), told.value
    return seen


@pytest.mark.parametrize(
    ("act", "moment", "full_journal"),
    [pytest.param(*case.values, False, id=case.id) for case in MOMENTS]
    + [pytest.param(*MOMENTS[k].values, True, id=f"{MOMENTS[k].id}-journal-too") for k in (1, 4, 7)],
)
def test_full_disk_is_told_and_resumed(disk: Path, acts: Acts, act: str, moment: Callable[[Event], bool], full_journal: bool) -> None:
    out = disk / "run"

    def disturb() -> None:
        if full_journal:
            use_up(out / "journal.jsonl")
        fill(disk)

    seen = disturbed(acts.run[act](out), moment, disturb)
    run = RunFolder.open(out)
    assert run.writer is None
    assert run.status == ("interrupted" if full_journal else "failed")
    before, told = made(out), epochs(out)  # what is there can be read
    assert told == [(e.round, e.epoch) for e in seen if isinstance(e, EpochDone)]
    assert before.items() <= acts.whole[act].items()
    with pytest.raises(InputError, match=r"no space left on the device"):  # still full
        list(resume_run(out))

    (disk / "ballast").unlink()
    assert isinstance(list(resume_run(out))[-1], RunDone)
    assert made(out) == acts.whole[act]
    assert epochs(out) == sorted(set(epochs(out))) >= told  # none is trained again
    assert not list(out.rglob("*.part*"))


@pytest.mark.parametrize(("act", "moment"), [MOMENTS[1], MOMENTS[4], MOMENTS[6]])
def test_read_only_run_is_told_and_resumed(disk: Path, acts: Acts, act: str, moment: Callable[[Event], bool]) -> None:
    out = disk / "run"
    locked: list[Any] = []

    def disturb() -> None:
        locked.append(read_only(out))
        locked[0].__enter__()

    try:
        disturbed(acts.run[act](out), moment, disturb)
        assert RunFolder.open(out).status == "interrupted"  # nothing could be written about its end
        assert made(out).items() <= acts.whole[act].items()
        with pytest.raises(RunError, match=r"cannot be written \(the disk is read-only\)\. Make it writable"):
            list(resume_run(out))
    finally:
        locked[0].__exit__(None, None, None)
    assert isinstance(list(resume_run(out))[-1], RunDone)
    assert made(out) == acts.whole[act]


@pytest.mark.parametrize("act", ["train", "predict", "distill"])
def test_command_line_tells_a_full_disk_in_one_line(tmp_path: Path, acts: Acts, act: str, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        out = disk / "run"
        assert status([*acts.argv[act], "--out", str(out)]) == 2
        said = capsys.readouterr().err
        last = said.splitlines()[-1]
        assert SENTENCE.match(last.removeprefix("error: ")), said
        assert "no space left on the device" in last
        assert "Traceback" not in said
        resize(disk, "48m")
        assert status(["resume", str(out)]) == 0
        assert made(out) == acts.whole[act]


def test_a_child_that_cannot_even_tell_is_spoken_for(disk: Path, acts: Acts, request: pytest.FixtureRequest) -> None:
    out = disk / "run"
    child = ChildRun.start([*acts.argv["distill"], "--out", str(out)], out)
    request.addfinalizer(child.cancel)
    last: Event | None = None
    for last in child.follow():
        if isinstance(last, MapReady):
            use_up(out / "journal.jsonl")
            use_up(out / "log.txt")
            fill(disk)
    assert isinstance(last, RunFailed)
    assert SENTENCE.match(last.message), last.message
    assert child.process is not None
    assert child.process.wait() == 2
    (disk / "ballast").unlink()
    assert isinstance(list(resume_run(out))[-1], RunDone)
    assert made(out) == acts.whole["distill"]


def test_a_new_run_on_a_full_or_read_only_disk_is_refused_in_words(disk: Path, acts: Acts) -> None:
    fill(disk)
    with pytest.raises(
        RunError, match=r"run: cannot be written \(no space left on the device\)\. Make space, or choose another folder \(--out\)\."
    ):
        list(acts.run["train"](disk / "run"))
    assert "(no space left on the device). Make space, then start it again." in str(disk_now(disk / "run"))
    (disk / "ballast").unlink()
    with (
        read_only(disk),
        pytest.raises(
            RunError, match=r"other: cannot be written \(the disk is read-only\)\. Make it writable, or choose another folder \(--out\)\."
        ),
    ):
        list(acts.run["train"](disk / "other"))
    assert isinstance(list(acts.run["train"](disk / "run"))[-1], RunDone)


# --- without the right to mount


@pytest.mark.parametrize("act", ["train", "distill"])
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_file_above_the_limit_is_told_and_resumed(tmp_path: Path, acts: Acts, act: str) -> None:
    import resource

    out = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            RunError, match=r"state\.pt: cannot be written \(the file is too large.*\)\. Lift the limit, then `napari-ifkd resume"
        ):
            for event in acts.run[act](out):
                if isinstance(event, EpochDone):
                    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert RunFolder.open(out).status == "failed"
    assert len(epochs(out)) == 1
    list(resume_run(out))
    assert made(out) == acts.whole[act]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_we_may_not_write_is_told(tmp_path: Path, acts: Acts) -> None:
    list(acts.run["train"](tmp_path / "run"))
    (tmp_path / "run").chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"cannot be written \(permission denied\)\. Get the right"):
            list(resume_run(tmp_path / "run"))
    finally:
        (tmp_path / "run").chmod(0o700)


@pytest.mark.parametrize("nth", [2, 6, 10, 13, 16])
def test_whichever_write_fails_nothing_whole_is_lost(tmp_path: Path, acts: Acts, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out, count, fsync = tmp_path / "run", 0, os.fsync

    def failing(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count >= nth:
            raise OSError(28, os.strerror(28))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(InputError, match="no space left on the device"):
        list(acts.run["train"](out))
    monkeypatch.undo()
    if (out / "run.yaml").exists():
        before = made(out)
        assert before.items() <= acts.whole["train"].items()
    list(acts.run["train"](out))
    assert made(out) == acts.whole["train"]
    assert epochs(out) == [(0, 1), (0, 2)]


def status(argv: list[str]) -> int:
    """Return the exit status of the command line."""
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert isinstance(left.value.code, int)
    return left.value.code
