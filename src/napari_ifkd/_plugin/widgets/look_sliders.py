"""Sliders of how predictions look, the same in every dock: what one says, all say."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FloatSlider
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QDoubleSpinBox

if TYPE_CHECKING:
    from .dock import Dock

_LIVE_MS = 60
_NUMBER = "QDoubleSpinBox {min-width: 44px; max-width: 44px; padding: 0px;}"  # as napari's own: the slider is what needs the room
_SLIDERS: dict[str, dict[str, Any]] = {
    "threshold": {
        "label": "Threshold",
        "min": 0.01,
        "max": 0.99,
        "step": 0.005,
        "tooltip": "From this probability on, 0.01 to 0.99, a pixel is tumour; seen at once. The next slide and network have it too",
    },
    "sigma_px": {
        "label": "Smoothing, map px",
        "min": 0,
        "max": 10,
        "step": 0.5,
        "tooltip": "Gaussian before the threshold, 0 to 10 px of the map; seen at once",
    },
    "opacity": {"label": "Opacity", "min": 0.05, "max": 1, "step": 0.05, "tooltip": "How strongly predictions cover the slide"},
}


class LookSliders(QObject):
    """Sliders bound to fields of the session.

    Parameters
    ----------
    dock : they are part of
    names : of the fields: threshold, sigma_px, opacity
    """

    def __init__(self, dock: Dock, *names: str) -> None:
        super().__init__(dock)
        self._session = dock.session
        self.sliders = {name: FloatSlider(value=getattr(dock.session, name), **_SLIDERS[name]) for name in names}
        self._settle = QTimer(self)  # a slider being dragged must not ask for a mask at every pixel
        self._settle.setSingleShot(True)
        self._settle.setInterval(_LIVE_MS)
        self._settle.timeout.connect(self._apply)
        self._moved: set[str] = set()
        for name, slider in self.sliders.items():
            slider.changed.connect(partial(self._move, name))
            for number in slider.native.findChildren(QDoubleSpinBox):
                number.setToolTip(slider.tooltip)
                if name == "threshold":  # advice comes in steps of 0.025
                    number.setDecimals(3)
                number.setStyleSheet(_NUMBER)
        dock.listen(*names, to=self._show)

    def __getitem__(self, name: str) -> FloatSlider:
        """Return a slider, to be laid out."""
        return self.sliders[name]

    def _move(self, name: str, _: float) -> None:
        self._moved.add(name)
        self._settle.start()

    def _apply(self) -> None:
        look: dict[str, Any] = {name: round(float(self.sliders[name].value), 3) for name in self._moved}
        self._moved.clear()
        self._session.look(**look)

    def _show(self) -> None:
        for name, slider in self.sliders.items():
            value, usual = getattr(self._session, name), _SLIDERS[name]["max"]
            with slider.changed.blocked():
                slider.max = usual if value <= usual else max(slider.max, value)  # a run may have been asked for more
                slider.value = value
