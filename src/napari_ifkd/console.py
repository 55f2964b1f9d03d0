"""What the command line shows of a run: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from .errors import EngineError, InputError
from .events import EpochDone, Event, MapReady, RoundDone, RunCancelled, RunContinued, RunDone, RunPaused, RunStarted, Warned
from .events import Progress as ProgressEvent
from .files import UNWRITABLE, cannot_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# one line stays one line, also where the terminal is narrow or there is none
err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


_TOLD = (
    "bag_accuracy",
    "positive_area",
    "negative_area",
    "reference_f1",
    "f1",
    "iou",
    "average_precision",
)  # the rest stands in metrics.json


def say(text: str) -> None:
    """Print a line of result on stdout."""
    out.print(text, markup=False)


def note(text: str, style: str = "") -> None:
    """Print a line on stderr, such as a warning or an error; nothing where that cannot be written, as a log on a full disk cannot."""
    with suppress(OSError):
        err.print(text, markup=False, style=style)


def say_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, on one line; numbers that JSON lacks (NaN, infinity) become null."""
    sys.stdout.write(json.dumps(_finite(data), ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def say_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a plain table on stdout."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    wide = out if out.is_terminal else Console(file=out.file, width=10_000, highlight=False)  # in a pipe a row is a line
    wide.print(table)


def flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested facts as (dotted name, value) rows of a table; what is unknown is left out."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for index, item in enumerate(value):
                yield from flat(item, f"{before}{name}.{index}.")
        elif isinstance(value, (list, tuple)):
            yield before + name, ", ".join(map(str, value))
        elif value is not None:
            yield before + name, str(value)


def show(events: Iterable[Event]) -> Event | None:
    """Follow a run on stderr: a bar with throughput, time left and GPU memory on a terminal, lines elsewhere.

    Parameters
    ----------
    events : of the run

    Returns
    -------
    Event or None
        The last one.
    """
    last: Event | None = None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}{task.fields[pace]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}
        for event in events:
            last = event
            if isinstance(event, ProgressEvent):
                if event.stage not in tasks:
                    for old in tasks.values():
                        bars.remove_task(old)
                    tasks = {event.stage: bars.add_task(event.stage, total=event.total, unit=event.unit, pace="")}
                bars.update(tasks[event.stage], completed=event.done, total=event.total, pace=pace_text(event))
            elif (line := describe(event)) is not None:
                note(line, "yellow" if isinstance(event, Warned) else "")
    return last


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with a share and the time left while a block is at work, on a terminal only.

    Yields
    ------
    Callable
        To be told what is done, and how much there is in all.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def pace_text(event: ProgressEvent) -> str:
    """Tell how fast a stage is, how long it still takes and what the GPU held at most, as far as known, each after a comma."""
    text = ""
    if event.per_second:
        slow = event.per_second < 1
        text += f", {event.per_second * (60 if slow else 1):.3g} a {'minute' if slow else 'second'}"
    if event.seconds_left is not None:
        text += f", {timedelta(seconds=round(event.seconds_left))} left"
    if event.device_mb is not None:
        text += f", {size_text(event.device_mb * 2**20)} of GPU memory"
    return text


def size_text(size: float) -> str:
    """Tell a size in bytes in a unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def describe(event: Event) -> str | None:
    """Tell an event in one line; None for those that need none (the error of a failed run is told by whoever catches it)."""
    match event:
        case RunStarted(act, resumed):
            return f"{act} {'goes on' if resumed else 'begins'}"
        case Warned(message):
            return f"warning: {message}"
        case EpochDone(round=index, epoch=epoch, epochs=epochs, loss=loss, scores=scores):
            where = "teacher" if index == 0 else f"round {index}"
            return f"{where}, epoch {epoch} of {epochs}: loss {loss:.4f}{_scores(scores)}"
        case RoundDone(index=index, decision=decision, scores=scores):
            told = (
                "the teacher"
                if decision is None
                else f"{'switched' if decision.switched else 'kept the teacher'}: {decision.reason.rstrip('.')}"
            )
            return f"round {index}: {told}{_scores(scores)}"
        case MapReady(path=path):
            return f"map {path}"
        case RunDone(reason=reason):
            return f"done: {reason}"
        case RunPaused():
            return "paused; `napari-ifkd resume` lets it go on"
        case RunContinued():
            return "goes on"
        case RunCancelled():
            return "cancelled; everything complete stands, and `napari-ifkd resume` goes on from there"
        case _:
            return None


def _scores(scores: Mapping[str, float]) -> str:
    return "".join(f", {name.replace('_', ' ')} {scores[name]:.3f}" for name in _TOLD if name in scores)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def tell_error(error: Exception, debug: bool) -> int:
    """Print what went wrong, as one line on stderr.

    Parameters
    ----------
    error : as it was raised
    debug : print the traceback too

    Returns
    -------
    int
        Exit status: 2 for wrong use or bad input, 1 for a failure of ours.
    """
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        error = cannot_write(InputError, error.filename or "the disk", error)
    if debug:
        with suppress(OSError):
            err.print_exception()
    usage = getattr(error, "format_message", None)  # typer's, or click's where typer is older
    if usage is not None:
        line, status = " ".join(str(usage()).split()) or "Missing command.", 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "napari-ifkd"
        line = line.replace("Value error, ", "")
        line = f"{line.rstrip('.')}. See `{command} --help`."
    elif isinstance(error, InputError):
        line, status = str(error), 2
    elif isinstance(error, EngineError):
        line, status = str(error), 1
    else:
        first = (str(error).strip().splitlines() or [""])[0]
        line, status = f"{type(error).__name__}: {first}. This is ours to mend; --debug shows where.", 1
    note("error: " + " ".join(line.split()), style="red")
    return status
