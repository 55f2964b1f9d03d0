"""The demo: the whole workflow on the built-in phantom slide with the built-in teacher, scored against the phantom's truth."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import Cancelled
from napari_ifkd.events import Event, RunCancelled, RunDone
from napari_ifkd.files import write_aside
from napari_ifkd.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from napari_ifkd.config import Config


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does: sized for minutes on two cores.

    Parameters
    ----------
    width, height : of the phantom, px at 0.5 um/px
    seed : of the phantom; none that the built-in teacher was trained on
    teacher : run, weights file or name
    settings : that differ from the defaults, by dotted name
    """

    width: int = 6144
    height: int = 4608
    seed: int = 7
    teacher: str = "phantom-teacher"
    settings: Mapping[str, Any] = field(default_factory=lambda: {"rounds.rounds": 2, "rounds.epochs": 8, "tiles.max_tiles": 512})


def _never() -> bool:
    return False


def run_demo(
    out: str | Path, config: Config, plan: DemoPlan | None = None, *, should_stop: Callable[[], bool] = _never
) -> Generator[Event, None, None]:
    """Make a phantom slide, distil the built-in teacher on it, export the masks, compare and sum up.

    Parameters
    ----------
    out : folder; a demo that was stopped there goes on
    config : settings; those of the plan win over them
    plan : sizes; None is the demo as it is meant
    should_stop : asked at least once a second

    Yields
    ------
    Event
        The last is RunDone, or RunCancelled.

    Raises
    ------
    InputError, EngineError
        As :func:`napari_ifkd.runs.acts.distill_run`.

    Notes
    -----
    Writes ``slide/`` (phantom.tiff, phantom_truth.tiff), ``run/``, ``masks/``, ``comparison.png`` and ``summary.json``.
    """
    from napari_ifkd.export import export_run
    from napari_ifkd.runs.acts import distill_run

    out, plan = Path(out), plan or DemoPlan()
    slide, truth = out / "slide" / "phantom.tiff", out / "slide" / "phantom_truth.tiff"
    try:
        yield from _phantom(slide, truth, plan, should_stop)
    except Cancelled:
        yield RunCancelled()
        return
    last: Event | None = None
    settings = config.replaced(**plan.settings)
    for last in distill_run([slide], plan.teacher, out / "run", settings, truth=truth, should_stop=should_stop):
        if not isinstance(last, RunDone):  # the demo is not over yet
            yield last
    if not isinstance(last, RunDone):
        return
    pace = Pace("results", 3, "steps", every_s=0)
    yield from _if_due(pace.at(0))
    export_run(out / "run", ["geojson", "ome-tiff"], out / "masks")
    yield from _if_due(pace.at(1))
    summary = summarise(out)
    yield from _if_due(pace.at(2))
    from .picture import draw_comparison

    draw_comparison(out, summary)
    yield from _if_due(pace.at(3))
    yield last


def _phantom(slide: Path, truth: Path, plan: DemoPlan, should_stop: Callable[[], bool]) -> Generator[Event, None, None]:
    """Write the phantom, in a thread so that its progress can be told."""
    from napari_ifkd.slides import write_phantom

    if slide.is_file() and truth.is_file():
        return
    told: queue.SimpleQueue[tuple[int, int] | BaseException | None] = queue.SimpleQueue()

    def tell(done: int, total: int) -> None:
        if should_stop():
            raise Cancelled
        told.put((done, total))

    def write() -> None:
        try:
            write_phantom(slide, plan.width, plan.height, plan.seed, truth=truth, progress=tell)
            told.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever listens
            told.put(error)

    pace = Pace("phantom slide", 1, "blocks")
    threading.Thread(target=write, daemon=True, name="phantom").start()
    while (item := told.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        done, pace.total = item
        yield from _if_due(pace.at(done))


def _if_due(event: Event | None) -> Generator[Event, None, None]:
    if event is not None:
        yield event


def summarise(out: Path) -> dict[str, dict[str, Any]]:
    """Write summary.json: scores of all-foreground, teacher, last round and the round the run recommends, over the whole slide.

    Returns
    -------
    dict
        By those names (``all_foreground``, ``teacher``, ``student``, ``accepted``), each with the keys of ``evaluate``.
    """
    from napari_ifkd.runs.evaluation import evaluate_all_foreground
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.runs.resolve import chosen_round

    run = RunFolder.open(out / "run")
    rounds = {"teacher": 0, "student": run.rounds()[-1], "accepted": chosen_round(run)}
    scores = evaluate_all_foreground(out / "slide" / "phantom_truth.tiff")
    summary: dict[str, dict[str, Any]] = {"all_foreground": scores}
    for name, index in rounds.items():
        measured = run.metrics(index)
        summary[name] = {"round": index, **{key: measured[key] for key in scores if key in measured}}
    write_aside(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def summary_rows(out: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and rows of summary.json for a table."""
    summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
    keys = ("f1", "iou", "average_precision", "foreground_share")
    rows = [(name.replace("_", " "), *(f"{scores[key]:.3f}" if key in scores else "" for key in keys)) for name, scores in summary.items()]
    return ("against the phantom's truth", "F1", "IoU", "average precision", "foreground share"), rows


def display_missing() -> str | None:
    """Return why no window can be shown, None if one can."""
    if find_spec("napari") is None:
        return "napari is not installed (pip install 'napari-ifkd[all]')"
    if not any(find_spec(name) for name in ("PyQt6", "PySide6", "PyQt5")):
        return "no Qt binding is installed (pip install 'napari-ifkd[all]')"
    if sys.platform not in ("win32", "darwin") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None
