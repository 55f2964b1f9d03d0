"""Small slides, and a network whose answer at a pixel depends on its neighbourhood only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor, nn

from napari_ifkd.config import NetworkConfig
from napari_ifkd.models import ModelCard, Normalisation, SideOutputs
from napari_ifkd.slides import Slide, open_slide

if TYPE_CHECKING:
    from pathlib import Path

MakeSlide = Callable[..., Slide]


@pytest.fixture
def make_slide(tmp_path: Path) -> Iterator[MakeSlide]:
    """Write ``(H, W, 3)`` uint8 as a tiled TIFF of a given resolution, and open it."""
    opened: list[Slide] = []

    def make(pixels: np.ndarray, mpp: float = 1.0, name: str = "slide.tif", **options: Any) -> Slide:
        path = tmp_path / name
        resolution = (1e4 / mpp, 1e4 / mpp)
        tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", resolution=resolution, resolutionunit="CENTIMETER", **options)
        opened.append(open_slide(path))
        return opened[-1]

    yield make
    for slide in opened:
        slide.close()


class Neighbourhood(nn.Module):
    """Probability is a smooth function of the darkness within 3 px."""

    normalisation = Normalisation()

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.AvgPool2d(7, stride=1, padding=3, count_include_pad=False)
        self.gain = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> SideOutputs:
        logit = -self.gain * self.mean(x.mean(1, keepdim=True).float())
        return SideOutputs((logit,), logit.sigmoid())


@pytest.fixture
def network() -> Neighbourhood:
    return Neighbourhood()


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(name="neighbourhood", network=NetworkConfig(), mpp=1.0, tile_px=32)


def tissue_like(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Purple noise of several scales, ``(H, W, 3)`` uint8: all tissue, no glass."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 16 + 2, width // 16 + 2)).repeat(16, 0).repeat(16, 1)[:height, :width]
    grain = 0.7 * coarse + 0.3 * rng.random((height, width))
    return (np.stack([120 + 90 * grain, 60 + 90 * grain, 130 + 80 * grain], -1)).astype(np.uint8)


@pytest.fixture(name="tissue_like")
def tissue_like_fixture() -> Callable[..., np.ndarray]:
    return tissue_like


def drain(generator: Any) -> tuple[list[Any], Any]:
    """Run a generator to its end; return what it yielded and what it returned."""
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as stop:
            return events, stop.value


@pytest.fixture(name="drain")
def drain_fixture() -> Callable[[Any], tuple[list[Any], Any]]:
    return drain
