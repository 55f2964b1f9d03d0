"""The page of lesions: a list to jump from one to the next, accepting or rejecting each; the mask and exports leave the rejected out."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QTableView

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.look import go_to
from napari_ifkd._plugin.verdict_writer import Said, VerdictWriter
from napari_ifkd._plugin.words import area, lapsed
from napari_ifkd.annotations.verdicts import Verdict, standing
from napari_ifkd.export.lesions import grown_mm2, verdicts_on
from napari_ifkd.runs.folder import RunFolder

from .lesion_table import COLUMNS, Lesion, LesionModel
from .page import Page
from .parts import allow, button, row, shortcut, spin, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ifkd._plugin.verdicts import Mask
    from napari_ifkd.annotations.verdicts import Word
    from napari_ifkd.export.outlines import Outline
    from napari_ifkd.session_records import Candidate

    from .dock import Dock

    # what is said of the lesions of a mask, how many verdicts hold for none of them, and how much larger the rejected ones are by now
    _Now = tuple[Mask, list[Word | None], int, float]

_OUTLINE = "lesion"
_MARK_PX = 44
_EDGE_PX = 4.0  # width of the outline on the screen, as it is seen when it is drawn
_CORE = 0.4  # of its width that is white: outlines of other programs are black
_ROOM = 2.5  # how much more than the lesion is to be seen
_LEAST_UM = 120.0
_SETTLED_MS = 300  # a threshold that moves is waited for
_USUAL = {"column": 0, "order": 1, "least": 0.0}  # the largest first, all of them
_GROWN = 0.05  # share of what is rejected, from which it is told that it grew
_BACK = " What was said of it is taken back."
_OVERSHOT_S = 0.5  # who judges fast presses once more at the end of the list, and takes nothing back


class LesionsPage(Page):
    """List the lesions of the prediction looked at, and judge them."""

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self._of: Mask | None = None  # whose lesions are listed
        self._outlines: dict[Lesion, Outline] = {}  # px of the map
        self._grown_mm2 = 0.0  # how much larger the rejected ones are than when they were rejected
        self._unused = 0  # places judged on another mask that hold for none of these lesions
        self._busy = False  # whether lesions are looked for
        self._asked = False  # whether the list was asked for: from then on it follows what is looked at
        self._still = False  # whether a lesion is picked without a jump to it
        self._kept: tuple[Candidate, float, float] | None = None  # the lesion picked last: of which prediction, and where, px of level 0
        self._unfound: Mask | None = None  # whose lesions could not be found: nobody tries again unasked
        self._first: Mask | None = None  # of which mask to go to the first lesion once they are listed
        self._fresh = False  # whether what was picked last cannot have been seen yet
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(_SETTLED_MS)
        self._again.timeout.connect(self._find)
        self._writer = VerdictWriter(dock.bench.verdicts.table, self._look_back, self._written, self._not_written)
        self._at_end: tuple[Lesion, float] | None = None  # what was judged just now and has none after it, and when
        self._stale = False  # whether a verdict was taken back, and what was said of the others is not known yet
        self._news = ""  # what became of the verdict that was taken back last
        self.what = text("Whose lesions these are")
        self.list = button(
            "List lesions (J)",
            "Find the lesions of the prediction looked at; the list follows it, and its threshold. Key J, which goes to the first too",
            self._list,
            main=True,
        )
        self.least = spin(
            0.0, 1e3, 0.001, 5, 0.0, "List no smaller lesions; the mask and exports keep them (Export dock, Options)", "list all"
        )
        self.least.setKeyboardTracking(False)
        self.model = LesionModel()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setToolTip("A click jumps to the lesion; a click on a head sorts by size, probability, uncertainty or verdict")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setSortingEnabled(True)
        head, side, chosen = self.table.horizontalHeader(), self.table.verticalHeader(), self.table.selectionModel()
        assert head is not None  # Qt makes all three with the table and its model
        assert side is not None
        assert chosen is not None
        head.setSortIndicator(0, Qt.SortOrder.DescendingOrder)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        head.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Fixed)
        head.resizeSection(len(COLUMNS) - 1, _MARK_PX)
        side.setDefaultSectionSize(22)
        head.sortIndicatorChanged.connect(self._sorted)
        chosen.currentRowChanged.connect(lambda current, _: self._go(current.row()))
        self.table.setMinimumHeight(150)
        self.before = button("◀ (K)", "The lesion before. Key K", lambda: self._step(-1))
        self.next = button("▶ (J)", "The next lesion. Key J", lambda: self._step(1))
        self.accept = button(
            "✓ Accept (A)",
            "This lesion is right, and on to the next that nobody judged; once more takes it back. Key A",
            lambda: self._judge("accept"),
        )
        self.reject = button(
            "✗ Reject (R)",
            "This is no lesion: mask and exports leave it out, and on to the next that nobody judged; once more takes it back. Key R",
            lambda: self._judge("reject"),
        )
        self.told = text("How many were judged", lines=3)  # above the table, which may reach below what is seen of the dock
        self.steps = row(self.before, self.next, self.accept, self.reject, stretch=(0, 0, 1, 1))
        label = QLabel("Smallest, mm²")
        label.setToolTip(self.least.toolTip())
        self.smallest = row(label, self.least, stretch=(0, 1))
        self.fill(self.what, self.list, self.smallest, self.steps, self.told, self.table, tall=self.table)
        acts = {
            "J": lambda: self._step(1),
            "K": lambda: self._step(-1),
            "A": lambda: self._judge("accept"),
            "R": lambda: self._judge("reject"),
        }
        self.keys = {key: shortcut(self, key, act) for key, act in acts.items()}
        for key in ("A", "R"):  # held, it would take back what it just said
            self.keys[key].setAutoRepeat(False)
        self.least.valueChanged.connect(self._leave_small_out)
        dock.hear(dock.bench.memory.recalled, self._recall)
        self._recall()
        dock.listen("slide", "shown", "threshold", "sigma_px", to=self._show)
        dock.hear(dock.bench.drawings.changed, self._show)
        dock.hear(dock.bench.corrected, self._show)

    # --- finding

    def _list(self, *, go: bool = False) -> None:
        if self._session.shown is None or (self._asked and self._unfound is None):
            return
        self._session.set_compare("off")  # it is this mask that is judged
        self._first = self._dock.bench.verdicts.mask(self._session.shown) if go else None
        self._asked, self._unfound = True, None
        self._find()

    def _find(self) -> None:
        """Find the lesions of the prediction that is looked at."""
        shown, verdicts = self._session.shown, self._dock.bench.verdicts
        if shown is None or self._busy:  # what is found meanwhile may be of another mask: then it is looked for again
            return
        mask = verdicts.mask(shown)

        def work() -> tuple[list[Outline], list[Lesion], list[Word | None], int, int, float]:
            outlines, said = verdicts.lesions(mask), mask.verdicts()
            words, unused = verdicts_on(outlines, said, shown.found)
            return outlines, _measured(outlines, mask), words, unused, len(standing(said)), grown_mm2(outlines, words, said, shown.found)

        def listed(found: tuple[list[Outline], list[Lesion], list[Word | None], int, int, float]) -> None:
            self._busy = False
            if self._session.shown is shown and verdicts.mask(shown) == mask:  # else another is looked at by now
                self._of = mask
                outlines, lesions, words, self._unused, said, self._grown_mm2 = found
                parts = sum(word is not None for word in words) > said - self._unused
                self._news = " Some are parts of larger ones that were judged: they are judged with them." if parts else ""
                self._outlines = dict(zip(lesions, outlines, strict=True))
                self.model.show(lesions, words)
                self._sort()
                if self._first == mask:
                    self._step(1)
                else:
                    self._pick_again()
                self._first = None
            self._show()

        def failed(error: Exception) -> None:
            self._busy, self._first = False, None
            if self._session.shown is shown and verdicts.mask(shown) == mask:  # else nobody asks for them any more
                self._unfound = mask
                self._dock.say_error(error)
            self._show()

        self._busy = True
        self._show()
        self._dock.in_thread(work, listed, failed)

    # --- going and judging

    def _recall(self) -> None:
        """List as one listed last, in an earlier session too."""
        asked = self._dock.bench.memory.asked.get("lesions")
        head = self.table.horizontalHeader()
        if isinstance(asked, dict) and head is not None:
            with suppress(KeyError, TypeError, ValueError):  # of another version
                head.setSortIndicator(int(asked["column"]), Qt.SortOrder(int(asked["order"])))
                self.least.setValue(float(asked["least"]))

    def _note(self) -> None:
        head = self.table.horizontalHeader()
        assert head is not None
        order = int(head.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder)
        asked = {"column": head.sortIndicatorSection(), "order": order, "least": self.least.value()}
        if asked != self._dock.bench.memory.asked.get("lesions", _USUAL):
            self._dock.bench.memory.note_asked({"lesions": asked})

    def _sorted(self, *_: object) -> None:
        self.table.scrollTo(self.table.currentIndex())
        self._note()

    def _leave_small_out(self, mm2: float) -> None:
        self._note()
        self.model.leave_out(mm2)
        self._sort()
        self._pick_again()
        self._show()

    def _sort(self) -> None:
        """Sort the list as its head says."""
        head = self.table.horizontalHeader()
        assert head is not None
        self.table.sortByColumn(head.sortIndicatorSection(), head.sortIndicatorOrder())

    def _pick_again(self) -> None:
        """Pick the lesion at the place of the one that was picked before, where there is one, without a jump to it."""
        kept, of = self._kept, self._of
        if kept is None or of is None or kept[0] != of.of:
            return
        at = next((at for at in range(self.model.rowCount()) if self._holds(at, *kept[1:])), None)
        if at is not None:
            self._still = True
            self.table.selectRow(at)
            self._still = False

    def _holds(self, at: int, x: float, y: float) -> bool:
        left, top, right, bottom = self.model.lesion(at).box
        if self._of is None or not (left <= x <= right and top <= y <= bottom):  # of thousands nearly all lie elsewhere
            return False
        scale_y, scale_x = self._of.of.found.scale_yx
        return bool(self._outlines[self.model.lesion(at)].polygon.contains(shapely.Point(x / scale_x, y / scale_y)))

    def showEvent(self, event: Any) -> None:
        """List what is looked at by now, and outline the lesion that is picked."""
        super().showEvent(event)
        self._show()
        self._dock.bench.marks.bring_back()

    def hideEvent(self, event: Any) -> None:
        """Take the outline away: who looks at something else has no use for it, nor wants to go to a lesion."""
        super().hideEvent(event)
        self._first = None
        self._outline()

    def _row(self) -> int:
        return int(self.table.currentIndex().row())

    def _step(self, by: int) -> None:
        count, at = self.model.rowCount(), self._row()
        if count and at < 0:  # the first that nobody judged
            self.table.selectRow(next((row for row in range(count) if self.model.word(row) is None), 0))
        elif count:
            self.table.selectRow(max(0, min(count - 1, at + by)))
        elif by > 0:
            self._list(go=True)

    def _go(self, at: int) -> None:
        slide = self._session.slide
        if slide is None or not 0 <= at < self.model.rowCount():
            return
        self._dock.bench.marks.bring_back()
        self._fresh = True
        QTimer.singleShot(0, self._seen)  # after all keys that were pressed before it could be drawn
        if not self._still and self._news == _BACK:  # of another
            self._news = ""
        if not self._still and self._of is not None:
            self._session.set_compare("off")  # it is this mask that is judged
            self._kept = self._of.of, self.model.lesion(at).x, self.model.lesion(at).y
            left, top, right, bottom = self.model.lesion(at).box
            go_to(slide, self._viewer, (left + right) / 2, (top + bottom) / 2, self._across(self.model.lesion(at)), at_most_whole=True)
        self._show()

    def _seen(self) -> None:
        self._fresh = False

    def _across(self, lesion: Lesion) -> float:
        """Return how much is seen of a slide when a lesion is looked at, um."""
        left, top, right, bottom = lesion.box
        mpp = 1.0 if self._session.slide is None else self._session.slide.mpp or 1.0
        return max(_LEAST_UM, _ROOM * max(right - left, bottom - top) * mpp)

    def _judge(self, word: Word) -> None:
        """Say something of the lesion picked, and go to the next; or take back what was said of it, and stay to see it gone."""
        at, of = self._row(), self._of
        if of is None or self._busy or self._fresh:
            return
        if not 0 <= at < self.model.rowCount():  # none is picked: to see one comes first
            self._step(1)
            return
        shown = of.of
        lesion, path = self.model.lesion(at), RunFolder(shown.run).verdicts
        back = self.model.word(at) == word
        if back and self._at_end is not None and self._at_end[0] == lesion and monotonic() - self._at_end[1] < _OVERSHOT_S:
            return
        verdict = None
        if not back:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            place = round(lesion.x, 2), round(lesion.y, 2)
            verdict = Verdict(shown.slide, *place, word, shown.round, of.threshold, now, round(lesion.area_mm2, 9))
        self._stale |= back
        self._news = _BACK if back else ""
        self.model.judge(lesion, None if back else word)
        if not back:  # on to what nobody judged: of another the same key would take back what was said
            self.table.selectRow(next((row for row in range(at + 1, self.model.rowCount()) if self.model.word(row) is None), at))
        self._at_end = (lesion, monotonic()) if not back and self._row() == at else None
        self._show()
        self._writer.say(Said(path, self._outlines[lesion], shown.found, verdict))

    def _look_back(self) -> Callable[[], _Now] | None:
        """Return what finds out what is said of the lesions after one verdict was taken back; None where none was."""
        of, outlines = self._of, list(self._outlines.values())
        if not self._stale or of is None:
            return None

        def look() -> _Now:
            said, found = of.verdicts(), of.of.found
            words, unused = verdicts_on(outlines, said, found)
            return of, words, unused, grown_mm2(outlines, words, said, found)

        return look

    def _written(self, now: _Now | None) -> None:
        if now is not None and self._writer.last and isalive(self) and self._of == now[0]:  # type: ignore[no-untyped-call]
            self._take(*now[1:])
        self._dock.bench.judged.emit()

    def _not_written(self, error: Exception) -> None:
        self._dock.say_error(error)
        if isalive(self) and self._of is not None:  # type: ignore[no-untyped-call] # as it is on disk
            self._find()

    def _take(self, words: list[Word | None], unused: int, grown_mm2: float) -> None:
        """Show what is said of the lesions after one verdict was taken back: it may have been that on others too."""
        before = dict(self.model.judged())
        now = dict(zip(self._outlines, words, strict=True))
        gone = sum(now[lesion] is None for lesion in before)
        for lesion in {**before, **{lesion: word for lesion, word in now.items() if word is not None}}:
            if before.get(lesion) != now[lesion]:
                self.model.judge(lesion, now[lesion])
        self._stale, self._unused, self._grown_mm2 = False, unused, grown_mm2
        if gone:
            self._news = f" It was said of a larger lesion: taken back on {gone} other part{'s' * (gone > 1)} of it too."
        self._show()

    # --- showing

    def _show(self) -> None:
        session = self._session
        now = None if session.shown is None else self._dock.bench.verdicts.mask(session.shown)
        if self._of is not None and now != self._of:  # another mask: its lesions are others
            self._of = None
            self.model.show([], [])
        awaited = self._asked and self._of is None and now not in (None, self._unfound)
        if awaited and not self._busy and self.isVisible():
            self._again.start()
        listed = self._of is not None or awaited
        count, judged = self.model.rowCount(), self.model.judged()
        self.list.setEnabled(session.shown is not None and not self._busy)
        self.list.setVisible(not listed)
        for part in (self.table, self.smallest, self.steps, self.told):
            part.setVisible(listed)
        for part in (self.accept, self.reject):
            allow(part, "" if 0 <= self._row() < count else "no lesion is picked; J goes to the first" if count else "there is no lesion")
        if session.shown is None:
            self.what.setText("No prediction on this slide yet." if session.slide is not None else "Open a slide first.")
        elif listed and self._of is None:
            self.what.setText("Finding the lesions …")
        elif self._of is None:
            self.what.setText(f"The lesions of <b>{session.shown.label}</b> at threshold {session.threshold:.3g}, one by one.")
        else:
            small = f", and {self.model.small:,} smaller ones" if self.model.small else ""
            self.what.setText(f"<b>{count:,}</b> lesions of <b>{session.shown.label}</b> at threshold {session.threshold:.3g}{small}")
        rejected = [lesion for lesion, word in judged if word == "reject"]
        hidden = f", {self.model.small_judged} of them smaller than is listed" if self.model.small_judged else ""
        said = f"{len(judged)} of these judged{hidden}." if judged else "None of these is judged yet."
        if rejected:
            lost = sum(lesion.area_mm2 for lesion in rejected)
            said += f" {len(rejected)} rejected, {area(lost)}: mask and exports leave {'them' if len(rejected) > 1 else 'it'} out."
            if self._grown_mm2 > _GROWN * lost:
                were = "they were" if len(rejected) > 1 else "it was"
                said += f" ⚠ That is {area(self._grown_mm2)} more than when {were} rejected, on another mask."
        if self._unused:
            said += f" {lapsed(self._unused)}"
        said += self._news
        self.told.setText(said if self._of is not None else "")
        self._outline()

    def _outline(self) -> None:
        """Draw round the lesion that is picked."""
        slide, at = self._session.slide, self._row()
        layer: Any = next(iter(self._dock.bench.layers.ours(_OUTLINE)), None)
        if slide is None or self._of is None or not self.isVisible() or not 0 <= at < self.model.rowCount():
            if layer is not None:
                self._viewer.layers.remove(layer)
            return
        lesion, found = self.model.lesion(at), self._of.of.found
        place = made.placement(slide.mpp, found.scale_yx)
        ring = np.asarray(self._outlines[lesion].polygon.exterior.simplify(0.5).coords)[:, ::-1] - 0.5
        width = _EDGE_PX / self._viewer.scene.camera.zoom / place["scale"][0]
        if layer is not None and not np.allclose(layer.scale, place["scale"], atol=0):  # the slide has another resolution by now
            self._viewer.layers.remove(layer)
            layer = None
        if layer is not None and np.array_equal(layer.data[0], ring):
            return
        if layer is None:
            active = self._viewer.layers.selection.active
            layer = self._viewer.add_shapes(
                ndim=2, name="Lesion picked", metadata={made.KEY: {"kind": _OUTLINE, "path": str(slide.path)}}, **place
            )
            self._viewer.layers.selection.active = active
        layer.data = []
        layer.add_paths([ring, ring], edge_color=["black", "white"], edge_width=[width, _CORE * width])


def _measured(outlines: Sequence[Outline], mask: Mask) -> list[Lesion]:
    """Return lesions of a mask as the list tells of them."""
    found = mask.of.found
    pixel_mm2 = found.pixel_size_um_yx[0] * found.pixel_size_um_yx[1] / 1e6
    scale_y, scale_x = found.scale_yx
    lesions = []
    for outline in outlines:
        place = outline.polygon.representative_point()
        left, top, right, bottom = outline.polygon.bounds
        box = left * scale_x, top * scale_y, right * scale_x, bottom * scale_y
        lesions.append(
            Lesion(place.x * scale_x, place.y * scale_y, box, outline.area_px * pixel_mm2, outline.mean_probability, mask.threshold)
        )
    return lesions
