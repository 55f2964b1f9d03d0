"""What a person does in napari's list of layers, for the session: what is opened, picked and removed there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_ifkd.errors import InputError

from .brought import merge
from .layers import KEY, is_spare, tag
from .worker import say_error

if TYPE_CHECKING:
    from napari_ifkd.session import Session
    from napari_ifkd.slides import Slide

    from .layer_view import LayerView
    from .run_desk import RunDesk


class Listed:
    """Take in the slides and runs that napari's reader opened, turn to the slide that is picked, and close one whose layer is removed.

    Parameters
    ----------
    viewer : napari's viewer
    session : what is open
    layers : knows which layers are ours, and which it adds or removes itself
    runs : opens runs
    """

    shapes_drawn = Signal()  # on a layer that is none of ours

    def __init__(self, viewer: Any, session: Session, layers: LayerView, runs: RunDesk) -> None:
        self.viewer, self.session, self.layers, self.runs = viewer, session, layers, runs
        self._arrived: list[Any] = []  # layers that somebody else added
        self._picks_another = False  # whether napari picks another layer in place of one that is removed
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        viewer.layers.selection.events.active.connect(self._selected)
        session.events.slide.connect(self._point_at)

    def begin(self) -> None:
        """Take in what is there already."""
        self._arrived = [layer for layer in self.viewer.layers if not is_spare(layer)]
        self._adopt_all()
        for layer in self.viewer.layers:
            self._watch_shapes(layer)

    def tell_shapes(self, _: object = None) -> None:
        """Say that shapes may have been drawn where they tell where to predict."""
        if self.session.region == "shapes":  # else they mean nothing, and layers come and go all the time
            self.shapes_drawn.emit()

    def _inserted(self, event: Any) -> None:
        # napari adds the layers of a run one by one: look at them when all are there, or we would add the missing ones ourselves
        if tag(event.value).get("kind") in ("slide", "mask") and not self.layers.adding:
            if not self._arrived:
                QTimer.singleShot(0, self._adopt_all)
            self._arrived.append(event.value)
        if tag(event.value).get("kind") == "brought" and "use" not in tag(event.value):
            QTimer.singleShot(0, partial(self._merge, event.value))
        self._watch_shapes(event.value)

    def _merge(self, layer: Any) -> None:
        if layer in self.viewer.layers:
            merge(self.viewer, layer)

    def _watch_shapes(self, layer: Any) -> None:
        slide = self.session.slide
        if type(layer).__name__ == "Shapes" and tag(layer).get("kind", "own") == "own":
            if any(layer.name.startswith(f"{other.name} - ") for other in self.viewer.layers if tag(other)):
                layer.name = "Shapes"  # napari calls it after the layer that was picked: it would look as if it were one of ours
            if slide is not None and not tag(layer):  # on another slide it would look as if it were of that
                layer.metadata = {**layer.metadata, KEY: {"kind": "own", "of": str(slide.path), "mpp": slide.mpp}}
            layer.events.data.connect(self.tell_shapes)
            self.tell_shapes()

    def _adopt_all(self) -> None:
        arrived, self._arrived = self._arrived, []
        for layer in arrived:
            if layer in self.viewer.layers:
                self._adopt(tag(layer))

    def _adopt(self, known: dict[str, Any]) -> None:
        """Take in a slide or run that napari's reader opened."""
        try:
            if known.get("kind") == "slide" and all(str(s.path) != known["path"] for s in self.session.slides):
                self.session.open(known["path"], known.get("mpp"))
            elif (
                known.get("kind") == "mask"
                and (Path(known["run"]) / "run.yaml").is_file()
                and all(str(c.path) != known["path"] for c in self.session.candidates)
            ):
                self.runs.open(Path(known["run"]))
        except InputError as error:
            say_error(error)

    def _removed(self, event: Any) -> None:
        known = tag(event.value)
        if known.get("kind") != "slide" and not self.layers.removing:
            self._picks_another = True  # napari picks the layer below, and nobody has turned to the slide of that
            QTimer.singleShot(0, self._picked)
        if known.get("kind") == "slide":
            for slide in self.session.slides:
                if str(slide.path) == known["path"]:
                    self.session.close(slide)
        self.tell_shapes()

    def _picked(self) -> None:
        self._picks_another = False

    def _selected(self, event: Any) -> None:
        known = tag(event.value) if event.value is not None else {}
        if known.get("kind") == "slide" and self._picks_another:
            QTimer.singleShot(0, lambda: self._point_at(self.session.slide))  # at once its list would show both as picked
        elif known.get("kind") == "slide":
            for slide in self.session.slides:
                if str(slide.path) == known["path"]:
                    self.session.activate(slide)
        self.tell_shapes()  # of several layers that count which is picked

    def _point_at(self, slide: Slide | None) -> None:
        """Pick the layer of the active slide where that of another is picked: a click on what is picked already would turn to nothing."""
        selection = self.viewer.layers.selection
        picked, layer = selection.active, None if slide is None else self.layers.find("slide", slide.path)
        if None not in (picked, layer) and picked is not layer and tag(picked).get("kind") == "slide":
            selection.active = layer
