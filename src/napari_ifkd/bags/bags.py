"""Bags: images with one image-level label each. Pixel truth never travels with them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_ifkd.errors import BagError
from napari_ifkd.files import naming, reserve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

MEMORY_LIMIT = 1 << 30
"""Bytes of an array beyond which it lives in a temporary file instead of memory."""


@dataclass(frozen=True)
class Bags:
    """Images with image-level labels and groups.

    Parameters
    ----------
    images : ``(N, H, W, 3)`` uint8, RGB; may be mapped from a file
    labels : ``(N,)`` int8 in {0, 1}
    groups : ``(N,)`` str: patient, slide or region; a group never straddles a split
    names : N names, for reports and for finding reference masks
    mpp : um per px of the images
    source : where they come from, for a person
    origins : ``(N, 2)`` int64, optional: (y, x) of each tile in working px at ``mpp``; for tiles of slides
    told : ``(N,)`` bool, optional: whose label a person gave, and not a network; None is all
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    groups: NDArray[np.str_]
    names: list[str]
    mpp: float
    source: str
    origins: NDArray[np.int64] | None = field(default=None)
    told: NDArray[np.bool_] | None = field(default=None)

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        count = len(self.images)
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, H, W, 3) uint8, not {self.images.shape} {self.images.dtype}")
        if not len(self.labels) == len(self.groups) == len(self.names) == count:
            raise ValueError(f"{count} images, {len(self.labels)} labels, {len(self.groups)} groups, {len(self.names)} names: must agree")

    def __len__(self) -> int:
        """Return the number of bags."""
        return len(self.images)

    @property
    def positives(self) -> int:
        """Number of bags with label 1."""
        return int((self.labels > 0).sum())

    @property
    def negatives(self) -> int:
        """Number of bags with label 0."""
        return len(self) - self.positives

    def subset(self, index: NDArray[np.intp] | Sequence[int]) -> Bags:
        """Return the bags at ``index``, in its order; images are copied (to a temporary file where they are many)."""
        index = np.asarray(index, dtype=np.intp)
        images = image_store((len(index), *self.images.shape[1:]))
        for start in range(0, len(index), 256):  # in parts: a mapped source is never in memory whole
            images[start : start + 256] = self.images[index[start : start + 256]]
        origins = None if self.origins is None else self.origins[index]
        told = None if self.told is None else self.told[index]
        return Bags(images, self.labels[index], self.groups[index], [self.names[i] for i in index], self.mpp, self.source, origins, told)

    def described(self) -> str:
        """Return one line for a person."""
        groups = len(np.unique(self.groups))
        return f"{self.source}: {self.positives} positive and {self.negatives} negative bags in {groups} group{'s' * (groups != 1)}"


def image_store(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a writable uint8 array of zeros, of any size (see :func:`array_store`)."""
    return array_store(shape, np.uint8)


def array_store(shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Return a writable array of zeros: in memory, or mapped from an unnamed temporary file where it would exceed 1 GiB."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= MEMORY_LIMIT:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="napari-ifkd-") as file:  # the mapping keeps it alive; it vanishes with it
        with naming(Path(tempfile.gettempdir())):
            reserve(file.fileno(), size)
        return np.memmap(file, dtype, "w+", shape=shape)


def join_bags(parts: Sequence[Bags]) -> Bags:
    """Put bags of several sources together.

    Parameters
    ----------
    parts : bags of one image size and resolution; origins are kept only where there is one part

    Raises
    ------
    BagError
        If there are none, or sizes or resolutions differ.
    """
    if not parts:
        raise BagError("data", "there are no bags", "Give patch folders or slides")
    if len(parts) == 1:
        return parts[0]
    shapes = {part.images.shape[1:3] for part in parts}
    if len(shapes) > 1:
        told = "; ".join(f"{part.source}: {part.images.shape[1]} x {part.images.shape[2]} px" for part in parts)
        raise BagError("data", f"sources differ in tile size ({told})", "Give patches of one size, and set tiles.size_px to it")
    resolutions = [part.mpp for part in parts]
    if max(resolutions) > 1.02 * min(resolutions):
        told = "; ".join(f"{part.source}: {part.mpp:g} um/px" for part in parts)
        raise BagError("data", f"sources differ in resolution ({told})", "Give patches of one resolution, and set tiles.mpp to it")
    images = image_store((sum(map(len, parts)), *parts[0].images.shape[1:]))
    start = 0
    for part in parts:
        for at in range(0, len(part), 256):
            images[start + at : start + min(at + 256, len(part))] = part.images[at : at + 256]
        start += len(part)
    return Bags(
        images,
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.groups for part in parts]),
        [name for part in parts for name in part.names],
        parts[0].mpp,
        ", ".join(part.source for part in parts),
        told=np.concatenate([np.ones(len(part), np.bool_) if part.told is None else part.told for part in parts]),
    )
