"""Nuclei of a phantom: a bank of small drawn stamps for each kind of cell, and how they are put down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .phantom_noise import Doubles, Floats

ORIENTATIONS = 16
_OVERSAMPLING = 4


@dataclass(frozen=True)
class NucleusKind:
    """How the nuclei of one kind of cell look; lengths in um, densities in units of haematoxylin."""

    length: tuple[float, float]
    aspect: tuple[float, float]
    density: tuple[float, float]
    lobes: float = 0.03  # irregularity of the outline
    clumps: float = 0.12  # contrast of the chromatin
    rim: float = 0.2  # how much darker the membrane is
    nucleoli: tuple[int, int] = (0, 1)
    nucleolus_radius: float = 0.6
    variants: int = 12
    pale: float = 0.0  # share of open (vesicular) nuclei


KINDS = {
    "tumour": NucleusKind((8.0, 16.0), (0.56, 0.95), (0.55, 1.15), 0.08, 0.3, 0.34, (1, 3), 1.1, 48, 0.5),
    "mitosis": NucleusKind((7.0, 10.0), (0.3, 0.6), (1.5, 1.7), 0.18, 0.25, 0.0, (0, 0), 0.6, 6),
    "epithelium": NucleusKind((7.2, 9.0), (0.72, 0.92), (0.7, 1.15), 0.02, 0.16, 0.3, (0, 1), 0.6, 16, 0.2),
    "gland": NucleusKind((8.2, 10.5), (0.5, 0.68), (0.85, 1.2), 0.025, 0.16, 0.25, (0, 1), 0.55, 16, 0.15),
    "lymphocyte": NucleusKind((5.4, 6.9), (0.86, 1.0), (1.15, 1.55), 0.03, 0.2, 0.1, (0, 0), 0.5, 20),
    "fibroblast": NucleusKind((10.0, 17.0), (0.17, 0.3), (0.85, 1.3), 0.03, 0.14, 0.15, (0, 0), 0.4, 12),
    "plump": NucleusKind((9.0, 13.0), (0.34, 0.5), (0.75, 1.2), 0.04, 0.18, 0.25, (0, 1), 0.5, 12, 0.2),
}


@lru_cache(maxsize=4)
def stamps(mpp: float) -> dict[str, list[Floats]]:
    """Draw the bank for a resolution (um/px): for each kind, variants x :data:`ORIENTATIONS` stamps of haematoxylin density.

    Stamp ``variant * ORIENTATIONS + k`` has its long axis turned by ``k * pi / ORIENTATIONS`` from x towards y.
    """
    rng = np.random.default_rng(20240719)
    return {name: [turned for v in _variants(kind, rng) for turned in _draw(kind, mpp, v)] for name, kind in KINDS.items()}


def _variants(kind: NucleusKind, rng: np.random.Generator) -> list[dict[str, NDArray[np.float64] | float]]:
    out: list[dict[str, NDArray[np.float64] | float]] = []
    for _ in range(kind.variants):
        dots = int(rng.integers(kind.nucleoli[0], kind.nucleoli[1] + 1))
        pale = rng.random() < kind.pale
        out.append(
            {
                "length": rng.uniform(*kind.length),
                "aspect": rng.uniform(*kind.aspect),
                "density": rng.uniform(*kind.density) * (0.8 if pale else 1.0),
                "lobes": rng.normal(0, kind.lobes, 4) * np.array([1.0, 0.9, 0.6, 0.4]),
                "phases": rng.uniform(0, 2 * np.pi, 4),
                "open": 0.45 if pale else 0.12,
                "dots": rng.normal(0, 0.28, (dots, 2)),
                "grain": rng.normal(size=(64, 64)),
            }
        )
    return sorted(out, key=lambda v: float(v["density"]) * (1 - float(v["open"])))  # pale to dark


def _draw(kind: NucleusKind, mpp: float, variant: dict[str, NDArray[np.float64] | float]) -> list[Floats]:
    """Draw a nucleus at :data:`ORIENTATIONS` angles."""
    half = float(variant["length"]) / 2
    side = 2 * int(np.ceil(half * 1.25 / mpp)) + 3
    fine = mpp / _OVERSAMPLING
    at = (np.arange(side * _OVERSAMPLING) + 0.5) * fine - side * mpp / 2
    along, across = np.broadcast_arrays(at[None], at[:, None] / float(variant["aspect"]))
    theta = np.arctan2(across, along)
    outline = 1 + sum(a * np.cos((k + 2) * theta + p) for k, (a, p) in enumerate(zip(variant["lobes"], variant["phases"], strict=True)))  # type: ignore[arg-type]
    rho = np.hypot(along, across) / (half * np.asarray(outline))
    edge = 0.35 / half  # the membrane is blurred over 0.35 um
    inside = np.clip((1 - rho) / edge + 0.5, 0, 1)

    grain = cv2.GaussianBlur(np.asarray(variant["grain"]), (0, 0), 1.0)
    grain = grain / grain.std()
    rows, columns = np.mod(across / 0.42 + 32, 63).astype(np.float32), np.mod(along / 0.42 + 32, 63).astype(np.float32)
    chromatin = cv2.remap(grain.astype(np.float32), columns, rows, cv2.INTER_LINEAR)
    body = 1 - float(variant["open"]) * np.clip(1.25 - rho, 0, 1) + kind.clumps * chromatin
    body = body + kind.rim * np.exp(-(((rho - 0.9) / 0.14) ** 2))
    for dy, dx in np.asarray(variant["dots"]):
        body = body + 0.75 * np.exp(-(((along - dx * half) ** 2 + (across - dy * half) ** 2) / kind.nucleolus_radius**2))
    drawn = np.clip(body, 0.15, 1.9) * inside * float(variant["density"])
    fine_side = side * _OVERSAMPLING
    middle = (fine_side - 1) / 2
    out = []
    for k in range(ORIENTATIONS):
        turn = cv2.getRotationMatrix2D((middle, middle), -180.0 * k / ORIENTATIONS, 1.0)
        turned = cv2.warpAffine(drawn.astype(np.float32), turn, (fine_side, fine_side), flags=cv2.INTER_LINEAR)
        out.append(cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA))
    return out  # type: ignore[return-value]


def press(canvas: Floats, bank: list[Floats], which: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]) -> None:
    """Put stamps on a canvas, the denser of canvas and stamp showing: overlaps need no order.

    Parameters
    ----------
    canvas : (h, w), changed in place
    which : (n,) index into the bank
    y, x : (n,) centres, px of the canvas; stamps reaching beyond it are cut
    """
    height, width = canvas.shape
    maximum = np.maximum
    for k, cy, cx in zip(which.tolist(), y.tolist(), x.tolist(), strict=True):
        stamp = bank[k]
        r = stamp.shape[0] // 2
        top, left, bottom, right = cy - r, cx - r, cy + r + 1, cx + r + 1
        if top >= 0 and left >= 0 and bottom <= height and right <= width:
            view = canvas[top:bottom, left:right]
            maximum(view, stamp, out=view)
        elif bottom > 0 and right > 0 and top < height and left < width:
            view = canvas[max(top, 0) : bottom, max(left, 0) : right]
            part = stamp[max(-top, 0) : max(-top, 0) + view.shape[0], max(-left, 0) : max(-left, 0) + view.shape[1]]
            maximum(view, part, out=view)


def turn_index(angle: Doubles) -> NDArray[np.int64]:
    """Index of the stamp orientation nearest to an angle (radians from x towards y)."""
    return np.mod(np.round(np.asarray(angle) * ORIENTATIONS / np.pi), ORIENTATIONS).astype(np.int64)
