"""Teach it yourself: rough regions on slides, or a patch folder, become a small teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_ifkd._plugin.drawn import USES
from napari_ifkd.config import Config

from .job_bar import JobBar
from .parts import button, form, row, setting, settings_of, text

if TYPE_CHECKING:
    from napari_ifkd._plugin.drawn import Use

    from .teacher import TeacherDock

_SMALL = 0.5  # width of the network: a few regions teach no large one


class Teach(QWidget):
    """Draw, train, and take the teacher that comes of it.

    Parameters
    ----------
    dock : it is part of
    """

    def __init__(self, dock: TeacherDock) -> None:
        super().__init__()
        self._dock, self._drawings, self._session = dock, dock.bench.drawings, dock.session
        self._taken: Path | None = None
        self.what = text("How to teach")
        self.what.setText("Draw roughly round tumour, and round tissue without: on this slide, and on others.")
        self.draw: dict[Use, QPushButton] = {
            "tumour": button(
                USES["tumour"][0], "Draw polygons in which most places hold some tumour", lambda: self._drawings.begin("tumour")
            ),
            "normal": button(USES["normal"][0], "Draw polygons in which there is no tumour at all", lambda: self._drawings.begin("normal")),
        }
        for use, made in self.draw.items():
            made.setStyleSheet(f"QPushButton {{border-left: 6px solid {USES[use][2]};}}")
        self.patches = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY, tooltip="Folder of labelled patches to learn from, instead of regions or besides"
        )
        self.patches.choose_btn.text, self.patches.choose_btn.tooltip = "…", "Choose a patch folder"
        self.patches.line_edit.native.setPlaceholderText("or a patch folder")
        self.form = form(
            setting("network.name", "Network", leave_out=("encoder-mil", "custom")),  # these need more than a name
            setting("network.width", "Width"),
            setting("stage1.epochs", "Epochs"),
            setting("tiles.size_px", "Tile, px"),
            setting("tiles.mpp", "µm/px"),
        )
        self.form["network.width"].value = _SMALL
        self.train = button("Train", "Learn a teacher from these image-level labels, in a process of its own", self._train, main=True)
        self.progress = JobBar(dock.bench, "train")
        self.told = text("What there is to learn from")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        for part in (
            self.what,
            row(self.draw["tumour"], self.draw["normal"], stretch=(1, 1)),
            self.patches.native,
            self.told,
            self.form.native,
            self.train,
            self.progress,
        ):
            layout.addWidget(part)
        self.patches.changed.connect(lambda _: self._show())
        dock.listen("slide", "slides", "job", to=self._show)
        self._drawings.changed.connect(self._show)
        self.destroyed.connect(lambda *_, changed=self._drawings.changed, show=self._show: changed.disconnect(show, missing_ok=True))

    def _folder(self) -> Path | None:
        said = str(self.patches.value)
        return None if said in ("", ".") else Path(said)

    def _train(self) -> None:
        self._dock.bench.train(Config().replaced(**settings_of(self.form)), self._folder())

    def _show(self) -> None:
        session, job, folder = self._session, self._session.job, self._folder()
        counts = {use: sum(self._drawings.count(use, slide) for slide in session.slides) for use in self.draw}
        slides = sum(any(self._drawings.count(use, slide) > 0 for use in self.draw) for slide in session.slides)
        both = all(counts.values()) or folder is not None
        for made in self.draw.values():
            made.setEnabled(session.slide is not None)
        self.train.setEnabled(both and not (job and job.alive))
        if any(counts.values()):
            names = [f"{count} with" if use == "tumour" else f"{count} without" for use, count in counts.items()]
            on = f" on {slides} slides" if slides > 1 else ""
            lacking = "" if both else "<br>Both kinds are needed."
            self.told.setText(f"Regions: {' and '.join(names)} tumour{on}.{lacking}")
        else:
            self.told.setText("" if folder is not None else "Nothing is drawn yet.")
        self.progress.update_job()
        if job is not None and job.act == "train" and job.state == "done" and job.out != self._taken:
            self._taken = job.out
            self._dock.choose(job.out)
