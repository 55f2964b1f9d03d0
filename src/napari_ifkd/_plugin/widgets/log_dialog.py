"""The log of a run, to read and to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QFontDatabase, QTextCursor
from qtpy.QtWidgets import QDialog, QPlainTextEdit, QVBoxLayout, QWidget

from .parts import button, row, text

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 500_000  # its end: that is where a run tells why it failed


class LogDialog(QDialog):
    """Show the end of a log file; the window stays usable beside it.

    Parameters
    ----------
    path : the log; it need not exist
    parent : the window
    """

    def __init__(self, path: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.path = path
        self.setWindowTitle(f"Log of {path.parent.name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 420)
        self.where = text("The log file")
        self.where.setText(str(path))
        self.words = QPlainTextEdit()
        self.words.setReadOnly(True)
        self.words.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.words.setPlainText(read_end(path))
        self.words.moveCursor(QTextCursor.MoveOperation.End)
        self.words.moveCursor(QTextCursor.MoveOperation.StartOfLine)
        self.open_folder = button("Open folder", "Show the run in the system's file manager", self._open_folder)
        self.done_button = button("Close", "Close the log", self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.where)
        layout.addWidget(self.words, 1)
        layout.addWidget(row(self.open_folder, QWidget(), self.done_button, stretch=(0, 1, 0)))

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.path.parent)))


def read_end(path: Path) -> str:
    """Return the end of a text file, or why there is nothing to read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - _MOST_BYTES)
            file.seek(start)
            words = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "There is no log: the run was started on the command line, and told there what it had to tell."
    except OSError as error:
        return f"The log cannot be read: {error.strerror}."
    if start:
        words = f"... (the first {start:,} bytes are left out)\n{words[words.find(chr(10)) + 1 :]}"
    return words.rstrip() or "The log is empty: the run said nothing."
