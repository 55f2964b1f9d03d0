"""From a phantom's architecture to pixels: stain densities are laid down, and light is sent through them (Beer-Lambert)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .phantom_canvas import BLOCK, Canvas, borders, place_cells
from .phantom_noise import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .phantom_noise import Floats
    from .phantom_plan import Plan

TEXEL_UM = 0.5


def fibres(canvas: Canvas) -> tuple[Floats, Floats, Floats]:
    """Collagen on the canvas (about -2..2), how densely it is packed (0..1), and its direction on the coarse grid (radians)."""
    bend = 42 * canvas.noise(200, 190.0, 2)
    bend2 = 42 * canvas.noise(202, 190.0, 2)
    wave = 2.2 * canvas.noise(204, 17.0) + 6 * canvas.noise(205, 48.0)
    choose = np.clip(0.5 + 2.2 * canvas.noise(206, 150.0, 2), 0, 1)
    layers, directions = [], []
    y, x = (canvas.ys - canvas.ys[0])[:, None], (canvas.xs - canvas.xs[0])[None]
    for angle, channel in ((0.35, 0), (1.75, 1)):
        sine, cosine = np.sin(angle), np.cos(angle)
        across = (y * cosine - x * sine + (bend if channel == 0 else bend2) + wave).astype(np.float32)
        lengthwise = (x * cosine + y * sine + (bend2 if channel == 0 else bend)).astype(np.float32)
        gy, gx = np.gradient(across)
        directions.append(np.arctan2(-gx, gy) + 0.0)
        size = sample_origin(canvas, sine, cosine)
        layers.append(
            sample(
                "fibre",
                canvas.fine(across) * np.float32(1 / TEXEL_UM) + np.float32(size[0]),
                canvas.fine(lengthwise) * np.float32(1 / TEXEL_UM) + np.float32(size[1]),
            )
        )
    mix = canvas.fine(choose.astype(np.float32))
    collagen = layers[0] + (layers[1] - layers[0]) * mix
    along = np.where(choose < 0.5, directions[0], directions[1]).astype(np.float32)
    packed = canvas.fine(np.clip(0.55 + 0.38 * canvas.noise(208, 170.0, 3), 0, 1))
    return collagen, packed, along


def sample_origin(canvas: Canvas, sine: float, cosine: float) -> tuple[float, float]:
    """Texel of a turned texture at the canvas's first coarse point: it must follow from the place on the slide."""
    y, x = canvas.ys[0], canvas.xs[0]
    return float(np.mod((y * cosine - x * sine) / TEXEL_UM, 1024) + 1024), float(np.mod((x * cosine + y * sine) / TEXEL_UM, 1024) + 1024)


def isotropic(canvas: Canvas, kind: str, zoom: float = 1.0) -> Floats:
    """Lay an isotropic texture over the canvas, drawn out by zoom."""
    step = canvas.mpp / TEXEL_UM / zoom
    at = np.arange(canvas.size) * step
    v = (at + np.mod(canvas.y0 * step, 1024)).astype(np.float32)
    u = (at + np.mod(canvas.x0 * step, 1024)).astype(np.float32)
    return sample(kind, np.repeat(v[:, None], canvas.size, 1), np.repeat(u[None], canvas.size, 0))


def adipose(canvas: Canvas, where: Floats) -> Floats:
    """Membranes of fat cells (0..1): edges of a Voronoi tessellation of large cells."""
    y, x, _ = canvas.lattice(220, 58.0, 0.95, staggered=True)
    step = canvas.mpp * 2
    n = canvas.size // 2
    yy = (canvas.y0 * canvas.mpp + (np.arange(n, dtype=np.float32) + 0.5) * step)[:, None]
    xx = (canvas.x0 * canvas.mpp + (np.arange(n, dtype=np.float32) + 0.5) * step)[None]
    first, second = np.full((n, n), 1e9, np.float32), np.full((n, n), 1e9, np.float32)
    reach = 95.0
    for cy, cx in zip(y, x, strict=True):
        a, b = np.searchsorted(yy[:, 0], (cy - reach, cy + reach))
        c, d = np.searchsorted(xx[0], (cx - reach, cx + reach))
        if a >= b or c >= d:
            continue
        if canvas.look(where, np.array([cy]), np.array([cx]))[0] < -90:
            continue
        distance = np.sqrt((yy[a:b] - np.float32(cy)) ** 2 + (xx[:, c:d] - np.float32(cx)) ** 2)
        f, s = first[a:b, c:d], second[a:b, c:d]
        np.minimum(s, np.maximum(f, distance), out=s)
        np.minimum(f, distance, out=f)
    gap = cv2.resize(second - first, (canvas.size, canvas.size), interpolation=cv2.INTER_CUBIC)
    out: Floats = np.exp(-((np.maximum(gap, 0) / 2.4) ** 2))
    return out


def render_block(plan: Plan, row: int, column: int, mpp: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render the block at (row, column) of the grid of :data:`BLOCK` px: RGB (BLOCK, BLOCK, 3), and truth (BLOCK, BLOCK), 1 = tumour."""
    c = Canvas(plan, row, column, mpp)
    inner = slice(c.halo, c.halo + BLOCK)
    white = isotropic(c, "white")
    glass = np.float32(1) + np.float32(0.008) * c.fine(c.noise(230, 900.0))
    if c.ground.tissue.max() < -25:
        h = e = np.zeros((c.size, c.size), np.float32)
        return _light(c, h, e, glass, white, inner), np.zeros((BLOCK, BLOCK), np.uint8)
    g = c.ground
    collagen, packed, along = fibres(c)
    place_cells(c, along)
    line, tone = borders(c)
    grain, coarse = isotropic(c, "grain"), isotropic(c, "coarse")

    tissue = c.fine(g.tissue) + 1.6 * collagen
    nest = c.fine(g.nest) + 0.9 * coarse
    gland, thickness = c.fine(g.gland) + 0.5 * coarse, c.fine(np.minimum(g.gland_thickness, 100))
    vessel, wall = c.fine(g.vessel), c.fine(g.vessel_wall)
    in_nest, in_gland = ramp(nest, 1.2), ramp(gland, 1.0)

    # stroma: bundles of collagen with clefts between them
    cleft = np.clip((-collagen - 0.75 + 0.9 * (1 - packed)) * 1.1, 0, 1) * np.clip(1.1 - packed, 0.15, 0.9)
    eosin = (0.40 + 0.22 * packed + 0.13 * collagen + 0.03 * grain) * (1 - 0.85 * cleft)
    blue = (0.05 + 0.02 * coarse) * (1 - cleft) + 0.10 * c.fine(g.lymphoid)

    # epithelium: tumour and benign share cytoplasm of the same colours
    shade = c.fine(0.5 + 0.16 * c.noise(240, 330.0, 2)).clip(0.2, 0.8)
    cytoplasm_e = 0.50 - 0.12 * shade + 0.05 * coarse + 0.05 * tone + 0.17 * line
    cytoplasm_h = (0.10 + 0.24 * shade) * plan.basophilia + 0.035 * coarse + 0.04 * tone + 0.06 * line
    epithelium = np.maximum(in_nest, in_gland)
    eosin += (cytoplasm_e - eosin) * epithelium
    blue += (cytoplasm_h - blue) * epithelium

    lumen = ramp(gland - thickness + 1.2 * coarse + 1.5 * line, 1.0)
    apical = np.exp(-(((gland - thickness + 3.5) / 3.0) ** 2)) * in_gland
    eosin += 0.08 * apical
    secretion = c.fine(np.clip(c.noise(250, 120.0, 2) - 0.3, 0, 1)) * (0.7 + 0.3 * grain)
    eosin += (0.28 * secretion - eosin) * lumen
    blue += (0.08 * secretion - blue) * lumen

    # vessels, with red cells
    in_wall = ramp(wall - vessel, 1.0) * ramp(vessel, 0.8) * ramp(wall - 0.5, 0.5)
    eosin += (0.62 + 0.12 * np.sin(vessel * 1.6 + coarse) - eosin) * in_wall * 0.8
    in_vessel = ramp(-vessel, 0.8) * ramp(wall - 0.5, 0.5)
    eosin *= 1 - in_vessel
    blue *= 1 - in_vessel
    empty = np.maximum(lumen, in_vessel)

    # fat
    fat = c.fine(g.fat) + 1.5 * coarse
    if g.fat.max() > -3:
        in_fat = ramp(fat, 1.5)
        membrane = adipose(c, g.fat)
        eosin += (0.34 * membrane - eosin) * in_fat
        blue += (0.03 * membrane - blue) * in_fat
        empty = np.maximum(empty, in_fat * (1 - membrane))

    # clefts: tissue shrinks away from nests and tears in places
    shrink = c.fine(np.clip(1.2 * c.noise(260, 140.0, 2) - 0.5, 0, 1))
    gap = np.exp(-(((np.maximum(nest, gland) + 2.6) / 1.7) ** 2)) * shrink
    tear = c.fine(c.noise(262, 120.0, 3))
    gap = np.maximum(
        gap, np.clip(1.4 - np.abs(tear) * 26, 0, 1) * c.fine(np.clip(1.5 * c.noise(264, 260.0) - 1.1, 0, 1)) * (1 - epithelium)
    )
    eosin *= 1 - 0.92 * gap
    blue *= 1 - 0.92 * gap

    body = ramp(tissue, 1.5)
    nuclei = c.nuclei * (1 - np.maximum(empty, 0.8 * gap)) * body
    cover = np.clip(nuclei * 2.2, 0, 1)
    h = (blue * body) * (1 - 0.5 * cover) + nuclei
    e = eosin * body * (1 - 0.55 * cover)
    e += blood(c, in_vessel, body)

    thick = c.fine(1 + 0.05 * c.noise(270, 45.0, 2)) + 0.015 * grain
    far = max(0.45 * min(plan.height, plan.width), 300.0)
    h *= thick * c.fine(1 + 0.13 * c.noise(272, far) + 0.05 * c.noise(274, 260.0)) * np.float32(plan.gains[0])
    e *= thick * c.fine(1 + 0.15 * c.noise(276, far) + 0.05 * c.noise(278, 260.0)) * np.float32(plan.gains[1])
    h, e = cv2.GaussianBlur(h, (3, 3), 0.55), cv2.GaussianBlur(e, (3, 3), 0.55)  # the objective
    truth = ((nest > 0) & (tissue > 0))[inner, inner].astype(np.uint8)
    return _light(c, h, e, glass, white, inner), truth


def blood(c: Canvas, in_vessel: Floats, body: Floats) -> Floats:
    """Eosin of red cells inside vessels."""
    if in_vessel.max() <= 0:
        return np.zeros_like(in_vessel)
    y, x, r = c.lattice(290, 6.6, 0.75)
    keep = (
        (c.look(c.ground.vessel, y, x) < -2.5)
        & (r[0] < 0.95 * c.look(c.ground.vessel_blood, y, x))
        & (c.look(c.ground.vessel_wall, y, x) > 0)
    )
    out = np.zeros_like(in_vessel)
    radius = 3.1 / c.mpp
    for cy, cx in zip(y[keep] / c.mpp - c.y0, x[keep] / c.mpp - c.x0, strict=True):
        cv2.circle(out, (round(cx * 16), round(cy * 16)), round(radius * 16), 0.85, -1, cv2.LINE_8, 4)
    return cv2.GaussianBlur(out, (3, 3), 0) * body


def ramp(distance: Floats, width: float) -> Floats:
    """0 outside, 1 inside, linear over the width (um) about distance 0."""
    out: Floats = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return out


def _light(c: Canvas, h: Floats, e: Floats, glass: Floats, white: Floats, inner: slice) -> NDArray[np.uint8]:
    out = np.empty((BLOCK, BLOCK, 3), np.uint8)
    h, e = np.maximum(h[inner, inner], 0), np.maximum(e[inner, inner], 0)
    lamp, hiss = glass[inner, inner], 1.5 * white[inner, inner]
    for k in range(3):
        depth = cv2.exp(-(h * np.float32(c.plan.haematoxylin[k]) + e * np.float32(c.plan.eosin[k])))
        shift = 37 * k  # three channels of sensor noise out of one
        out[..., k] = np.clip(depth * lamp * np.float32(c.plan.glass[k]) + np.roll(hiss, shift, 1), 0, 255)
    return out
