"""Tile grids: regular, complete, over tissue, region and exclusion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from napari_ifkd.slides import Tissue, find_tissue, open_slide, tile_grid

if TYPE_CHECKING:
    from pathlib import Path


def covered(shape: tuple[int, int], origins: np.ndarray, size: int) -> np.ndarray:
    seen = np.zeros(shape, int)
    for y, x in origins:
        seen[y : y + size, x : x + size] += 1
    return seen


@pytest.mark.parametrize("shape", [(500, 700), (128, 128), (10, 900), (129, 127)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_grid_covers_everything_once_and_no_tile_is_needless(shape: tuple[int, int], overlap: float) -> None:
    grid = tile_grid(shape, 1.0, 128, overlap)
    assert grid.stride_px == 128 * (1 - overlap)
    assert covered(shape, grid.origins, 128).min() >= 1
    assert (grid.origins % grid.stride_px == 0).all()
    last = grid.origins[-1]
    for side, start in zip(shape, last, strict=True):
        assert start == 0 or start - grid.stride_px + 128 < side
    if overlap == 0:
        assert covered(shape, grid.origins, 128).max() == 1


def test_rows_are_in_order() -> None:
    grid = tile_grid((300, 500), 1.0, 100)
    rows = list(grid.rows())
    assert [len(row) for row in rows] == [5, 5, 5]
    assert [row[0, 0] for row in rows] == [0, 100, 200]
    np.testing.assert_array_equal(np.concatenate(rows), grid.origins)
    assert len(grid) == 15
    assert list(tile_grid((300, 500), 1.0, 100, region=shapely.box(900, 900, 950, 950)).rows()) == []


def test_scale_of_a_slide(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        grid = tile_grid(slide, 1.0, 64, 0.25)
    assert (grid.working_shape, grid.scale_yx, grid.stride_px) == ((384, 512), (2.0, 2.0), 48)
    np.testing.assert_allclose(grid.boxes_level0()[1], [0, 96, 128, 128])


def test_only_tiles_on_tissue(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        tissue = find_tissue(slide)
        grids = {least: tile_grid(slide, 1.0, 32, tissue=tissue, min_tissue=least) for least in (0.0, 0.5, 0.99)}
    y, x = np.mgrid[:384, :512]
    disc = (y - 192) ** 2 + (x - 256) ** 2 < 125**2
    share = disc.reshape(12, 32, 16, 32).mean(axis=(1, 3))
    assert len(grids[0.0]) == pytest.approx((share > 0).sum(), abs=4)
    assert len(grids[0.5]) == pytest.approx((share >= 0.5).sum(), abs=2)
    assert (covered((384, 512), grids[0.0].origins, 32)[disc] == 1).all()
    assert all(share[y // 32, x // 32] > 0.9 for y, x in grids[0.99].origins)


def test_region_and_exclusion_are_in_level_0_x_y(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        # x 256-384, y 0-128 in level 0 is columns 128-192, rows 0-64 at 1 um/px
        inside = tile_grid(slide, 1.0, 64, region=shapely.box(256, 0, 384, 128))
        assert inside.origins.tolist() == [[0, 128]]
        touching = tile_grid(slide, 1.0, 64, region=shapely.box(250, 10, 300, 130))
        assert touching.origins.tolist() == [[0, 64], [0, 128], [64, 64], [64, 128]]
        everything = tile_grid(slide, 1.0, 64)
        without = tile_grid(slide, 1.0, 64, exclusion=shapely.box(256, 0, 384, 128))
    assert {tuple(o) for o in everything.origins.tolist()} - {tuple(o) for o in without.origins.tolist()} == {(0, 128)}


def test_an_exclusion_counts_as_glass() -> None:
    tissue = Tissue(np.ones((10, 10), bool), (10.0, 10.0), True, "drawn", None)
    for width, kept in [(40, 1), (49, 1), (60, 0)]:
        assert len(tile_grid((100, 100), 1.0, 100, tissue=tissue, min_tissue=0.5, exclusion=shapely.box(0, 0, width, 100))) == kept
        assert len(tile_grid((100, 100), 1.0, 100, tissue=tissue, min_tissue=0.0, exclusion=shapely.box(0, 0, width, 100))) == 1


def test_multipolygons_holes_invalid_and_empty_geometries() -> None:
    ring = shapely.box(0, 0, 300, 300) - shapely.box(100, 100, 200, 200)
    assert len(tile_grid((300, 300), 1.0, 100, region=ring)) == 8
    assert (
        len(tile_grid((300, 300), 1.0, 100, region=shapely.MultiPolygon([shapely.box(0, 0, 9, 9), shapely.box(250, 250, 260, 260)]))) == 2
    )
    bow = shapely.Polygon([(10, 10), (90, 90), (90, 10), (10, 90)])
    assert len(tile_grid((300, 300), 1.0, 100, region=bow)) == 1
    assert len(tile_grid((300, 300), 1.0, 100, region=shapely.Polygon())) == 0
    assert len(tile_grid((300, 300), 1.0, 100, exclusion=shapely.Polygon())) == 9


def test_border_tiles_are_judged_by_their_part_inside_the_slide() -> None:
    tissue = Tissue(np.ones((11, 11), bool), (10.0, 10.0), True, "drawn", None)
    assert len(tile_grid((110, 110), 1.0, 100, tissue=tissue, min_tissue=0.9)) == 4


def test_a_hundred_thousand_pixels_a_side_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    tissue = Tissue(rng.random((3000, 3000)) > 0.3, (100_000 / 3000,) * 2, True, "drawn", None)
    spots = [shapely.Point(*rng.random(2) * 100_000).buffer(800) for _ in range(300)]
    start = time.perf_counter()
    grid = tile_grid((100_000, 100_000), 1.0, 256, 0.25, tissue, 0.5, exclusion=shapely.union_all(spots))
    assert 200_000 < len(grid) < 272_000
    assert time.perf_counter() - start < 20  # 2 s on two idle cores


@pytest.mark.parametrize(("size", "overlap"), [(0, 0.0), (64, 1.0), (64, -0.1)])
def test_no_such_grid(size: int, overlap: float) -> None:
    with pytest.raises(ValueError, match="no grid"):
        tile_grid((100, 100), 1.0, size, overlap)
