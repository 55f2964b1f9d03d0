"""Pixels of a slide that a person corrected: a sparse zarr array, as large as the slide at its working resolution."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import zarr

from napari_ifkd.errors import AnnotationError
from napari_ifkd.files import cannot_write, durable_folder, sync

from .masks import centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ifkd.slides import Slide

NOTHING, NORMAL, TUMOUR = 0, 1, 2
"""What a pixel of corrections says."""
LEAVE = 255
"""In what is painted: leave the pixel as it is."""

_ATTRIBUTE = "napari_ifkd"
_CHUNK = 512
_REMEDY = "Delete it, or put back the folder that was written by this program"


class Corrections:
    """Corrected pixels of one slide; made by :meth:`create`, opened by :meth:`open`.

    One process paints, others may read meanwhile: a chunk they read is the one before a stroke or the one after it.

    Attributes
    ----------
    path : its folder
    slide : identity of the slide (name, size_bytes, quick_hash, shape_level0, mpp, mpp_source)
    mpp : nominal resolution, um/px
    scale_yx : level-0 px of the slide per px
    shape : height and width, px; covers the whole slide
    """

    def __init__(self, path: Path, array: zarr.Array[Any], attributes: dict[str, Any]) -> None:
        self.path, self._array = path, array
        self.slide: dict[str, Any] = dict(attributes["slide"])
        self.mpp = float(attributes["mpp"])
        self.scale_yx: tuple[float, float] = (float(attributes["scale_yx"][0]), float(attributes["scale_yx"][1]))
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))

    @classmethod
    def create(cls, path: str | Path, slide: Slide, mpp: float) -> Self:
        """Make an empty one.

        Parameters
        ----------
        path : its folder, such as ``corrections/SLIDE.zarr``; must not be there yet
        slide : whose pixels are corrected
        mpp : um/px: that of the map that is looked at while painting

        Raises
        ------
        AnnotationError
            If the folder is there already, or cannot be written.
        SlideError
            If the slide has no resolution.
        """
        path = Path(path)
        attributes: dict[str, Any] = {
            "kind": "corrections",
            "slide": slide.identity(),
            "scale_yx": list(slide.working_scale(mpp)),
            "mpp": mpp,
        }
        if path.exists():
            raise AnnotationError(path, "is there already", "Open it, or choose another folder")
        try:
            with durable_folder(path) as aside:
                zarr.create_array(
                    aside,
                    shape=slide.working_shape(mpp),
                    chunks=(_CHUNK, _CHUNK),
                    dtype="uint8",
                    attributes={_ATTRIBUTE: attributes},
                    dimension_names=("y", "x"),
                )
        except OSError as error:
            raise cannot_write(AnnotationError, path, error) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open what :meth:`create` made.

        Raises
        ------
        AnnotationError
            If there is none, or it is damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise AnnotationError(path, "is no folder" if path.exists() else "does not exist", _REMEDY)
        try:
            array = zarr.open_array(path, mode="r+", config={"write_empty_chunks": False})  # an emptied chunk is deleted
            attributes = array.attrs.asdict().get(_ATTRIBUTE)
        except Exception as error:  # zarr raises many kinds for a foreign or broken folder
            raise AnnotationError(path, f"holds no corrections ({type(error).__name__})", _REMEDY) from error
        if not isinstance(attributes, dict) or attributes.get("kind") != "corrections":
            raise AnnotationError(path, "holds no corrections of this program", _REMEDY)
        if array.ndim != 2 or array.dtype != np.uint8 or array.chunks != (_CHUNK, _CHUNK):
            raise AnnotationError(path, "holds damaged corrections (no 2-D uint8 array in chunks of 512 px)", _REMEDY)
        try:
            return cls(path, array, attributes)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise AnnotationError(path, f"holds damaged corrections ({type(error).__name__}: {error})", _REMEDY) from error

    def check(self, slide: Slide) -> None:
        """Refuse another slide than the one that was painted on.

        Raises
        ------
        AnnotationError
            If it is another.
        """
        if self.slide.get("quick_hash") != slide.quick_hash:
            cause = f"was painted on another slide ({self.slide.get('name')}, of other contents), not on {slide.name}"
            raise AnnotationError(self.path, cause, "Put the old slide back, or move the corrections away")

    def paint(self, y0: int, x0: int, labels: NDArray[np.uint8]) -> None:
        """Write a window, and wait until it is on disk; what lies beyond the border is dropped.

        Parameters
        ----------
        y0, x0 : its top left corner, px
        labels : ``(h, w)`` uint8: 0 takes a correction back, 1 normal, 2 tumour, 255 leaves the pixel as it is

        Raises
        ------
        AnnotationError
            If the disk fails.
        ValueError
            If there are other values.
        """
        known = np.isin(labels, (NOTHING, NORMAL, TUMOUR, LEAVE))
        if labels.ndim != 2 or not known.all():
            raise ValueError("labels must be (h, w), of 0, 1, 2 and 255")
        top, left = max(y0, 0), max(x0, 0)
        bottom, right = min(y0 + labels.shape[0], self.shape[0]), min(x0 + labels.shape[1], self.shape[1])
        if bottom <= top or right <= left:
            return
        inside = labels[top - y0 : bottom - y0, left - x0 : right - x0]
        before = self.read(top, left, bottom - top, right - left)
        after = np.where(inside == LEAVE, before, inside).astype(np.uint8)
        if (after == before).all():
            return
        try:
            self._array[top:bottom, left:right] = after
            self._sync(top, left, bottom, right)
        except OSError as error:
            raise cannot_write(AnnotationError, self.path, error, "paint again later") from error

    def _sync(self, top: int, left: int, bottom: int, right: int) -> None:
        """Force the chunks of a window to disk; zarr has written each aside and renamed it."""
        for row in range(top // _CHUNK, -(-bottom // _CHUNK)):
            folder = self.path / "c" / str(row)
            for column in range(left // _CHUNK, -(-right // _CHUNK)):
                with suppress(FileNotFoundError):  # nothing but 0 is in it
                    sync(folder / str(column))
            with suppress(FileNotFoundError):
                sync(folder)

    def read(self, y0: int, x0: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read a window ``(h, w)`` uint8: 0 nothing, 1 normal, 2 tumour; nothing beyond the border.

        Raises
        ------
        AnnotationError
            If it is damaged there.
        """
        window = np.zeros((h, w), np.uint8)
        top, left = max(y0, 0), max(x0, 0)
        bottom, right = min(y0 + h, self.shape[0]), min(x0 + w, self.shape[1])
        if bottom > top and right > left:
            try:
                values = np.asarray(self._array[top:bottom, left:right])
            except Exception as error:  # decoders raise many kinds
                cause = f"cannot be read at row {top}, column {left} ({type(error).__name__})"
                raise AnnotationError(self.path, cause, _REMEDY) from error
            if values.max() > TUMOUR:
                raise AnnotationError(self.path, f"holds values above {TUMOUR} at row {top}, column {left}", _REMEDY)
            window[top - y0 : bottom - y0, left - x0 : right - x0] = values
        return window

    def boxes(self) -> NDArray[np.int64]:
        """Return where corrections are, chunk by chunk, without reading them: (y, x, height, width) in px, ``(M, 4)``, row by row."""
        chunks = sorted(
            (int(file.parent.name), int(file.name))
            for file in self.path.glob("c/*/*")
            if re.fullmatch(r"\d+", file.name) and re.fullmatch(r"\d+", file.parent.name)  # beside them lie halves of a write
        )
        corners = np.array(chunks, np.int64).reshape(-1, 2) * _CHUNK
        corners = corners[(corners < self.shape).all(axis=1)]
        return np.hstack([corners, np.minimum(_CHUNK, np.array(self.shape) - corners)])

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is corrected."""
        return len(self.boxes()) == 0

    def painted_on(self, shape: tuple[int, int], y0: int, x0: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return where anything is corrected in a window of another grid, ``(height, width)``; the px at the centre counts.

        Parameters
        ----------
        shape : of that grid over the whole slide, px
        y0, x0, height, width : the window, px of it
        """
        (rows, columns) = (
            centres(start, count, own / of_grid)
            for start, count, own, of_grid in zip((y0, x0), (height, width), self.shape, shape, strict=True)
        )
        top, left = int(rows[0]), int(columns[0])
        painted = self.read(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1)
        found: NDArray[np.bool_] = painted[np.ix_(rows - top, columns - left)] > 0
        return found

    def area_mm2(self, label: int | None = None) -> float:
        """Return the area that is corrected, mm2; of one label (1 normal, 2 tumour) if one is given."""
        count = 0
        for y, x, h, w in self.boxes().tolist():
            values = self.read(y, x, h, w)
            count += int((values == label if label is not None else values > 0).sum())
        mpp = self.slide.get("mpp")
        side_y, side_x = (mpp * self.scale_yx[0], mpp * self.scale_yx[1]) if mpp else (self.mpp, self.mpp)
        return count * side_y * side_x / 1e6

    def __repr__(self) -> str:
        """Name the slide and the size."""
        return f"Corrections({self.slide.get('name')!r}, {self.shape[0]} x {self.shape[1]} px at {self.mpp} um/px)"
