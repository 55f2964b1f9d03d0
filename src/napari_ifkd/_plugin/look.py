"""Where the viewer looks: the visible field in pixels of the slide, and how to get to a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari_ifkd.slides import Slide


def field_px(slide: Slide, viewer: Any) -> tuple[float, float, float, float]:
    """Return the visible field as left, top, right, bottom in level-0 px; it may reach beyond the slide."""
    mpp = slide.mpp or 1.0
    centre = np.asarray(viewer.scene.camera.center[-2:], float)
    half = _picture(viewer) / viewer.scene.camera.zoom / 2
    (top, left), (bottom, right) = (centre - half) / mpp + 0.5, (centre + half) / mpp + 0.5  # world 0 is the centre of pixel 0
    return float(left), float(top), float(right), float(bottom)


def go_to(slide: Slide, viewer: Any, x: float, y: float, across_um: float, *, at_most_whole: bool = False) -> None:
    """Bring a place to the middle of the view.

    Parameters
    ----------
    slide, viewer : where
    x, y : level-0 px
    across_um : how much is to be seen across the shorter side, um (px where nobody knows the resolution)
    at_most_whole : where that is more than the whole slide, that is shown
    """
    mpp, zoom = slide.mpp or 1.0, float(_picture(viewer).min()) / across_um
    if at_most_whole and zoom <= _whole(slide, viewer):
        show_whole(slide, viewer)
        return
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.center = (0.0, (y - 0.5) * mpp, (x - 0.5) * mpp)


def show_whole(slide: Slide, viewer: Any) -> None:
    """Bring a slide into view, all of it."""
    height, width = slide.shape_level0
    mpp = slide.mpp or 1.0
    viewer.scene.camera.zoom = _whole(slide, viewer)
    viewer.scene.camera.center = (0.0, (height - 1) / 2 * mpp, (width - 1) / 2 * mpp)


def _whole(slide: Slide, viewer: Any) -> float:
    """Return the zoom at which a slide fits the picture."""
    extent = np.asarray(slide.shape_level0) * (slide.mpp or 1.0)
    return 0.95 * float((_picture(viewer) / extent).min())


def leave_keyboard(part: QWidget) -> None:
    """Give the keyboard to the picture of the window that a part is of.

    The focus of a button that turns grey goes to the next one, and Space, which pans, would press that.
    """
    window = part.window()
    picture = None if window is None else next((child for child in window.findChildren(QWidget) if child.inherits("QOpenGLWidget")), None)
    if picture is not None:
        picture.setFocus()


def keep_on_screen(window: QWidget) -> None:
    """Make a window fit the screen, or screens: napari widens it for a dock beyond the border."""
    screen = window.screen() if isalive(window) else None  # type: ignore[no-untyped-call]
    if screen is None or window.isMaximized() or window.isFullScreen():
        return
    room, frame = screen.availableVirtualGeometry(), window.frameGeometry()
    if frame.width() > room.width() or frame.height() > room.height():
        window.resize(window.size().boundedTo(room.size() - (frame.size() - window.size())))
        frame = window.frameGeometry()
    if not room.contains(frame):
        window.move(
            max(room.left(), min(frame.left(), room.right() + 1 - frame.width())),
            max(room.top(), min(frame.top(), room.bottom() + 1 - frame.height())),
        )


def _picture(viewer: Any) -> Any:
    """Return height and width of the picture, screen px; of one of them where there are several side by side."""
    return np.asarray(viewer.canvas.size, float) / viewer.canvas.grid.actual_shape(viewer.layers)
