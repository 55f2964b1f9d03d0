"""One session of a run, in a process that is killed (-9) at a moment of our choice, and that notes what it computed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# loaded once, by a process without threads from which sessions fork: each of them would take seconds to do so
_READY = ["__main__", "napari_ifkd.cli", "napari_ifkd.console", "napari_ifkd.runs.acts", "napari_ifkd.models.trunks", "torch._dynamo"]


@dataclass(frozen=True)
class Moment:
    """When a session is killed; never, if all is as it comes.

    Parameters
    ----------
    seconds : so long after its start, from outside
    event : just before its n-th change of a file in the run folder
    after : just before the change that follows the n-th time a file of this name is put in its place
    times : the n of `after`
    """

    seconds: float | None = None
    event: int | None = None
    after: str | None = None
    times: int = 1

    def __str__(self) -> str:
        """Tell it in words."""
        if self.seconds is not None:
            return f"after {self.seconds:.2f} s"
        if self.event is not None:
            return f"before file change {self.event}"
        return f"right after {self.after} {self.times}" if self.after else "never"


@dataclass(frozen=True)
class Session:
    """What became of a session.

    Parameters
    ----------
    code : its exit status, -9 if it was killed
    seconds : from start to end
    changes : files of the run folder that it began to change
    epochs : (round, epoch) of each epoch that it began to train
    tiles : that it predicted
    said : its last words
    """

    code: int
    seconds: float
    changes: int
    epochs: list[tuple[int, int]]
    tiles: int
    said: str


def run_session(words: list[str], run: Path, notes: Path, moment: Moment | None = None, patience_s: float = 600) -> Session:
    """Run the command line in a process of its own, to its end or to the moment when it is killed.

    Parameters
    ----------
    words : of the command
    run : the run folder they name
    notes : file for what the session does, written anew
    moment : when to kill it
    patience_s : after so long it is killed as a failure
    """
    moment = moment or Moment()
    for path in (notes, notes.with_suffix(".log")):
        path.unlink(missing_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_READY)
    process = context.Process(target=_session, args=(words, run, notes, moment))
    began = time.monotonic()
    process.start()
    process.join(patience_s if moment.seconds is None else moment.seconds)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    seconds = time.monotonic() - began
    noted = [json.loads(line) for line in notes.read_text().splitlines() if line.endswith("]")] if notes.exists() else []
    log = notes.with_suffix(".log")
    said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return Session(
        process.exitcode,
        seconds,
        sum(kind == "change" for kind, *_ in noted),
        [(index, number) for kind, index, number in noted if kind == "epoch"],
        sum(first for kind, first, _ in noted if kind == "tiles"),
        said[-1] if said else "",
    )


def _session(words: list[str], run: Path, notes: Path, moment: Moment) -> None:
    log = os.open(notes.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    note = _Notes(notes)
    _watch_files(run.resolve(), note, moment)
    _watch_work(note)
    from napari_ifkd.cli import main

    main(words)


class _Notes:
    """Lines of JSON, each written at once: what a killed process noted stands."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, *values: Any) -> None:
        os.write(self._file, json.dumps(values).encode() + b"\n")


def _watch_files(run: Path, note: _Notes, moment: Moment) -> None:
    """Count what changes below a folder, and die where it is time."""
    home = str(run)
    count, places, doomed, busy = 0, 0, False, False

    def look(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count, places, doomed, busy
        if busy or (event != "open" and not event.startswith("os.")):
            return
        busy = True
        try:
            path = _changed(event, args)
            if path is None or not path.startswith(home):
                return
            count += 1
            note("change", count, path[len(home) + 1 :])
            if doomed or count == moment.event:
                os.kill(os.getpid(), signal.SIGKILL)
            if event == "os.rename" and moment.after and path.endswith(moment.after):
                places += 1
                doomed = places == moment.times
        finally:
            busy = False

    sys.addaudithook(look)


def _changed(event: str, args: tuple[Any, ...]) -> str | None:
    """Return the path that a call changes, None if it only looks."""
    if event == "open":
        path, _, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        return os.path.abspath(os.fspath(path)) if writes and isinstance(path, str | bytes | os.PathLike) else None  # noqa: PTH100
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        path = args[1 if event == "os.rename" else 0]
        return os.path.abspath(os.fspath(path)) if isinstance(path, str | os.PathLike) else None  # noqa: PTH100
    return None


def _watch_work(note: _Notes) -> None:
    """Note each epoch when it begins, and each batch of tiles."""
    from napari_ifkd.distill.training import Trainer
    from napari_ifkd.inference.predictor import Predictor

    epoch, answer = Trainer.epoch, Predictor.__call__

    def noted_epoch(self: Any, number: int, loss_of: Any) -> Any:
        note("epoch", self.phase.index, number)
        return (yield from epoch(self, number, loss_of))

    def noted_answer(self: Any, images: Any, averaged_views: bool = False) -> Any:
        found = answer(self, images, averaged_views)
        note("tiles", len(images), 0)
        return found

    Trainer.epoch, Predictor.__call__ = noted_epoch, noted_answer  # type: ignore[method-assign]
