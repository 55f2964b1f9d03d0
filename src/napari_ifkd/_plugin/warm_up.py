"""What napari imports at the first mask, imported beforehand in a thread: two seconds in which the window would stand still."""

from __future__ import annotations


def warm_up() -> None:
    """Make a mask layer that nobody sees."""
    import numpy as np
    from napari.layers import Labels

    from .layers import label_colours

    Labels(np.zeros((2, 2), np.uint8), colormap=label_colours({1: "#000000"}))
