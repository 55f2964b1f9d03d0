"""Colours that stay apart for every kind of colour vision (Okabe and Ito), and stand out on haematoxylin and eosin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEACHER = "#E69F00"  # orange
STUDENT = "#56B4E9"  # sky blue
BOTH = "#009E73"  # bluish green
SAID_TUMOUR = "#0072B2"  # blue: what a person says is tumour
INK = "#000000"  # outlines of what another program says is tumour, seen on all masks
UNSURE = "#00D9A0"  # the same, brighter: on eosin it would turn grey
NORMAL = "#F0E442"  # yellow: what they say is none
EDGE = "#FFFFFF"  # around either
EXCLUSION = "#999999"
TISSUE = "#000000"
ACTION = SAID_TUMOUR  # the button of a dock
NOTE = "#808080"
WARNING = "#E69F00"
ERROR = "#D55E00"  # vermilion


def rgba(colour: str, alpha: float = 1.0) -> NDArray[np.float32]:
    """Turn ``#RRGGBB`` into ``(4,)`` float32 in [0, 1]."""
    return np.array([*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), alpha], np.float32)


def heat_colours() -> NDArray[np.float32]:
    """Return the colours of a heat map, ``(5, 4)``: from nothing over yellow and vermilion to dark purple."""
    steps = (("#F0E442", 0.0), ("#F0E442", 0.12), ("#E69F00", 0.65), ("#D55E00", 0.9), ("#5B1A5E", 1.0))
    return np.stack([rgba(colour, alpha) for colour, alpha in steps])


def unsure_colours() -> NDArray[np.float32]:
    """Return the colours of uncertainty, ``(5, 4)``: bluish green, and nearly nothing where one is half sure: tissue is to be seen."""
    return np.stack([rgba(UNSURE, alpha) for alpha in (0.0, 0.03, 0.15, 0.5, 1.0)])
