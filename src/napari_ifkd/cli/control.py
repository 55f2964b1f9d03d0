"""The commands that look after runs: runs, resume, pause, cancel, delete."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ifkd.errors import Cancelled, InputError, RunError

from .follow import follow
from .options import AsJson

if TYPE_CHECKING:
    from napari_ifkd.runs.listing import RunSummary
    from napari_ifkd.runs.process import ChildRun

_PATIENCE_S = 5.0  # for a run at work to end its batch


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="looked into, a few levels deep", show_default=False)] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder: their state, what was accepted and why, their size."""
    from napari_ifkd.console import note, say_json, say_table, size_text
    from napari_ifkd.runs.listing import list_runs

    found = list_runs(folder)
    if as_json:
        say_json({"folder": str(folder), "runs": [_record(row) for row in found]})
        return
    if not found:
        note(f"{folder} holds no runs.")
        return
    say_table(
        ("name", "slide", "act", "state", "rounds", "size", "changed", "accepted"),
        (
            (
                _name(row, folder),
                _few(row.slides),
                row.act,
                row.status,
                f"{row.rounds} of {row.rounds_asked}" if row.rounds_asked else "",
                size_text(row.size_bytes),
                _when(row.changed),
                row.accepted,
            )
            for row in found
        ),
    )
    for row in found:
        if row.problem:
            note(f"warning: {row.problem}", style="yellow")


def resume(run: Path) -> None:
    """Go on with a run: one that is paused, or from its last complete epoch one that was cancelled, failed or killed."""
    from napari_ifkd.console import say
    from napari_ifkd.runs import lock
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.runs.process import ChildRun

    folder = RunFolder(run)
    if folder.writer is not None and folder.pause_file.exists():
        ChildRun.attach(run).proceed()
        say(f"{run} goes on, in the process that was paused")
        return
    lock.check_free(folder.path / "lock")  # before all that has to be loaded
    from napari_ifkd.runs.acts import resume_run

    follow(lambda stop: resume_run(run, should_stop=stop))


def pause(run: Path) -> None:
    """Let a run at work wait, with all it has in memory, until `resume`."""
    from napari_ifkd.console import say

    child = _at_work(run)
    child.pause()
    deadline = time.monotonic() + _PATIENCE_S
    while child.running and child.folder.status != "paused" and time.monotonic() < deadline:
        time.sleep(0.1)
    if not child.running:
        raise RunError(run, "ended before it could be paused", "See `napari-ifkd runs`")
    say(f"{run} {'is paused' if child.folder.status == 'paused' else 'pauses after its present batch'}; `napari-ifkd resume` lets it go on")


def cancel(run: Path) -> None:
    """End a run at work within two seconds; everything complete stands, and `resume` goes on from there."""
    from napari_ifkd.console import say

    _at_work(run).cancel()
    say(f"{run} is cancelled; everything complete stands, and `napari-ifkd resume` goes on from there")


def delete(
    run: Path,
    forever: Annotated[bool, typer.Option("--forever", help="remove it; nothing brings it back")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Move a run to the trash."""
    from napari_ifkd.console import say, size_text
    from napari_ifkd.runs.listing import delete_run, summarise

    where = "forever" if forever else "to the trash"
    if not yes and (run / "run.yaml").is_file():
        if not sys.stdin.isatty():
            raise InputError("delete", "asks first, and nobody is there to answer", "Give --yes")
        row = summarise(run)
        what = " ".join(part for part in (row.status, row.act, "run") if part)
        if not typer.confirm(f"{'Remove' if forever else 'Move'} {run} ({what}, {size_text(row.size_bytes)}) {where}?", err=True):
            raise Cancelled
    delete_run(run, forever=forever)
    say(f"{run} was {'removed' if forever else 'moved to the trash'}")


def _at_work(run: Path) -> ChildRun:
    from napari_ifkd.runs.process import ChildRun

    child = ChildRun.attach(run)
    if not child.running:
        raise RunError(run, f"no process works on it (it is {child.folder.status})", "`napari-ifkd resume` takes up a run that is not done")
    return child


def _record(row: RunSummary) -> dict[str, object]:
    return {**asdict(row), "path": str(row.path), "changed": row.changed.isoformat(timespec="seconds")}


def _name(row: RunSummary, folder: Path) -> str:
    below = row.path.relative_to(folder).as_posix() if row.path.is_relative_to(folder) else row.path.as_posix()
    return row.name if below == "." else below


def _when(changed: datetime) -> str:
    here = changed.astimezone()
    return here.strftime("%H:%M" if here.date() == datetime.now().astimezone().date() else "%Y-%m-%d")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
