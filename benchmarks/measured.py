"""What the benchmarks share: a slide to work on, a network, and how a figure is told."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.config import NetworkConfig
from napari_ifkd.models import ModelCard, build_model
from napari_ifkd.slides import write_phantom

if TYPE_CHECKING:
    from napari_ifkd.models import MILModel

WIDTH, HEIGHT, MPP = 8192, 6144, 0.5


def phantom() -> Path:
    """Return the benchmark's slide, drawn on first use and kept in the temporary folder."""
    path = Path(tempfile.gettempdir()) / f"napari-ifkd-bench-{os.getuid() if hasattr(os, 'getuid') else 0}" / f"{WIDTH}x{HEIGHT}.tiff"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part.tiff")
        write_phantom(part, WIDTH, HEIGHT, seed=1, mpp=MPP)
        part.rename(path)
    return path


def network() -> tuple[MILModel, ModelCard]:
    """Return an untrained network of the default size: speed does not depend on what it knows."""
    settings = NetworkConfig()
    model = build_model(settings, seed=0).eval()
    return model, ModelCard(name="bench", network=settings, mpp=1.0, tile_px=256, normalisation=model.normalisation, domain="phantom")


def peak_mib() -> float:
    """Return the most memory this process ever held, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def tell(**figures: float) -> None:
    """Print the figures as one JSON object on a line."""
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
