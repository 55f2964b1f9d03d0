"""How layers of predictions look and lie: in which order, where, under which name; seen or not, outlined or filled, in which colour."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import layers as made
from .palette import STUDENT, TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate

    from .layer_view import LayerView


_DRAWN = ("drawn exclusion", "drawn region", "drawn tumour", "drawn normal")
_SAID = ("brought", *_DRAWN, "corrections", "correcting", "verdicts", "rejected", "lesion", "counting")
_FOUND = ("mask", "heat", "disagreement", "uncertainty")
"""What a person or another program says, or is asked, lies above what networks say."""

APART = ("correcting", "preview mask")
"""Where these are seen masks are outlined: which of the two marks a place is seen then."""


class Appearance:
    """Let the layers that are there look as the session says.

    Parameters
    ----------
    viewer : napari's viewer
    session : knows what is looked at and compared, and how opaque it is
    layers : finds layers of ours, and asks for the changes
    """

    def __init__(self, viewer: Any, session: Session, layers: LayerView) -> None:
        self.viewer, self.session, self.layers = viewer, session, layers
        session.events.opacity.connect(self._reopaque)
        viewer.scene.camera.events.zoom.connect(self._rewidth)

    def follow(self, layer: Any) -> None:
        """Take note of a layer that is new: how it is drawn may change how masks are outlined."""
        kind = made.tag(layer).get("kind")
        if kind == "brought":
            layer.contour = 1  # thin: from afar wider lines would cover fine glands
        if kind == "mask":
            layer.events.set_data.connect(self._rewidth)  # another level may be drawn
        if kind in APART:
            layer.events.visible.connect(lambda _: self.layers.refresh())

    def in_order(self) -> Iterator[Callable[[], object]]:
        """Yield the moves of what networks say to below what a person says, and of B above A: where both lie, the colour stays the same."""
        layers = self.viewer.layers
        said = min((layers.index(layer) for layer in self.layers.ours(*_SAID)), default=len(layers))
        for layer in self.layers.ours(*_FOUND, "preview heat", "preview mask"):
            if layers.index(layer) > said:
                yield partial(layers.move, layers.index(layer), said)
        a, b = (None if one is None else self.layers.find("mask", one.path) for one in (self.session.a, self.session.b))
        if self.session.compare != "off" and a is not None and b is not None and layers.index(b) < layers.index(a):
            yield partial(layers.move, layers.index(b), layers.index(a) + 1)

    def changes(self, masked: Collection[Candidate], heated: Candidate | None) -> Iterator[Callable[[], object]]:
        """Yield what is to be changed of place, names and looks where these masks, and this heat map, are to be seen."""
        yield from self._in_place()
        yield from self._names()
        for layer, look in self._looks(masked, heated):
            if made.unlike(layer, look):
                yield partial(made.style, layer, look)

    def _in_place(self) -> Iterator[Callable[[], object]]:
        """Yield the moves of predictions to where they lie at the resolution of the slide: it may be another than they were made at."""
        slide = self.session.slide
        scales = {str(c.path): c.found.scale_yx for c in self.session.comparable()}
        for layer in self.layers.ours(*_FOUND):
            scale = scales.get(made.tag(layer)["path"].partition("|")[0])  # of a disagreement A's
            if slide is not None and scale is not None:
                place = made.placement(slide.mpp, scale)
                if not np.allclose(layer.scale, place["scale"], atol=0):
                    yield partial(made.put, layer, place)

    def _names(self) -> Iterator[Callable[[], object]]:
        """Yield the changes of names: of a run that is the former by now, and what napari numbered while another layer had the name."""
        known = {candidate.path: candidate for candidate in self.session.comparable()}  # one of each map
        for candidate in known.values():
            layer = self.layers.find("mask", candidate.path)
            act = candidate.act if layer is None else made.tag(layer)["act"]
            if layer is not None and act != candidate.act and "former" in (act, candidate.act):
                yield partial(self._become, layer, candidate)
        taken = {layer.name for layer in self.viewer.layers}
        for layer in self.layers.ours("mask", "heat"):
            bare = re.sub(r" \[\d+\]$", "", layer.name)
            if bare not in taken:
                yield partial(setattr, layer, "name", bare)

    def _become(self, layer: Any, candidate: Candidate) -> None:
        options = made.mask_options(candidate, self.session.opacity)
        layer.name, layer.metadata = options["name"], {**layer.metadata, **options["metadata"]}

    def _looks(self, masked: Collection[Candidate], heated: Candidate | None) -> list[tuple[Any, dict[str, Any]]]:
        """Return how our layers should look; those that are to be seen first."""
        session, comparing = self.session, self.session.comparing
        here = {str(c.path): c for c in session.comparable()}
        painted = any(layer.visible for layer in self.layers.ours(*APART))
        # so that the heat map is seen inside, and paint, which may be as blue as a mask, and a preview
        outlined = painted or (session.compare == "contours" if comparing else heated is not None)
        looks: list[tuple[Any, dict[str, Any]]] = []
        for layer in self.layers.ours("mask"):
            if made.is_spare(layer):  # drawn though empty: its first picture, which takes long, is behind it then
                continue
            candidate = here.get(made.tag(layer)["path"])
            if candidate is None or candidate not in masked:
                looks.append((layer, {"visible": False}))
                continue
            colour = (TEACHER if candidate == session.a else STUDENT) if comparing else made.colour_of(candidate)
            opacity, width = 1.0 if outlined else session.opacity, made.outline_of(layer, self.viewer.scene.camera.zoom)
            looks.append((layer, {"visible": True, "colour": colour, "contour": width if outlined else 0, "opacity": opacity}))
        for layer in self.layers.ours("heat"):
            if made.is_spare(layer):
                continue
            looks.append((layer, {"visible": heated is not None and made.tag(layer)["path"] == str(heated.path)}))
        return sorted(looks, key=lambda pair: not pair[1]["visible"])

    def _rewidth(self, _: Any = None) -> None:
        """Let outlines be as wide on the screen as at the zoom before."""
        zoom = self.viewer.scene.camera.zoom
        if any(layer.contour not in (0, made.outline_of(layer, zoom)) for layer in self.layers.ours("mask") if layer.visible):
            self.layers.refresh()

    def _reopaque(self, opacity: float) -> None:
        for layer in self.layers.ours("mask", "heat", "disagreement", "uncertainty", "preview heat"):
            if getattr(layer, "contour", 0) == 0:  # outlines are thin enough
                layer.opacity = opacity
