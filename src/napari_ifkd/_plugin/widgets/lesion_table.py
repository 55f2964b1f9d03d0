"""The lesions as a table: quick with tens of thousands of rows, for only what is seen is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_ifkd._plugin.layers import uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.annotations.verdicts import Word

_ROLE = Qt.ItemDataRole
_MARKS: dict[str | None, str] = {"accept": "✓", "reject": "✗", None: ""}
COLUMNS = {
    "mm²": "Area",
    "Prob.": "Mean probability as the network says, also of what was painted",
    "Unc.": "Uncertainty: 1 where the mean probability is the threshold, 0 where it is 0 or 1",
    "✓✗": "What was said of it",
}


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion: a place inside it and its box in level-0 px (left, top, right, bottom), area, mean probability, and threshold."""

    x: float
    y: float
    box: tuple[float, float, float, float]
    area_mm2: float
    probability: float
    threshold: float = 0.5

    @property
    def uncertainty(self) -> float:
        """1 where the mean probability is the threshold, 0 where it is 0 or 1."""
        return uncertainty(self.probability, self.threshold)


class LesionModel(QAbstractTableModel):
    """Lesions with the verdict of each; a click on a column's head sorts."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[Lesion, Word | None]] = []
        self._small: list[tuple[Lesion, Word | None]] = []  # which are not shown
        self._least = 0.0

    def show(self, lesions: Sequence[Lesion], words: Sequence[Word | None]) -> None:
        """Show other lesions, the largest first."""
        self._take(list(zip(lesions, words, strict=True)))

    def leave_out(self, below_mm2: float) -> None:
        """Show no lesion smaller than this; verdicts on them stand."""
        self._least = below_mm2
        self._take([*self._rows, *self._small])

    def _take(self, rows: list[tuple[Lesion, Word | None]]) -> None:
        self.beginResetModel()
        rows.sort(key=lambda row: -row[0].area_mm2)
        self._rows = [row for row in rows if row[0].area_mm2 >= self._least]
        self._small = rows[len(self._rows) :]
        self.endResetModel()

    def lesion(self, row: int) -> Lesion:
        """Return the lesion of a row."""
        return self._rows[row][0]

    def word(self, row: int) -> Word | None:
        """Return what was said of the lesion of a row."""
        return self._rows[row][1]

    def judge(self, lesion: Lesion, word: Word | None) -> None:
        """Take note of a verdict; of a lesion that is no longer listed, none."""
        for rows in (self._rows, self._small):
            rows[:] = [(one, word if one == lesion else former) for one, former in rows]
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, len(COLUMNS) - 1))

    def judged(self) -> list[tuple[Lesion, Word]]:
        """Return the lesions that were judged."""
        return [(lesion, word) for lesion, word in (*self._rows, *self._small) if word is not None]

    @property
    def small(self) -> int:
        """How many lesions are too small to be shown."""
        return len(self._small)

    @property
    def small_judged(self) -> int:
        """How many of these were judged."""
        return sum(word is not None for _, word in self._small)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many lesions there are."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:
        """Return what a cell shows."""
        if role == _ROLE.TextAlignmentRole:
            across = Qt.AlignmentFlag.AlignHCenter if index.column() == len(COLUMNS) - 1 else Qt.AlignmentFlag.AlignRight
            return int(across | Qt.AlignmentFlag.AlignVCenter)
        if role != _ROLE.DisplayRole or not index.isValid():
            return None
        lesion, word = self._rows[index.row()]
        return (
            _area(lesion.area_mm2),
            f"{lesion.probability:.2f}",
            f"{lesion.uncertainty:.2f}",
            _MARKS[word],
        )[index.column()]

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _ROLE.DisplayRole) -> Any:
        """Return the heads of the columns, and the numbers of the rows."""
        if role == _ROLE.DisplayRole:
            return list(COLUMNS)[section] if orientation == Qt.Orientation.Horizontal else section + 1
        if role == _ROLE.ToolTipRole and orientation == Qt.Orientation.Horizontal:
            return list(COLUMNS.values())[section]
        if role == _ROLE.InitialSortOrderRole:  # one looks for the largest, the surest and the least sure
            return Qt.SortOrder.DescendingOrder
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; a lesion that is picked stays picked."""
        self.layoutAboutToBeChanged.emit()
        held = self.persistentIndexList()
        of = [self._rows[index.row()] for index in held]
        keys = (
            lambda row: row[0].area_mm2,
            lambda row: row[0].probability,
            lambda row: row[0].uncertainty,
            lambda row: _MARKS[row[1]],
        )
        self._rows.sort(key=keys[column], reverse=order == Qt.SortOrder.DescendingOrder)
        at = {id(row): place for place, row in enumerate(self._rows)} if held else {}
        now = [self.index(at[id(row)], index.column()) for index, row in zip(held, of, strict=True)]
        self.changePersistentIndexList(held, now)
        self.layoutChanged.emit()


def _area(mm2: float) -> str:
    """Return an area in as many digits as the column is wide."""
    if mm2 < 1e-3:
        return f"{mm2:.5f}" if mm2 >= 1e-4 else f"{1e6 * mm2:.0f} µm²"  # a speck
    return f"{mm2:#.3g}" if mm2 < 99.95 else f"{mm2:,.0f}"
