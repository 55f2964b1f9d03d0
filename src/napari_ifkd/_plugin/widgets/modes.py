"""Buttons of which one is pressed: how two predictions are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_ifkd._plugin.palette import ACTION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from napari_ifkd.session_records import Compare

_ACROSS = 3
MODES: dict[Compare, tuple[str, str]] = {
    "off": ("Single", "Look at one prediction, the one above"),
    "overlay": ("Overlay", "Both masks, one upon the other"),
    "contours": ("Contours", "The outlines of both masks"),
    "side by side": ("Side by side", "A on the left, B on the right; they move together"),
    "disagreement": ("Disagreement", "Where only A, only B, or both see tumour"),
    "uncertainty": (
        "Uncertainty",
        "Where the network of B is unsure (where there is no B, of A), whatever was said of its lesions: "
        "the nearer its probability is to the threshold, the greener",
    ),
    "a": ("Show A", "The mask of A alone: Show, above, is A from then on, also for Accept. Hold the key F to only have a look"),
    "b": ("Show B", "The mask of B alone: Show, above, is B from then on, also for Accept. Hold the key F to only have a look"),
}


class Modes(QWidget):
    """Choose one of :data:`MODES`; `picked` tells which the user pressed."""

    picked = Signal(str)

    def __init__(self, modes: Mapping[Compare, tuple[str, str]] = MODES) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        self._grid = layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for place, (mode, (label, tooltip)) in enumerate(modes.items()):
            made = QPushButton(label)
            made.setToolTip(tooltip)
            made.setCheckable(True)
            made.setStyleSheet(
                f"QPushButton {{padding: 3px;}} QPushButton:checked {{background: {ACTION}; color: white;}}"
                "QPushButton:disabled {background: rgba(128, 128, 128, 70); color: rgba(128, 128, 128, 255);}"
            )
            made.clicked.connect(lambda _, mode=mode: self._press(mode))
            layout.addWidget(made, place // _ACROSS, place % _ACROSS)
            self.buttons[mode] = made

    def beside(self, more: QWidget) -> None:
        """Place something more in the row of the last modes."""
        self._grid.addWidget(more, (len(self.buttons) - 1) // _ACROSS, _ACROSS - 1)

    def allow(self, modes: Collection[str]) -> None:
        """Let only these be chosen."""
        for mode, button in self.buttons.items():
            button.setEnabled(mode in modes)

    def show_mode(self, wanted: str) -> None:
        """Press the button of a mode, without telling so."""
        for mode, button in self.buttons.items():
            button.setChecked(mode == wanted)

    def _press(self, mode: str) -> None:
        self.show_mode(mode)
        self.picked.emit(mode)
