"""The table of runs: name, state, rounds; the rest stands below the table, for the one picked."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_ifkd._plugin.words import in_window
from napari_ifkd.console import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_ifkd.runs.listing import RunSummary

_MOST = 10  # slides that a tooltip names
_COLUMNS = {
    "Run": "Name of the run folder; the slides of a run stand below, where it is picked, and in the tooltip of its row",
    "State": "Running, paused, done, cancelled, failed, or interrupted: it ended without a word",
    "Rounds": "Rounds that are complete, of those asked for",
}


class RunsTable(QTableWidget):
    """Rows of runs; `picked` tells that another one is."""

    picked = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(_COLUMNS))
        for column, (name, tooltip) in enumerate(_COLUMNS.items()):
            title = QTableWidgetItem(name)
            title.setToolTip(tooltip)
            self.setHorizontalHeaderItem(column, title)
        across, down = QHeaderView(Qt.Orientation.Horizontal, self), QHeaderView(Qt.Orientation.Vertical, self)
        self.setHorizontalHeader(across)
        self.setVerticalHeader(down)
        down.hide()
        down.setDefaultSectionSize(24)
        across.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        across.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip("Pick a run to open, resume or delete it; a double click opens it")
        self.setMinimumHeight(180)
        self._runs: tuple[RunSummary, ...] = ()
        self.itemSelectionChanged.connect(self.picked.emit)

    def show_runs(self, runs: Sequence[RunSummary]) -> None:
        """Fill the table; the run that was picked stays picked."""
        before = self.run()
        self._runs = tuple(runs)
        self.blockSignals(True)
        self.setRowCount(len(runs))
        if before is not None and all(run.path != before.path for run in runs):
            self.setCurrentCell(-1, -1)  # Qt would pick the neighbour of a row that goes
        self.clearSelection()
        for row, run in enumerate(runs):
            rounds = f"{run.rounds} of {run.rounds_asked}" if run.rounds_asked else ""
            for column, value in enumerate((run.name, run.status, rounds)):
                item = QTableWidgetItem(value)
                item.setToolTip("\n".join(filter(None, (str(run.path), *_some(run.slides), in_window(run.failure), run.problem))))
                self.setItem(row, column, item)
        if before is not None:
            self.pick(before.path)
        self.blockSignals(False)
        self.picked.emit()

    def lists(self, path: Path) -> bool:
        """Return whether a run has a row."""
        return any(run.path == path for run in self._runs)

    def pick(self, path: Path) -> None:
        """Pick a run, if it is there."""
        for row, run in enumerate(self._runs):
            if run.path == path:
                self.selectRow(row)

    def run(self) -> RunSummary | None:
        """Return the run that is picked."""
        rows = {item.row() for item in self.selectedItems()}
        return self._runs[min(rows)] if rows else None


def _some(names: Sequence[str]) -> list[str]:
    """Return as many names as a tooltip has room for."""
    return [*names[:_MOST], *([f"and {len(names) - _MOST} more"] if len(names) > _MOST else [])]


def run_card(run: RunSummary) -> str:
    """Return what to know of a run, as rich text."""
    facts = [
        ("Why", in_window(run.failure)),
        ("Learned from" if run.act == "train" else "Slides" if len(run.slides) > 1 else "Slide", ", ".join(run.slides)),
        ("Network", run.model),
        ("To use", run.accepted),
        ("Size", size_text(run.size_bytes)),
        ("Changed", run.changed.astimezone().strftime("%Y-%m-%d %H:%M")),
        ("Problem", run.problem),
    ]
    rows = "".join(f"<tr><td style='padding-right:10px'>{name}</td><td>{escape(value)}</td></tr>" for name, value in facts if value)
    return f"<p style='margin-bottom:4px'><b>{escape(run.name)}</b></p><table>{rows}</table>"
