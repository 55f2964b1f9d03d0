"""Points a person answered, as a table: CSV in and out."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_ifkd.errors import AnnotationError
from napari_ifkd.files import cannot_write, write_aside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ifkd.slides import Slide

Answer = Literal["tumour", "normal", "unsure"]

_COLUMNS = ("slide", "x", "y", "answer", "probability", "stratum")
_NEEDED = _COLUMNS[:4]
_NUMBERS = ("x", "y", "probability")
_ANSWERS: dict[str, Answer] = {
    **dict.fromkeys(("tumour", "tumor", "t"), "tumour"),
    **dict.fromkeys(("normal", "n"), "normal"),
    **dict.fromkeys(("unsure", "u"), "unsure"),
}
_MOST_TOLD = 20  # problems in one message
_REMEDY = f"Give a comma-separated table with the columns {','.join(_COLUMNS)}; the last two may be missing"


@dataclass(frozen=True, slots=True)
class Point:
    """One place on a slide, and what a person sees there.

    Attributes
    ----------
    slide : file name of the slide
    x, y : level-0 px, from the slide's top left corner
    answer : "tumour", "normal" or "unsure"; empty where it is still asked
    probability : with which the point was drawn (its inclusion probability), in (0, 1]; None where nobody knows, as for a point set by hand
    stratum : of the draw, empty where there was none
    """

    slide: str
    x: float
    y: float
    answer: Answer | Literal[""]
    probability: float | None = None
    stratum: str = ""


def read_points(path: str | Path, *, unanswered: bool = False) -> list[Point]:
    """Read answered points.

    Parameters
    ----------
    path : CSV with a header. Columns ``slide,x,y,answer`` are needed, ``probability`` and ``stratum`` known, others left alone. As
        spreadsheets write it: cells may be parted by semicolons (numbers then may have a decimal comma) or tabs
    unanswered : return points without an answer too

    Raises
    ------
    AnnotationError
        If the file is no such table; the message lists what is wrong, with line numbers.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except OSError as error:
        raise AnnotationError(path, f"cannot be read ({error.strerror})", _REMEDY) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(path, "is no text in UTF-8", _REMEDY) from error
    parted = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=parted, skipinitialspace=True, strict=True)
    points: list[Point] = []
    problems: list[str] = []
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        _check_header(path, header)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                problems.append(f"line {rows.line_num} has {len(row)} cells, the header {len(header)}")
                continue
            cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
            if parted == ";":
                cells |= {name: cells[name].replace(",", ".") for name in _NUMBERS if name in cells}
            point, wrong = _point(cells)
            problems += [f"line {rows.line_num}: {what}" for what in wrong]
            points += [point] if point is not None and (point.answer or unanswered) else []
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: {error}")
    if problems:
        more = len(problems) - _MOST_TOLD
        told = "; ".join(problems[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
        raise AnnotationError(path, told, "Correct these lines; x and y are pixels of the slide's finest level")
    return points


def write_points(path: str | Path, points: Iterable[Point]) -> None:
    """Write points as CSV, whole or not at all; numbers come back exactly.

    Raises
    ------
    AnnotationError
        If the file cannot be written.
    """
    path = Path(path)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for p in points:
        writer.writerow([p.slide, repr(float(p.x)), repr(float(p.y)), p.answer, _number(p.probability), p.stratum])
    try:
        write_aside(path, text.getvalue())
    except OSError as error:
        raise cannot_write(AnnotationError, path, error) from error


def points_on(points: Iterable[Point], slide: Slide) -> list[Point]:
    """Return the points of one slide.

    Raises
    ------
    AnnotationError
        If one lies beside it.
    """
    height, width = slide.shape_level0
    own = [point for point in points if point.slide == slide.name]
    beside = [point for point in own if not (0 <= point.x < width and 0 <= point.y < height)]
    if beside:
        raise AnnotationError(
            f"points of {slide.name}",
            f"{len(beside)} of {len(own)} lie beside the slide ({width} x {height} px; the first at x {beside[0].x:g}, y {beside[0].y:g})",
            "Were they set on another slide or level? x and y are pixels of the finest level",
        )
    return own


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise AnnotationError(path, f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}", _REMEDY)
    twice = sorted({name for name in _COLUMNS if header.count(name) > 1})
    if twice:
        raise AnnotationError(path, f"has {', '.join(twice)} twice", _REMEDY)


def _point(cells: dict[str, str]) -> tuple[Point | None, list[str]]:
    """Read one line: the point, None where something is wrong with it, and what that is."""
    wrong = [] if cells["slide"] else ["no slide is named"]
    place = {}
    for name in ("x", "y"):
        place[name] = _read_number(cells[name])
        if not place[name] >= 0:  # also what is no number
            wrong.append(f"{name} '{cells[name]}' is no number from 0")
    said = cells["answer"].lower()
    if said and said not in _ANSWERS:
        wrong.append(f"answer '{cells['answer']}' is none of tumour, normal, unsure")
    drawn = cells.get("probability", "")
    probability = _read_number(drawn) if drawn else None
    if probability is not None and not 0 < probability <= 1:
        wrong.append(f"probability '{drawn}' is no number above 0 and up to 1")
    if wrong:
        return None, wrong
    answer = _ANSWERS[said] if said else ""
    return Point(cells["slide"], place["x"], place["y"], answer, probability, cells.get("stratum", "")), []


def _read_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
