"""What an annotation says of each pixel of a slide or picture, on its working grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import shapely

from napari_ifkd.annotations import rasterize, read_mask, read_regions
from napari_ifkd.annotations.images import is_image, level0_scale
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.errors import AnnotationError
from napari_ifkd.slides import Slide

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Mask, Regions
    from napari_ifkd.slides import Picture

NOTHING, TUMOUR, EXCLUDED = 0, 1, 2


class Annotated(Protocol):
    """An annotation, read window by window."""

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return what a window of working px holds, by the centres of these: NOTHING, TUMOUR or EXCLUDED, ``(height, width)``."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        ...


class _Annotated:
    """What all kinds share."""

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NoTumour(_Annotated):
    """The annotation of a slide or picture that is said to hold no tumour."""

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return zeros."""
        return np.zeros((height, width), np.uint8)


class Drawn(_Annotated):
    """Drawn regions as an annotation.

    Parameters
    ----------
    regions : (x, y) in level-0 px; an exclusion goes before tumour
    scale_yx : level-0 px per working px
    """

    def __init__(self, regions: Regions, scale_yx: tuple[float, float]) -> None:
        self._scale = scale_yx
        self._layers = [(value, *_indexed(shape)) for value, shape in ((TUMOUR, regions.tumour), (EXCLUDED, regions.exclusion))]

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Rasterise the polygons that touch a window."""
        window = np.zeros((height, width), np.uint8)
        y, x = self._scale
        frame = shapely.box(x0 * x, y0 * y, (x0 + width) * x, (y0 + height) * y)
        for value, parts, tree in self._layers:
            touched = tree.query(frame, predicate="intersects")
            if len(touched):
                window[rasterize(shapely.GeometryCollection(list(parts[touched])), (height, width), self._scale, (y0, x0))] = value
        return window


def _indexed(geometry: BaseGeometry) -> tuple[NDArray[np.object_], shapely.STRtree]:
    parts = shapely.get_parts(geometry)
    return parts, shapely.STRtree(parts)


class Labels(_Annotated):
    """A label image as an annotation: tumour wherever it is not 0.

    Parameters
    ----------
    mask : the image; closed with this
    step_yx : its px per working px
    """

    def __init__(self, mask: Mask, step_yx: tuple[float, float]) -> None:
        self._mask, self._step = mask, step_yx

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Look up the pixel at each centre."""
        return self._mask.sampled(y0, x0, height, width, self._step).astype(np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._mask.close()


def open_annotated(path: Path | None, scene: Slide | Picture, mpp: float) -> Annotated:
    """Open the annotation of a slide or picture.

    Parameters
    ----------
    path : regions (GeoJSON, ASAP's XML, NCRF's JSON) or a label image of any resolution; None where there is no tumour
    scene : what was annotated
    mpp : um per working px

    Raises
    ------
    AnnotationError
        If it cannot be read, does not fit, or holds regions of which none is tumour.
    """
    if path is None:
        return NoTumour()
    if isinstance(scene, Slide):
        check_slide(path, scene)
    scale = scene.working_scale(mpp)
    if is_image(path):
        mask = read_mask(path)
        try:
            identity = {"name": scene.name, "shape_level0": scene.shape_level0, "mpp": scene.mpp}
            own = level0_scale(mask, identity)  # level-0 px per px of the mask
        except BaseException:
            mask.close()
            raise
        return Labels(mask, (scale[0] / own[0], scale[1] / own[1]))
    regions = read_regions(path, scene)
    if regions.tumour.is_empty:
        held = sorted({region.classification or region.name or "unclassified" for region in regions})
        raise AnnotationError(
            path,
            f"marks no tumour (its regions are: {', '.join(held[:8])})",
            "Classify the tumour as Tumor; or, if this slide holds none, leave the file out and name the slide by --normal",
        )
    return Drawn(regions, scale)
