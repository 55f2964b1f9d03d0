"""Two predictions side by side, the right one on a twin of the slide, in napari's grid, whose pictures share a camera."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import layers as made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_ifkd.slides import Slide


_APART_PX = 4  # of the screen


def divided_by(viewer: Any) -> int:
    """Return how many times smaller than in one picture all is seen now: 2 side by side, else 1."""
    grid = viewer.canvas.grid
    return 2 if grid.enabled and (tuple(grid.shape), grid.spacing) == ((1, 2), _APART_PX) else 1


class SideBySide:
    """Arrange a viewer's layers in two pictures, and as they were.

    Parameters
    ----------
    viewer : napari's viewer
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self._ours = False  # whether the grid is on because of us
        self._former: tuple[int, Any, float] = (1, (-1, -1), 0.0)

    def changes(self, slide: Slide, right: Any) -> Iterator[Callable[[], object]]:
        """Yield the steps until a layer is seen on the right, alone on the slide, and all others on the left."""
        layers = self.viewer.layers
        twin = self._twin()
        if twin is not None and made.tag(twin)["path"] != str(slide.path):
            yield partial(layers.remove, twin)
        if self._twin() is None:
            yield partial(self._add_twin, slide)
        twin = self._twin()
        if twin is None:  # asked only what would be done
            return
        # napari fills the pictures from below: all that is left, then the twin and what lies on it
        for layer, place in ((twin, len(layers) - 2), (right, len(layers) - 1)):
            if layers.index(layer) != place:
                yield partial(self._to_top, twin, right)
        grid = self.viewer.canvas.grid
        if (grid.enabled, grid.stride, tuple(grid.shape)) != (True, len(layers) - 2, (1, 2)):
            yield self._split

    def undo(self) -> Iterator[Callable[[], object]]:
        """Yield the steps back to one picture."""
        if self._ours:
            yield self._join
        twin = self._twin()
        if twin is not None:
            yield partial(self.viewer.layers.remove, twin)

    def _twin(self) -> Any | None:
        return next((layer for layer in self.viewer.layers if made.tag(layer).get("kind") == "twin"), None)

    def _add_twin(self, slide: Slide) -> None:
        selection = self.viewer.layers.selection
        before, active = set(selection), selection.active
        data, options, _ = made.twin_layer(slide)
        with selection.events.blocker_all():  # who listens would think that another slide was picked
            self.viewer.add_image(data, **options)
            selection.active = active
            selection.update(before)

    def _to_top(self, *wanted: Any) -> None:
        for layer in wanted:
            self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))

    def _split(self) -> None:
        grid = self.viewer.canvas.grid
        if not self._ours:
            self._former = grid.stride, grid.shape, grid.spacing
            self.viewer.scene.camera.zoom /= 2  # in a picture of half the width what was seen is seen still
        self._ours = True
        grid.shape, grid.stride, grid.spacing, grid.enabled = (1, 2), len(self.viewer.layers) - 2, _APART_PX, True
        if hasattr(self.viewer, "screenshot"):  # a viewer without a window draws nothing
            for _ in range(2):  # unseen: the first time the two pictures have no size yet, and show a few pixels as huge squares
                self.viewer.screenshot(flash=False)

    def _join(self) -> None:
        grid = self.viewer.canvas.grid
        grid.enabled = False
        self.viewer.scene.camera.zoom *= 2
        grid.stride, grid.shape, grid.spacing = self._former
        self._ours = False
