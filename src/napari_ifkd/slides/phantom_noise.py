"""Random numbers and smooth noise that depend on place alone, so that a phantom looks the same however it is cut.

All coordinates are um from the slide's top left corner, in y, x order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP_Y, _STEP_X, _STEP_C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)


def hash01(seed: int, channel: int, iy: NDArray[Any], ix: NDArray[Any]) -> Doubles:
    """Return uniform numbers in [0, 1) that belong to integer cells.

    Parameters
    ----------
    seed, channel : the slide's seed, and which of its independent random fields
    iy, ix : integer arrays that broadcast; cell indices, negative ones too
    """
    key = np.asarray((seed * 0x2545F4914F6CDD1D + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF, np.uint64)
    y, x = np.asarray(iy).astype(np.int64).astype(np.uint64), np.asarray(ix).astype(np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        z = key + y * _STEP_Y + x * _STEP_X + np.asarray(channel, np.uint64) * _STEP_C
        for mix in (_MIX_1, _MIX_2, _MIX_1):  # splitmix64, one round more: the cells' indices are poor keys
            z = (z ^ (z >> np.uint64(30))) * mix
            z = z ^ (z >> np.uint64(27))
    out: Doubles = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return out


def _spline(t: Doubles) -> Doubles:
    """Weights (4, ...) of the uniform cubic B-spline at fraction t."""
    return np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6


def _nodes(coordinates: Doubles, wavelength: float) -> tuple[int, int, NDArray[np.int64], Floats]:
    """First lattice node, their number, and for each coordinate the first of its four nodes (from 0) and their weights (4, n)."""
    cells = np.floor(coordinates / wavelength).astype(np.int64)
    first = int(cells.min()) - 1
    return first, int(cells.max()) + 3 - first, cells - 1 - first, _spline(coordinates / wavelength - cells).astype(np.float32)


def noise(seed: int, channel: int, ys: Doubles, xs: Doubles, wavelength: float) -> Floats:
    """Smooth noise on a regular grid: cubic B-spline of random nodes; mean 0, standard deviation about 1.

    Parameters
    ----------
    ys, xs : (h,), (w,) um
    wavelength : distance of the nodes, um

    Returns
    -------
    array, (h, w) float32
    """
    y0, rows, iy, wy = _nodes(ys, wavelength)
    x0, columns, ix, wx = _nodes(xs, wavelength)
    nodes = hash01(seed, channel, np.arange(y0, y0 + rows)[:, None], np.arange(x0, x0 + columns)[None])
    lattice = (nodes.astype(np.float32) - np.float32(0.5)) * np.float32(7.2)  # 7.2: the spline averages the nodes' spread away
    # sums of four terms rather than matrix products: a BLAS with threads of its own waits for them on a busy machine
    bands = sum((wy[k][:, None] * lattice[iy + k] for k in range(1, 4)), wy[0][:, None] * lattice[iy])
    out: Floats = sum((wx[k] * bands[:, ix + k] for k in range(1, 4)), wx[0] * bands[:, ix])
    return out


def noise_at(seed: int, channel: int, y: Doubles, x: Doubles, wavelength: float) -> Doubles:
    """Return the same noise at scattered points (n,) um."""
    iy, ix = np.floor(y / wavelength).astype(np.int64), np.floor(x / wavelength).astype(np.int64)
    wy, wx = _spline(y / wavelength - iy), _spline(x / wavelength - ix)
    total = np.zeros(np.shape(y))
    for k in range(4):
        for m in range(4):
            total += wy[k] * wx[m] * (hash01(seed, channel, iy - 1 + k, ix - 1 + m) - 0.5) * 7.2
    return total


def layered(seed: int, channel: int, ys: Doubles, xs: Doubles, wavelength: float, octaves: int, gain: float = 0.5) -> Floats:
    """Noise of several octaves (fractal noise), (h, w) float32, standard deviation about 1."""
    total, power = np.zeros((len(ys), len(xs)), np.float32), 0.0
    for k in range(octaves):
        total += np.float32(gain**k) * noise(seed, channel + 1000 * k, ys, xs, wavelength / 2**k)
        power += gain ** (2 * k)
    return total / np.float32(np.sqrt(power))


def layered_at(seed: int, channel: int, y: Doubles, x: Doubles, wavelength: float, octaves: int, gain: float = 0.5) -> Doubles:
    """Return :func:`layered` at scattered points."""
    total = sum((gain**k * noise_at(seed, channel + 1000 * k, y, x, wavelength / 2**k) for k in range(octaves)), np.zeros(np.shape(y)))
    return np.asarray(total / np.sqrt(sum(gain ** (2 * k) for k in range(octaves))))


@lru_cache(maxsize=8)
def texture(kind: str, size: int = 1024) -> Floats:
    """Return a tile of texture that repeats without a seam, (size, size) float32, mean 0, deviation 1.

    ``fibre`` is drawn out along x (about 1 by 30 px); ``grain`` is isotropic at about 3 px, ``coarse`` at about 8 px;
    ``white`` is uncorrelated.
    The same for every slide: what differs is where and how it is bent.
    """
    spectrum = np.fft.rfft2(np.random.default_rng(sum(kind.encode())).normal(size=(size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    if kind == "fibre":
        envelope = np.exp(-((fx * 42) ** 2)) * (np.exp(-((fy * 5) ** 2)) + 0.25 * np.exp(-((fy * 2) ** 2)))
    else:
        scale = {"grain": 5.0, "coarse": 14.0, "white": 0.0}[kind]
        envelope = np.exp(-((fx**2 + fy**2) * scale**2))
    tile = np.fft.irfft2(spectrum * envelope, s=(size, size))
    out: Floats = (tile / tile.std()).astype(np.float32)
    return out


@lru_cache(maxsize=8)
def _padded(kind: str) -> Floats:
    return np.tile(texture(kind), (3, 3))  # reads beyond one period mostly stay inside: OpenCV's wrapping path is slow


def sample(kind: str, v: Floats, u: Floats) -> Floats:
    """Look a texture up at rows v and columns u (texels, float32; best between 0 and three periods)."""
    return cv2.remap(_padded(kind), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)  # type: ignore[return-value]
