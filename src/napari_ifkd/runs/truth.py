"""Pixel truth of a slide, for scoring the maps of a run. Nothing that trains or chooses may import this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ifkd.annotations import read_mask
from napari_ifkd.distill.evaluate import evaluate_map
from napari_ifkd.inference import open_map

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.config import Config
    from napari_ifkd.slides import Slide
