"""The engine and the command line run where there is neither napari nor Qt."""

from __future__ import annotations

import subprocess
import sys

ENGINE = """
import importlib, pkgutil, sys
import napari_ifkd
for module in pkgutil.walk_packages(napari_ifkd.__path__, "napari_ifkd."):
    if "._plugin" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
found = {name.split(".")[0] for name in sys.modules}
bad = found & {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
assert not bad, sorted(bad)
assert "napari_ifkd.runs.acts" in sys.modules and "napari_ifkd.cli" in sys.modules
"""

BLOCKED = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt5", "PyQt6", "PySide6"}:
            raise ModuleNotFoundError(name + " is not here")
sys.meta_path.insert(0, Refuse())
from napari_ifkd.cli import main
main(["doctor"])
"""


def test_no_engine_module_imports_napari_or_qt() -> None:
    said = subprocess.run([sys.executable, "-c", ENGINE], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr


def test_command_line_works_where_they_cannot_be_imported() -> None:
    said = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    assert "device" in said.stdout


def test_the_package_itself_is_light() -> None:
    code = "import sys, napari_ifkd; assert not {'torch', 'zarr', 'dask', 'numpy', 'yaml'} & sys.modules.keys()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
