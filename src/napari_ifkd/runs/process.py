"""A run in a process of its own: it outlives the window, and tells what happens through its journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_ifkd.errors import RunError
from napari_ifkd.events import Event, RunCancelled, RunDone, RunFailed
from napari_ifkd.files import cannot_write

from . import lock
from .failure import disk_now
from .folder import RunFolder
from .stop import never

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

_POLL_S = 0.1
_NICER = 5
_ON_WINDOWS = ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW", "BELOW_NORMAL_PRIORITY_CLASS")
_RESUME = "Resume it to go on from the last complete epoch."
_ENDS = (RunDone, RunCancelled, RunFailed)


class ChildRun:
    """A run driven by another process. Use :meth:`start` or :meth:`attach`.

    Parameters
    ----------
    folder : the run
    process : the child, if we started it
    position : byte of the journal to follow from
    """

    def __init__(self, folder: RunFolder, process: subprocess.Popen[bytes] | None = None, position: int = 0) -> None:
        self.folder, self.process = folder, process
        self._position = position
        self._log_start = _size(folder.log) if process is None else 0
        self._cancelled = False

    @classmethod
    def start(cls, argv: Sequence[str | Path], out: str | Path) -> ChildRun:
        """Start ``python -m napari_ifkd ARGV`` in a session of its own; it goes on when this process closes.

        Parameters
        ----------
        argv : the command and its options, such as ``["distill", slide, "--teacher", ..., "--out", out]``
        out : the run folder that `argv` names; it need not exist

        Raises
        ------
        RunError
            If `out` is neither new, empty nor a run, or another process works on it.
        """
        folder = RunFolder(out)
        folder.check_free()
        try:
            held = lock.take(folder.path / "lock", patience=0.2)
            try:
                folder.forget_asked()
                position, log_start = folder.journal.size(), _size(folder.log)
                process = _spawn(argv, folder.log, held)
                with suppress(OSError):  # on a full disk; the child says so
                    lock.write_pid(held, process.pid)
            finally:
                os.close(held)  # the child holds on to it
        except OSError as error:
            raise cannot_write(RunError, out, error) from error
        threading.Thread(target=process.wait, daemon=True, name="reap run").start()  # no zombie, even if nobody follows
        child = cls(folder, process, position)
        child._log_start = log_start
        return child

    @classmethod
    def attach(cls, out: str | Path) -> ChildRun:
        """Follow a run that another process started, from its first event on; it may be over.

        Raises
        ------
        RunError
            If `out` is no run.
        """
        folder = RunFolder(out)
        return cls(folder if folder.writer is not None else RunFolder.open(out))  # at work, but perhaps still loading

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None if self.process is not None else self.folder.writer is not None

    def follow(self, until: Callable[[], bool] = never) -> Generator[Event, None, None]:
        """Yield the run's events as they come; the last is RunDone, RunCancelled or RunFailed.

        Parameters
        ----------
        until : asked ten times a second; once true, the following ends and the run goes on (for a window that closes)
        """
        last: Event | None = None
        while not until():
            alive = self.running  # before reading: what a dying child wrote last is then read too
            for event, position in self.folder.journal.events(self._position):
                last, self._position = event, position
                yield event
            if not alive:
                if not isinstance(last, _ENDS):
                    asked = self._cancelled or self.folder.stop_file.exists()  # the latter by another process
                    yield RunCancelled() if asked else RunFailed(self._last_words())
                return
            time.sleep(_POLL_S)

    def pause(self) -> None:
        """Ask the run to wait after its present batch, with all it has in memory; nothing where it is over."""
        if self.running:
            self.folder.pause_file.touch()

    def proceed(self) -> None:
        """Let a paused run go on."""
        self.folder.pause_file.unlink(missing_ok=True)

    def cancel(self) -> None:
        """Ask the run to stop; after 1 s terminate it, before 2 s kill it. Everything complete stands, and `resume` goes on from there.

        Raises
        ------
        RunError
            If its process does not end: it is another user's, or the system holds it.
        """
        self._cancelled = True
        if not self.running:
            return
        self.folder.stop_file.touch()
        kill = getattr(signal, "SIGKILL", signal.SIGTERM)
        if not (self._ended(1.0) or self._ended(0.8, signal.SIGTERM) or self._ended(5.0, kill)):
            raise RunError(
                self.folder.path, f"its process (pid {self.folder.writer}) does not end", "End it yourself; the run stops when it can"
            )
        self._note_cancelled()

    def _ended(self, seconds: float, number: int | None = None) -> bool:
        """Send a signal, if any, and wait for the end of the process."""
        pid = self.process.pid if self.process is not None else self.folder.writer
        if number is not None and pid and self.running:
            with suppress(OSError):  # it went of itself in between, or is not ours
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _note_cancelled(self) -> None:
        # a killed child could not write its last event; nobody else writes now, so we may
        with suppress(RunError, OSError), self.folder.lock():  # unless somebody has taken it up again
            events = self.folder.events()
            if events and not isinstance(events[-1], _ENDS):
                self.folder.append(RunCancelled())

    def _last_words(self) -> str:
        """Tell in one sentence why the child ended without a final event."""
        disk = disk_now(self.folder.path)  # it takes no last words
        if self.process is None:
            return str(disk or f"{self.folder.path}: the run ended without a word (killed?). {_RESUME}")
        code = self.process.returncode
        try:
            with self.folder.log.open("rb") as file:
                file.seek(self._log_start)
                said = file.read().decode("utf-8", "replace")
        except OSError:
            said = ""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
            memory = " (perhaps out of memory)" if name == "SIGKILL" else ""
            return f"{self.folder.path}: the run was ended by {name}{memory}. {_RESUME}"
        if lines and lines[-1].startswith("error: ") and said.endswith("\n"):
            return lines[-1].removeprefix("error: ")
        if disk is not None:
            return str(disk)
        return lines[-1] if lines else f"{self.folder.path}: the run ended with status {code} and said nothing. {_RESUME}"


def _spawn(argv: Sequence[str | Path], log: Path, held: int) -> subprocess.Popen[bytes]:
    posix = os.name != "nt"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_ifkd", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            # wide: one error, one line of the log
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "1000", **({lock.HANDED: str(held)} if posix else {})},
            pass_fds=(held,) if posix else (),
            start_new_session=posix,
            creationflags=sum(getattr(subprocess, name, 0) for name in _ON_WINDOWS),
        )
    if posix:  # behind the window that it runs beside: alone it has the whole machine all the same
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
    return process


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
