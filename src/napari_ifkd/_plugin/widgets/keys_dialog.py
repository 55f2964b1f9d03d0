"""A dialog that lists keys."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QWidget


class KeysDialog(QDialog):
    """Keys by the page on which they act.

    Parameters
    ----------
    keys : what each key does, by page
    parent : the window
    """

    def __init__(self, keys: Mapping[str, Mapping[str, str]], parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of the docks")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        rows = ""
        for page, row in keys.items():
            rows += f"<tr><td colspan=2 style='padding-top:10px'><b>{escape(page)}</b></td></tr>"
            rows += "".join(
                f"<tr><td style='padding-right:24px'><b>{escape(' or '.join(key.split()))}</b></td><td>{escape(what)}</td></tr>"
                for key, what in row.items()
            )
        self.text = QLabel(f"<p>A key acts while its page is in front and no text is being typed.</p><table>{rows}</table>")
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.buttons)
