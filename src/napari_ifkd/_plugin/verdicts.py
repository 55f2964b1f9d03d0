"""Verdicts on lesions, in the masks on the screen: what was rejected is left out, as exports leave it out."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import shapely
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.verdicts import read_verdicts, standing, write_verdicts
from napari_ifkd.errors import Cancelled
from napari_ifkd.export.corrected import corrections_for
from napari_ifkd.export.excluded import exclusion_for
from napari_ifkd.export.give_way import give_way
from napari_ifkd.export.lesions import lesions_of, verdicts_for, verdicts_on
from napari_ifkd.runs.folder import RunFolder

from . import layers as made
from .undo import Before
from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from shapely.geometry import Polygon
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations.verdicts import Verdict, Word
    from napari_ifkd.export.outlines import Outline
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate

    from .drawn import Drawings
    from .masks import Masks

_Told = TypeVar("_Told")
_SETTLED_MS = 600  # after the threshold moved


def gave_way(lesions: int) -> str:
    """Say that rejected lesions gave way to what was painted, "" if none did."""
    if not lesions:
        return ""
    which, are = ("The rejected lesion", "it is") if lesions == 1 else (f"{lesions} rejected lesions, or parts of one,", "they are")
    return f"{which} gave way: outside what was painted {are} painted normal now, and no longer rejected."


def stands_again(lesions: int) -> str:
    """Say that lesions are rejected again, which had given way to what was taken back, "" if none had."""
    if not lesions:
        return ""
    return (
        "The lesion that had given way is rejected again." if lesions == 1 else f"{lesions} lesions that had given way are rejected again."
    )


@dataclass(frozen=True)
class Mask:
    """What lesions depend on.

    Attributes
    ----------
    of : the prediction
    threshold, sigma_px : at which it is looked at
    excluded : besides what its run excludes, (x, y) in level-0 px
    revision : of what was corrected on it
    """

    of: Candidate
    threshold: float
    sigma_px: float
    excluded: BaseGeometry | None
    revision: int

    def lesions(self, check: Callable[[int, int], None] = lambda done, total: None) -> list[Outline]:
        """Find its lesions, as an export would hold them before anybody rejected one; slow, for a thread.

        Parameters
        ----------
        check : called with rows done and in all; raises to stop
        """
        found, run = self.of.found, RunFolder(self.of.run)
        parts = [part for part in (exclusion_for(found, run, ()), self.excluded) if part is not None]
        exclusion = shapely.union_all(parts) if parts else None
        return lesions_of(found, self.threshold, self.sigma_px, corrections_for(run, found), exclusion, check)

    def verdicts(self) -> list[Verdict]:
        """Read what was said of lesions on its slide."""
        return verdicts_for(RunFolder(self.of.run), self.of.found)

    def rejected_before(self) -> BaseGeometry | None:
        """Return where lesions were rejected, as they were outlined then, (x, y) in px of its map; None where none was. For a thread."""
        outlines = [verdict.outline for verdict in standing(self.verdicts()) if verdict.verdict == "reject" and verdict.outline]
        if not outlines:
            return None
        scale_y, scale_x = self.of.found.scale_yx
        whole = shapely.union_all(shapely.make_valid(shapely.from_wkt(outlines)))
        return shapely.transform(whole, lambda xy: xy / (scale_x, scale_y))


@dataclass(frozen=True)
class Judged:
    """What was said of the lesions of a mask.

    Attributes
    ----------
    mask : which
    rejected : indices of its lesions that are left out
    unused : how many places that were judged hold for none of them
    places : of verdicts that hold, x and y in level-0 px, and what was said
    """

    mask: Mask
    rejected: tuple[int, ...] = ()
    unused: int = 0
    places: tuple[tuple[float, float, Word], ...] = ()


class Verdicts(QObject):
    """Keep what was rejected out of the masks of the predictions that are looked at: the one shown, A and B.

    Parameters
    ----------
    session : what is looked at
    masks : are seen
    drawings : knows what is excluded
    """

    settled_down = Signal()  # all masks that are looked at are as the verdicts say

    def __init__(self, session: Session, masks: Masks, drawings: Drawings) -> None:
        super().__init__()
        self.session, self.masks, self.drawings = session, masks, drawings
        self._revision = 0  # of what was corrected
        self._lesions: dict[Mask, list[Outline]] = {}  # of masks looked at last
        self._one = Lock()  # for who looks for lesions: two would look for the same
        self.table = Lock()  # for who changes verdicts on disk: each reads what the last one wrote
        self._judged: dict[str, Judged] = {}  # by the path of the prediction
        self._wanted: list[Mask] = []
        self._queue: list[Mask] = []  # of those that are wanted, that were not looked at yet
        self._busy = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.look)
        for name in ("shown", "a", "b", "threshold", "sigma_px"):
            session.events[name].connect(self._wait, max_args=0)
        drawings.changed.connect(self.look, max_args=0)

    @property
    def settled(self) -> bool:
        """Whether the masks are as the verdicts say."""
        return not self._timer.isActive() and not self._busy

    def mask(self, candidate: Candidate) -> Mask:
        """Return the mask of a prediction as it is looked at now."""
        slide = next((slide for slide in self.session.slides if slide.name == candidate.slide), None)  # another may be looked at
        excluded = None if slide is None else self.drawings.geometry("exclusion", slide)
        return Mask(candidate, self.session.threshold, self.session.sigma_px, excluded, self._revision)

    def unused(self, candidate: Candidate) -> int:
        """Return how many places that were judged hold for no lesion of a prediction, as it is looked at now."""
        judged = self._now(candidate)
        return 0 if judged is None else judged.unused

    def pending(self, candidate: Candidate) -> bool:
        """Return whether rejected lesions of a prediction are still looked for, as it is looked at now."""
        if self.settled:
            return False
        judged = self._judged.get(str(candidate.path))
        if judged is None:  # just opened
            return RunFolder(candidate.run).verdicts.is_file()
        return bool(judged.rejected) and judged.mask != self.mask(candidate)

    def places(self, candidate: Candidate) -> Sequence[tuple[float, float, Word]]:
        """Return where something was said of a lesion of a prediction, as it is looked at now: x and y in level-0 px, and what."""
        judged = self._now(candidate)
        return () if judged is None else judged.places

    def rejected_in(self, candidate: Candidate, box: tuple[float, float, float, float]) -> list[Polygon]:
        """Return the rejected lesions of a prediction, as it is looked at now, that reach into a box.

        Parameters
        ----------
        candidate : the prediction
        box : left, top, right and bottom, level-0 px

        Returns
        -------
        Their outlines, (x, y) in px of its map
        """
        judged = self._now(candidate)
        lesions = [] if judged is None else self._lesions.get(judged.mask, [])
        if judged is None or not lesions:
            return []
        scale_y, scale_x = candidate.found.scale_yx
        here = shapely.box(box[0] / scale_x, box[1] / scale_y, box[2] / scale_x, box[3] / scale_y)
        return [lesions[index].polygon for index in judged.rejected if lesions[index].polygon.intersects(here)]

    def rejected(self, candidate: Candidate) -> int:
        """Return how many lesions of a prediction are rejected, as it is looked at now."""
        return sum(word == "reject" for *_, word in self.places(candidate))

    def _now(self, candidate: Candidate) -> Judged | None:
        judged = self._judged.get(str(candidate.path))
        return judged if judged is not None and judged.mask == self.mask(candidate) else None

    def lesions(self, mask: Mask, check: Callable[[int, int], None] = lambda done, total: None) -> list[Outline]:
        """Find the lesions of a mask, unless they were found before; for a thread.

        Parameters
        ----------
        mask : whose lesions
        check : called with rows done and in all; raises to stop
        """
        with self._one:
            found = self._lesions.get(mask)  # others may forget it meanwhile
            if found is None:
                found = self._lesions[mask] = mask.lesions(check)
            return found

    def paint_over(
        self, mask: Mask, path: Path, paint: Callable[[], tuple[_Told, Callable[[], object]]]
    ) -> tuple[tuple[_Told, int], Callable[[], object]]:
        """Paint corrections, to which rejected lesions give way, see :func:`napari_ifkd.export.give_way.give_way`; for a thread.

        Parameters
        ----------
        mask : that was painted on
        path : of the corrections
        paint : paints them; returns what it tells, and what takes it back

        Returns
        -------
        What it told and how many lesions gave way, and what takes all of it back
        """
        table = RunFolder(mask.of.run).verdicts
        if all(verdict.verdict != "reject" for verdict in mask.verdicts()):
            told, back = paint()
            return (told, 0), back
        lesions, before = self.lesions(mask), Before(path)
        told, back = paint()
        with self.table:
            known = read_verdicts(table)
            left, count = give_way(lesions, known, mask.of.found, Corrections.open(path), before.read)
            if not count:
                return (told, 0), back
            write_verdicts(table, left)

        def all_back() -> None:
            back()
            before.restore()
            with self.table:
                now = read_verdicts(table)
                there = [verdict for verdict in known if verdict in now or verdict not in left]
                write_verdicts(table, [*there, *(verdict for verdict in now if verdict not in known)])

        return (told, count), all_back

    def corrected(self) -> None:
        """Look again after corrections changed, which make lesions."""
        self._revision += 1
        self.look()

    def look(self) -> None:
        """Read the verdicts, and leave out what was rejected: one mask after the other, the one shown first."""
        self._timer.stop()
        looked_at = (self.session.shown, self.session.a, self.session.b)
        self._wanted = list(dict.fromkeys(self.mask(one) for one in looked_at if one is not None and one.act != "file"))
        self._queue = list(self._wanted)  # what is at work for another stops
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if not self._queue:
            self._forget()
            self.settled_down.emit()
            return
        mask = self._queue.pop(0)
        path = str(mask.of.path)
        before, rough = self._judged.get(path), False

        def check(_done: int, _total: int) -> None:
            if mask not in self._wanted:
                raise Cancelled

        def work() -> tuple[Judged, list[Any], BaseGeometry | None]:
            verdicts = mask.verdicts()
            if not verdicts:
                return Judged(mask), [], None
            lesions = self.lesions(mask, check)
            words, unused = verdicts_on(lesions, verdicts, mask.of.found)
            rejected = tuple(index for index, word in enumerate(words) if word == "reject")
            now = Judged(mask, rejected, unused, tuple(_places(lesions, words, mask.of.found)))
            if not rejected or before == now:
                return now, [], None
            gone = shapely.union_all([lesions[index].polygon for index in rejected])
            whole = made.mask_levels(mask.of.found, mask.threshold, mask.sigma_px)
            return now, made.without(whole, mask.of.found, gone), gone

        def done(found: tuple[Judged, list[Any], BaseGeometry | None]) -> None:
            now, levels, gone = found
            if mask in self._wanted and before != now:
                self._judged[path] = now
                if rough or any((now.rejected, now.unused)) or (before is not None and any((before.rejected, before.unused))):
                    self.masks.judge(path, levels, mask.threshold, mask.sigma_px, gone)
            over()

        def over(error: object = None) -> None:  # an error too: nobody asked, and who lists lesions is told
            if rough and error is not None and not isinstance(error, Cancelled):
                self.masks.judge(path, [], mask.threshold, mask.sigma_px, None)
            self._busy = False
            self._next()

        def looked_at_first(gone: BaseGeometry | None) -> None:
            nonlocal rough
            if gone is not None:  # until its lesions are found: else what was rejected would be seen for a moment
                rough = True
                self.masks.judge(path, [], -1.0, -1.0, gone)
            in_thread(work, done, over)

        self._busy = True
        if before is None:
            in_thread(mask.rejected_before, looked_at_first, over)
        else:
            in_thread(work, done, over)

    def _forget(self) -> None:
        """Keep what is known of predictions that are there."""
        there = {str(one.path) for one in (*self.session.candidates, *self.session.files)}
        self._judged = {path: known for path, known in self._judged.items() if path in there}
        last = {judged.mask for judged in self._judged.values()}
        self._lesions = {mask: known for mask, known in self._lesions.items() if mask in last}
        self.masks.keep(there)

    def _wait(self) -> None:
        looked_at = (self.session.shown, self.session.a, self.session.b)
        new = any(one is not None and one.act != "file" and str(one.path) not in self._judged for one in looked_at)
        self._timer.start(0 if new else _SETTLED_MS)


def _places(lesions: Sequence[Outline], words: Sequence[Word | None], found: ProbabilityMap) -> Iterator[tuple[float, float, Word]]:
    """Yield a place inside each lesion that was judged, level-0 px, and what was said."""
    scale_y, scale_x = found.scale_yx
    for lesion, word in zip(lesions, words, strict=True):
        if word is not None:
            place = lesion.polygon.representative_point()
            yield place.x * scale_x, place.y * scale_y, word
