"""Driving a run: its events persist as they go, and however it ends, its journal says so."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_ifkd.errors import Cancelled
from napari_ifkd.events import Event, Progress, RunCancelled, RunContinued, RunFailed, RunPaused, RunStarted

from .failure import failure_of
from .stop import StopFile, never
from .told import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .folder import RunFolder

_PROGRESS_S = 0.25  # the journal keeps progress this far apart; all other events are kept


def drive(
    folder: RunFolder,
    act: str,
    work: Callable[[Callable[[], bool]], Generator[Event, None, None]],
    should_stop: Callable[[], bool] = never,
) -> Generator[Event, None, None]:
    """Do the work of a run under its lock, appending each event to the journal before it is yielded.

    The work may tell an epoch or a round again that the journal knows from an earlier session: it is left out.

    Parameters
    ----------
    folder : the run
    act : its name for RunStarted
    work : makes the generator of events, given the function that says when to stop
    should_stop : a reason to stop besides the stop file

    Yields
    ------
    RunStarted, the events of the work, RunPaused and RunContinued (late: when the work goes on; in the journal at once), and RunCancelled
    where it was stopped (by whoever; everything complete stands)

    Raises
    ------
    RunError
        If another process works on the run.
    InputError, EngineError
        What the work raised, after RunFailed was appended and yielded; anything else comes as an EngineError, with its cause.
    """
    with folder.lock():
        throttle = _Throttle()

        def tell(event: Event) -> Event:
            if not isinstance(event, Progress) or throttle.passes(event):
                folder.append(event)
            return event

        def tell_end(event: Event) -> Event:
            with suppress(OSError):  # a full disk is perhaps just what is to be told; whoever drives the run hears it
                folder.append(event)
            return event

        told = Told(folder.events())
        waited: list[Event] = []

        def note(begins: bool) -> None:  # amid the work, which cannot be left to yield it; others read it from the journal at once
            waited.append(tell(RunPaused() if begins else RunContinued()))

        stop = StopFile(folder.stop_file, should_stop, folder.pause_file, note)
        events = work(stop)
        try:
            yield tell(RunStarted(act, resumed=folder.journal.size() > 0))
            for event in events:
                yield from _drained(waited)
                if told.news(event):
                    yield tell(event)
                if isinstance(event, Progress) and stop():  # not every stage asks by itself
                    raise Cancelled
        except (Cancelled, KeyboardInterrupt):
            events.close()
            yield from _drained(waited)
            with suppress(OSError):
                folder.forget_asked()
            yield tell_end(RunCancelled())
        except GeneratorExit:  # the follower went away in this very process: nobody drives the run any more
            tell_end(RunCancelled())
            raise
        except Exception as error:
            events.close()  # before the journal: what goes now makes space
            failure = failure_of(error, folder.path)
            yield tell_end(RunFailed(str(failure)))
            if failure is error:
                raise
            raise failure from error
        finally:
            events.close()


def _drained(events: list[Event]) -> Generator[Event, None, None]:
    while events:
        yield events.pop(0)


class _Throttle:
    """Lets progress through now and then, and whenever a stage begins or is complete."""

    def __init__(self) -> None:
        self.stage, self.time = "", float("-inf")

    def passes(self, event: Progress) -> bool:
        now = time.monotonic()
        if event.stage == self.stage and event.done < event.total and now - self.time < _PROGRESS_S:
            return False
        self.stage, self.time = event.stage, now
        return True
