"""Reference masks that the user gives for choosing: of slides, of regions of slides, or of patches.

They judge the rounds at the end of a run, and nothing before: no round learns from them. They are another thing than ``--truth``, which
only scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations import read_mask, read_regions
from napari_ifkd.annotations.images import is_image, level0_scale
from napari_ifkd.annotations.region import Region
from napari_ifkd.annotations.regions import Regions
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.bags import read_patch_masks, read_patches
from napari_ifkd.bags.annotated import EXCLUDED, TUMOUR, Drawn
from napari_ifkd.errors import AnnotationError

from .inputs import files_of_slides

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Mask
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import TileConfig
    from napari_ifkd.slides import Slide

    Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]

_OPTION = "--reference"
_KINDS = frozenset({".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg", ".geojson", ".json", ".xml", ".gz"})


class ReferenceMask:
    """What a reference says of a slide: drawn regions or a label image. Use it in a ``with`` block.

    Parameters
    ----------
    path : a label image of the whole slide, tumour where it is not 0; or regions. Where regions are classified normal, or anything else
        but tumour and exclusion, only what lies in any region was looked at; else all that is not tumour is normal
    slide : the slide

    Raises
    ------
    AnnotationError
        If it cannot be read, does not fit the slide, or says nothing.
    """

    def __init__(self, path: Path, slide: Slide) -> None:
        self.path, self._slide = path, slide
        self._mask: Mask | None = None
        self._regions: Regions | None = None
        check_slide(path, slide)
        if is_image(path):
            self._mask = read_mask(path)
            try:
                self._step = level0_scale(self._mask, slide.identity())
            except BaseException:
                self._mask.close()
                raise
            return
        self._regions = read_regions(path, slide)
        if self._regions.tumour.is_empty and self._regions.normal.is_empty:
            held = ", ".join(sorted({region.classification or region.name or "unclassified" for region in self._regions})[:8])
            raise AnnotationError(
                path, f"marks neither tumour nor normal tissue (its regions are: {held})", "Classify them as Tumor or Normal"
            )

    def on_grid(self, scale_yx: tuple[float, float], exclusion: BaseGeometry | None = None) -> OnGrid:
        """Return it as read on a grid.

        Parameters
        ----------
        scale_yx : level-0 px per px of the grid
        exclusion : (x, y) in level-0 px: not known, whatever the reference says
        """
        excluded = None if exclusion is None else _drawn(exclusion, scale_yx)
        if self._mask is not None:
            return OnGrid(self._mask, (scale_yx[0] / self._step[0], scale_yx[1] / self._step[1]), None, None, excluded)
        assert self._regions is not None  # the one or the other
        limited = any(region.meaning in ("normal", "other") for region in self._regions)
        looked = _drawn(self._regions.inside, scale_yx) if limited else None
        return OnGrid(None, (1.0, 1.0), Drawn(self._regions, scale_yx), looked, excluded)

    def __enter__(self) -> ReferenceMask:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._mask is not None:
            self._mask.close()


@dataclass(frozen=True, slots=True)
class OnGrid:
    """A reference on a grid of pixels, read by their centres."""

    mask: Mask | None
    step_yx: tuple[float, float]
    drawn: Drawn | None
    looked: Drawn | None
    excluded: Drawn | None

    def read(self, y0: int, x0: int, height: int, width: int) -> Truth:
        """Return what is tumour in a window, and what is known at all, ``(height, width)`` each."""
        window = y0, x0, height, width
        known = np.ones((height, width), bool)
        if self.mask is not None:
            tumour = self.mask.sampled(*window, self.step_yx)
        else:
            assert self.drawn is not None  # the one or the other
            said = self.drawn.read(*window)
            tumour, known = said == TUMOUR, said != EXCLUDED
        if self.looked is not None:
            known &= self.looked.read(*window) == TUMOUR
        if self.excluded is not None:
            known &= self.excluded.read(*window) != TUMOUR
        return tumour & known, known


def _drawn(geometry: BaseGeometry, scale_yx: tuple[float, float]) -> Drawn:
    """Return a geometry to rasterise window by window; what is inside reads TUMOUR."""
    return Drawn(Regions((Region(geometry, "", "tumour"),)), scale_yx)


class References:
    """Reference masks of a run.

    Parameters
    ----------
    paths : label images or regions, each called like its slide, with ``_mask`` or ``_reference`` after it or not (one for one slide may be
        called anything); patch folders with masks; folders in which such files lie, beside others
    slides : of the run
    tiles : as patches are read

    Attributes
    ----------
    of_slides : file of each slide that has one, by the slide's name
    of_patches : the patch folders

    Raises
    ------
    InputError
        If one belongs to nothing, or cannot be read: told before the run begins, not at its end.
    """

    def __init__(self, paths: Sequence[str | Path], slides: Sequence[Slide], tiles: TileConfig) -> None:
        self._tiles = tiles
        self.of_patches: list[Path] = []
        files = []
        for path in map(Path, paths):
            if path.is_dir() and ((path / "labels.csv").is_file() or (path / "pos").is_dir()):
                self.of_patches.append(path)
            else:
                files.append(path)
        self.of_slides = files_of_slides(files, slides, _OPTION, _KINDS, "Call it like its slide, or give a patch folder with masks")
        for slide in slides:
            if slide.name in self.of_slides:
                with self.of_slide(slide):
                    pass
        for folder in self.of_patches:
            self.patches(folder)

    def of_slide(self, slide: Slide) -> ReferenceMask:
        """Open the mask of a slide."""
        return ReferenceMask(self.of_slides[slide.name], slide)

    def patches(self, folder: Path) -> tuple[Bags, dict[str, NDArray[np.bool_]]]:
        """Read the patches of a folder, and their masks by name."""
        return read_patches(folder, self._tiles), read_patch_masks(folder)

    def files(self) -> Iterator[Path]:
        """Go through all that was given."""
        yield from self.of_slides.values()
        yield from self.of_patches

    def __len__(self) -> int:
        """Return how many slides and patch folders have one."""
        return len(self.of_slides) + len(self.of_patches)
