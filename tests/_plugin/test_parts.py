"""What small parts say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_ifkd._plugin.widgets.parts import beginning, setting
from napari_ifkd.config import NetworkConfig
from napari_ifkd.inference import warnings_of
from napari_ifkd.models import ModelCard

_SLIDE = SimpleNamespace(name="TCGA-CR-7395-01A-01-TS1.svs", mpp=2.0, quick_hash="a", is_phantom=False)


@pytest.mark.parametrize(
    ("card", "tells"),
    [
        ({"domain": "phantom"}, "The built-in teacher knows phantom slides only."),
        ({"told_apart": 0.4}, "This teacher tells images with tumour from images without no better than chance."),
        ({"called_rightly": 0.17}, "This teacher calls 17% of the images that were kept aside rightly, fewer than a coin would."),
        ({"learned_from": ("b",)}, "This teacher learned from one slide, and not from TCGA-CR-7395-01A-01-TS1.svs."),
        ({"mpp": 0.5}, "The slide's finest level (2 um/px) is coarser than the network's tiles (0.5 um/px)."),
    ],
)
def test_the_beginning_of_a_warning_warns(card: dict[str, Any], tells: str) -> None:
    (warning,) = warnings_of(ModelCard(**{"name": "m", "network": NetworkConfig(), "mpp": 2.0, "tile_px": 32, **card}), _SLIDE)  # type: ignore[arg-type]
    assert beginning(warning) == tells
    assert beginning(f"{warning} (a.tif, b.tif)") == f"{tells[:-1]} (a.tif, b.tif)."  # of several slides


@pytest.mark.parametrize(
    ("dotted", "typed", "held"), [("tiles.size_px", "64", 64), ("rounds.batch", "128", 128), ("tiles.size_px", "7", 32)]
)
def test_a_number_is_what_was_typed(qtbot: Any, dotted: str, typed: str, held: int) -> None:
    made, heard = setting(dotted, "Setting"), []
    qtbot.addWidget(made.native)
    made.show()
    made.changed.connect(heard.append)
    made.native.selectAll()
    qtbot.keyClicks(made.native, typed)
    assert made.native.text() == typed
    if held == int(typed):  # also before anybody leaves the field: a button pressed next takes it
        assert made.value == held
        assert heard[-1] == held
    qtbot.keyClick(made.native, Qt.Key.Key_Return)
    assert (made.value, made.native.text()) == (held, str(held))  # the least, where it is less
