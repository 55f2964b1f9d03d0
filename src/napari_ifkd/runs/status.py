"""What became of a run, by its journal and by who works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_ifkd.events import Event, RunCancelled, RunContinued, RunDone, RunFailed, RunPaused, RunStarted

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["empty", "running", "paused", "done", "cancelled", "failed", "interrupted"]

_AFTER: dict[type[Event], Status] = {
    RunStarted: "running",
    RunPaused: "paused",
    RunContinued: "running",
    RunDone: "done",
    RunCancelled: "cancelled",
    RunFailed: "failed",
}


def status_of(events: Iterable[Event], *, at_work: bool, may_wait: bool) -> Status:
    """Return what became of a run.

    Parameters
    ----------
    events : of its journal, in order
    at_work : whether a process holds it
    may_wait : whether it is asked to wait; a run is paused once it says so, after its present batch

    Returns
    -------
    Status
        "interrupted" is a run that ended without a word; "empty" one that never began.
    """
    if at_work and not may_wait:
        return "running"  # whatever an earlier process wrote
    told: Status = "empty"
    for event in events:
        told = _AFTER.get(type(event), "running" if told == "empty" else told)
    if at_work:
        return "paused" if told == "paused" else "running"
    return "interrupted" if told in ("running", "paused") else told
