"""Slides that came through another reader of napari: plain pictures without resolution, which no dock knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from .layers import tag
from .reader import SLIDES

if TYPE_CHECKING:
    from collections.abc import Iterator


class Strangers:
    """Find such layers; `changed` tells when layers came or went.

    Parameters
    ----------
    viewer : napari's viewer, or the public proxy of it
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(lambda _: self.changed.emit())

    @property
    def path(self) -> Path | None:
        """The file of the first of them; None where there is none."""
        return next((path for _, path in self._layers()), None)

    def send_away(self, path: Path) -> None:
        """Remove the layers of a file, to open it as a slide instead."""
        for layer in [layer for layer, of in self._layers() if of == path]:
            self.viewer.layers.remove(layer)

    def _layers(self) -> Iterator[tuple[Any, Path]]:
        for layer in self.viewer.layers:
            came = layer.source.path
            if came and type(layer).__name__ == "Image" and "kind" not in tag(layer):
                path = Path(came)
                if path.suffix.lower() in SLIDES and path.is_file():
                    yield layer, path.resolve()
