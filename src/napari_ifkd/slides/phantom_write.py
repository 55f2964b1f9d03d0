"""Write tiled pyramids block by block: what is kept in memory is one row of encoded tiles, whatever the slide's size."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_ifkd.files import reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Pixels = NDArray[np.uint8]

TILE = 256
JPEG_QUALITY = 85
SPOOLED_LEVELS = 2  # levels whose tiles lie whole inside one block of 1024 px; coarser ones come from an array on disk
SMALLEST_LEVEL = 512


def encode_rgb(tile: Pixels) -> bytes:
    """Compress a tile (TILE, TILE, 3) as slide scanners do: JPEG with halved chroma."""
    return bytes(
        imagecodecs.jpeg_encode(np.ascontiguousarray(tile), level=JPEG_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling=(2, 2))
    )


def encode_mask(tile: Pixels) -> bytes:
    """Compress a tile (TILE, TILE) of 0..255 coverage as labels 0 and 1."""
    return zlib.compress((tile >= 128).astype(np.uint8).tobytes(), 6)


def halve(image: Pixels) -> Pixels:
    """Halve both sides by means of 2 x 2 px; odd sides are rounded up."""
    height, width = (max(1, -(-side // 2)) for side in image.shape[:2])
    if image.shape[0] % 2 or image.shape[1] % 2:
        image = cv2.copyMakeBorder(image, 0, image.shape[0] % 2, 0, image.shape[1] % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    out: Pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return out


def tiles_of(image: Pixels) -> Iterator[tuple[int, int, Pixels]]:
    """Tiles (row, column, pixels) of an image; those at the edge are filled up by repetition."""
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            tile = image[top : top + TILE, left : left + TILE]
            if tile.shape[:2] != (TILE, TILE):
                tile = cv2.copyMakeBorder(tile, 0, TILE - tile.shape[0], 0, TILE - tile.shape[1], cv2.BORDER_REPLICATE)  # type: ignore[assignment]
            yield top // TILE, left // TILE, tile


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Shapes of a pyramid's levels, finest first, halved until the longer side fits :data:`SMALLEST_LEVEL`."""
    shapes = [(height, width)]
    while max(shapes[-1]) > SMALLEST_LEVEL:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


@dataclass
class BlockTiles:
    """One rendered block, encoded: tiles by (level, row, column) within the block, and its reduction for the coarser levels."""

    tiles: dict[tuple[int, int, int], bytes]
    reduced: Pixels


def encode_block(image: Pixels, encode: Callable[[Pixels], bytes]) -> BlockTiles:
    """Encode a block and its next two levels; keep its reduction by 8."""
    tiles = {}
    for level in range(SPOOLED_LEVELS + 1):
        tiles.update({(level, row, column): encode(tile) for row, column, tile in tiles_of(image)})
        image = halve(image)
    return BlockTiles(tiles, image)


@dataclass
class PyramidSpool:
    """Collects a pyramid's tiles in a scratch folder until they can be written in order.

    Parameters
    ----------
    folder : scratch folder, removed by the caller
    name : prefix of its files
    height, width : shape of level 0, px
    block : side of the blocks, px of level 0
    channels : 3 for RGB, 0 for a mask
    encode : how a tile becomes bytes
    """

    folder: Path
    name: str
    height: int
    width: int
    block: int
    channels: int
    encode: Callable[[Pixels], bytes]
    shapes: list[tuple[int, int]] = field(init=False)
    _places: dict[tuple[int, int, int], tuple[int, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = level_shapes(self.height, self.width)
        self._file = (self.folder / f"{self.name}.tiles").open("w+b")
        side = 2 ** (SPOOLED_LEVELS + 1)
        rows, columns = -(-self.height // self.block), -(-self.width // self.block)
        shape = (rows * self.block // side, columns * self.block // side)
        self._reduced: Any = self._mapped(SPOOLED_LEVELS + 1, shape + ((self.channels,) if self.channels else ()))

    def close(self) -> None:
        """Let go of the scratch files."""
        self._file.close()
        self._reduced = None

    def add(self, row: int, column: int, block: BlockTiles) -> None:
        """Take the block at (row, column) of the grid of blocks."""
        for (level, y, x), data in block.tiles.items():
            per_block = self.block // TILE >> level
            self._places[level, row * per_block + y, column * per_block + x] = (self._file.seek(0, 2), len(data))
            self._file.write(data)
        h, w = block.reduced.shape[:2]
        self._reduced[row * h : (row + 1) * h, column * w : (column + 1) * w] = block.reduced

    def tiles(self, level: int) -> Iterator[bytes]:
        """Yield a level's encoded tiles in reading order; coarse levels are made on the way and must be asked for finest first."""
        height, width = self.shapes[level]
        if level > SPOOLED_LEVELS:
            yield from self._coarse_tiles(level)
            return
        for row in range(-(-height // TILE)):
            for column in range(-(-width // TILE)):
                yield self.take(level, row, column)

    def take(self, level: int, row: int, column: int) -> bytes:
        """Read one tile of levels 0 to 2 back."""
        place, length = self._places.pop((level, row, column))
        self._file.seek(place)
        return self._file.read(length)

    def _mapped(self, level: int, shape: tuple[int, ...]) -> Pixels:
        with (self.folder / f"{self.name}_{level}.raw").open("w+b") as file:
            reserve(file.fileno(), math.prod(shape))
            return np.memmap(file, np.uint8, "w+", shape=shape)

    def _coarse_tiles(self, level: int) -> Iterator[bytes]:
        height, width = self.shapes[level]
        here = self._reduced[:height, :width]
        if level + 1 < len(self.shapes):  # before the first tile: whoever takes the last one does not come back
            shape = (*self.shapes[level + 1], *here.shape[2:])
            below = self._mapped(level + 1, shape)
            for top in range(0, height, TILE):
                half = halve(np.ascontiguousarray(here[top : top + TILE]))
                below[top // 2 : top // 2 + len(half)] = half
            self._reduced = below
        for top in range(0, height, TILE):
            yield from (self.encode(tile) for _, _, tile in tiles_of(np.ascontiguousarray(here[top : top + TILE])))


def write_pyramid(path: Path, spool: PyramidSpool, base: Iterator[bytes], mpp: float, description: str, software: str) -> None:
    """Write a tiled TIFF pyramid: level 0 from `base`, coarser levels (as SubIFDs) from the spool.

    The resolution stands in pixels per cm, which tiffslide turns into um/px.
    """
    options: dict[str, Any] = {
        "dtype": np.uint8, "tile": (TILE, TILE), "metadata": None, "software": software, "resolutionunit": "CENTIMETER",
        "photometric": "rgb" if spool.channels else "minisblack", "compression": "jpeg" if spool.channels else "zlib",
    }  # fmt: skip
    tail = (spool.channels,) if spool.channels else ()
    big = spool.height * spool.width > 2**31
    with tifffile.TiffWriter(path, bigtiff=big) as tif:
        for level, (height, width) in enumerate(spool.shapes):
            scale = spool.width / width
            density = 1e4 / (mpp * scale)
            tif.write(
                base if level == 0 else spool.tiles(level), shape=(height, width, *tail), resolution=(density, density),
                description=description if level == 0 else None, subifds=len(spool.shapes) - 1 if level == 0 else None,
                subfiletype=0 if level == 0 else 1, **options,
            )  # fmt: skip
