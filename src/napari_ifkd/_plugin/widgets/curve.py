"""The curve of a run: loss and agreement with the teacher, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyqtgraph

from napari_ifkd._plugin.palette import STUDENT, TEACHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.events import EpochDone


class Curve(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]  # pyqtgraph tells no types
    """Two small plots with one axis of epochs; a dotted line starts each round."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(160)
        self.setToolTip(
            "Above: mean training loss of a tile. Below: F1 of the student's masks and its teacher's, both at 0.5, on tumour tiles kept "
            "aside; the table tells it once the student's output was moved to hold the area"
        )
        self.loss = self._plot(0, "loss", TEACHER)
        self.agreement = self._plot(1, "agreement", STUDENT)
        self.agreement.setXLink(self.loss)
        self.agreement.setYRange(0, 1, padding=0.05)
        self.agreement.setLabel("bottom", "epoch")
        self.agreement.getAxis("left").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")]])
        self.loss.getAxis("left").setTickDensity(0.5)  # there is room for three numbers
        self.loss.getAxis("bottom").setStyle(showValues=False)
        self._starts: list[Any] = []

    def _plot(self, index: int, label: str, colour: str) -> Any:
        plot = self.addPlot(row=index, col=0, enableMenu=False)
        plot.ctrlMenu.setParent(self, plot.ctrlMenu.windowFlags())  # never shown; without a parent it would outlive the dock
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.setLabel("left", label)
        plot.getAxis("left").setWidth(46)
        plot.getAxis("left").enableAutoSIPrefix(False)
        plot.line = plot.plot(pen=pyqtgraph.mkPen(colour, width=2), symbol="o", symbolSize=4, symbolBrush=colour, symbolPen=None)
        return plot

    def set_colours(self, background: str, colour: str) -> None:
        """Draw the ground, and axes and words, in colours of the theme."""
        self.setBackground(background)
        for plot in (self.loss, self.agreement):
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(colour)
                plot.getAxis(side).setTextPen(colour)

    def show_epochs(self, epochs: Sequence[EpochDone]) -> None:
        """Draw these epochs, in order."""
        for plot, line in self._starts:
            plot.removeItem(line)
        self._starts.clear()
        steps = list(range(1, len(epochs) + 1))
        for plot in (self.loss, self.agreement):
            plot.getAxis("bottom").setTickSpacing(major=max(1, len(steps) // 6), minor=max(1, len(steps) // 6))
        only = [(epochs[0].loss, f"{epochs[0].loss:.2g}")] if len(epochs) == 1 else None
        self.loss.getAxis("left").setTicks(None if only is None else [only])  # one point has no range that numbers could fill
        self.loss.setXRange(0.5, len(steps) + 0.5, padding=0)
        self.loss.line.setData(steps, [epoch.loss for epoch in epochs])
        told = [(step, epoch.scores["agreement"]) for step, epoch in zip(steps, epochs, strict=True) if "agreement" in epoch.scores]
        self.agreement.line.setData([step for step, _ in told], [value for _, value in told])
        for step, epoch in zip(steps, epochs, strict=True):
            if epoch.epoch == 1 and step > 1:
                for plot in (self.loss, self.agreement):
                    line = pyqtgraph.InfiniteLine(step - 0.5, pen=pyqtgraph.mkPen("#888888", style=pyqtgraph.QtCore.Qt.PenStyle.DotLine))
                    plot.addItem(line)
                    self._starts.append((plot, line))
