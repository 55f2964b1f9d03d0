"""The bags of one round: those of the run, and the tiles in which a person corrected pixels since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ifkd.annotations.corrections import TUMOUR
from napari_ifkd.bags import join_bags

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.bags.hints import Hints


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a student sees in a round.

    Parameters
    ----------
    bags : training bags, corrected tiles last
    origin : ``(N,)`` the place of each among the run's training bags; -1 for a tile that was not among them
    hints : ``(M, H, W)`` uint8, of the last M bags: 0 not corrected, 1 normal, 2 tumour
    """

    bags: Bags
    origin: NDArray[np.intp]
    hints: NDArray[np.uint8]

    @property
    def hinted(self) -> NDArray[np.intp]:
        """The rows of corrected tiles."""
        return np.arange(len(self.bags) - len(self.hints), len(self.bags))

    def told(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return ``(B,)`` bool: whose label a person gave."""
        return np.ones(len(rows), np.bool_) if self.bags.told is None else self.bags.told[rows]

    def hints_of(self, rows: NDArray[np.intp], device: torch.device) -> Tensor | None:
        """Return the corrected pixels of a batch, ``(B, H, W)`` uint8 on the device; None where there are none."""
        place = rows - (len(self.bags) - len(self.hints))
        if not (place >= 0).any():
            return None
        hints = self.hints[np.maximum(place, 0)]  # (B, H, W), a copy
        hints[place < 0] = 0
        return torch.from_numpy(hints).to(device)


def lesson(train: Bags, hints: Hints | None) -> Lesson:
    """Put the bags of a round together.

    Parameters
    ----------
    train : the run's training bags
    hints : corrected tiles; each takes the place of the training bag of its name, whose label may be what was corrected: a negative one
        stays negative only if no pixel of it was corrected to tumour

    Raises
    ------
    BagError
        If the tiles are not of the size and resolution of the training bags.
    """
    everything = np.arange(len(train))
    if hints is None or not len(hints.bags):
        return Lesson(train, everything, np.zeros((0, *train.images.shape[1:3]), np.uint8))
    place = {name: row for row, name in enumerate(train.names)}
    known = np.array([place.get(name, -1) for name in hints.bags.names], np.intp)
    rest = np.setdiff1d(everything, known)
    kept = train if len(rest) == len(train) else train.subset(rest)
    own = hints.bags.labels.copy()
    for k in np.flatnonzero((known >= 0) & (train.labels[known] == 0)):
        own[k] = (hints.labels[k] == TUMOUR).any()  # some pixels said to be normal make no positive of it
    by_person = (own <= 0) | (hints.labels == TUMOUR).any((1, 2))
    told = replace(hints.bags, labels=own, told=by_person)
    bags = join_bags([kept, told]) if len(kept) else told
    return Lesson(bags, np.concatenate([rest, known]), hints.labels)
