"""A probability map with objects, holes, touching corners and glass, on a slide with a bounds offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from napari_ifkd.inference.map_writer import MapWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ifkd.inference import ProbabilityMap

WARNING = "The built-in teacher knows phantom slides only"


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise from 1 to 255 with a border of glass (0), ``(height, width)`` uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 12 + 2, width // 12 + 2)).astype(np.float32)
    values = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + 0.05 * rng.standard_normal((height, width))
    probability = np.clip(1 + values * 254, 1, 255).astype(np.uint8)
    probability[:, : width // 8] = 0
    return probability


@pytest.fixture
def make_map(tmp_path: Path) -> Callable[..., ProbabilityMap]:
    def make(
        values: np.ndarray | None = None,
        path: Path | None = None,
        name: str = "case 7.scn",
        warning: str | None = None,
        origin: tuple[int, int] = (0, 0),
        scale: tuple[float, float] = (2.0004, 1.9987),
    ) -> ProbabilityMap:
        values = blobs(700, 1100) if values is None else values
        facts: dict[str, Any] = {
            "mpp": 1.0,
            "scale_yx": list(scale),
            "pixel_size_um_yx": [0.5 * s for s in scale],
            "bounds_origin_yx_level0": list(origin),
            "slide": {"name": name, "size_bytes": 5, "quick_hash": "ab", "shape_level0": [1400, 2199], "mpp": 0.5, "mpp_source": "file"},
            "model": {"name": "phantom-teacher", "weights_sha256": "cd", "domain": "phantom"},
            "settings": {"threshold": 0.6, "sigma_px": 2.0},
            "warnings": [warning] if warning else [],
            "domain_warning": warning,
        }
        with MapWriter(path or tmp_path / "map.zarr", (values.shape[0], values.shape[1])) as writer:
            writer.append(values)
            return writer.complete(facts, lambda: None)

    return make
