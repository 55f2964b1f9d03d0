"""Work beside the window: a run in its own process, followed in a thread; short work in a thread. Events arrive on the Qt thread."""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from superqt.utils import create_worker

from napari_ifkd.errors import EngineError, InputError
from napari_ifkd.events import MapReady, Progress, RunFailed
from napari_ifkd.files import words_of
from napari_ifkd.inference import open_map
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.listing import discard_refused
from napari_ifkd.runs.process import ChildRun

from .commands import written_beside
from .layers import prepare
from .reader import named
from .trouble import TROUBLE
from .words import in_window

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from napari_ifkd.events import Event
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.session import Session
    from napari_ifkd.session_story import RunStory
    from napari_ifkd.slides import Slide


_DOCK_OF = {"train": "Teacher", "predict": "Teacher", "distill": "Distill"}  # runs, by what they do
_PROGRESS_S = 1.0  # each step shown draws the window, and with it the canvas, anew


def say_error(error: object, of: str = "") -> None:
    """Show an error to the user: in the dock that is seen, in full; else in napari's corner.

    Parameters
    ----------
    error : what went wrong
    of : the dock where it was asked for, such as "Export"; another dock names it
    """
    if isinstance(error, OSError) and error.filename is not None:
        cause, remedy = words_of(error)
        error = InputError(str(error.filename), f"cannot be used ({cause})", remedy)
    message = str(named(error) if isinstance(error, InputError) else error)
    if not TROUBLE.say(message, of):
        toast(message)


def toast(message: str) -> None:
    """Show an error in napari's corner."""
    from napari.utils.notifications import show_error

    show_error(message)


def in_thread(work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None] = say_error) -> Any:
    """Do something in a thread, then say so on the Qt thread.

    Parameters
    ----------
    work : called in a thread; must not touch widgets or layers
    done : called on the Qt thread with what `work` returned
    failed : called on the Qt thread with what it raised
    """

    def guarded() -> Any:
        try:
            return work()
        except RuntimeError as error:  # superqt would swallow it without a word
            raise EngineError(f"{type(error).__name__}: {error}") from error

    return create_worker(guarded, _start_thread=True, _connect={"returned": done, "errored": failed}, _ignore_errors=True)


class Runner:
    """Start, follow, pause and cancel the run of a session; one at a time. The run outlives the window, the following does not.

    Parameters
    ----------
    session : takes note of what happens
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._child: ChildRun | None = None
        self._worker: Any = None
        self._wish: Callable[[ChildRun], None] | None = None
        self._released = False

    @property
    def at_work(self) -> bool:
        """Whether a run starts, or is followed and its process lives, and was not asked to end."""
        job = self.session.job
        alive = job is not None and job.alive and job.state != "cancelling"
        return alive and not self._released and (self._child is None or self._child.running)

    def start(self, act: str, command: Callable[[], Sequence[str]], out: Path, slides: Iterable[Slide] = ()) -> None:
        """Start a command as a run of its own and follow it; the disk is waited for in a thread.

        Parameters
        ----------
        act : "train", "predict" or "distill"
        command : returns the words of the command; may write what the run needs besides. An error is told to the user
        out : the run folder to be
        slides : it looks at
        """
        former = self.session.job
        refused = former.out if former is not None and former.state == "failed" else None  # by now it was read why

        def asked() -> Sequence[str]:
            if refused is not None:
                discard_refused(refused, beside=written_beside(refused))
            return command()

        self.session.begin(act, out, slides)
        self._start(act, asked, out, lambda: self.session.forget_run(out))

    def resume(self, story: RunStory) -> None:
        """Take a run up again from its last complete epoch or tile row, and follow it; an error is told to the user."""
        self.session.take_run(story.restarted())
        self._start("", lambda: ["resume", str(story.job.out)], story.job.out, lambda: self.session.take_run(story))

    def attach(self, story: RunStory) -> None:
        """Follow a run that is at work already, from where its story ends; the session shows it."""
        self._released, self._wish = False, None
        self._follow(ChildRun(RunFolder(story.job.out), position=story.position))

    def pause(self) -> None:
        """Ask the run to wait, with all it has in memory."""
        self._ask(ChildRun.pause, "pausing")

    def proceed(self) -> None:
        """Let a waiting run go on."""
        self._ask(ChildRun.proceed, "running")

    def cancel(self) -> None:
        """Ask the run to stop, without making the window wait."""
        self._ask(ChildRun.cancel, "cancelling")

    def _ask(self, act: Callable[[ChildRun], None], state: Any) -> None:
        job = self.session.job
        if job is not None and job.alive:
            self.session.asked(state)
            self._wish = act
            self._grant()

    def _grant(self) -> None:
        """Do what was asked of the run, as soon as it has begun."""
        child, act = self._child, self._wish
        if child is not None and act is not None:
            self._wish = None
            in_thread(lambda: act(child), _nothing)

    def _start(self, act: str, command: Callable[[], Sequence[str]], out: Path, undo: Callable[[], None]) -> None:
        self._child, self._wish, self._released = None, None, False

        def failed(error: Exception) -> None:
            undo()
            say_error(error, _DOCK_OF.get(act, ""))

        in_thread(lambda: _started(command, out), self._follow, failed)

    def release(self) -> None:
        """Stop following; the run goes on."""
        self._released = True

    def _follow(self, child: ChildRun) -> None:
        self._child = child
        if self._released:  # the window went meanwhile
            return
        self._grant()
        self._worker = create_worker(
            _events,
            child,
            self._leaving,
            self._open,
            _start_thread=True,
            _connect={"yielded": self._take, "errored": self._lost, "finished": self._over},
            _ignore_errors=True,
        )

    def _leaving(self) -> bool:
        # asked in the thread: napari waits for its workers when it quits, so this one must not linger
        return self._released or (self._worker is not None and bool(self._worker.abort_requested))

    def _open(self, path: Path) -> ProbabilityMap:
        found = open_map(path)
        prepare(found, self.session.threshold, self.session.sigma_px)
        return found

    def _take(self, told: tuple[Event, ProbabilityMap | None]) -> None:
        if not self._released:
            event, found = told
            self.session.apply(event, found)
            if isinstance(event, RunFailed):
                toast(in_window(event.message))  # docks of runs show it as long as it is the last run

    def _lost(self, error: Exception) -> None:
        self._take((RunFailed(str(error)), None))

    def _over(self) -> None:
        self._worker = None


def _started(command: Callable[[], Sequence[str]], out: Path) -> ChildRun:
    return ChildRun.start(["--debug", *command()], out)  # the log then tells where an error came from


def _events(
    child: ChildRun, leaving: Callable[[], bool], opened: Callable[[Path], ProbabilityMap]
) -> Generator[tuple[Event, ProbabilityMap | None], None, None]:
    told, stage = float("-inf"), ""
    gc.freeze()  # until the end, garbage is looked for among new things only: among all of napari's it would stop the window for 0.2 s
    try:
        for event in child.follow(leaving):
            found = None
            if isinstance(event, Progress):
                if event.stage == stage and time.monotonic() - told < _PROGRESS_S:
                    continue
                told, stage = time.monotonic(), event.stage
            elif isinstance(event, MapReady):
                with suppress(InputError):  # the session tells what is wrong with it
                    found = opened(child.folder.path / event.path)
            yield event, found
    except (InputError, OSError, RuntimeError) as error:
        raise EngineError(f"The run in {child.folder.path} can no longer be followed: {error}") from error
    finally:
        gc.unfreeze()


def _nothing(_: object) -> None:
    return
