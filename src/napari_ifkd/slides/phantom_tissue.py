"""The architecture of a phantom: where tissue, tumour nests, glands, lymphoid aggregates, fat and vessels lie.

Everything is a function of place (um) and of a :class:`Plan`, which itself follows from seed and slide size alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .phantom_noise import Doubles, Floats, hash01, layered, layered_at, noise

# Channels of the random fields: any distinct numbers; octaves add multiples of 1000.
OUTLINE, DOMAIN, NEST, SEPTA, GLANDULAR, LYMPHOID, FAT, CELLULAR, SHEET = range(1, 10)
GLAND_CELL, VESSEL_CELL, PIECE = 40, 60, 80
GLAND_SPACING, VESSEL_SPACING = 125.0, 260.0
NEST_WAVELENGTH = 135.0
SHEET_THICKNESS = 2e3  # um: marks solid benign epithelium that is no gland; solid glands have 1e3
OUTLINE_OCTAVES = ((0.3, 0.08), (0.12, 0.035), (0.05, 0.018), (80.0, 13.0), (30.0, 6.5), (9.0, 2.0))  # um; below 1 in shares of a piece's size


@dataclass(frozen=True)
class Plan:
    """What is fixed for a whole slide: its size (um), how its fields are scaled, and how it was stained."""

    seed: int
    height: float
    width: float
    pieces: tuple[int, int]
    domain_wavelength: float
    domain_mean: float
    domain_deviation: float
    nest_threshold: float
    fat_threshold: float
    sheet_threshold: float
    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    glass: tuple[float, float, float]
    gains: tuple[float, float]
    pleomorphism: float
    basophilia: float


@lru_cache(maxsize=64)
def make_plan(seed: int, height: float, width: float) -> Plan:
    """Lay out a slide of height x width um; thresholds are set so that tumour nests take up about 30 % of the tissue."""
    rng = np.random.default_rng([seed, 7])
    wavelength = float(np.clip(0.42 * min(height, width), 60.0, 2400.0))
    pieces = (max(1, round(height / 13000)), max(1, round(width / 13000)))
    draft = Plan(
        seed=seed, height=height, width=width, pieces=pieces, domain_wavelength=wavelength,
        domain_mean=0.0, domain_deviation=1.0, nest_threshold=0.0, fat_threshold=9.0,
        sheet_threshold=9.0,
        haematoxylin=_jitter(rng, (0.92, 1.24, 0.62), 0.05), eosin=_jitter(rng, (0.10, 0.90, 0.50), 0.05),
        glass=_jitter(rng, (243.0, 242.0, 244.0), 0.006), gains=(float(rng.uniform(0.88, 1.12)), float(rng.uniform(0.88, 1.14))),
        pleomorphism=float(rng.uniform(0, 1)), basophilia=float(rng.uniform(0.85, 1.15)),
    )  # fmt: skip
    ys, xs = (np.arange(160) + 0.5) * height / 160, (np.arange(160) + 0.5) * width / 160
    inside = outline(draft, ys, xs) > 0
    if not inside.any():
        inside[:] = True
    domain = layered(seed, DOMAIN, ys, xs, wavelength, 3)
    mean, deviation = float(domain[inside].mean()), float(max(domain[inside].std(), 1e-3))
    draft = Plan(**{**draft.__dict__, "domain_mean": mean, "domain_deviation": deviation})
    score = nest_score(Plan(**{**draft.__dict__, "nest_threshold": 1e3}), ys, xs)  # so high that no septa cut in
    share = rng.uniform(0.28, 0.34)  # glands and septa take a tenth of it away again
    threshold = float(np.quantile(score[inside], 1 - share))
    draft = Plan(**{**draft.__dict__, "nest_threshold": threshold})
    fat = layered(seed, FAT, ys, xs, 0.7 * wavelength, 3) - 0.6 * (score - threshold)
    sheet = sheet_score(draft, ys, xs, score - threshold)
    limits = {"fat_threshold": float(np.quantile(fat[inside], 0.9)), "sheet_threshold": float(np.quantile(sheet[inside], 0.85))}
    return Plan(**{**draft.__dict__, **limits})


def _jitter(rng: np.random.Generator, values: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    a, b, c = (v * rng.normal(1, share) for v in values)
    return float(a), float(b), float(c)


def outline(plan: Plan, ys: Doubles, xs: Doubles) -> Floats:
    """Signed distance (about, um) to the ragged edge of the tissue, positive inside; one piece or several, (h, w)."""
    cell_h, cell_w = plan.height / plan.pieces[0], plan.width / plan.pieces[1]
    size = min(cell_h, cell_w)
    out = np.full((len(ys), len(xs)), -1e4, np.float32)
    for py in range(plan.pieces[0]):
        for px in range(plan.pieces[1]):
            r = [float(hash01(plan.seed, PIECE + k, np.array(py), np.array(px))) for k in range(5)]
            cy, cx = (py + 0.5 + 0.06 * (r[0] - 0.5)) * cell_h, (px + 0.5 + 0.06 * (r[1] - 0.5)) * cell_w
            half_h, half_w = cell_h * (0.40 + 0.04 * r[2]), cell_w * (0.40 + 0.04 * r[3])
            tilt = 0.3 * (r[4] - 0.5)
            dy, dx = (ys[:, None] - cy), (xs[None] - cx)
            u, v = (dx * np.cos(tilt) + dy * np.sin(tilt)) / half_w, (dy * np.cos(tilt) - dx * np.sin(tilt)) / half_h
            radius = (np.abs(u) ** 2.6 + np.abs(v) ** 2.6) ** (1 / 2.6)
            np.maximum(out, ((1 - radius) * min(half_h, half_w)).astype(np.float32), out=out)
    if out.max() < -0.4 * size:
        return out
    ragged = 0.35 + 1.3 * np.clip(0.5 + 0.5 * noise(plan.seed, OUTLINE + 900, ys, xs, 0.2 * size), 0, 1)  # smooth here, torn there
    for k, (wavelength, amplitude) in enumerate(OUTLINE_OCTAVES):
        wave = noise(plan.seed, OUTLINE + 100 * k, ys, xs, wavelength * (size if wavelength < 1 else 1))
        out += np.float32(min(amplitude * (size if amplitude < 1 else 1), 0.08 * size)) * wave * (1 if k == 0 else ragged)
    edge_y, edge_x = np.minimum(ys, plan.height - ys), np.minimum(xs, plan.width - xs)
    glass = np.minimum(edge_y[:, None], edge_x[None]) - 0.025 * size  # tissue seldom reaches the slide's edge
    return np.minimum(out, glass.astype(np.float32) + 0.01 * size * noise(plan.seed, OUTLINE + 950, ys, xs, 0.06 * size)).astype(np.float32)


def nest_score(plan: Plan, ys: Doubles, xs: Doubles) -> Floats:
    """Propensity for tumour: a slow field says where the tumour is, a fast one breaks it into nests with irregular borders."""
    slow = (layered(plan.seed, DOMAIN, ys, xs, plan.domain_wavelength, 3) - plan.domain_mean) / plan.domain_deviation
    fast = layered(plan.seed, NEST, ys, xs, NEST_WAVELENGTH, 4, 0.45)
    septa = np.abs(layered(plan.seed, SEPTA, ys, xs, 210.0, 3, 0.45))
    width = 0.075 + 0.06 * noise(plan.seed, SEPTA + 500, ys, xs, 300.0)  # bands of stroma swell and end
    score = np.clip(1.5 * slow, -3.5, 2.2) + 0.85 * fast
    return np.minimum(score, plan.nest_threshold + 9.0 * (septa - width)).astype(np.float32)


def nest_score_at(plan: Plan, y: Doubles, x: Doubles) -> Doubles:
    """Return :func:`nest_score` at points, without septa and above the threshold where positive."""
    slow = (layered_at(plan.seed, DOMAIN, y, x, plan.domain_wavelength, 3) - plan.domain_mean) / plan.domain_deviation
    score = np.clip(1.5 * slow, -3.5, 2.2) + 0.85 * layered_at(plan.seed, NEST, y, x, NEST_WAVELENGTH, 4, 0.45)
    return np.asarray(score - plan.nest_threshold)


def sheet_score(plan: Plan, ys: Doubles, xs: Doubles, score: Floats) -> Floats:
    """Propensity for solid benign epithelium, whose outlines are those of tumour nests, where tumour is unlikely."""
    fast = layered(plan.seed, SHEET, ys, xs, NEST_WAVELENGTH, 4, 0.45)
    slow = layered(plan.seed, SHEET + 500, ys, xs, 0.6 * plan.domain_wavelength, 2)
    return fast + 0.9 * slow - 0.8 * np.clip(score + 1.2, 0, 4)


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
