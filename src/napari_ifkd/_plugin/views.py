"""How slides were last looked at, and with what settings something was begun last: files beside what is drawn on the slides."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_ifkd.files import write_aside
from napari_ifkd.session_records import Compare, RegionKind

from .settings import slide_folder, slides_folder

if TYPE_CHECKING:
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide

MOST_RECENT = 12
_FILE = "view.json"
_ASKED = "asked.json"
Chosen = tuple[str, int]  # run and round of a prediction


@dataclass(frozen=True)
class View:
    """How a slide was last looked at.

    Parameters
    ----------
    path : of the slide
    threshold, sigma_px, heat, compare : as in the session
    mpp : resolution given by the user, um/px
    centre, zoom : of the camera, world
    shown, a, b : predictions, as run and round; a or b may be what another program marked, as the folder of its map
    runs : that are open for it
    region : where predictions are made
    brought : files of other programs, as their use ("look", or what they are given for), path, and whether they are seen
    model : that was chosen: weights file, and what it is called
    former : the round that was in use of the distillation before, as run and round
    at_work : the run that was at work then, if it was of this slide
    picked : whether a person chose B
    """

    path: str
    threshold: float
    sigma_px: float
    heat: bool
    compare: Compare = "off"
    region: RegionKind = "tissue"
    mpp: float | None = None
    centre: tuple[float, float] | None = None
    zoom: float | None = None
    shown: Chosen | None = None
    a: Chosen | None = None
    b: Chosen | None = None
    runs: tuple[str, ...] = ()
    brought: tuple[tuple[str, str, bool], ...] = ()
    model: tuple[str, str] | None = None
    former: Chosen | None = None
    at_work: str | None = None
    picked: bool = False


def known_by(candidate: Candidate | None) -> Chosen | None:
    """Return what a prediction is known by."""
    return None if candidate is None else (str(candidate.run), candidate.round)


def write_view(slide: Slide, view: View) -> None:
    """Write how a slide is looked at.

    Raises
    ------
    OSError
        If the disk fails.
    """
    write_aside(slide_folder(slide) / _FILE, json.dumps(asdict(view)))


def read_view(slide: Slide) -> View | None:
    """Return how a slide was looked at, wherever it lay; None if nobody knows."""
    view = _view_in(slide_folder(slide) / _FILE)
    return None if view is None else replace(view, path=str(slide.path))


def recent_slides() -> list[Path]:
    """Return the slides that were looked at last, and still are where they were."""
    files: list[tuple[float, Path]] = []
    for file in slides_folder().glob(f"*/{_FILE}"):
        with suppress(OSError):
            files.append((file.stat().st_mtime, file))
    views = (_view_in(file) for _, file in sorted(files, reverse=True)[:MOST_RECENT])
    return [Path(view.path) for view in views if view is not None and Path(view.path).exists()]


def write_asked(asked: dict[str, Any]) -> None:
    """Write the settings with which something was begun last.

    Raises
    ------
    OSError
        If the disk fails.
    """
    write_aside(slides_folder() / _ASKED, json.dumps(asked))


def read_asked() -> dict[str, Any]:
    """Read the settings with which something was begun last.

    Raises
    ------
    OSError, ValueError
        If there are none, or the file is damaged.
    """
    asked = json.loads((slides_folder() / _ASKED).read_text(encoding="utf-8"))
    return asked if isinstance(asked, dict) else {}


def _view_in(file: Path) -> View | None:
    """Read a view; one that is damaged, or of another version, is as good as none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        pairs = {name: (told := data.get(name)) and tuple(told) for name in ("centre", "shown", "a", "b", "model", "former")}
        brought = tuple((str(use), str(path), bool(seen)) for use, path, seen in data.get("brought", ()))
        view = View(**{**data, **pairs, "runs": tuple(data["runs"]), "brought": brought})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return view if view.compare in get_args(Compare) and view.region in get_args(RegionKind) else None
