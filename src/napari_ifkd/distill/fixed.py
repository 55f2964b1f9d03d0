"""A teacher that is no network: maps that somebody else made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ifkd.errors import BagError, Cancelled

from .map_store import MapStore
from .maps import TeacherMaps
from .training import never

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags

    from .training import Stop


@dataclass(frozen=True, eq=False)
class FixedTeacher:
    """Probability maps, or labels, in the place of a network; it teaches until a student takes its role.

    Parameters
    ----------
    train : ``(N, H, W)`` float16 in [0, 1], one a training bag
    val : ``(M, H, W)`` float16, one a validation bag
    name : of the file or folder they come from, for messages
    of_bags : answers about other bags with ``(B, H, W)`` float16, for tiles a person corrected; None: their maps cannot be had
    """

    train: NDArray[np.float16]
    val: NDArray[np.float16]
    name: str
    of_bags: Callable[[Bags], NDArray[np.float16]] | None = None

    def check(self, train: Bags, val: Bags) -> None:
        """Refuse maps that do not belong to these bags.

        Raises
        ------
        BagError
            If number or size of maps and images differ, or a value is no probability.
        """
        for maps, bags, what in ((self.train, train, "training"), (self.val, val, "validation")):
            if maps.shape != bags.images.shape[:3]:
                cause = f"its {what} maps are {maps.shape}, and the images {bags.images.shape[:3]} (number, height, width)"
                raise BagError(self.name, cause, "Give one map an image, of the image's size")
            for start in range(0, len(maps), 256):  # in parts: they may be on disk
                part = maps[start : start + 256]
                if not ((part >= 0) & (part <= 1)).all():
                    raise BagError(self.name, "a map holds values outside 0 to 1", "Give probabilities, or labels 0 and 1")

    def maps(
        self, bags: Bags, rows: NDArray[np.intp], origin: NDArray[np.intp], device: torch.device, should_stop: Stop = never
    ) -> TeacherMaps:
        """Return what the teacher says about the bags of a round.

        Parameters
        ----------
        bags : of the round
        rows : those it is asked about, ascending
        origin : ``(N,)`` for each bag its place among the training bags, or -1 for one that ``of_bags`` answers
        device : where the maps are wanted
        should_stop : asked for each few bags

        Raises
        ------
        Cancelled
            If ``should_stop`` says so.
        """
        store = MapStore(rows, len(bags), bags.images.shape[1:3], device)
        for start in range(0, len(rows), 256):
            if should_stop():
                raise Cancelled
            part = rows[start : start + 256]
            ours = part[origin[part] >= 0]
            store.put(ours, torch.from_numpy(np.asarray(self.train[origin[ours]])))
            others = part[origin[part] < 0]
            if len(others) and self.of_bags is not None:
                store.put(others, torch.from_numpy(np.asarray(self.of_bags(bags.subset(others)), np.float16)))
        return TeacherMaps(store, None)
