"""What napari imports and draws at the first mask, done beforehand in a thread: two seconds in which the window would stand still."""

from __future__ import annotations

from contextlib import suppress


def warm_up() -> None:
    """Make a mask layer that nobody sees, and the line patterns that each layer asks for."""
    import numpy as np
    from napari.layers import Labels

    from .layers import label_colours

    Labels(np.zeros((2, 2), np.uint8), colormap=label_colours({1: "#000000"}))
    with suppress(ImportError):  # vispy keeps what it made here, and may one day do so elsewhere
        from vispy.visuals.line.dash_atlas import DashAtlas

        DashAtlas()
