"""What a run folder holds: whether all of it can be read, and whether two hold the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

from napari_ifkd.errors import InputError
from napari_ifkd.events import EpochDone, Event, MapReady, RoundDone, RunDone
from napari_ifkd.inference import open_map
from napari_ifkd.models import read_card
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OF_THEIR_TIME = {"created"}  # facts of a map, and of a card, that tell when it was made


def unreadable(path: Path) -> Iterator[str]:
    """Read all that a run folder has, as commands and window do; yield what cannot be read."""
    run = RunFolder(path)
    if not run.exists:
        return
    readings = [lambda: run.about, lambda: run.config, run.events, lambda: run.status, run.load_checkpoint, lambda: run.accepted]
    readings += [_reading(run, index) for index in run.rounds()]
    for read in readings:
        try:
            read()
        except (InputError, OSError, ValueError) as error:
            yield f"cannot be read: {error}"


def _reading(run: RunFolder, index: int) -> Any:
    def read() -> None:
        if run.model_path(index).is_file():
            read_card(run.model_path(index))
            load_file(run.model_path(index))
        if (metrics := run.round_dir(index) / "metrics.json").is_file():
            json.loads(metrics.read_text())
        for folder in run.maps(index).values():
            found = open_map(folder)
            found.read(0, 0, *found.shape)

    return read


def differences(whole: Path, parts: Path) -> Iterator[str]:
    """Yield in what a run that was interrupted differs from one that was not.

    Parameters
    ----------
    whole, parts : the two run folders, of the same name
    """
    one, other = RunFolder(whole), RunFolder(parts)
    if one.rounds() != other.rounds():
        yield f"rounds {other.rounds()}, not {one.rounds()}"
        return
    for index in one.rounds():
        yield from _round(one, other, index)
    yield from _journal(one.events(), other.events())
    if one.accepted != other.accepted:
        yield f"accepted {other.accepted}, not {one.accepted}"
    for path in sorted(parts.rglob(".*")):
        yield f"{path.relative_to(parts)} was left behind"


def _round(one: RunFolder, other: RunFolder, index: int) -> Iterator[str]:
    if one.metrics(index) != other.metrics(index):
        yield f"metrics of round {index} differ"
    mine, theirs = (load_file(run.model_path(index)) for run in (one, other))
    if mine.keys() != theirs.keys() or any(not np.array_equal(mine[key], theirs[key], equal_nan=True) for key in mine):
        yield f"the weights of round {index} differ"
    if len({read_card(run.model_path(index)).model_dump_json(exclude=_OF_THEIR_TIME) for run in (one, other)}) > 1:
        yield f"the card of round {index} differs"
    if one.maps(index).keys() != other.maps(index).keys():
        yield f"maps of round {index} are of {sorted(other.maps(index))}"
        return
    for slide, path in one.maps(index).items():
        ours, others = (open_map(folder).levels for folder in (path, other.maps(index)[slide]))
        if len(ours) != len(others) or any(not np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(ours, others, strict=False)):
            yield f"the map of {slide} in round {index} differs"
        if _facts(path) != _facts(other.maps(index)[slide]):
            yield f"the facts of the map of {slide} in round {index} differ"


def _facts(path: Path) -> dict[str, Any]:
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    return {key: value for key, value in attributes["napari_ifkd"].items() if key not in _OF_THEIR_TIME}


def _journal(whole: list[Event], parts: list[Event]) -> Iterator[str]:
    for kind in (EpochDone, RoundDone):
        wanted, found = ([event for event in events if isinstance(event, kind)] for events in (whole, parts))
        if wanted != found:  # each once, in order, with the same loss, scores and decision
            yield f"the journal tells {[_short(e) for e in found]}, not {[_short(e) for e in wanted]}"
    wanted_maps, found_maps = ({event for event in events if isinstance(event, MapReady)} for events in (whole, parts))
    if wanted_maps != found_maps:
        yield f"the journal tells of the maps {found_maps}, not {wanted_maps}"
    if not isinstance(parts[-1], RunDone) or parts[-1] != whole[-1]:
        yield f"the last word is {parts[-1]}, not {whole[-1]}"


def _short(event: Event) -> str:
    return f"{event.round}.{event.epoch}" if isinstance(event, EpochDone) else str(getattr(event, "index", event))
