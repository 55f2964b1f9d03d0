"""Layers of ours that somebody deletes in napari's list: what they showed is kept, and how it comes back is told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from napari_ifkd.runs.folder import RunFolder

from .brought import called
from .layers import tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.session import Session

    from .layer_view import LayerView


_DRAWN = {
    "drawn exclusion": "Draw brings it back (Slide, Exclusions): what is excluded stays so, and Clear ends that.",
    "drawn region": "Draw the region brings it back (Slide): the region is kept.",
    "drawn tumour": "Contains tumour brings it back (Teacher, Teach it yourself): the regions are kept.",
    "drawn normal": "No tumour brings it back (Teacher, Teach it yourself): the regions are kept.",
}
_GIVEN = {"reference": "chooses the round", "regions": "labels tiles"}
"""What is told begins with what brings it back: napari shows one line of it."""


class DeletedLayers:
    """Say what becomes of what a layer showed that is deleted, and let masks come back.

    Parameters
    ----------
    session : knows what is looked at, and how
    layers : finds layers of ours, and makes those that lack
    later : calls what it is given, in a later turn of the event loop
    """

    def __init__(self, session: Session, layers: LayerView, later: Callable[[Callable[[], None]], None]) -> None:
        self.session, self.layers, self._later = session, layers, later
        for name in ("threshold", "sigma_px"):
            session.events[name].connect(self._bring_back)

    def tell(self, layer: Any) -> None:
        """Tell what becomes of what a deleted layer showed, if that is looked at still."""
        known, use = tag(layer), tag(layer).get("use")
        if known.get("kind") in ("mask", "corrections", "verdicts"):
            self._later(partial(self._tell, known["kind"], known["path"]))  # its slide may go with it
        elif known.get("kind") in _DRAWN and len(layer.data):
            self._later(partial(self._tell_drawn, known["kind"], known["path"]))
        elif known.get("kind") == "brought" and use in _GIVEN:
            self._later(partial(self._tell_given, use, str(known.get("of"))))

    def _tell(self, kind: str, path: str) -> None:
        shown = self.session.shown
        if self.layers.find(kind, path) is not None:
            return
        if kind == "verdicts":
            if self.session.slide is None or str(self.session.slide.path) != path:
                return
            show_info("J or K, in Review, Lesions, brings them back: what was said of lesions is kept.")
        elif kind == "corrections":
            if shown is not None and path == str(RunFolder(shown.run).corrections_path(shown.slide)):
                show_info("Compare, Show corrections: brings them back, they are kept.")
        elif (candidate := next((c for c in self.layers.masked() if str(c.path) == path), None)) is not None:
            show_info(f"Move the threshold to see it again: {candidate.label} is kept.")

    def _tell_drawn(self, kind: str, path: str) -> None:
        if self.layers.find(kind, path) is None and any(str(slide.path) == path for slide in self.session.slides):
            show_info(_DRAWN[kind])

    def _tell_given(self, use: str, of: str) -> None:
        if any((tag(layer).get("use"), tag(layer).get("of")) == (use, of) for layer in self.layers.ours("brought")):
            return  # another has taken its place
        name = next((slide.name for slide in self.session.slides if str(slide.path) == of), "")
        given = next((given for given in self.session.given if (given.slide, given.use) == (name, use)), None)
        if given is not None:
            show_info(f"Bring in, in Export, shows it again: {called(given.path)} still {_GIVEN[use]}, and Forget ends that.")

    def _bring_back(self) -> None:
        """Show masks again that have no layer any more; what was set of those that are there stays."""
        if any(self.layers.find("mask", candidate.path) is None for candidate in self.layers.masked()):
            self.layers.refresh()
