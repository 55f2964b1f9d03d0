"""What small parts say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from napari_ifkd._plugin.widgets.parts import beginning
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
    assert beginning(f"{warning} (a.tif, b.tif)") == tells  # of several slides
