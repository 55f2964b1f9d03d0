"""The Export dock: write the mask that is shown for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, FileEdit
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_ifkd._plugin.worker import say_error

from .dock import Dock
from .parts import Notice, button, heading, text

FORMATS = {
    "geojson": ("GeoJSON", "Outlines for QuPath and others, in pixels of the slide's finest level"),
    "ome-tiff": ("OME-TIFF", "A pyramidal label image with its physical size"),
}


class ExportDock(Dock):
    """Write the mask of the prediction looked at."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.what = text("The mask that will be written: choose it in the Review or Distill dock, its threshold in the Teacher dock")
        self.warning = Notice()
        self.formats = {name: CheckBox(value=True, text=label, tooltip=tooltip) for name, (label, tooltip) in FORMATS.items()}
        self.folder = FileEdit(mode=FileDialogMode.EXISTING_DIRECTORY, tooltip="Where the files go; it is made if need be")
        self.export = button(
            "Export mask", "Write the mask in the chosen formats, with a file that tells where it comes from", self._export, main=True
        )
        self.result = text("What was written")
        self.open_folder = button("Open folder", "Show the files in the system's file manager", self._open_folder)
        self._busy = False
        self._written: Path | None = None
        self.add(self.what, self.warning, heading("Formats"), *(box.native for box in self.formats.values()))
        self.folder.choose_btn.text = "…"
        self.folder.choose_btn.tooltip = "Choose another folder"
        self.add(heading("Folder"), self.folder.native, self.export, self.result, self.open_folder)
        self.open_folder.hide()
        self.folder.changed.connect(self._show)
        for box in self.formats.values():
            box.changed.connect(self._show)
        self.listen("slide", "shown", "threshold", "sigma_px", to=self._show)
        self.column.addStretch(1)

    def _show(self) -> None:
        session, shown = self.session, self.session.shown
        self.export.setEnabled(shown is not None and not self._busy and any(box.value for box in self.formats.values()))
        if shown is None:
            self.what.setText("No prediction on this slide yet.")
            self.warning.say(None)
            return
        self.what.setText(f"<b>{shown.label}</b> of {shown.slide}<br>threshold {session.threshold:.2f}, smoothing {session.sigma_px:g} px")
        self.warning.say(f"{shown.warnings[0]} The files carry this warning." if shown.warnings else None)
        if str(self.folder.value) in ("", "."):
            slide = session.slide
            with self.folder.changed.blocked():
                self.folder.value = slide.path.parent / "masks" if slide is not None else Path.home()

    def _export(self) -> None:
        from napari_ifkd.export import export_run

        session, shown, folder = self.session, self.session.shown, Path(str(self.folder.value))
        if shown is None:
            return
        formats = [name for name, box in self.formats.items() if box.value]
        threshold, sigma_px = session.threshold, session.sigma_px
        self._busy = True
        self._show()
        self.result.setText("Writing …")
        self.open_folder.hide()
        self.in_thread(
            lambda: export_run(shown.path, formats, folder, round=shown.round, threshold=threshold, sigma_px=sigma_px),
            self._done,
            self._failed,
        )

    def _done(self, written: list[Path]) -> None:
        self._busy, self._written = False, written[0].parent
        self.result.setText("Written:<br>" + "<br>".join(f"• {path.name}" for path in written))
        self.open_folder.show()
        self._show()

    def _failed(self, error: Exception) -> None:
        self._busy = False
        self.result.setText("")
        say_error(error)
        self._show()

    def _open_folder(self) -> None:
        if self._written is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._written)))
