"""All docks at once, as tabs on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.viewer import Viewer

DOCKS = ("Slide", "Teacher", "Distill", "Review", "Export", "Runs")
_BETWEEN_MS = 20  # so that the menu goes, and each dock is seen while the next is made


def show_docks(viewer: Viewer) -> None:
    """Open the docks as tabs, the Slide dock in front."""
    _open_next(viewer, DOCKS, {})


def show_keys() -> None:
    """Show what keys do in the docks."""
    from qtpy.QtWidgets import QApplication, QMainWindow

    from .keys import KEYS
    from .widgets.keys_dialog import KeysDialog

    windows = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QMainWindow) and widget.isVisible()]
    KeysDialog(KEYS, windows[0] if windows else None).show()


def add_docks(viewer: Any) -> dict[str, Any]:
    """Open the docks as tabs on the right and return them by name, as napari's dock widgets."""
    docks = {name: _open(viewer, name) for name in DOCKS}
    _front(docks)
    return docks


def _open_next(viewer: Any, names: Sequence[str], docks: dict[str, Any]) -> None:
    from qtpy.QtCore import QTimer

    if docks:
        _front(docks)
    if names:
        QTimer.singleShot(_BETWEEN_MS, lambda: _open_next(viewer, names[1:], {**docks, names[0]: _open(viewer, names[0])}))


def _open(viewer: Any, name: str) -> Any:
    """Return napari's dock widget of a dock, which is opened unless it is there: called as napari's menu calls it, which ticks it then."""
    from napari.plugins import menu_item_template
    from npe2 import PluginManager

    from .bench import bench_of

    dock = bench_of(viewer).docks.find(name)
    if dock is None:
        plugins = PluginManager.instance()
        title = menu_item_template.format(plugins.get_manifest(PACKAGE).display_name, name)
        dock = plugins.commands.execute(f"{PACKAGE}.{name.lower()}", args=(viewer,))
        viewer.window.add_dock_widget(dock, name=title, tabify=name != DOCKS[0])
    shell: Any = dock.parentWidget()
    shell.show()
    return shell


def _front(docks: dict[str, Any]) -> None:
    docks[DOCKS[0]].show()
    docks[DOCKS[0]].raise_()
