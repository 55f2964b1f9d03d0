"""What was said of lesions, as marks on the slide: discs where they were accepted, squares where they were rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .layers import KEY, tag
from .palette import BOTH, ERROR

if TYPE_CHECKING:
    from napari_ifkd.session import Session

    from .layer_view import LayerView
    from .verdicts import Verdicts

_KIND = "verdicts"
_SIZE_UM = 120.0


class VerdictMarks:
    """Keep the marks of the prediction that is shown.

    Parameters
    ----------
    viewer : napari's viewer
    session : knows what is shown
    layers : finds layers of ours
    verdicts : what was said
    """

    def __init__(self, viewer: Any, session: Session, layers: LayerView, verdicts: Verdicts) -> None:
        self.viewer, self.session, self.layers, self.verdicts = viewer, session, layers, verdicts
        for name in ("slide", "shown", "threshold", "sigma_px"):  # another mask: its lesions are others
            session.events[name].connect(self.update, max_args=0)
        verdicts.settled_down.connect(self.update)
        layers.seen_again.connect(self.update)

    def update(self) -> None:
        """Show the marks as they are now."""
        if self.layers.blind:  # nobody sees them now
            return
        slide, shown = self.session.slide, self.session.shown
        layer: Any = next(iter(self.layers.ours(_KIND)), None)
        if slide is None or shown is None or shown.slide != slide.name:
            self._remove(layer)
            return
        if layer is not None and tag(layer)["path"] != str(slide.path):
            self._remove(layer)
            layer = None
        if not self.verdicts.settled:  # till then they stay: napari takes long to make a layer anew
            return
        said = self.verdicts.places(shown)
        if not said:
            self._remove(layer)
            return
        mpp = slide.mpp or 1.0
        places = np.asarray([((y - 0.5) * mpp, (x - 0.5) * mpp) for x, y, _ in said])
        symbols = ["disc" if word == "accept" else "square" for *_, word in said]
        if layer is None:
            image, active = self.layers.find("slide", slide.path), self.viewer.layers.selection.active
            layer = self.viewer.add_points(
                places, name="Verdicts on lesions", size=_SIZE_UM, canvas_size_limits=(1, 14), border_width=0.15, border_color="white",
                metadata={KEY: {"kind": _KIND, "path": str(slide.path)}}, units=None if image is None else image.units,
            )  # fmt: skip
            self.viewer.layers.selection.active = active
        else:
            layer.data = places
        layer.symbol = symbols
        layer.face_color = [BOTH if word == "accept" else ERROR for *_, word in said]

    def _remove(self, layer: Any | None) -> None:
        if layer is not None:
            self.viewer.layers.remove(layer)
