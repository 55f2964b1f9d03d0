"""From a phantom's architecture to pixels: cells are placed, stain densities laid down, and light sent through them (Beer-Lambert)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .phantom_cells import ORIENTATIONS, press, stamps, turn_index
from .phantom_noise import Doubles, Floats, hash01, layered, sample
from .phantom_tissue import Ground, Plan, survey

BLOCK = 1024  # px; blocks of this size, on a fixed grid, are the unit of rendering
HALO_UM = 34.0  # what is beyond reaches no further into a block than this
STEP_UM = 2.0  # of the grid on which the architecture is worked out
TEXEL_UM = 0.5


class Canvas:
    """One block with its halo: frames, the coarse grid, and the layers that cells are drawn into."""

    def __init__(self, plan: Plan, row: int, column: int, mpp: float) -> None:
        self.plan, self.mpp = plan, mpp
        self.factor = max(1, round(STEP_UM / mpp))
        self.halo = int(np.ceil(HALO_UM / mpp / self.factor)) * self.factor
        coarse = -(-(BLOCK + 2 * self.halo) // self.factor)
        self.size = coarse * self.factor
        self.y0, self.x0 = row * BLOCK - self.halo, column * BLOCK - self.halo  # level-0 px
        step = self.factor * mpp
        self.ys = (self.y0 * mpp) + (np.arange(coarse) + 0.5) * step
        self.xs = (self.x0 * mpp) + (np.arange(coarse) + 0.5) * step
        self.ground: Ground = survey(plan, self.ys, self.xs)
        self.nuclei = np.zeros((self.size, self.size), np.float32)
        self.centres: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def fine(self, coarse: Floats) -> Floats:
        """Bring a coarse field to the canvas's pixels."""
        out: Floats = cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return out

    def noise(self, channel: int, wavelength: float, octaves: int = 1) -> Floats:
        """Noise on the coarse grid."""
        return layered(self.plan.seed, channel, self.ys, self.xs, wavelength, octaves)

    def look(self, field: Floats, y: Doubles, x: Doubles) -> Floats:
        """Values of a coarse field at points (um); the border's beyond the border."""
        step = self.factor * self.mpp
        iy = np.clip((y - self.y0 * self.mpp) / step, 0, field.shape[0] - 1).astype(np.int64)
        ix = np.clip((x - self.x0 * self.mpp) / step, 0, field.shape[1] - 1).astype(np.int64)
        out: Floats = field[iy, ix]
        return out

    def lattice(self, channel: int, spacing: float, jitter: float, staggered: bool = False) -> tuple[Doubles, Doubles, NDArray[np.float64]]:
        """Jittered grid points over the canvas: y, x (um), and three uniform numbers of each point, (3, n)."""
        seed, reach = self.plan.seed, 12.0
        pitch = spacing * (0.866 if staggered else 1.0)
        iy = np.arange(int((self.y0 * self.mpp - reach) // pitch), int(((self.y0 + self.size) * self.mpp + reach) // pitch) + 1)
        ix = np.arange(int((self.x0 * self.mpp - reach) // spacing), int(((self.x0 + self.size) * self.mpp + reach) // spacing) + 1)
        gy, gx = (a.ravel() for a in np.meshgrid(iy, ix, indexing="ij"))
        shift = 0.5 * (gy % 2) if staggered else 0.0
        y = (gy + 0.5 + jitter * (hash01(seed, channel, gy, gx) - 0.5)) * pitch
        x = (gx + 0.5 + shift + jitter * (hash01(seed, channel + 1, gy, gx) - 0.5)) * spacing
        return y, x, np.stack([hash01(seed, channel + k, gy, gx) for k in (2, 3, 4)])

    def put(self, kind: str, y: Doubles, x: Doubles, pick: Doubles, angle: Doubles, cell: bool = False) -> None:
        """Draw nuclei of a kind at points (um), turned by angle; `cell`: they have a cell border round them."""
        bank = stamps(self.mpp)[kind]
        which = np.minimum(pick * (len(bank) // ORIENTATIONS), len(bank) // ORIENTATIONS - 1).astype(np.int64) * ORIENTATIONS + turn_index(
            angle
        )
        py, px = np.floor(y / self.mpp).astype(np.int64) - self.y0, np.floor(x / self.mpp).astype(np.int64) - self.x0
        press(self.nuclei, bank, which, py, px)
        if cell:
            self.centres.append((py, px))


def place_cells(canvas: Canvas, along: Floats) -> None:
    """Put all nuclei on the canvas; `along` is the direction of the stroma's fibres on the coarse grid."""
    g, plan = canvas.ground, canvas.plan
    stroma = np.minimum(np.minimum(-g.nest, -g.gland), np.minimum(np.minimum(-g.fat, g.vessel - g.vessel_wall), g.tissue))

    tone = np.clip(0.5 + 0.42 * canvas.noise(110, 240.0, 2), 0, 1)  # paler here, darker there, in tumour and benign tissue alike

    def pick(y: Doubles, x: Doubles, r: Doubles) -> Doubles:
        return 0.45 * r + 0.55 * canvas.look(tone, y, x)

    y, x, r = canvas.lattice(100, 11.6 + 1.4 * plan.pleomorphism, 0.84)
    nest = canvas.look(g.nest, y, x)
    crowd = canvas.look(canvas.noise(101, 60.0, 2), y, x)
    keep = (nest > 3.5) & (r[0] < 0.86 + 0.1 * crowd)
    infiltrate, mitosis = keep & (r[0] > 0.80), keep & (r[0] < 0.012)
    keep &= ~infiltrate & ~mitosis
    canvas.put("tumour", y[keep], x[keep], pick(y, x, r[1])[keep], np.pi * r[2][keep], cell=True)
    canvas.put("mitosis", y[mitosis], x[mitosis], r[1][mitosis], np.pi * r[2][mitosis], cell=True)
    canvas.put("lymphocyte", y[infiltrate], x[infiltrate], r[1][infiltrate], np.pi * r[2][infiltrate], cell=True)

    for gland in g.glands:
        spots = [gland.ring(6.5, 6.3)] if not gland.solid else [gland.ring(5.5, 7.0)]
        for k, (y, x, normal) in enumerate(spots):
            seed = np.full(len(y), int(gland.y * 8) * 65537 + int(gland.x * 8))
            r0, r1, r2 = (hash01(plan.seed, 120 + 3 * k + m, seed, np.arange(len(y))) for m in range(3))
            slip = 2.6 * (r1 - 0.35)
            y, x = y + slip * np.sin(normal), x + slip * np.cos(normal)
            keep = (canvas.look(g.gland, y, x) < 12) & (r2 < 0.97)
            canvas.put("gland", y[keep], x[keep], pick(y, x, r0)[keep], (normal + 0.25 * (r1 - 0.5))[keep], cell=True)
    y, x, r = canvas.lattice(130, 9.6, 0.52, staggered=True)
    depth, thickness = canvas.look(g.gland, y, x), canvas.look(g.gland_thickness, y, x)
    keep = (depth > np.where(thickness > 1.5e3, 3.0, 12.5)) & (thickness > 100) & (r[0] < 0.97)
    canvas.put("epithelium", y[keep], x[keep], pick(y, x, r[1])[keep], np.pi * r[2][keep], cell=True)

    y, x, r = canvas.lattice(140, 7.6, 0.8)
    chance = 0.93 * canvas.look(g.lymphoid, y, x) ** 1.5 + 0.028
    keep = (r[0] < chance) & (canvas.look(stroma, y, x) > 3)
    canvas.put("lymphocyte", y[keep], x[keep], r[1][keep], np.pi * r[2][keep])

    y, x, r = canvas.lattice(150, 10.0, 0.9)
    density = canvas.look(g.cellular, y, x)
    room = (canvas.look(stroma, y, x) > 2) & (canvas.look(g.lymphoid, y, x) < 0.5)
    turn = canvas.look(along, y, x) + 0.5 * (r[2] - 0.5)
    slender = room & (r[0] < 0.09 + 0.42 * density**2)
    plump = room & ~slender & (r[0] > 1 - 0.38 * np.clip(density - 0.55, 0, 1))
    canvas.put("fibroblast", y[slender], x[slender], r[1][slender], turn[slender])
    canvas.put("plump", y[plump], x[plump], r[1][plump], turn[plump])

    for v in g.vessels:
        count = int(2 * np.pi * v.radius * (0.5 + 0.5 * v.aspect) / 13)
        theta = np.arange(count) * 2 * np.pi / max(count, 1) + v.angle * 7
        for reach, share in ((1.2, 0.9), (0.75 * v.wall + 2, 0.6)):
            a, b = (v.radius + reach) * np.cos(theta + reach), (v.radius + reach) * np.sin(theta + reach) * v.aspect
            x, y = v.x + a * np.cos(v.angle) - b * np.sin(v.angle), v.y + a * np.sin(v.angle) + b * np.cos(v.angle)
            tangent = np.arctan2(v.aspect * np.cos(theta + reach), -np.sin(theta + reach)) + v.angle
            r0 = hash01(plan.seed, 160, np.full(count, int(v.y * 8) * 65537 + int(v.x * 8)), np.arange(count) + round(reach * 1000))
            keep = (r0 < share) & (canvas.look(g.vessel, y, x) < v.wall) & (canvas.look(stroma + 8 + g.vessel_wall, y, x) > 4)
            canvas.put("fibroblast", y[keep], x[keep], r0[keep], tangent[keep])

    y, x, r = canvas.lattice(170, 34.0, 0.9)  # the few nuclei of fat cells, pressed against the membrane
    keep = (canvas.look(g.fat, y, x) > 4) & (r[0] < 0.3)
    canvas.put("fibroblast", y[keep], x[keep], r[1][keep], np.pi * r[2][keep])


def borders(canvas: Canvas) -> tuple[Floats, Floats]:
    """Cell borders (0..1) and a tone for each cell (-1..1), from the Voronoi tessellation of the epithelial nuclei."""
    seeds = np.full((canvas.size, canvas.size), 255, np.uint8)
    for y, x in canvas.centres:
        ok = (y >= 0) & (x >= 0) & (y < canvas.size) & (x < canvas.size)
        seeds[y[ok], x[ok]] = 0
    if not canvas.centres or seeds.min() > 0:
        return np.zeros(seeds.shape, np.float32), np.zeros(seeds.shape, np.float32)
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    width = 2 * round(1.6 / canvas.mpp / 2) + 1
    ridge = distance - cv2.blur(distance, (width, width))
    line = np.clip(ridge * (1.4 / max(width - 1, 1)) - 0.06, 0, 0.4) * 2.5
    y, x = np.nonzero(seeds == 0)
    tones = np.zeros(int(labels.max()) + 1, np.float32)
    tones[labels[y, x]] = 2 * hash01(canvas.plan.seed, 180, y + canvas.y0, x + canvas.x0) - 1
    return line.astype(np.float32), tones[labels]


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
    """An isotropic texture over the canvas, drawn out by zoom."""
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
