"""All docks at once, as tabs on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .settings import PACKAGE

if TYPE_CHECKING:
    from napari.viewer import Viewer

DOCKS = ("Slide", "Teacher", "Distill", "Review", "Export", "Runs")


def show_docks(viewer: Viewer) -> None:
    """Open the docks as tabs, the Slide dock in front."""
    add_docks(viewer)


def show_keys() -> None:
    """Show what keys do in the docks."""
    from qtpy.QtWidgets import QApplication, QMainWindow

    from .keys import KEYS
    from .widgets.keys_dialog import KeysDialog

    windows = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QMainWindow) and widget.isVisible()]
    KeysDialog(KEYS, windows[0] if windows else None).show()


def add_docks(viewer: Any) -> dict[str, Any]:
    """Open the docks as tabs on the right and return them by name, as napari's dock widgets."""
    docks = {name: viewer.window.add_plugin_dock_widget(PACKAGE, name, tabify=index > 0)[0] for index, name in enumerate(DOCKS)}
    docks[DOCKS[0]].show()
    docks[DOCKS[0]].raise_()
    return docks
