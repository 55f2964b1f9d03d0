"""What a phantom's layout follows from: seed and size give the plan; the plan and a place give tissue, tumour and benign epithelium."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .phantom_noise import Doubles, Floats, hash01, layered, layered_at, noise

# Channels of the random fields: any distinct numbers; octaves add multiples of 1000.
OUTLINE, DOMAIN, NEST, SEPTA, GLANDULAR, LYMPHOID, FAT, CELLULAR, SHEET = range(1, 10)
GLAND_CELL, VESSEL_CELL, PIECE = 40, 60, 80
GLAND_SPACING, VESSEL_SPACING = 125.0, 260.0
NEST_WAVELENGTH = 135.0
SHEET_THICKNESS = 2e3  # um: marks solid benign epithelium that is no gland; solid glands have 1e3
OUTLINE_OCTAVES = (
    (0.3, 0.08),
    (0.12, 0.035),
    (0.05, 0.018),
    (80.0, 13.0),
    (30.0, 6.5),
    (9.0, 2.0),
)  # um; below 1 in shares of a piece's size


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
    glass = glass + 0.01 * size * noise(plan.seed, OUTLINE + 950, ys, xs, 0.06 * size)
    out = np.minimum(out, glass).astype(np.float32)
    return out


def nest_score(plan: Plan, ys: Doubles, xs: Doubles) -> Floats:
    """Propensity for tumour: a slow field says where the tumour is, a fast one breaks it into nests with irregular borders."""
    slow = (layered(plan.seed, DOMAIN, ys, xs, plan.domain_wavelength, 3) - plan.domain_mean) / plan.domain_deviation
    fast = layered(plan.seed, NEST, ys, xs, NEST_WAVELENGTH, 4, 0.45)
    septa = np.abs(layered(plan.seed, SEPTA, ys, xs, 210.0, 3, 0.45))
    width = 0.075 + 0.06 * noise(plan.seed, SEPTA + 500, ys, xs, 300.0)  # bands of stroma swell and end
    score = np.clip(1.5 * slow, -3.5, 2.2) + 0.85 * fast
    out: Floats = np.minimum(score, plan.nest_threshold + 9.0 * (septa - width)).astype(np.float32)
    return out


def nest_score_at(plan: Plan, y: Doubles, x: Doubles) -> Doubles:
    """Return :func:`nest_score` at points, without septa and above the threshold where positive."""
    slow = (layered_at(plan.seed, DOMAIN, y, x, plan.domain_wavelength, 3) - plan.domain_mean) / plan.domain_deviation
    score = np.clip(1.5 * slow, -3.5, 2.2) + 0.85 * layered_at(plan.seed, NEST, y, x, NEST_WAVELENGTH, 4, 0.45)
    return np.asarray(score - plan.nest_threshold)


def sheet_score(plan: Plan, ys: Doubles, xs: Doubles, score: Floats) -> Floats:
    """Propensity for solid benign epithelium, whose outlines are those of tumour nests, where tumour is unlikely."""
    fast = layered(plan.seed, SHEET, ys, xs, NEST_WAVELENGTH, 4, 0.45)
    slow = layered(plan.seed, SHEET + 500, ys, xs, 0.6 * plan.domain_wavelength, 2)
    out: Floats = fast + 0.9 * slow - 0.8 * np.clip(score + 1.2, 0, 4)
    return out
