"""The table of rounds: decision, agreement with the teacher, area, and F1 where reference masks were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_ifkd.config import Config
from napari_ifkd.runs.judgement import TOLD_BY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_ifkd.events import RoundDone
    from napari_ifkd.runs.accepted import Accepted

_COLUMNS = {
    "#": "The round: 0 is the first teacher, before any round; ✓ was accepted",
    "Decision": "Whether the student of the round became the new teacher, or the teacher before was kept",
    "Agree": "F1 of the masks of the student and of its teacher, the last one that was chosen, both at 0.5, on tumour tiles kept aside for "
    "checking; the curve tells it before the student's output is moved to hold the area. Over the whole slide: the Review dock",
    "mm²": "Area of the mask on this slide, as the network says: lesions that were rejected count",
    "F1": "Masks against the reference masks of the run, of whichever slides; where they choose the round too, they flatter it",
}
_F1_HERE = "Masks of this slide, as the network says, against its reference mask; where that chooses the round too, it flatters it"


class RoundsTable(QTableWidget):
    """Rows of rounds; `round_selected` tells the index of the one the user picked."""

    round_selected = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, len(_COLUMNS))
        for column, (name, tooltip) in enumerate(_COLUMNS.items()):
            title = QTableWidgetItem("Agree\non tiles" if name == "Agree" else name)
            title.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, title)
        across, down = QHeaderView(Qt.Orientation.Horizontal, self), QHeaderView(Qt.Orientation.Vertical, self)
        self.setHorizontalHeader(across)
        self.setVerticalHeader(down)
        down.hide()
        across.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        across.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFixedHeight(138)
        down.setDefaultSectionSize(24)
        self._rounds: list[int] = []
        self.itemSelectionChanged.connect(self._picked)

    def show_rounds(
        self,
        rounds: Sequence[RoundDone],
        areas: Mapping[int, float] | None,
        threshold: float,
        accepted: Accepted | None = None,
        *,
        several_slides: bool = False,
        f1: Mapping[int, float] | None = None,
    ) -> None:
        """Fill the table.

        Parameters
        ----------
        rounds : what is known of each
        areas, threshold : mm² of its mask on the active slide, from which probability on; None where it is of another slide
        accepted : what was accepted, which is marked
        several_slides : whether F1 of the run is of more than the active slide
        f1 : against the reference mask of the active slide, at the threshold of the areas; None or empty tells that of the run
        """
        self._rounds = [r.index for r in rounds]
        self.setColumnHidden(3, areas is None)
        areas, own = areas or {}, dict(f1 or {})
        for column, at in ((3, threshold), (4, threshold if own else Config().inference.threshold)):
            title = self.horizontalHeaderItem(column)
            assert title is not None
            name = list(_COLUMNS)[column]
            of_all = several_slides and name == "F1" and not own
            title.setText("F1 of\nthe run" if of_all else f"{name}\nat {at:.3g}")
            of_run = name == "F1" and not own
            whose = "the threshold that distillation itself goes by" if of_run else "the threshold that is set"
            all_slides = ", of all slides of the run that have reference masks; areas are of this one" if of_all else ""
            does = _F1_HERE if name == "F1" and own else _COLUMNS[name]
            title.setToolTip(f"{does}.\n\nAt {at:.3g}, {whose}{all_slides}")
        self.blockSignals(True)
        self.setRowCount(len(rounds))
        for row, done in enumerate(rounds):
            agreement, area = done.scores.get("agreement"), areas.get(done.index)
            against = own.get(done.index) if own else _f1(done)
            chosen = accepted if accepted is not None and done.index == accepted.round else None
            values = (
                str(done.index) if chosen is None else f"{done.index} ✓",
                _decision(done, chosen),
                _number(agreement, ".2f"),
                _number(area, "#.3g" if area is not None and area < 99.95 else ",.0f"),
                _number(against, ".3f"),
            )
            reason = done.decision.reason if done.decision is not None else "The first teacher, before any round"
            for column, value in enumerate(values):
                item = QTableWidgetItem(value)
                item.setToolTip(f"{_means(done, chosen)}\n{reason}".strip() if column == 1 else reason)
                self.setItem(row, column, item)
        self.setColumnHidden(len(_COLUMNS) - 1, not own and all(_f1(done) is None for done in rounds))
        self.blockSignals(False)

    def select_round(self, index: int | None) -> None:
        """Mark a round as the one looked at, without telling so."""
        self.blockSignals(True)
        if index in self._rounds:
            self.selectRow(self._rounds.index(index))
        else:
            self.clearSelection()
        self.blockSignals(False)

    def _picked(self) -> None:
        rows = {item.row() for item in self.selectedItems()}
        if rows:
            self.round_selected.emit(self._rounds[min(rows)])


def _decision(done: RoundDone, accepted: Accepted | None) -> str:
    if done.decision is None:
        return "teacher"
    if done.decision.switched:
        return "new teacher"
    return "teacher kept" if accepted is None else "accepted"


def _means(done: RoundDone, accepted: Accepted | None) -> str:
    if done.decision is None:
        return ""
    if done.decision.switched:
        return "This round became the teacher of the next"
    if accepted is None:
        return "The teacher before was kept"
    return f"The rule kept the teacher before; this round was accepted all the same, by {TOLD_BY.get(accepted.by, 'you')}"


def _f1(done: RoundDone) -> float | None:
    """Return the figure of masks that do not choose, where a run on the command line was given such, else of the reference masks."""
    return done.scores.get("f1", done.scores.get("reference_f1"))


def _number(value: float | None, form: str) -> str:
    return "\N{EN DASH}" if value is None else format(value, form)
