"""What was said of lesions, as marks on the slide: discs where they were accepted, squares where they were rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .layers import KEY, placement, tag
from .palette import BOTH, ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapely.geometry import Polygon

    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.session import Session

    from .layer_view import LayerView
    from .verdicts import Verdicts

_KIND, _OUTLINES = "verdicts", "rejected"
_SIZE_UM = 120.0
_LINE_PX = 2.0  # width of outlines on the screen, as they are seen when they are drawn


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
        session.events.slide.connect(self.outline, max_args=0)
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

    def bring_back(self) -> None:
        """Show the marks where somebody deleted their layer in napari's list."""
        if not list(self.layers.ours(_KIND)):
            self.update()

    def outline(self, rejected: Sequence[Polygon] = (), found: ProbabilityMap | None = None) -> None:
        """Draw round lesions that were rejected, and round no others: who paints into one changes what is rejected.

        Parameters
        ----------
        rejected : their outlines, (x, y) in px of the map; none takes the lines away
        found : the map, None where none are drawn
        """
        layer, slide = next(iter(self.layers.ours(_OUTLINES)), None), self.session.slide
        if self.layers.blind:
            rejected = ()
        rings = [np.asarray(lesion.exterior.simplify(0.5).coords)[:, ::-1] - 0.5 for lesion in rejected]
        drawn = [] if layer is None else layer.data
        if len(rings) == len(drawn) and all(map(np.array_equal, rings, drawn)):
            return
        self._remove(layer)
        if not rings or slide is None or found is None:
            return
        place, active = placement(slide.mpp, found.scale_yx), self.viewer.layers.selection.active
        layer = self.viewer.add_shapes(ndim=2, name="Rejected", metadata={KEY: {"kind": _OUTLINES, "path": str(slide.path)}}, **place)
        layer.add_paths(rings, edge_color=ERROR, edge_width=_LINE_PX / self.viewer.scene.camera.zoom / place["scale"][0])
        self.viewer.layers.selection.active = active

    def _remove(self, layer: Any | None) -> None:
        if layer is not None:
            self.layers.remove(layer)
