"""A folder of maps, one for each patch, in place of a teacher."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_ifkd.annotations.images import open_image
from napari_ifkd.bags.bags import array_store
from napari_ifkd.bags.problems import raise_all
from napari_ifkd.errors import AnnotationError, BagError

from .stored_values import as_probability, full_scale_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".npy"})
_PREFIXES = ("images", "neg", "pos")
_REMEDY = "Give each patch one grey map of its own size: labels 0 and 1, or probabilities (8 or 16 bit, or floating point in 0 to 1)"


Float = TypeVar("Float", np.float16, np.float32)


def read_patch_maps(
    folder: str | Path,
    names: Sequence[str],
    shape: tuple[int, int],
    dtype: type[Float] = np.float16,  # type: ignore[assignment]  # mypy solves Float before it looks at a default
) -> NDArray[Float]:
    """Read the map of each patch.

    Parameters
    ----------
    folder : of images named as the patches. Endings may differ, and a leading ``pos/``, ``neg/`` or ``images/`` may be absent.
        Whole numbers are labels where the folder holds none above 1, else probabilities times the highest value of their type.
    names : of the patches, as ``Bags.names``
    shape : height and width of each, px
    dtype : of the answer; half precision is enough to learn from

    Returns
    -------
    ``(N, H, W)`` of `dtype` in [0, 1], in the order of `names`

    Raises
    ------
    BagError
        Listing every problem: no folder, maps missing, ambiguous, unreadable, coloured, of another size, or no probabilities.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BagError(folder, "is no folder" if folder.exists() else "does not exist", _REMEDY)
    found = _index(folder)
    if not found:
        raise BagError(folder, "holds no maps", _REMEDY)
    problems: list[str] = []
    maps = array_store((len(names), *shape), dtype)
    highest: dict[np.dtype[Any], int] = defaultdict(int)
    whole: dict[np.dtype[Any], list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        paths = _named(found, name)
        if len(paths) != 1:
            told = ", ".join(sorted(path.relative_to(folder).as_posix() for path in paths))
            problems.append(f"{name} has several maps ({told})" if paths else f"{name} has no map")
            continue
        try:
            with open_image(paths[0], "ubf", "a map of a patch") as image:
                if image.shape != shape:
                    size = f"{image.shape[1]} x {image.shape[0]} px"
                    problems.append(f"the map of {name} is {size}, its image {shape[1]} x {shape[0]}")
                    continue
                values = image.read(0, 0, *shape)
            maps[row] = as_probability(paths[0], values, np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1)
            if values.dtype.kind == "u":
                highest[values.dtype] = max(highest[values.dtype], int(values.max()))
                whole[values.dtype].append(row)
        except AnnotationError as error:
            problems.append(f"{paths[0].relative_to(folder).as_posix()} {error.cause}")
    for kind, rows in whole.items():  # only now is it known whether they are labels
        try:
            if full_scale_of(folder, kind, highest[kind]) == 1:
                for row in rows:
                    maps[row] = maps[row] > 0
        except AnnotationError as error:
            problems.append(error.cause)
    raise_all(folder, problems, _REMEDY)
    return maps


def _index(folder: Path) -> dict[str, list[Path]]:
    """Return all maps of a folder by their name without ending."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[_bare(inside.as_posix()).as_posix()].append(path)
    return found


def _named(found: dict[str, list[Path]], name: str) -> list[Path]:
    """Return the maps of a patch: those of its very name, else those that differ in a prefix; never one from neg/ for one from pos/."""
    pure = _bare(name)
    if pure.as_posix() in found:
        return found[pure.as_posix()]
    prefix = pure.parts[0] if len(pure.parts) > 1 and pure.parts[0] in _PREFIXES else None
    short = PurePosixPath(*pure.parts[1:]) if prefix else pure
    others = ["", "images"] if prefix in ("pos", "neg") else ["", *_PREFIXES]
    return [path for other in others for path in found.get((PurePosixPath(other) / short).as_posix(), [])]


def _bare(name: str) -> PurePosixPath:
    """Return a name without its ending."""
    pure = PurePosixPath(name.replace("\\", "/"))
    return pure.with_suffix("") if pure.suffix.lower() in _SUFFIXES else pure
