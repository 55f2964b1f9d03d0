"""The page on which a person corrects: paint what is wrong in the visible field with napari's own brush, and write it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.look import field_px, leave_keyboard
from napari_ifkd._plugin.palette import NORMAL, SAID_TUMOUR
from napari_ifkd._plugin.verdicts import gave_way, stands_again
from napari_ifkd._plugin.words import area
from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.corrections import TUMOUR
from napari_ifkd.errors import AnnotationError
from napari_ifkd.runs.folder import RunFolder

from .page import Page
from .parts import Notice, allow, button, emphasise, row, text
from .pen import dress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry import Polygon

    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide

    from .dock import Dock

_MOST_PX = 4096  # of a side that is painted at once
_BRUSH_PX = 24
_KIND = "correcting"
_HELP = (
    "Paint over what is wrong, as <b>Tumour</b> or <b>Normal</b>; <b>Take back</b> rubs out. "
    "Brush size, undo (Ctrl+Z) and colours are napari's own."
)


class CorrectPage(Page):
    """Paint corrections of the visible field, and write them into the run.

    Parameters
    ----------
    dock : it is part of

    Attributes
    ----------
    looked : tells whether there are corrections of what is shown
    """

    looked = Signal(bool)

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self._busy, self._elsewhere = False, False  # whether something is written; whether painting is open on another slide
        self._told_of: Path | None = None  # whose areas are told
        self._news: tuple[Path | None, str] = (None, "")  # what else the last write did, and where
        self.what = text("What is corrected, and where", lines=4)
        self.begin = button("Correct this field", "Make a labels layer of the visible field, and choose napari's brush", self._begin)
        self.tumour = button("Tumour", "Paint label 2: this is tumour", lambda: self._pick(2))
        self.normal = button("Normal", "Paint label 1: this is no tumour", lambda: self._pick(1))
        self.erase = button("Take back", "Paint label 0: leave it to the network", lambda: self._pick(0))
        for brush, colour in ((self.tumour, SAID_TUMOUR), (self.normal, NORMAL), (self.erase, "")):
            dress(brush, colour)
        self.write = button(
            "Write back",
            "Write what was painted into the run's corrections: they win in every export, and teach the next round",
            self._write,
            main=True,
        )
        self.discard = button("Discard", "Remove the layer; nothing of it is written", self._discard)
        self.undo = button(
            "Undo last write",
            "Put the corrections back as they were before the last Write back, or before a file was brought in",
            self._undo,
        )
        self.redo = button("Redo", "Write what was taken back last once more", self._redo)
        self.told = text("The corrections of this slide")
        self.warning = Notice()
        self.brushes = row(self.tumour, self.normal, self.erase)
        self.fill(
            self.what,
            self.begin,
            self.brushes,
            row(self.write, self.discard, stretch=(1, 0)),
            row(self.undo, self.redo, stretch=(1, 0)),
            self.told,
            self.warning,
        )
        self._viewer.layers.events.removed.connect(self._removed)
        self.destroyed.connect(lambda: self._viewer.layers.events.removed.disconnect(self._removed))
        dock.listen("slide", "shown", to=self._show)
        dock.hear(dock.bench.corrected, self._show)
        dock.hear(dock.bench.verdicts.settled_down, self._warn)
        dock.hear(dock.bench.layers.seen_again, self._warn)  # outlines are not drawn while nobody sees them

    # --- painting

    def layer(self) -> Any | None:
        """Return the layer that is painted on, None while there is none."""
        return next(iter(self._dock.bench.layers.ours(_KIND)), None)

    def _begin(self) -> None:
        shown, slide = self._session.shown, self._session.slide
        if shown is None or slide is None:
            return
        self._session.set_compare("off")  # it is this mask that is corrected
        path = RunFolder(shown.run).corrections_path(slide.name)
        left, top, right, bottom = field_px(slide, self._viewer)
        mpp = shown.found.mpp

        def work() -> tuple[NDArray[np.uint8], tuple[int, int], tuple[float, float]]:
            corrections = Corrections.open(path) if path.is_dir() else Corrections.create(path, slide, mpp)
            corrections.check(slide)
            scale = corrections.scale_yx
            y0, x0 = max(0, int(top / scale[0])), max(0, int(left / scale[1]))
            y1, x1 = min(corrections.shape[0], int(bottom / scale[0]) + 1), min(corrections.shape[1], int(right / scale[1]) + 1)
            if y1 <= y0 or x1 <= x0:
                raise AnnotationError("field", "lies beside the slide", "Pan back to the slide")
            if max(y1 - y0, x1 - x0) > _MOST_PX:
                raise AnnotationError("field", f"is {x1 - x0} x {y1 - y0} px of the map, too much to paint on", "Zoom in")
            return corrections.read(y0, x0, y1 - y0, x1 - x0), (y0, x0), scale

        def ready(found: tuple[NDArray[np.uint8], tuple[int, int], tuple[float, float]]) -> None:
            self._busy = False
            values, (y0, x0), scale = found
            self._dock.bench.painted_on = slide, shown, y0, x0
            place = made.placement(slide.mpp, scale)
            place["translate"] = tuple(t + o * s for t, o, s in zip(place["translate"], (y0, x0), place["scale"], strict=True))
            layer = self._viewer.add_labels(
                values,
                name=f"Correct · {slide.name}",
                metadata={made.KEY: {"kind": _KIND, "path": str(path), "of": str(slide.path), "before": values.copy()}},
                colormap=made.label_colours({1: NORMAL, TUMOUR: SAID_TUMOUR}),
                opacity=0.8,
                **place,
            )
            layer.brush_size = _BRUSH_PX
            ring = self._viewer.canvas.overlays.get("_brush_circle")
            if ring is not None:  # napari 0.9 leaves a square behind it on the picture, wherever the brush was last
                ring.box = False
            for event in (layer.events.mode, layer.events.selected_label):
                event.connect(self._show_brush)
            self._viewer.layers.selection.active = layer
            self._pick(TUMOUR)
            self._show()
            leave_keyboard(self)

        self._busy = True
        self._show()
        self._dock.in_thread(work, ready, self._failed)

    def _pick(self, label: int) -> None:
        layer = self.layer()
        if layer is not None:
            self._viewer.layers.selection.active = layer
            layer.selected_label = label or TUMOUR
            layer.mode = "paint" if label else "erase"
        self._show_brush()

    def _show_brush(self, _: object = None) -> None:
        """Press the button of the brush in hand."""
        layer = self.layer()
        label = None if layer is None else {"paint": int(layer.selected_label), "erase": 0}.get(str(layer.mode))
        for value, brush in ((TUMOUR, self.tumour), (1, self.normal), (0, self.erase)):
            brush.setChecked(value == label)

    def _write(self) -> None:
        layer, opened = self.layer(), self._dock.bench.painted_on
        if layer is None or opened is None:
            return
        slide, painted_on, y0, x0 = opened
        home = self._home(painted_on)
        path, mpp = RunFolder(home.run).corrections_path(slide.name), home.found.mpp
        values, as_read = np.asarray(layer.data).astype(np.uint8), made.tag(layer)["before"]
        if (values > TUMOUR).any():
            self._dock.say_error(
                AnnotationError("corrections", "hold labels above 2", "Paint with 1 (normal), 2 (tumour) or 0 (take back)")
            )
            return

        def paint() -> tuple[None, Callable[[], object]]:
            corrections = Corrections.open(path) if path.is_dir() else Corrections.create(path, slide, mpp)
            before = corrections.read(y0, x0, *values.shape)  # which others may have changed meanwhile
            corrections.paint(y0, x0, np.where(values != as_read, values, before))
            return None, lambda: Corrections.open(path).paint(y0, x0, before)

        def written(told: tuple[None, int]) -> None:
            self._busy, self._dock.bench.painted_on = False, None
            self._news = path, gave_way(told[1])
            made.tag(layer)["before"] = values
            self._show_below(layer, values, y0, x0)
            self._put_away(layer, slide)
            self._rested()

        self._busy = True
        self._show()
        bench = self._dock.bench
        mask = bench.verdicts.mask(home)
        self._dock.in_thread(lambda: bench.undos.act(path, lambda: bench.verdicts.paint_over(mask, path, paint)), written, self._failed)

    def _home(self, painted_on: Candidate) -> Candidate:
        """Return the prediction whose run keeps what was painted: the run that took over what was painted on, if one did meanwhile."""
        there, identity = self._session.predictions(), painted_on.found.identity
        if painted_on in there or identity is None:
            return painted_on
        return next((c for c in there if c.found.identity == identity), painted_on)

    def _discard(self) -> None:
        layer, opened = self.layer(), self._dock.bench.painted_on
        painted = layer is not None and not np.array_equal(np.asarray(layer.data), made.tag(layer)["before"])
        if painted and not self._dock.sure("Discard what was painted?", "Nothing brings it back.", "Discard"):
            return
        self._dock.bench.painted_on = None
        if layer is not None:
            if opened is not None:
                self._show_below(layer, made.tag(layer)["before"], *opened[2:])
            self._put_away(layer, None if opened is None else opened[0])
        self._show()

    def _show_below(self, layer: Any, values: NDArray[np.uint8], y0: int, x0: int) -> None:
        """Show what is corrected in the field again, below the layer that goes: else it would be gone until it is read."""
        below = self._dock.bench.layers.find("corrections", made.tag(layer)["path"])
        if below is not None:
            step = round(float(below.scale[0] / layer.scale[0]))
            top, left = -(-y0 // step), -(-x0 // step)
            thinned, data = values[top * step - y0 :: step, left * step - x0 :: step], np.array(below.data)
            bottom, right = top + thinned.shape[0], left + thinned.shape[1]
            data[top:bottom, left:right] = thinned
            above, before = max(0, top - 1), max(0, left - 1)  # so far lines change, and what they depend on is one px further
            y, x = max(0, top - 2), max(0, left - 2)
            lined = made.edged(data[y : bottom + 2, x : right + 2])
            data[above : bottom + 1, before : right + 1] = lined[above - y : bottom + 1 - y, before - x : right + 1 - x]
            below.data = data

    def _put_away(self, layer: Any, slide: Slide | None) -> None:
        layer.mode = "pan_zoom"  # else napari's brush stays on the picture
        if layer in self._viewer.layers:  # somebody may have deleted it meanwhile
            self._viewer.layers.remove(layer)
        below = None if slide is None else self._dock.bench.layers.find("slide", slide.path)
        if below is not None and slide is self._session.slide:
            self._viewer.layers.selection.select_only(below)
        leave_keyboard(self)

    def _undo(self) -> None:
        self._change(self._dock.bench.undos.take_back, stands_again)

    def _redo(self) -> None:
        self._change(self._dock.bench.undos.do_again, gave_way)

    def _change(self, act: Callable[[Path], object], say: Callable[[int], str]) -> None:
        """Undo or redo, and say what became of lesions that were rejected."""
        path = self._path()
        if path is None:
            return

        def changed(told: object) -> None:
            lesions = told[1] if isinstance(told, tuple) else 0  # None where there was nothing to be done
            self._news = path, say(lesions)
            self._rested()

        self._busy, self._news = True, (None, "")
        self._show()
        self._dock.in_thread(lambda: act(path), changed, self._failed)

    def _path(self) -> Path | None:
        """Return where the corrections of what is shown are kept."""
        shown = self._session.shown
        return None if shown is None else RunFolder(shown.run).corrections_path(shown.slide)

    def _rested(self) -> None:
        self._busy = False
        self._dock.bench.corrected.emit()
        self._dock.bench.judged.emit()  # rejected lesions may have given way

    def _failed(self, error: Exception) -> None:
        self._busy = False
        self._show()
        self._dock.say_error(error)

    def _removed(self, event: Any) -> None:
        layer, opened = event.value, self._dock.bench.painted_on
        if made.tag(layer).get("kind") == _KIND:
            self._dock.bench.painted_on = None
            if opened is not None and not np.array_equal(np.asarray(layer.data), made.tag(layer)["before"]):
                QTimer.singleShot(0, partial(self._put_back, layer, opened))
            QTimer.singleShot(0, self._show_again)  # others that are deleted with it are still to go

    def _put_back(self, layer: Any, opened: tuple[Slide, Candidate, int, int]) -> None:
        """Put a layer back that somebody deleted in napari's list, and that holds what is not written back, unless its slide went too."""
        written = np.array_equal(np.asarray(layer.data), made.tag(layer)["before"])  # meanwhile
        if isalive(self) and not written and opened[0] in self._session.slides and self.layer() is None:  # type: ignore[no-untyped-call]
            self._dock.bench.painted_on = opened
            self._viewer.add_layer(layer)
            show_info("Write back, or Discard (Review, Correct): what is painted is not written back.")
            self._pick(int(layer.selected_label))  # the brush is in the hand again
            self._show()

    def _show_again(self) -> None:
        if isalive(self):  # type: ignore[no-untyped-call]
            self._show()
            self._show_brush()

    # --- showing

    def look(self) -> None:
        """Read the corrections of what is shown, and show them: their layer may have been deleted in napari's list."""
        self._show()

    def _show(self) -> None:
        shown, slide, painted_on = self._session.shown, self._session.slide, self._dock.bench.painted_on
        elsewhere = painted_on is not None and (slide is None or painted_on[0].path != slide.path)
        if self._elsewhere and not elsewhere and (layer := self.layer()) is not None:  # back: the brush is in the hand again
            self._viewer.layers.selection.select_only(layer)
        self._elsewhere = elsewhere
        self._buttons()
        if painted_on is not None and elsewhere:
            self.what.setText(f"Painting is still open on <b>{painted_on[0].name}</b>: write it back, or discard it.")
        if shown is None or slide is None:
            if not elsewhere:
                self.what.setText("No prediction on this slide yet." if slide is not None else "Open a slide first.")
            self.told.setText("")
            self._warn()
            self.looked.emit(False)
            for layer in list(self._dock.bench.layers.ours("corrections")):  # of a run that was deleted
                self._dock.bench.layers.remove(layer)
            return
        where = f"Zoom to where <b>{shown.label}</b> is wrong, then correct what you see."
        if not elsewhere:
            self.what.setText(_HELP if self.layer() is not None else where)
        self._warn()
        self._refresh(slide, RunFolder(shown.run).corrections_path(slide.name))

    def _warn(self) -> None:
        """Tell of rejected lesions in the field that is painted on, and outline them: they give way to what is painted into them."""
        layer, opened, bench = self.layer(), self._dock.bench.painted_on, self._dock.bench
        rejected: list[Polygon] = []
        found = None
        if layer is not None and opened is not None and not self._elsewhere:
            slide, home = opened[0], self._home(opened[1])
            (top, left), (bottom, right) = np.asarray(layer.extent.world) / (slide.mpp or 1.0) + 0.5
            rejected, found = bench.verdicts.rejected_in(home, (left, top, right, bottom)), home.found
        lie = f"{len(rejected)} rejected lesions lie" if len(rejected) > 1 else "A rejected lesion lies"
        told = f"{lie} here, outlined in red: tumour painted into one stays, and the rest of it becomes normal."
        self.warning.say(told if rejected else None)
        bench.marks.outline(rejected, found)

    def _buttons(self) -> None:
        painting, idle = self.layer() is not None, not self._busy
        closed = "" if painting else "no field is open to be painted on; Correct this field opens one"
        for brush in (self.tumour, self.normal, self.erase):
            allow(brush, closed or ("what is painted is of another slide" if self._elsewhere else ""))
        busy = "" if idle else "something is being read or written"
        allow(self.write, closed or busy or ("" if self._dock.bench.painted_on is not None else "it is not known what was painted on"))
        allow(self.discard, closed or busy)
        emphasise(self.begin, not painting)
        nothing = "" if self._session.shown is not None else "there is no prediction to correct"
        allow(self.begin, nothing or ("a field is open already: write it back, or discard it" if painting else busy))
        path = self._path()
        undos, may = self._dock.bench.undos, not painting and idle
        open_one = "" if may else "write back what is painted, or discard it" if painting else busy
        known = path is not None and undos.any_of(path), path is not None and undos.any_taken_back(path)
        none = "nothing was written here since napari was opened; Take back rubs out what was before"
        if path is not None and undos.any_of_another_run(path):
            none = "what was written on this slide is of another run: look at a prediction of that one"
        allow(self.undo, open_one or ("" if known[0] else none))
        allow(self.redo, open_one or ("" if known[1] else "nothing was taken back"))

    def _field(self, path: Path) -> tuple[int, int, int, int] | None:
        """Return row, column, height and width of the field that is painted on, px of the corrections at a path; None where none is."""
        layer, opened = self.layer(), self._dock.bench.painted_on
        if layer is None or opened is None or made.tag(layer)["path"] != str(path):
            return None
        height, width = layer.data.shape
        return opened[2], opened[3], int(height), int(width)

    def _refresh(self, slide: Slide, path: Path) -> None:
        """Show all corrections of a slide, small, and tell their areas."""
        painted = self._field(path)
        if path != self._told_of:  # till they are read nothing is told, rather than what holds for another
            self._told_of = path
            self.told.setText("")

        def work() -> tuple[Any, float, float] | None:
            if not path.is_dir():
                return None
            corrections = Corrections.open(path)
            tumour, normal = corrections.area_mm2(TUMOUR), corrections.area_mm2(1)
            return (made.corrections_layer(corrections, slide, painted), tumour, normal) if tumour or normal else None

        def found(read: tuple[Any, float, float] | None) -> None:
            if self._session.slide is not slide or painted != self._field(path):  # then they are looked for anew
                return
            layers = list(self._dock.bench.layers.ours("corrections"))
            of, news = self._news
            news = news if of == path else ""
            if read is None:
                self.told.setText(f"No corrections are written on this slide{f'. {news}' if news else ' yet.'}")
                for layer in layers:
                    self._dock.bench.layers.remove(layer)
            else:
                (data, options, _), tumour, normal = read
                excluded = " and in what is excluded" if self._dock.bench.drawings.excluded() is not None else ""
                said = (
                    f"Corrected: {area(tumour)} tumour, {area(normal)} normal. Exports hold it, except in lesions rejected since{excluded}."
                )
                self.told.setText(f"{said} {news}".strip())
                same = next((layer for layer in layers if made.tag(layer)["path"] == str(path)), None)
                for layer in layers:
                    if layer is not same:
                        self._dock.bench.layers.remove(layer)
                if same is not None:
                    same.data = data
                    made.put(same, options)
                else:
                    active = self._viewer.layers.selection.active
                    self._viewer.add_labels(data, **options)
                    self._viewer.layers.selection.active = active
                    if (brush := self.layer()) is not None:  # what is painted now lies above what was
                        self._viewer.layers.move(self._viewer.layers.index(brush), len(self._viewer.layers))
            self.looked.emit(read is not None)
            self._buttons()

        def failed(error: Exception) -> None:
            self.looked.emit(False)
            self._dock.say_error(error)

        self._dock.in_thread(work, found, failed)
