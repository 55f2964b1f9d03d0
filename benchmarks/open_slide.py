"""Opening a slide: how long until there are pixels for the screen, and how fast blocks are read."""

from __future__ import annotations

import time

from measured import peak_mib, phantom, tell

from napari_ifkd.slides import find_tissue, open_slide, tile_grid

path = phantom()
start = time.perf_counter()
with open_slide(path) as slide:
    slide.levels[-1].compute()
    first_pixels = time.perf_counter() - start

    start = time.perf_counter()
    find_tissue(slide)
    tissue = time.perf_counter() - start

    grid = tile_grid(slide, mpp=1.0, size_px=256)
    start = time.perf_counter()
    for y, x in grid.origins:
        slide.read_working(int(y), int(x), 256, 256, 1.0)
    tiles = len(grid.origins) / (time.perf_counter() - start)
tell(first_pixels_s=first_pixels, tissue_s=tissue, tiles_per_s=tiles, peak_mib=peak_mib())
