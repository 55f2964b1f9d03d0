"""Phantom slides: drawn H&E with pixel truth, the same for a seed wherever and however it is made.

A phantom serves as sample data, for tests and for benchmarks. Tumour, benign epithelium, lymphoid aggregates and dense stroma share
their colours; what tells tumour is how its nuclei look and how they are arranged.
"""

from __future__ import annotations

import csv
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import imagecodecs
import numpy as np

from napari_ifkd import __version__
from napari_ifkd.errors import SlideError
from napari_ifkd.files import cannot_write, durable, make_folder, scratch_folder, sync_tree

from .phantom_canvas import BLOCK
from .phantom_plan import make_plan
from .phantom_stain import render_block
from .phantom_tissue import survey
from .phantom_write import TILE, PyramidSpool, encode_block, encode_mask, encode_rgb, write_pyramid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from .phantom_plan import Plan
    from .phantom_write import BlockTiles

SOFTWARE = f"napari-ifkd phantom {__version__}"
LARGEST_SIDE = 200_000
POSITIVE_SHARE = 0.02  # of tumour in a patch, from which its label is positive
_PATCH_SLIDE = (6144, 8192)  # px at 0.5 um/px: the slides patches are cut from


class PhantomField(NamedTuple):
    """Pixels of a phantom: ``rgb`` (h, w, 3) uint8 and ``truth`` (h, w) uint8, 1 = tumour."""

    rgb: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def _checked_plan(seed: int, height: int, width: int, mpp: float, what: str | Path = "phantom") -> Plan:
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise SlideError(what, f"a phantom of {width} x {height} px cannot be made", f"Give sides from 1 to {LARGEST_SIDE} px")
    if not 0.2 <= mpp <= 2.0:
        raise SlideError(what, f"a phantom cannot be drawn at {mpp:g} um/px", "Give a resolution from 0.2 to 2 um/px")
    if seed < 0:
        raise SlideError(what, f"the seed {seed} is negative", "Give a seed of 0 or more")
    return make_plan(seed, height * mpp, width * mpp)


def phantom_field(
    seed: int, origin_yx_level0: tuple[int, int], shape: tuple[int, int], mpp: float = 0.5, width: int = 8192, height: int = 6144
) -> PhantomField:
    """Draw part of a phantom, without the compression a written slide goes through.

    Parameters
    ----------
    seed : the phantom's seed
    origin_yx_level0 : first pixel (y, x) of the part, px of level 0
    shape : (h, w) of the part, px
    mpp : resolution of level 0, um/px, 0.2 to 2
    width, height : of the whole phantom, px; its layout follows from them

    Returns
    -------
    PhantomField
        The same pixels however the phantom is cut into parts.

    Raises
    ------
    SlideError
        If size, seed or resolution cannot be drawn.
    """
    plan = _checked_plan(seed, height, width, mpp)
    y0, x0 = origin_yx_level0
    rgb, truth = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    for row in range(y0 // BLOCK, (y0 + shape[0] - 1) // BLOCK + 1):
        for column in range(x0 // BLOCK, (x0 + shape[1] - 1) // BLOCK + 1):
            block = render_block(plan, row, column, mpp)
            top, left = max(row * BLOCK, y0), max(column * BLOCK, x0)
            bottom, right = min((row + 1) * BLOCK, y0 + shape[0]), min((column + 1) * BLOCK, x0 + shape[1])
            for whole, part in zip((rgb, truth), block, strict=True):
                whole[top - y0 : bottom - y0, left - x0 : right - x0] = part[
                    top - row * BLOCK : bottom - row * BLOCK, left - column * BLOCK : right - column * BLOCK
                ]
    return PhantomField(rgb, truth)


def write_phantom(
    path: str | Path, width: int = 8192, height: int = 6144, seed: int = 0, mpp: float = 0.5, truth: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:  # fmt: skip
    """Write a phantom slide as a tiled JPEG pyramid (TIFF), in memory that does not grow with its height.

    Parameters
    ----------
    path : file to write; it appears when it is complete
    width, height : px of level 0
    seed : which phantom
    mpp : resolution of level 0, um/px, 0.2 to 2
    truth : where to write the pixel truth, a tiled pyramid of uint8, 1 = tumour; None leaves it out
    progress : called with (blocks done, blocks in all) after each block of 1024 px

    Returns
    -------
    Path
        The slide.

    Raises
    ------
    SlideError
        If size, seed or resolution cannot be drawn, or a file cannot be written.
    """
    path, truth = Path(path), None if truth is None else Path(truth)
    plan = _checked_plan(seed, height, width, mpp, path)
    description = f"napari-ifkd phantom seed={seed} width={width} height={height} mpp={mpp:g}"
    try:
        with scratch_folder(path) as scratch, ExitStack() as opened, durable(path) as aside:  # the slide last: it says that all is there
            spools = [opened.enter_context(closing(PyramidSpool(scratch, "rgb", height, width, BLOCK, 3, encode_rgb)))]
            if truth is not None:
                spools.append(opened.enter_context(closing(PyramidSpool(scratch, "truth", height, width, BLOCK, 0, encode_mask))))
            with closing(_render(plan, spools, mpp, progress)) as base:
                write_pyramid(aside, spools[0], base, mpp, description, SOFTWARE)
            if truth is not None:
                with durable(truth) as aside_truth:
                    write_pyramid(aside_truth, spools[1], spools[1].tiles(0), mpp, description + " truth: 1 = tumour", SOFTWARE)
    except OSError as error:
        raise cannot_write(SlideError, error.filename or path, error) from error
    return path


def _render(plan: Plan, spools: list[PyramidSpool], mpp: float, progress: Callable[[int, int], None] | None) -> Generator[bytes]:
    """Render all blocks into the spools on two threads or more, and yield the slide's level-0 tiles in reading order."""
    height, width = spools[0].shapes[0]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    grid = [(row, column) for row in range(rows) for column in range(columns)]
    per_block, tiles_down, tiles_across = BLOCK // TILE, -(-height // TILE), -(-width // TILE)

    def work(row: int, column: int) -> list[BlockTiles]:
        rgb, mask = render_block(plan, row, column, mpp)
        encoded = [encode_block(rgb, encode_rgb)]
        if len(spools) > 1:
            encoded.append(encode_block(mask * np.uint8(255), encode_mask))
        return encoded

    workers = max(1, min(os.cpu_count() or 1, 8))
    waiting: deque[Future[list[BlockTiles]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            ahead = iter(grid)
            for done, (row, column) in enumerate(grid, 1):
                while len(waiting) < 2 * workers and (following := next(ahead, None)) is not None:
                    waiting.append(pool.submit(work, *following))
                for spool, block in zip(spools, waiting.popleft().result(), strict=True):
                    spool.add(row, column, block)
                if progress is not None:
                    progress(done, len(grid))
                if column + 1 == columns:
                    for y in range(row * per_block, min((row + 1) * per_block, tiles_down)):
                        for x in range(tiles_across):
                            yield spools[0].take(0, y, x)
        finally:
            pool.shutdown(cancel_futures=True)


def compressed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pixels as they come back from a written slide: tile by tile through JPEG (sides must be multiples of the tile)."""
    out = np.empty_like(rgb)
    for y in range(0, rgb.shape[0], TILE):
        for x in range(0, rgb.shape[1], TILE):
            out[y : y + TILE, x : x + TILE] = imagecodecs.jpeg_decode(encode_rgb(rgb[y : y + TILE, x : x + TILE]))
    return out


def write_phantom_patches(out: str | Path, n_positive: int, n_negative: int, seed: int, size_px: int = 128, mpp: float = 1.0) -> Path:
    """Write labelled patches cut from many phantom slides.

    Parameters
    ----------
    out : folder to write: ``labels.csv`` (file, label, group, mpp), ``images/`` and, for evaluation only, ``masks/``
    n_positive, n_negative : patches with at least 2 % tumour, and with none
    seed : first of the seeds; every slide of origin is a group of its own
    size_px, mpp : side (px) and resolution (um/px, at least 0.5) of a patch

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SlideError
        If the numbers do not fit or the folder cannot be written.
    """
    out = Path(out)
    need = round(size_px * mpp / 0.5)
    if n_positive < 0 or n_negative < 0 or n_positive + n_negative < 1 or not 16 <= need <= 2 * BLOCK or mpp < 0.5:
        raise SlideError(
            out,
            f"cannot cut {n_positive} + {n_negative} patches of {size_px} px at {mpp:g} um/px",
            "Ask for one patch or more, of 8 to 1024 um",
        )
    try:
        make_folder(out / "images")
        make_folder(out / "masks")
        with durable(out / "labels.csv") as table, table.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["file", "label", "group", "mpp"])
            for name, label, group, image, mask in _patches([n_negative, n_positive], seed, need, size_px):
                # not imwrite: it tells nobody that a disk is full
                (out / "images" / name).write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
                (out / "masks" / name).write_bytes(cv2.imencode(".png", mask * 255)[1].tobytes())
                writer.writerow([name, label, group, mpp])
            for folder in ("images", "masks"):  # before the table takes its name: it says that all is there
                sync_tree(out / folder)
    except OSError as error:
        raise cannot_write(SlideError, error.filename or out, error) from error
    return out


def _patches(wanted: list[int], seed: int, need: int, size_px: int) -> Iterator[tuple[str, int, str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Cut patches until the wanted (negatives, positives) are there: name, label, group, image, mask."""
    height, width = _PATCH_SLIDE
    rng = np.random.default_rng([seed, 17])
    slides = int(np.clip(sum(wanted) // 24, 4, 64))
    quota = [-(-n // slides) for n in wanted]  # of a slide, so that no slide rules
    left, turn, blocks = list(wanted), 0, -(-need // BLOCK)
    while any(left):
        slide_seed = seed * 100_003 + turn
        here = [min(q, n) for q, n in zip(quota, left, strict=True)]
        plan, side = make_plan(slide_seed, height * 0.5, width * 0.5), blocks * BLOCK
        places = [(y, x) for y in range(0, height // BLOCK - blocks + 1, blocks) for x in range(0, width // BLOCK - blocks + 1, blocks)]
        for row, column in (places[k] for k in rng.permutation(len(places))):
            if not any(here):
                break
            if not _promising(plan, row * BLOCK * 0.5, column * BLOCK * 0.5, side * 0.5, here):
                continue
            rgb, truth = phantom_field(slide_seed, (row * BLOCK, column * BLOCK), (side, side), 0.5, width, height)
            rgb = compressed(rgb)
            cuts = [(y, x) for y in range(0, side - need + 1, need) for x in range(0, side - need + 1, need)]
            for y, x in (cuts[k] for k in rng.permutation(len(cuts))):
                image, mask = rgb[y : y + need, x : x + need], truth[y : y + need, x : x + need]
                share = float(mask.mean())
                label = int(share >= POSITIVE_SHARE)
                if here[label] == 0 or 0 < share < POSITIVE_SHARE or _tissue_share(image) < 0.5:
                    continue
                here[label] -= 1
                left[label] -= 1
                small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
                cover = cv2.resize(mask * np.uint8(255), (size_px, size_px), interpolation=cv2.INTER_AREA)
                name = f"s{slide_seed}_y{row * BLOCK + y}_x{column * BLOCK + x}.png"
                yield name, label, f"phantom{slide_seed}", small, (cover >= 128).astype(np.uint8)  # type: ignore[misc]
        turn += 1


def _promising(plan: Plan, y: float, x: float, side: float, wanted: list[int]) -> bool:
    """Tell from a coarse survey (um) whether drawing a part may give the (negatives, positives) wanted: most of a slide may not."""
    at = np.arange(0.5, 24) * side / 24
    ground = survey(plan, y + at, x + at)
    tumour = float((ground.nest > 0).mean())
    return bool((ground.tissue > 0).mean() > 0.4 and ((wanted[1] and tumour > 0.1) or (wanted[0] and tumour < 0.5)))


def _tissue_share(image: NDArray[np.uint8]) -> float:
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return float(((small.max(2) - small.min(2)) > 14).mean())
