"""The acts: train, predict, distill, resume. Each is a generator of events that persists as it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.errors import RunError
from napari_ifkd.events import MapReady, RoundDone, RunDone, RunStarted

from . import lock
from .distilling import distill_run
from .drive import drive
from .folder import RunFolder
from .predicting import predict_run
from .stop import never
from .training import train_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_ifkd.events import Event

__all__ = ["distill_run", "predict_run", "resume_run", "train_run"]


def resume_run(out: str | Path, *, should_stop: Callable[[], bool] = never) -> Generator[Event, None, None]:
    """Go on with a run from its last complete epoch, or its last complete row of tiles.

    Parameters
    ----------
    out : the run folder; its data must lie where they lay
    should_stop : asked at least once a second

    Yields
    ------
    Event
        As the act it began as; a run that is complete just says so again.

    Raises
    ------
    RunError
        If the folder is no run, another process works on it, or it was made by an act this version does not know.
    InputError, EngineError
        As the act it began as.
    """
    folder = RunFolder.open(out)
    lock.check_free(folder.path / "lock")
    if (end := _complete(folder)) is not None:
        yield from drive(folder, folder.act, lambda stop: _again(end), should_stop)
        return
    data, config = folder.asked, folder.config
    try:
        match folder.act:
            case "train":
                given = {key: data.get(key, ()) for key in ("regions", "exclude")}
                events = train_run(data["data"], out, config, mpp=data.get("mpp"), **given, should_stop=should_stop)
            case "predict":
                given = {key: data.get(key) for key in ("mpp", "region")} | {"exclude": data.get("exclude", ())}
                events = predict_run(data["slides"], data["model"], out, config, **given, should_stop=should_stop)
            case "distill":
                options = {
                    **{key: data.get(key) for key in ("truth", "mpp", "points")},
                    **{key: data.get(key, ()) for key in ("regions", "exclude", "reference")},
                }
                events = distill_run(data["data"], data["teacher"], out, config, **options, should_stop=should_stop)
            case act:
                raise RunError(out, f"is a run of an act this version does not know ({act})", "Update, or start it anew")
    except KeyError as error:
        raise RunError(folder.path / "run.yaml", f"lacks {error} under data", "Start the run anew in another folder") from error
    yield from events


def _complete(folder: RunFolder) -> RunDone | None:
    """Return the last word of a run to which nothing is left to do: it says it is done, and all it told of is there."""
    events = folder.events()
    ends = [event for event in events if isinstance(event, (RunDone, RunStarted))]
    if not ends or not isinstance(ends[-1], RunDone) or folder.status != "done":
        return None
    maps = (folder.path / event.path for event in events if isinstance(event, MapReady))
    rounds = {event.index for event in events if isinstance(event, RoundDone)}
    whole = rounds <= set(folder.rounds()) and all((path / "zarr.json").is_file() for path in maps)
    return ends[-1] if whole else None


def _again(end: RunDone) -> Generator[Event, None, None]:
    yield end
