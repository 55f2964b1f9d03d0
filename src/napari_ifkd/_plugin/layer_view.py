"""The session as layers: listens, and keeps napari's layers of our making as the session says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import layers as made
from .palette import STUDENT, TEACHER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide


class LayerView:
    """Keep the layers of slides, tissue and predictions in step with a session.

    Parameters
    ----------
    viewer : napari's viewer
    session : what to show
    """

    def __init__(self, viewer: Any, session: Session) -> None:
        self.viewer, self.session = viewer, session
        self._shown: set[str] = set()  # paths of the predictions at the last refresh
        events = session.events
        events.slide.connect(self._slide_changed)
        for name in ("candidates", "shown", "a", "b", "compare", "heat"):
            events[name].connect(self.refresh)
        for name in ("threshold", "sigma_px"):
            events[name].connect(self._remask)
        events.opacity.connect(self._reopaque)

    # --- finding

    def ours(self, *kinds: str) -> Iterator[Any]:
        """Yield our layers of these kinds."""
        for layer in list(self.viewer.layers):
            if made.tag(layer).get("kind") in kinds:
                yield layer

    def find(self, kind: str, path: object) -> Any | None:
        """Return our layer of a kind that shows a path, None if there is none."""
        return next((layer for layer in self.ours(kind) if made.tag(layer)["path"] == str(path)), None)

    # --- slides

    def show_slide(self, slide: Slide) -> Any:
        """Make sure a slide has its layer, below all others and with the resolution the session knows."""
        layer = self.find("slide", slide.path)
        data, options, _ = made.slide_layer(slide)
        if layer is None:
            layer = self.viewer.add_image(data, **options)
            self.viewer.layers.move(self.viewer.layers.index(layer), 0)
        elif made.tag(layer).get("mpp") != options["metadata"][made.KEY]["mpp"] and slide.mpp is not None:
            layer.data = data
            layer.metadata = {**layer.metadata, **options["metadata"]}
            layer.scale, layer.translate, layer.units = options["scale"], options["translate"], options["units"]
            self.viewer.reset_view()
        return layer

    def show_tissue(self, visible: bool) -> None:
        """Show or hide the outline of the active slide's tissue."""
        slide, tissue = self.session.slide, self.session.tissue
        for layer in self.ours("tissue"):
            layer.visible = False
        if not visible or slide is None or tissue is None or not tissue.found:
            return
        layer = self.find("tissue", slide.path)
        if layer is not None:
            self.viewer.layers.remove(layer)
        data, options, _ = made.tissue_layer(slide, tissue)
        layer = self.viewer.add_labels(data, **options)
        layer.contour = 1

    def _slide_changed(self, slide: Slide | None) -> None:
        if slide is not None:
            self.show_slide(slide)
        for layer in self.ours("slide"):
            layer.visible = slide is not None and made.tag(layer)["path"] == str(slide.path)
        for layer in self.ours("tissue"):
            layer.visible = False
        self.refresh()

    # --- predictions

    def refresh(self) -> None:
        """Add, remove, show and hide the layers of predictions."""
        session = self.session
        self._remove_stale()
        shown, pair = session.shown, (session.a, session.b)
        comparing = session.compare != "off" and None not in pair
        here = session.here()
        for candidate in here:
            layer = self.find("mask", candidate.path) or self._add_mask(candidate)
            layer.visible = (candidate in pair and session.compare != "disagreement") if comparing else candidate == shown
            colour = (TEACHER if candidate == session.a else STUDENT) if comparing and candidate in pair else made.colour_of(candidate)
            layer.colormap = made.label_colours({1: colour})
            outlined = comparing and session.compare == "contours"
            layer.contour = 2 if outlined else 0
            layer.opacity = 1.0 if outlined else session.opacity
        for layer in self.ours("mask"):
            if made.tag(layer)["path"] not in {str(c.path) for c in here}:
                layer.visible = False
        self._show_heat(shown if session.heat and not comparing and shown in here else None)
        self._show_disagreement(comparing and session.compare == "disagreement")

    def _add_mask(self, candidate: Candidate) -> Any:
        session = self.session
        data, options, _ = made.mask_layer(candidate, session.threshold, session.sigma_px, session.opacity)
        return self.viewer.add_labels(data, **options)

    def _show_heat(self, candidate: Candidate | None) -> None:
        for layer in self.ours("heat"):
            layer.visible = candidate is not None and made.tag(layer)["path"] == str(candidate.path)
        if candidate is not None and self.find("heat", candidate.path) is None:
            data, options, _ = made.heat_layer(candidate, self.session.opacity)
            layer = self.viewer.add_image(data, **options)
            mask = self.find("mask", candidate.path)
            if mask is not None:  # the mask stays above the heat map it comes from
                self.viewer.layers.move(self.viewer.layers.index(layer), self.viewer.layers.index(mask))

    def _show_disagreement(self, visible: bool) -> None:
        a, b = self.session.a, self.session.b
        if not visible or a is None or b is None:
            for layer in self.ours("disagreement"):
                self.viewer.layers.remove(layer)
            return
        if self.find("disagreement", f"{a.path}|{b.path}") is not None:
            return
        for layer in self.ours("disagreement"):
            self.viewer.layers.remove(layer)
        session = self.session
        data, options, _ = made.disagreement_layer(a, b, session.threshold, session.sigma_px, session.opacity)
        self.viewer.add_labels(data, **options)

    def _remask(self) -> None:
        session = self.session
        for candidate in session.here():
            layer = self.find("mask", candidate.path)
            if layer is not None:  # a new array: refresh() alone leaves the coarsest level stale
                layer.data = made.as_data(made.mask_levels(candidate.found, session.threshold, session.sigma_px))
        a, b = session.a, session.b
        for layer in self.ours("disagreement"):
            if a is not None and b is not None:
                levels = made.disagreement_levels(a.found, b.found, session.threshold, session.sigma_px)
                layer.data = made.as_data(levels)

    def _reopaque(self, opacity: float) -> None:
        for layer in self.ours("mask", "heat", "disagreement"):
            if getattr(layer, "contour", 0) == 0:  # outlines are thin enough
                layer.opacity = opacity

    def _remove_stale(self) -> None:
        wanted = {str(c.path) for c in self.session.candidates}
        stale = self._shown - wanted  # what napari's reader brought, and is still being read, is not stale
        self._shown = wanted
        for layer in self.ours("mask", "heat"):
            if made.tag(layer)["path"] in stale:
                self.viewer.layers.remove(layer)
