"""The architecture of a phantom: where tissue, tumour nests, glands, lymphoid aggregates, fat and vessels lie.

Everything is a function of place (um) and of a :class:`~napari_ifkd.slides.phantom_plan.Plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .phantom_noise import hash01, layered, layered_at, noise
from .phantom_plan import (
    CELLULAR,
    FAT,
    GLAND_CELL,
    GLAND_SPACING,
    GLANDULAR,
    LYMPHOID,
    SHEET_THICKNESS,
    VESSEL_CELL,
    VESSEL_SPACING,
    nest_score,
    nest_score_at,
    outline,
    sheet_score,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .phantom_noise import Doubles, Floats
    from .phantom_plan import Plan


@dataclass(frozen=True)
class Gland:
    """A benign gland: a closed, smooth outline with ordered epithelium and mostly a lumen; um."""

    y: float
    x: float
    radius: float
    aspect: float
    angle: float
    shape: NDArray[np.float64] = field(repr=False)
    solid: bool
    thickness: float
    tone: float

    def depth(self, y: Doubles, x: Doubles) -> Doubles:
        """Distance (about, um) inside the outline; negative outside."""
        dy, dx = y - self.y, x - self.x
        along = dx * np.cos(self.angle) + dy * np.sin(self.angle)
        across = (dy * np.cos(self.angle) - dx * np.sin(self.angle)) / self.aspect
        r, theta = np.hypot(along, across), np.arctan2(across, along)
        wave = 1 + self.shape[0] * np.cos(2 * theta + self.shape[3]) + self.shape[1] * np.cos(3 * theta + self.shape[4])
        wave = wave + self.shape[2] * np.cos(5 * theta + self.shape[5])
        squeeze = self.aspect + (1 - self.aspect) * np.abs(along) / (r + 1e-6)  # depth is shorter across the long axis
        return np.asarray((self.radius * wave - r) * squeeze)

    def ring(self, inset: float, spacing: float) -> tuple[Doubles, Doubles, Doubles]:
        """Points (y, x) evenly spaced along the outline, drawn in by inset, and the angle of the inward normal there."""
        theta = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        wave = 1 + self.shape[0] * np.cos(2 * theta + self.shape[3]) + self.shape[1] * np.cos(3 * theta + self.shape[4])
        wave = wave + self.shape[2] * np.cos(5 * theta + self.shape[5])
        along, across = self.radius * wave * np.cos(theta), self.radius * wave * np.sin(theta) * self.aspect
        x = self.x + along * np.cos(self.angle) - across * np.sin(self.angle)
        y = self.y + along * np.sin(self.angle) + across * np.cos(self.angle)
        ty, tx = np.roll(y, -1) - np.roll(y, 1), np.roll(x, -1) - np.roll(x, 1)
        norm = np.hypot(ty, tx) + 1e-9
        ny, nx = tx / norm, -ty / norm  # the outline runs so that this points inwards
        y, x = y + inset * ny, x + inset * nx
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(y), np.diff(x)))])
        count = max(3, int(length[-1] / spacing))
        at = np.interp((np.arange(count) + 0.5) * length[-1] / count, length, np.arange(400)).astype(np.int64)
        return y[at], x[at], np.arctan2(ny[at], nx[at])


def _cells(
    channel: int, seed: int, spacing: float, box: tuple[float, float, float, float], reach: float, jitter: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Doubles, Doubles]:
    """Cells (iy, ix) whose jittered centres (y, x) may reach into a box (y0, x0, y1, x1) um."""
    iy = np.arange(int((box[0] - reach) // spacing), int((box[2] + reach) // spacing) + 1)
    ix = np.arange(int((box[1] - reach) // spacing), int((box[3] + reach) // spacing) + 1)
    gy, gx = (a.ravel() for a in np.meshgrid(iy, ix, indexing="ij"))
    y = (gy + 0.5 + jitter * (hash01(seed, channel, gy, gx) - 0.5)) * spacing
    x = (gx + 0.5 + jitter * (hash01(seed, channel + 1, gy, gx) - 0.5)) * spacing
    return gy, gx, y, x


def find_glands(plan: Plan, box: tuple[float, float, float, float]) -> list[Gland]:
    """Glands that reach into a box (y0, x0, y1, x1) um, in an order that does not depend on the box."""
    gy, gx, y, x = _cells(GLAND_CELL, plan.seed, GLAND_SPACING, box, 150.0, 0.6)
    score = nest_score_at(plan, y, x)
    zone = layered_at(plan.seed, GLANDULAR, y, x, 0.4 * plan.domain_wavelength, 2) - 0.2 * score
    fat = layered_at(plan.seed, FAT, y, x, 0.7 * plan.domain_wavelength, 3) - 0.6 * score - plan.fat_threshold
    present = (zone > 0.35) & (score < -0.55) & (fat < -0.35) & (hash01(plan.seed, GLAND_CELL + 2, gy, gx) < 0.95)
    out = []
    for k in np.flatnonzero(present):
        rng = np.random.default_rng([plan.seed, 11, int(gy[k]) + 2**31, int(gx[k]) + 2**31])
        radius, solid = min(34 + 16 * rng.gamma(2.0), 105.0), bool(rng.random() < 0.22)
        shape = np.concatenate([rng.normal(0, (0.10, 0.10, 0.05)), rng.uniform(0, 2 * np.pi, 3)])
        thickness = 1e3 if solid else float(rng.uniform(17, 24))
        out.append(
            Gland(
                float(y[k]),
                float(x[k]),
                float(radius),
                float(rng.uniform(0.4, 1)),
                float(rng.uniform(0, np.pi)),
                shape,
                solid,
                thickness,
                float(rng.uniform(-1, 1)),
            )
        )
    return out


@dataclass(frozen=True)
class Vessel:
    """A vessel cut across: lumen, wall and how much blood it holds; um."""

    y: float
    x: float
    radius: float
    wall: float
    aspect: float
    angle: float
    blood: float

    def distance(self, y: Doubles, x: Doubles) -> Doubles:
        """Distance (about, um) from the inner edge of the wall; negative in the lumen."""
        dy, dx = y - self.y, x - self.x
        along = dx * np.cos(self.angle) + dy * np.sin(self.angle)
        across = (dy * np.cos(self.angle) - dx * np.sin(self.angle)) / self.aspect
        return np.asarray((np.hypot(along, across) - self.radius) * self.aspect**0.5)


def find_vessels(plan: Plan, box: tuple[float, float, float, float]) -> list[Vessel]:
    """Vessels that reach into a box (y0, x0, y1, x1) um."""
    gy, gx, y, x = _cells(VESSEL_CELL, plan.seed, VESSEL_SPACING, box, 90.0, 0.9)
    free = (nest_score_at(plan, y, x) < -0.5) & (hash01(plan.seed, VESSEL_CELL + 2, gy, gx) < 0.6)
    out = []
    for k in np.flatnonzero(free):
        rng = np.random.default_rng([plan.seed, 13, int(gy[k]) + 2**31, int(gx[k]) + 2**31])
        radius = float(np.exp(rng.normal(2.6, 0.5)))
        out.append(
            Vessel(
                float(y[k]),
                float(x[k]),
                min(radius, 48.0),
                float(3 + 0.22 * radius + rng.uniform(0, 4)),
                float(rng.uniform(0.45, 1)),
                float(rng.uniform(0, np.pi)),
                float(rng.random()),
            )
        )
    return out


@dataclass
class Ground:
    """Architecture of a box on a coarse grid; every array (h, w) float32, distances in um, positive inside."""

    tissue: Floats
    nest: Floats
    gland: Floats  # depth inside the nearest gland's outline
    gland_thickness: Floats  # of its epithelium; beyond that depth is lumen
    lymphoid: Floats  # probability-like, 0..1
    fat: Floats
    cellular: Floats  # how many fibroblasts, 0..1
    vessel: Floats  # distance from a vessel's lumen, negative inside it
    vessel_wall: Floats
    vessel_blood: Floats
    glands: list[Gland]
    vessels: list[Vessel]


def survey(plan: Plan, ys: Doubles, xs: Doubles) -> Ground:
    """Work the architecture out on a regular grid of points (ys, xs) um."""
    step = float(ys[1] - ys[0])
    box = (float(ys[0]), float(xs[0]), float(ys[-1]), float(xs[-1]))
    shape = (len(ys), len(xs))
    tissue = outline(plan, ys, xs)
    glands, vessels = find_glands(plan, box), find_vessels(plan, box)
    gland, thickness = np.full(shape, -60, np.float32), np.full(shape, 1e3, np.float32)
    for g in glands:
        rows, columns = _window(g.y, g.x, g.radius * 1.3 + 40, ys, xs)
        depth = g.depth(ys[rows, None], xs[None, columns]).astype(np.float32)
        view, layer = gland[rows, columns], thickness[rows, columns]
        layer[depth > view] = g.thickness
        np.maximum(view, depth, out=view)
    score = nest_score(plan, ys, xs) - np.float32(plan.nest_threshold)
    slope = np.hypot(*np.gradient(score, step))
    nest = score / np.maximum(slope, 0.012)
    nest = np.minimum(np.clip(nest, -60, 60), -gland - 10)  # benign glands keep their distance
    nest = cv2.GaussianBlur(np.minimum(nest, tissue - 8).astype(np.float32), (0, 0), 2.4 / step)  # rounds the corners where fields meet
    sheet = sheet_score(plan, ys, xs, score) - np.float32(plan.sheet_threshold)
    sheet = np.clip(sheet / np.maximum(np.hypot(*np.gradient(sheet, step)), 0.012), -60, 60)
    sheet = np.minimum(np.minimum(sheet, -gland - 8), np.minimum(-nest - 14, tissue - 8))
    thickness[sheet > gland] = SHEET_THICKNESS
    gland = np.maximum(gland, sheet).astype(np.float32)
    lymphoid = layered(plan.seed, LYMPHOID, ys, xs, 150.0, 3) + np.exp(-(((nest + 22) / 18) ** 2)) * 0.4 - 1.12
    fat = (layered(plan.seed, FAT, ys, xs, 0.7 * plan.domain_wavelength, 3) - 0.6 * score - plan.fat_threshold) * 90
    fat = np.minimum(np.minimum(fat, -gland - 14), np.minimum(-nest - 20, tissue + 60)).astype(np.float32)
    fat += 4 * noise(plan.seed, FAT + 500, ys, xs, 24.0)
    vessel, wall, blood = np.full(shape, 60, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for v in vessels:
        rows, columns = _window(v.y, v.x, v.radius + v.wall + 30, ys, xs)
        distance = v.distance(ys[rows, None], xs[None, columns]).astype(np.float32)
        view = vessel[rows, columns]
        nearer = distance < view
        view[nearer] = distance[nearer]
        wall[rows, columns][nearer] = v.wall
        blood[rows, columns][nearer] = v.blood
    vessel = np.maximum(vessel, np.maximum(gland + 6, nest + 6))
    cellular = np.clip(0.35 + 0.4 * layered(plan.seed, CELLULAR, ys, xs, 190.0, 2), 0, 1)
    return Ground(
        tissue, nest, gland, thickness, np.clip(lymphoid * 3, 0, 1), fat, cellular, vessel, wall, blood, glands, vessels
    )  # fmt: skip


def _window(y: float, x: float, reach: float, ys: Doubles, xs: Doubles) -> tuple[slice, slice]:
    top, bottom = np.searchsorted(ys, (y - reach, y + reach))
    left, right = np.searchsorted(xs, (x - reach, x + reach))
    return slice(int(top), int(bottom)), slice(int(left), int(right))
