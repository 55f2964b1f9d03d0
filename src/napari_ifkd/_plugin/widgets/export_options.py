"""What can be chosen of an export: formats side by side, and in a fold the threshold, smallest lesion, simplification, resolution."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QWidget

from napari_ifkd.export import FORMATS, ExportOptions

from .parts import spin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from napari_ifkd.slides import Slide

_CHOSEN = ("geojson", "ome-tiff")


class FormatChoice(QWidget):
    """A box to tick for each format, in two columns; one that lacks a package is grey and says how to get it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, QCheckBox] = {}
        self._lacking: dict[str, str] = {}  # what a format needs that is not installed
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        for index, (name, known) in enumerate(FORMATS.items()):
            box = QCheckBox(known.label)
            if known.needs is not None and find_spec(known.needs[0]) is None:
                self._lacking[name] = f'pip install "napari-ifkd[{known.needs[1]}]"'
            box.setChecked(name in _CHOSEN)
            box.toggled.connect(lambda _: self.changed.emit())
            grid.addWidget(box, index // 2, index % 2)
            self.boxes[name] = box
        self.suit(None)

    def suit(self, slide: Slide | None) -> None:
        """Offer the formats in which a slide's mask can be written; the others are grey, and say why."""
        foreign = slide is not None and slide.vendor != "dicom"
        for name, box in self.boxes.items():
            needs = self._lacking.get(name) or ("the slide as DICOM" if name == "dicom-seg" and foreign else "")
            box.setToolTip(f"{FORMATS[name].what}.\nNeeds: {needs}" if needs else FORMATS[name].what)
            box.setEnabled(not needs)
            if needs:
                box.setChecked(False)

    @property
    def value(self) -> list[str]:
        """The names of those that are ticked."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    @value.setter
    def value(self, names: Sequence[str]) -> None:
        for name, box in self.boxes.items():
            box.setChecked(name in names and box.isEnabled())


class OptionsForm(QWidget):
    """Threshold, smallest lesion, simplification, resolution and the version of OME-Zarr."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        default = ExportOptions()
        self.own = QCheckBox("Own threshold")
        self.own.setToolTip("Cut the mask at another threshold than the one shown")
        self.threshold = spin(0.0, 1.0, 0.05, 2, 0.5, "From this probability on a pixel is tumour")
        self.threshold.setEnabled(False)
        self.area = spin(0.0, 1e3, 0.001, 5, default.min_area_um2 / 1e6, "Leave smaller lesions out of every format", "all")
        self.simplify = spin(
            0.0, 1000.0, 0.5, 2, default.simplify_um, "Outlines may deviate so much; none keeps every pixel's edge", "none"
        )
        self.mpp = spin(0.0, 1000.0, 0.25, 3, 0.0, "Resolution of the label images, OME-TIFF and OME-Zarr", "as the map")
        self.version = QComboBox()
        self.version.addItems(["0.5", "0.4"])
        self.version.setToolTip("Version of OME-Zarr; 0.4 for programs that do not know 0.5 yet")
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        lines: list[tuple[QWidget, QWidget]] = [
            (self.own, self.threshold),
            (QLabel("Smallest lesion, mm²"), self.area),
            (QLabel("Simplify, µm"), self.simplify),
            (QLabel("Resolution, µm/px"), self.mpp),
            (QLabel("OME-Zarr"), self.version),
        ]
        for index, (label, control) in enumerate(lines):
            label.setToolTip(label.toolTip() or control.toolTip())
            grid.addWidget(label, index, 0)
            grid.addWidget(control, index, 1)
        self.own.toggled.connect(self.threshold.setEnabled)
        for signal in (self.own.toggled, self.threshold.valueChanged):
            signal.connect(lambda _: self.changed.emit())

    def threshold_or(self, shown: float) -> float:
        """Return the threshold of its own, or the one shown."""
        return float(self.threshold.value()) if self.own.isChecked() else shown

    @property
    def value(self) -> ExportOptions:
        """What is chosen."""
        version: Any = self.version.currentText()
        return ExportOptions(
            min_area_um2=round(float(self.area.value()) * 1e6, 3),
            simplify_um=float(self.simplify.value()),
            mpp=float(self.mpp.value()) or None,
            ome_zarr=version,
        )

    @value.setter
    def value(self, options: ExportOptions) -> None:
        self.area.setValue(options.min_area_um2 / 1e6)
        self.simplify.setValue(options.simplify_um)
        self.mpp.setValue(options.mpp or 0.0)
        self.version.setCurrentText(options.ome_zarr)
