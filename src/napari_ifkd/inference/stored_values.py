"""What the numbers in an image mean as probability: labels, shares of what their type can hold, or floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DOUBTFUL = 32  # whole numbers above 1 and up to this part of what their type can hold are neither labels nor believable probabilities


def full_scale_of(where: Path, dtype: np.dtype[Any], highest: int) -> float:
    """Return the value that means probability 1 in images of whole numbers, by the highest they hold.

    Parameters
    ----------
    where : file or folder, for errors
    dtype : of the values
    highest : the highest of all values

    Raises
    ------
    AnnotationError
        If neither labels nor probabilities are likely.
    """
    if highest <= 1:
        return 1.0
    if highest <= doubtful(dtype) or dtype.itemsize > 2:
        raise AnnotationError(
            where,
            f"holds whole numbers up to {highest}, as {dtype}: neither one label (0 and 1) nor probabilities (0 to {np.iinfo(dtype).max})",
            "Give labels 0 and 1, or probabilities over the whole range of uint8 or uint16, or floating point in 0 to 1",
        )
    return float(np.iinfo(dtype).max)


def as_probability(where: Path, values: NDArray[Any], full_scale: float) -> NDArray[np.float32]:
    """Turn stored values into probabilities.

    Parameters
    ----------
    where : the file, for errors
    values : ``(H, W)``, or ``(H, W, C)`` with equal channels
    full_scale : the value that means 1

    Raises
    ------
    AnnotationError
        If channels differ, or a value is no probability.
    """
    if values.ndim == 3:
        if (values[..., :3] != values[..., :1]).any():
            raise AnnotationError(where, "is a colour image", "Give grey values: labels 0 and 1, or probabilities")
        values = values[..., 0]
    probability = values.astype(np.float32) / np.float32(full_scale)
    if values.dtype.kind == "f" and not ((probability >= 0) & (probability <= 1)).all():
        raise AnnotationError(where, "holds values outside 0 to 1, or that are no numbers", "Give probabilities from 0 to 1")
    return probability


def doubtful(dtype: np.dtype[Any]) -> int:
    """Return up to which whole number nothing can be told of a type's values; more are probabilities."""
    return int(np.iinfo(dtype).max) // _DOUBTFUL
