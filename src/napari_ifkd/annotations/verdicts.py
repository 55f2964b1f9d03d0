"""What a person said of single lesions, as a table in the run: CSV in and out."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import shapely

from napari_ifkd.errors import AnnotationError
from napari_ifkd.files import cannot_write, write_aside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Word = Literal["accept", "reject"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person said of the lesion that holds a place.

    Attributes
    ----------
    slide : file name of the slide
    x, y : a place inside the lesion, level-0 px from the slide's top left corner
    verdict : "accept" or "reject"
    round, threshold : of the mask that was looked at
    time : UTC, ISO 8601
    area_mm2 : of the lesion that was looked at, None in tables of before
    outline : of that lesion, WKT in level-0 px; "" in tables of before
    """

    slide: str
    x: float
    y: float
    verdict: Word
    round: int
    threshold: float
    time: str
    area_mm2: float | None = None
    outline: str = ""


INSIDE = 0.8  # share of a lesion inside one that was judged later, from which what was said later is said of it
_LONGEST = 120_000  # characters of an outline: Python reads tables with fields that are hardly longer
_COLUMNS = tuple(field.name for field in fields(Verdict))


def outline_of(lesion: shapely.Polygon, px: float) -> str:
    """Return the outline of a lesion as a verdict keeps it, WKT; for a thread.

    Parameters
    ----------
    lesion : (x, y) in level-0 px
    px : side of a pixel of its mask, level-0 px; finer details are left out

    Returns
    -------
    "" where it is too long for a table even so: coarser it would hold the lesions in its bays
    """
    for least in (px / 2, px):
        holes = [hole for hole in lesion.interiors if shapely.Polygon(hole).area > least**2]
        plain = shapely.Polygon(lesion.exterior, holes).simplify(least)
        told = str(shapely.to_wkt(shapely.set_precision(plain, 0.1), rounding_precision=1))  # as rounded it is a valid geometry
        if len(told) <= _LONGEST:
            return told
    return ""


def read_verdicts(path: str | Path) -> list[Verdict]:
    """Read verdicts; none where there is no file.

    Raises
    ------
    AnnotationError
        If it is no such table.
    """
    path = Path(path)
    if not path.is_file():
        return []
    found = []
    try:
        for number, line in enumerate(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))), start=2):
            x, y, threshold = (float(line[name]) for name in ("x", "y", "threshold"))
            area = float(line["area_mm2"]) if line.get("area_mm2") else None
            outline = line.get("outline") or ""
            shapely.from_wkt(outline or "POINT EMPTY")
            if line["verdict"] not in ("accept", "reject") or not all(map(math.isfinite, (x, y, threshold, area or 0))):
                raise AnnotationError(path, f"line {number} is no verdict", f"Give the columns {','.join(_COLUMNS)}; accept or reject")
            word = cast("Word", line["verdict"])
            found.append(Verdict(line["slide"], x, y, word, int(line["round"]), threshold, line["time"], area, outline))
    except (OSError, ValueError, KeyError, TypeError, csv.Error, shapely.errors.ShapelyError) as error:
        cause = f"cannot be read as verdicts ({type(error).__name__}: {str(error)[:80]})"
        raise AnnotationError(path, cause, f"Give a comma-separated table with the columns {','.join(_COLUMNS)}") from error
    return found


def standing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts on a slide that no later one makes void: one of the same lesion, or of a larger one with that in it.

    Parameters
    ----------
    verdicts : in order of time
    """
    last: dict[tuple[float, float], Verdict] = {}
    for verdict in reversed(verdicts):
        last.setdefault((verdict.x, verdict.y), verdict)
    kept = list(last.values())[::-1]
    places = shapely.points([verdict.x for verdict in kept], [verdict.y for verdict in kept])
    judged = shapely.make_valid(shapely.from_wkt([verdict.outline or "POLYGON EMPTY" for verdict in kept]))
    later, former = shapely.STRtree(places).query(judged, predicate="covers")
    later, former = later[later > former], former[later > former]
    common = shapely.area(shapely.intersection(judged[later], judged[former]))
    void = set(former[common >= INSIDE * shapely.area(judged[former])].tolist())
    return [verdict for at, verdict in enumerate(kept) if at not in void]


def write_verdicts(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts, in place of those there are.

    Raises
    ------
    AnnotationError
        If the disk fails.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows(astuple(verdict) for verdict in verdicts)
    try:
        write_aside(path, text.getvalue())
    except OSError as error:
        raise cannot_write(AnnotationError, path, error, "say it again later") from error
