"""From a table that a person filled in to the points of a run, and back: what is still to be answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.annotations.points import Point, read_points, write_points
from napari_ifkd.errors import AnnotationError

from .points import points_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.slides import Slide

    from .folder import RunFolder


@dataclass(frozen=True, slots=True)
class Taken:
    """What a table of answers brought.

    Attributes
    ----------
    answered : answers in it, for slides of the run
    unsure : of them
    changed : of them, what says otherwise than the run's points did
    unanswered : rows without an answer
    elsewhere : answers for slides that are not of the run; left out
    """

    answered: int
    unsure: int
    changed: int
    unanswered: int
    elsewhere: int


def take_answers(folder: RunFolder, slides: Sequence[Slide], table: str | Path) -> Taken:
    """Take the answers of a table into the points of a run; the last answer about a place counts, also for earlier rows of that place.

    Parameters
    ----------
    folder : the run
    slides : of the run, open
    table : as :func:`ask` wrote it, filled in; or any table of points

    Raises
    ------
    InputError
        If no answer is about one of the slides.
    AnnotationError
        If the table cannot be read, contradicts itself, or a point lies beside its slide.
    """
    table = Path(table)
    given = points_of(table, slides, str(table))
    names = {slide.name for slide in slides}
    new = [point for point in given if point.slide in names]
    says: dict[tuple[str, float, float], Point] = {}
    for point in new:
        if (before := says.setdefault(_at(point), point)).answer != point.answer:
            cause = f"says of one place both {before.answer} and {point.answer} ({point.slide}, x {point.x:g}, y {point.y:g})"
            raise AnnotationError(table, cause, "Give one answer a place")
    old = read_points(folder.points) if folder.points.is_file() else []
    rows = {(*_at(point), point.stratum): point for point in [*old, *new]}
    write_points(folder.points, [replace(p, answer=says[_at(p)].answer) if _at(p) in says else p for p in rows.values()])
    return Taken(
        answered=len(new),
        unsure=sum(point.answer == "unsure" for point in new),
        changed=len({_at(point) for point in old if _at(point) in says and says[_at(point)].answer != point.answer}),
        unanswered=len(read_points(table, unanswered=True)) - len(given),
        elsewhere=len(given) - len(new),
    )


def ask(folder: RunFolder, points: Sequence[Point], table: str | Path) -> None:
    """Write points as a table to be filled in.

    Parameters
    ----------
    folder : the run, which may know answers already
    points : to ask about
    table : CSV to write; replaced where it is there

    Raises
    ------
    AnnotationError
        If the file there is no such table, holds answers that the run does not have yet, or cannot be written.
    """
    table = Path(table)
    if table.exists():
        known = {_at(point) for point in read_points(folder.points)} if folder.points.is_file() else set()
        if lost := [point for point in read_points(table) if _at(point) not in known]:
            cause = f"holds {len(lost)} answers that the run does not have yet"
            raise AnnotationError(table, cause, f"Take them in first (`napari-ifkd points {folder.path} --answered {table}`)")
    write_points(table, points)


def _at(point: Point) -> tuple[str, float, float]:
    return point.slide, point.x, point.y
