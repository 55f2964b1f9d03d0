"""Exclusions on the active slide: suggested by the quality check, drawn or removed by the user."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ifkd._plugin.words import area
from napari_ifkd.errors import Cancelled
from napari_ifkd.slides.artefacts import find_artefacts

from .parts import button, row, text
from .pen import PEN_HELP, Pen

if TYPE_CHECKING:
    from napari_ifkd.slides import Slide
    from napari_ifkd.slides.artefacts import Artefact

    from .dock import Dock


class Exclusions(QWidget):
    """Suggest, draw, clear.

    Parameters
    ----------
    dock : it is part of
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._dock, self._drawings, self._session = dock, dock.bench.drawings, dock.session
        self._at_work: Event | None = None
        self.check = button("Check quality", "Look for pen, folds and blur, and suggest to exclude them; remove what is wrong", self._check)
        self.draw = Pen(dock, "exclusion", "Draw", "Draw polygons round what nobody is to look at; Delete removes the selected one")
        self.clear = button("Clear", "Exclude nothing on this slide", self._clear)
        self.told = text("What is left out of bags, maps, areas and exports; its area counts glass too")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row(self.check, self.draw, self.clear, stretch=(2, 1, 1)))
        layout.addWidget(self.told)
        self._said = ""
        self._clean: set[str] = set()  # slides on which the check found nothing, by path
        dock.listen("slide", to=self._forget)
        dock.hear(self._drawings.changed, self._show)
        dock.hear(self._drawings.pen, self._show)

    def _check(self) -> None:
        slide = self._session.slide
        if slide is None:
            return
        if self._at_work is not None:
            self._at_work.set()
            return
        stop = self._at_work = Event()

        def failed(error: Exception) -> None:
            self._at_work, self._said = None, ""
            self._show()
            if not isinstance(error, Cancelled) and slide in self._session.slides:  # else it was closed meanwhile
                self._dock.say_error(error)

        self._said = "Looking for pen, folds and blur …"
        self._show()
        self._dock.in_thread(lambda: find_artefacts(slide, stop.is_set), lambda found: self._found(slide, found), failed)

    def _found(self, slide: Slide, found: list[Artefact]) -> None:
        self._at_work, self._said = None, ""
        (self._clean.discard if found else self._clean.add)(str(slide.path))
        if slide in self._session.slides:
            known = self._drawings.geometry("exclusion", slide)
            new = [one for one in found if known is None or one.geometry.difference(known).area > 0.1 * one.geometry.area]
            if new:
                self._drawings.add("exclusion", slide, ((one.kind, one.geometry) for one in new))
            self._said = "The check found nothing more." if known is not None and not new else ""
        self._show()

    def _clear(self) -> None:
        slide = self._session.slide
        if slide is not None:
            self._drawings.clear("exclusion", slide)
        self._said = ""
        self._show()

    def _forget(self) -> None:
        self._said = ""
        if self._at_work is not None:
            self._at_work.set()
        self._show()

    def _show(self) -> None:
        slide = self._session.slide
        count = 0 if slide is None else self._drawings.count("exclusion", slide)
        self.check.setEnabled(slide is not None and slide.mpp is not None)
        self.check.setText("Stop the check" if self._at_work is not None else "Check quality")
        self.draw.setEnabled(slide is not None)
        self.clear.setEnabled(count > 0)
        drawing = self._drawings.drawing == "exclusion"
        if (drawing or not count) and self._at_work is None:  # what the check said is of the past
            self._said = ""
        said = [PEN_HELP] if drawing else [self._said] if self._said else []
        if slide is not None and count:
            geometry = self._drawings.geometry("exclusion", slide)
            size = f", {area(0.0 if geometry is None else geometry.area * (slide.mpp or 1.0) ** 2 / 1e6)}" if slide.mpp is not None else ""
            kinds = ", ".join(f"{number} {kind}" for kind, number in self._drawings.kinds(slide).items())
            what = f"{count} region{'s' * (count > 1)}{f' ({kinds})' if kinds else ''}{size}"
            said.append(f"<b>{what}</b> left out of the next prediction, distillation and export.")
            if not drawing and self._drawings.is_deleted("exclusion", slide):
                said.append("Their layer was deleted in napari's list: Draw brings it back, Clear ends them.")
            elif not drawing:
                said.append("To take one off, select their layer in the list, pick it with the arrow above it (key 5), and press Delete.")
        elif not said:
            clean = slide is not None and str(slide.path) in self._clean
            nothing = (
                "The check found nothing to exclude; what it does not see, you may draw." if clean else "Nothing is excluded on this slide."
            )
            said.append(nothing if slide is not None else "Open a slide first.")
        self.told.setText("<br>".join(said))
