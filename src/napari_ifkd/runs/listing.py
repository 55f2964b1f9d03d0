"""The runs below a folder, a row each, and their removal."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_ifkd.errors import InputError, RunError
from napari_ifkd.events import RoundDone, RunDone, RunFailed

from .folder import RunFolder
from .status import Status, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_ifkd.events import Event

T = TypeVar("T")

_DEEP = 3  # folders between the one asked about and a run; such as project/slide/attempt/RUN
_TAIL = 8192  # bytes of the log in which its last words are
_NO_RUNS_IN = (".zarr", ".mrxs")  # maps and slides: many files, no runs


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as a row of a list.

    Parameters
    ----------
    path : the folder
    name : its last part
    act : "train", "predict" or "distill"; empty where run.yaml does not tell
    slides : file names of the slides, or folder names of the patches, that it works on
    model : name of the network or the pseudo-masks it starts from, or of the network it trains
    status : what became of it
    rounds : rounds of distillation that are complete
    rounds_asked : rounds asked for at most; 0 where it is no distillation
    accepted : which round is the one to use, from which threshold on, by whom, and after a colon why; empty where nothing decided yet
    size_bytes : on disk
    changed : when anything was last told or judged, UTC
    problem : why parts of the row are missing; empty where all could be read
    failure : why it failed, or ended without its journal's telling; empty where nothing says so
    """

    path: Path
    name: str
    act: str
    slides: tuple[str, ...]
    model: str
    status: Status
    rounds: int
    rounds_asked: int
    accepted: str
    size_bytes: int
    changed: datetime
    problem: str = ""
    failure: str = ""


def list_runs(folder: str | Path) -> list[RunSummary]:
    """Summarise the runs in a folder and a few levels below it, the one that changed last first.

    Parameters
    ----------
    folder : to look in; if it is a run itself, that is the only one

    Raises
    ------
    RunError
        If the folder is not there or cannot be read. What is wrong with a single run stands in its row.
    """
    top = Path(folder)
    try:
        next(os.scandir(top), None)
    except OSError as error:
        raise RunError(top, f"cannot be read ({error.strerror})", "Give a folder that holds runs") from error
    rows = [summarise(path) for path in _runs_in(top, _DEEP, set())]
    return sorted(rows, key=lambda row: row.changed, reverse=True)


def summarise(path: str | Path) -> RunSummary:
    """Summarise one run. Whatever cannot be read becomes the row's problem."""
    run = RunFolder(path)
    problems: list[str] = []

    def read(get: Callable[[], T], otherwise: T) -> T:
        try:
            return get()
        except InputError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - of another version, or written by hand: one odd run must not hide the others
            problems.append(f"{run.path}: cannot be read ({type(error).__name__}: {error})")
        return otherwise

    events: list[Event] = read(lambda: [event for event, _ in run.journal.events(progress=False)], [])
    about: dict[str, Any] = read(lambda: run.about, {})
    act = str(about.get("act", ""))
    waits = run.pause_file.exists()
    status: Status = read(lambda: status_of(events, at_work=run.writer is not None, may_wait=waits), "empty")
    failure = read(lambda: _failure(run, status, events), "")
    return RunSummary(
        path=run.path,
        name=run.path.resolve().name,
        act=act,
        slides=read(lambda: _slides(about), ()),
        model=read(lambda: _model(about), ""),
        status=status,
        rounds=len({event.index for event in events if isinstance(event, RoundDone) and event.index}),
        rounds_asked=read(lambda: int(about["config"]["rounds"]["rounds"]), 0) if act == "distill" else 0,
        accepted=read(lambda: _accepted(run, act, events), ""),
        size_bytes=_size(run.path),
        changed=_changed(run),
        problem=" ".join(problems[0].split()) if problems else "",
        failure=failure,
    )


def delete_run(path: str | Path, *, forever: bool = False, beside: Iterable[Path] = ()) -> None:
    """Move a run to the trash of the desktop.

    Parameters
    ----------
    path : the run folder
    forever : remove it instead; nothing brings it back
    beside : files and folders that go with it

    Raises
    ------
    RunError
        If it is no run, a process works on it, or it cannot be moved or removed.
    """
    run = RunFolder(path)
    if not run.exists:
        raise RunError(path, "is no run folder (it has no run.yaml)", "Only runs are deleted")
    try:
        with ExitStack() as held:
            held.enter_context(run.lock())  # nobody works on it, and nobody begins to
            if os.name == "nt":  # where nothing that is open can be removed
                held.close()
            for each in (run.path, *beside):
                _remove(each) if forever else _trash(each)
    except OSError as error:
        remedy = "See who may write there" if forever else "Delete it forever instead (--forever)"
        cause = error.strerror or str(error)
        raise RunError(path, f"cannot be {'removed' if forever else 'moved to the trash'} ({cause})", remedy) from error


def discard_refused(path: Path, *, beside: Iterable[Path] = ()) -> None:
    """Remove what is left of a run that was refused before it was one, and what goes with it; a folder that holds anything else stays."""
    run = RunFolder(path)
    ours = {run.stop_file, run.pause_file, run.log, run.journal.path, run.path / "lock"}
    with suppress(OSError):
        if run.writer is not None or (run.path.exists() and not ours.issuperset(run.path.iterdir())):
            return
        for each in (*([run.path] if run.path.exists() else []), *beside):
            _remove(each)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _trash(path: Path) -> None:
    from send2trash import send2trash

    send2trash(path.absolute())


def _runs_in(folder: Path, deep: int, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    if RunFolder(folder).exists:
        yield folder
        return
    if deep < 0:
        return
    try:
        inside = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:  # not ours to read, or gone
        return
    for path in inside:
        if not path.endswith(_NO_RUNS_IN):
            yield from _runs_in(Path(path), deep - 1, seen)


def _slides(about: dict[str, Any]) -> tuple[str, ...]:
    names = [str(slide.get("name", "")) for slide in about.get("slides") or []]
    data = about.get("data") or {}
    given = data.get("data") or ([data["patches"]] if "patches" in data else [])  # the latter by earlier versions
    files = {Path(name).name for name in names}
    return (*names, *(Path(str(item)).name for item in given if Path(str(item)).name not in files))


def _model(about: dict[str, Any]) -> str:
    model = about.get("model") or {}
    network = (about.get("config") or {}).get("network") or {}
    return str(model.get("name") or network.get("name") or "")


def _accepted(run: RunFolder, act: str, events: list[Event]) -> str:
    """Tell which round is to be used, and why: by accepted.json, else by the run's own word, else by its rounds so far."""
    done = next((event for event in reversed(events) if isinstance(event, RunDone)), None)
    judged = run.accepted
    if judged is not None:
        text = f"{_round(judged.round)} at {judged.threshold:.3g} by {judged.by}"
        return f"{text}: {judged.reason}" if judged.reason else text
    if act != "distill":
        return "" if done is None else done.reason
    if done is not None:
        return f"{_round(done.accepted_round)} by the run: {done.reason}"
    decided = [event for event in events if isinstance(event, RoundDone) and event.decision is not None]
    if not decided:
        return ""
    last = decided[-1]
    assert last.decision is not None
    return f"{_round(run.recommended_round())} so far: {last.decision.reason}"


def _failure(run: RunFolder, status: Status, events: list[Event]) -> str:
    """Tell why a run ended badly: by its journal, else by the last words of its log."""
    if status == "failed":
        return next(event.message for event in reversed(events) if isinstance(event, RunFailed))
    if status not in ("interrupted", "empty") or not run.log.is_file():
        return ""
    with run.log.open("rb") as file:
        file.seek(max(0, run.log.stat().st_size - _TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines and lines[-1].startswith("error: ") else ""


def _round(index: int) -> str:
    return f"round {index}" if index else "the teacher"


def _size(folder: Path) -> int:
    total, open_folders = 0, [str(folder)]
    while open_folders:
        try:
            entries = list(os.scandir(open_folders.pop()))
        except OSError:  # it went meanwhile
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    open_folders.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
            except OSError:
                continue
    return total


def _changed(run: RunFolder) -> datetime:
    times = [0.0]
    for name in ("journal.jsonl", "run.yaml", "accepted.json"):
        try:
            times.append((run.path / name).stat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(max(times), UTC)
