"""The canvas a block of a phantom is drawn on, and where its cells go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .phantom_cells import ORIENTATIONS, press, stamps, turn_index
from .phantom_noise import hash01, layered
from .phantom_tissue import survey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .phantom_noise import Doubles, Floats
    from .phantom_plan import Plan
    from .phantom_tissue import Ground

BLOCK = 1024  # px; blocks of this size, on a fixed grid, are the unit of rendering
HALO_UM = 34.0  # what is beyond reaches no further into a block than this
STEP_UM = 2.0  # of the grid on which the architecture is worked out


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
        self.ys: Doubles = (self.y0 * mpp) + (np.arange(coarse, dtype=np.float64) + 0.5) * step
        self.xs: Doubles = (self.x0 * mpp) + (np.arange(coarse, dtype=np.float64) + 0.5) * step
        self.ground: Ground = survey(plan, self.ys, self.xs)
        self.nuclei = np.zeros((self.size, self.size), np.float32)
        self.centres: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def fine(self, coarse: Floats) -> Floats:
        """Bring a coarse field to the canvas's pixels."""
        return cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]

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
