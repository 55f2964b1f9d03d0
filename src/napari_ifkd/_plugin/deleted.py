"""Layers of ours that somebody deletes in napari's list: what they showed is kept, and comes back by the next act."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from napari_ifkd.runs.folder import RunFolder

from .layers import tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.session import Session

    from .layer_view import LayerView


class DeletedLayers:
    """Say what becomes of a mask that was looked at, or of corrections, and let masks come back.

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
        known = tag(layer)
        if known.get("kind") in ("mask", "corrections"):
            self._later(partial(self._tell, known["kind"], known["path"]))  # its slide may go with it

    def _tell(self, kind: str, path: str) -> None:
        shown = self.session.shown
        if self.layers.find(kind, path) is not None:
            return
        if kind == "corrections":
            if shown is not None and path == str(RunFolder(shown.run).corrections_path(shown.slide)):
                show_info("Corrections are kept, only their layer is gone: Show corrections, in Review, Compare, brings it back.")
        elif (candidate := next((c for c in self.layers.masked() if str(c.path) == path), None)) is not None:
            show_info(f"{candidate.label} is kept, only its layer is gone: choose it, or move its threshold, to see it again.")

    def _bring_back(self) -> None:
        """Show masks again that have no layer any more; what was set of those that are there stays."""
        if any(self.layers.find("mask", candidate.path) is None for candidate in self.layers.masked()):
            self.layers.refresh()
