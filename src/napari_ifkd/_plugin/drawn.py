"""What the user draws on slides, in shapes layers that are kept on disk: exclusions, and rough regions with and without tumour."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import shapely
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer
from shapely.geometry import Polygon

from napari_ifkd.annotations import read_regions
from napari_ifkd.errors import InputError
from napari_ifkd.runs.regions import write_regions

from .layers import KEY, MICROMETRES, PIXELS, follow_mpp, tag
from .palette import NORMAL, SAID_TUMOUR, TISSUE
from .region import closed_shapes
from .settings import slide_folder
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session import Session
    from napari_ifkd.slides import Slide

    from .layer_view import LayerView

Use = Literal["exclusion", "region", "tumour", "normal"]
USES: dict[Use, tuple[str, str, str]] = {  # name of the layer, class in files, colour
    "exclusion": ("Exclusions", "Exclusion", TISSUE),
    "region": ("Predict in", "Region", TISSUE),
    "tumour": ("Contains tumour", "Tumor", SAID_TUMOUR),
    "normal": ("No tumour", "Normal", NORMAL),
}
_FILLED: dict[Use, str] = {"exclusion": "60", "region": "00", "tumour": "20", "normal": "20"}  # predictions are looked at through regions
_Read = TypeVar("_Read")
_PATIENCE_S = 60  # with a drive that does not answer
_RESTED_MS = 400  # after a shape changed
_LINE_PX, _ZOOMED_MS = 3.0, 150  # width of outlines on the screen; and when they get it, after the zoom


class Drawings(QObject):
    """Shapes layers of the open slides, and their files.

    Parameters
    ----------
    viewer : napari's viewer
    session : whose slides they are on
    layers : finds layers of ours
    """

    changed = Signal()
    pen = Signal()  # another use is drawn by now, or none

    def __init__(self, viewer: Any, session: Session, layers: LayerView) -> None:
        super().__init__()
        self.viewer, self.session, self.layers = viewer, session, layers
        self._stale: set[tuple[Use, str]] = set()  # layers, by use and path of the slide, that are not on disk as they are
        self._asked: set[str] = set()  # slides whose files are read, or were
        self._last: Event | None = None  # set once the last work on files is done
        self._restored: set[str] = set()  # those whose layers are there again
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_RESTED_MS)
        self._timer.timeout.connect(self._rested)
        self._zoomed = QTimer(self)
        self._zoomed.setSingleShot(True)
        self._zoomed.setInterval(_ZOOMED_MS)
        self._zoomed.timeout.connect(self._draw_lines)
        viewer.scene.camera.events.zoom.connect(self._zoom_changed)
        session.events.slide.connect(self._slide_changed)
        session.events.region.connect(self._show_region, max_args=0)
        viewer.layers.selection.events.active.connect(self._picked_up)
        viewer.layers.events.removed.connect(self._removed)
        self._unions: WeakKeyDictionary[Any, BaseGeometry | None] = WeakKeyDictionary()  # what is drawn on layers
        self._deleted: dict[tuple[Use, str], Any] = {}  # of those deleted in napari's list: what is drawn on them holds
        session.events.slides.connect(self._forget_closed)

    # --- layers

    def layer(self, use: Use, slide: Slide) -> Any | None:
        """Return the layer of a slide, None if nothing was drawn yet; it may have been deleted in napari's list."""
        return self.layers.find(f"drawn {use}", slide.path) or self._deleted.get((use, str(slide.path)))

    def is_deleted(self, use: Use, slide: Slide) -> bool:
        """Return whether the layer of a slide was deleted in napari's list: what is drawn on it holds all the same."""
        return (use, str(slide.path)) in self._deleted

    @property
    def drawing(self) -> Use | None:
        """What a click in the picture draws now, None if it draws nothing of ours."""
        layer = self.viewer.layers.selection.active
        drawn = layer is not None and str(getattr(layer, "mode", "")).startswith("add_")
        return next((use for use in USES if drawn and tag(layer).get("kind") == f"drawn {use}"), None)

    def begin(self, use: Use) -> None:
        """Put a pen into the user's hand: the layer of the active slide, ready for polygons; one that is in the hand is put down."""
        slide = self.session.slide
        if slide is None:
            return
        if self.drawing == use:
            layer = self.viewer.layers.selection.active
            layer.mode, layer.selected_data = "pan_zoom", set()  # napari's frame round the last one would look like another colour
            self._show_region()
            return
        layer = self._seen_layer(use, slide)
        layer.visible = True
        self.viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def put_down(self) -> None:
        """Take the pen that is in the hand from it."""
        if self.drawing is not None:
            self.begin(self.drawing)

    def add(self, use: Use, slide: Slide, geometries: Iterable[tuple[str, BaseGeometry]]) -> None:
        """Add shapes to the layer of a slide.

        Parameters
        ----------
        use, slide : which layer
        geometries : name, and (x, y) in level-0 px; holes are filled
        """
        layer = self._seen_layer(use, slide)
        mpp = slide.mpp or 1.0
        for name, geometry in geometries:
            for part in shapely.get_parts(geometry):
                if isinstance(part, Polygon) and not part.is_empty:
                    layer.feature_defaults = {"kind": name}
                    layer.add_polygons([(np.asarray(part.exterior.coords)[:-1, ::-1] - 0.5) * mpp / layer.scale])
        layer.feature_defaults = {"kind": ""}

    def clear(self, use: Use, slide: Slide) -> None:
        """Take all shapes off."""
        layer = self.layer(use, slide)
        if layer is not None:
            layer.data = []

    def geometry(self, use: Use, slide: Slide) -> BaseGeometry | None:
        """Return what is drawn on a slide, (x, y) in level-0 px; None if nothing closed is."""
        layer = self.layer(use, slide)
        if layer is None:
            return None
        if layer not in self._unions:  # it is asked for far more often than it changes
            shapes = closed_shapes(layer, slide)
            self._unions[layer] = shapely.union_all(shapes) if shapes else None
        return self._unions[layer]

    def excluded(self) -> BaseGeometry | None:
        """Return what is excluded on the active slide, (x, y) in level-0 px; None if nothing is."""
        slide = self.session.slide
        return None if slide is None else self.geometry("exclusion", slide)

    def count(self, use: Use, slide: Slide) -> int:
        """Return how many closed shapes are drawn on a slide."""
        layer = self.layer(use, slide)
        return 0 if layer is None else len(closed_shapes(layer, slide))

    def kinds(self, slide: Slide) -> dict[str, int]:
        """Return how many of the regions that are excluded on a slide the check has found, of each kind."""
        layer = self.layer("exclusion", slide)
        found = [] if layer is None else [kind for kind in layer.features["kind"] if kind]
        return {kind: found.count(kind) for kind in dict.fromkeys(found)}

    def _seen_layer(self, use: Use, slide: Slide) -> Any:
        """Return the layer of a slide, which is in napari's list: made if need be, or put there again."""
        deleted = self._deleted.pop((use, str(slide.path)), None)
        if deleted is not None:
            self.viewer.add_layer(deleted)
            self._draw_lines()
        return self.layer(use, slide) or self._add_layer(use, slide)

    def _add_layer(self, use: Use, slide: Slide) -> Any:
        name, _, colour = USES[use]
        layer = self.viewer.add_shapes(
            [],
            ndim=2,
            name=f"{name} · {slide.name}",
            edge_color=colour,
            face_color=colour + _FILLED[use],
            edge_width=self._line_width,
            features={"kind": np.zeros(0, object)},
            feature_defaults={"kind": ""},
            metadata={KEY: {"kind": f"drawn {use}", "path": str(slide.path), "mpp": slide.mpp}},
            units=PIXELS if slide.mpp is None else MICROMETRES,
        )
        path = str(slide.path)
        layer.events.data.connect(lambda _: self._touched(layer, use, path))
        for moved in ("scale", "translate", "rotate", "shear", "affine"):
            layer.events[moved].connect(lambda _: self._unions.pop(layer, None))
        layer.events.mode.connect(self._picked_up)
        return layer

    @property
    def _line_width(self) -> float:
        """How wide a line is in the world, to be as wide on the screen at every zoom."""
        return _LINE_PX / float(self.viewer.scene.camera.zoom)

    def _zoom_changed(self, _: object) -> None:
        self._zoomed.start()

    def _draw_lines(self) -> None:
        for layer in self.layers.ours(*(f"drawn {use}" for use in USES)):
            width = self._line_width / float(layer.scale[-1])
            if not np.isclose(layer.current_edge_width, width, rtol=0.2):
                layer.current_edge_width = width
                layer.edge_width = width
                layer.refresh()

    # --- files

    def file(self, use: Use, slide: Slide) -> Path:
        """Return where what is drawn on a slide is kept."""
        return slide_folder(slide) / f"{slide.path.stem}_{use}s.geojson"

    def keeper(self, slide: Slide) -> Callable[[], Path | None]:
        """Return what writes the exclusions of a slide as they are now, and returns the file, None if there are none; for a thread."""
        layer, geometry = self.layer("exclusion", slide), self.geometry("exclusion", slide)
        reading, last = str(slide.path) not in self._restored, self._last
        self._stale.discard(("exclusion", str(slide.path)))

        def keep() -> Path | None:
            file = self.file("exclusion", slide)
            if last is not None:  # which may write what was drawn before
                last.wait(_PATIENCE_S)
            if layer is not None:
                _write(file, geometry, USES["exclusion"][1], slide)
            elif not reading:  # a file that could not be read excludes nothing
                return None
            return file if file.is_file() else None

        return keep

    def _picked_up(self, _: object) -> None:
        self.pen.emit()

    def _removed(self, event: Any) -> None:
        known, layer = tag(event.value), event.value
        use: Use | None = next((use for use in USES if known.get("kind") == f"drawn {use}"), None)
        there = any(str(slide.path) == known.get("path") for slide in self.session.slides)
        if use is not None and there and len(layer.data) and self.layers.find(known["kind"], known["path"]) is None:
            self._deleted[(use, known["path"])] = layer
        if use is not None:
            layer.mode = "pan_zoom"
            self.changed.emit()

    def _forget_closed(self, now: Collection[Slide], before: Collection[Slide]) -> None:
        """Forget slides that were closed: once they are opened again their files are read."""
        there = {str(slide.path) for slide in now}
        for slide in before:
            if str(slide.path) not in there:
                self._write_stale(slide)
        self._deleted = {(use, path): layer for (use, path), layer in self._deleted.items() if path in there}
        self._asked &= there
        self._restored &= there
        QTimer.singleShot(0, self._remove_closed)  # napari is removing layers now

    def _remove_closed(self) -> None:
        there = {str(slide.path) for slide in self.session.slides}
        for layer in [one for one in self.layers.ours(*(f"drawn {use}" for use in USES)) if tag(one)["path"] not in there]:
            self.layers.remove(layer)

    def _touched(self, layer: Any, use: Use, path: str) -> None:
        self._unions.pop(layer, None)
        self._stale.add((use, path))
        self._timer.start()

    def _rested(self) -> None:
        for slide in self.session.slides:
            self._write_stale(slide)
        self._stale.clear()
        self.changed.emit()

    def _write_stale(self, slide: Slide) -> None:
        """Write what is not on disk as it is drawn on a slide."""
        for use, path in [one for one in self._stale if one[1] == str(slide.path)]:
            self._stale.discard((use, path))
            geometry, file = self.geometry(use, slide), self.file(use, slide)
            in_thread(self._after_last(partial(_write, file, geometry, USES[use][1], slide)), lambda _: None)

    def _after_last(self, work: Callable[[], _Read]) -> Callable[[], _Read]:
        """Return work on files for a thread that waits for the work before: what is read is what was written last."""
        before, mine = self._last, Event()
        self._last = mine

        def in_turn() -> _Read:
            if before is not None:
                before.wait(_PATIENCE_S)
            try:
                return work()
            finally:
                mine.set()

        return in_turn

    def _slide_changed(self, slide: Slide | None) -> None:
        for use in USES:
            deleted = [layer for (of, _), layer in self._deleted.items() if of == use]
            for layer in (*self.layers.ours(f"drawn {use}"), *deleted):
                layer.visible = here = slide is not None and tag(layer)["path"] == str(slide.path)
                if slide is not None and here and tag(layer)["mpp"] != slide.mpp:
                    follow_mpp(layer, slide)
        self._show_region()
        self._draw_lines()
        self.changed.emit()
        if slide is None or str(slide.path) in self._asked:
            return
        self._asked.add(str(slide.path))
        in_thread(self._after_last(lambda: self._read(slide)), lambda found: self._restore(slide, found), say_error)

    def _show_region(self) -> None:
        """Show where is predicted where that is what is drawn: elsewhere its outline would only lie over the tissue."""
        slide = self.session.slide
        layer = None if slide is None else self.layer("region", slide)
        if layer is not None:
            layer.visible = self.session.region == "shapes" or self.drawing == "region"

    def _read(self, slide: Slide) -> dict[Use, list[tuple[str, BaseGeometry]]]:
        """Read what was drawn on a slide in an earlier session; a file that is damaged is as good as none."""
        found: dict[Use, list[tuple[str, BaseGeometry]]] = {}
        for use in USES:
            path = self.file(use, slide)
            if path.is_file():
                try:
                    found[use] = [("", region.geometry) for region in read_regions(path, slide)]
                except InputError:
                    continue
        return found

    def _restore(self, slide: Slide, found: dict[Use, list[tuple[str, BaseGeometry]]]) -> None:
        here = next((other for other in self.session.slides if other.path == slide.path), None)  # with a resolution by now, perhaps
        if here is None:
            return
        self._restored.add(str(slide.path))
        active = self.viewer.layers.selection.active
        for use, shapes in found.items():
            layer = self.layer(use, here)
            if layer is None or not len(layer.data):  # a pen may have come to hand meanwhile
                self.add(use, here, shapes)
        self._show_region()
        self.viewer.layers.selection.active = active


def _write(file: Path, geometry: BaseGeometry | None, classification: str, slide: Slide) -> None:
    if geometry is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_regions(file, {classification: geometry}, slide)
