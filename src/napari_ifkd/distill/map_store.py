"""Where the maps of a round are kept: on the device, in memory or on disk, by their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from napari_ifkd.bags.bags import array_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

Place = Literal["device", "memory", "disk"]

DEVICE_SHARE = 0.25
"""Share of a GPU's free memory that maps may take; the rest is for training."""
_BELOW_ONE = 1 - 2**-11  # the highest of half precision


class MapStore:
    """Maps of some bags in half precision; those of the others are zero and take no room.

    Parameters
    ----------
    rows : ``(M,)`` bags that have a map
    count : bags in all
    shape : of one map, such as ``(H, W)``
    device : where the maps are wanted

    Attributes
    ----------
    place : "device", "memory" or "disk"
    """

    def __init__(self, rows: NDArray[np.intp], count: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.device, self.shape = device, tuple(shape)
        self._slots = np.full(count, -1, np.intp)
        self._slots[rows] = np.arange(len(rows))
        full = (len(rows), *self.shape)
        self._store: Tensor | NDArray[np.float16]
        self.place: Place
        if 2 * int(np.prod(full, dtype=np.int64)) <= DEVICE_SHARE * free_bytes(device):
            self._store, self.place = torch.zeros(full, dtype=torch.float16, device=device), "device"
        else:
            self._store = array_store(full, np.float16)
            self.place = "disk" if isinstance(self._store, np.memmap) else "memory"

    def put(self, rows: NDArray[np.intp], maps: Tensor) -> None:
        """Keep maps ``(B, ...)`` of bags that have one."""
        slots = self._slots[rows]
        # rounded up, what is nearly 1 would be 1: mode `released` truncates, and would see a whole pixel of tumour
        maps = torch.where(maps < 1, maps.clamp_max(_BELOW_ONE), maps).to(torch.float16)
        if isinstance(self._store, Tensor):
            self._store[torch.from_numpy(slots).to(self.device)] = maps.to(self.device)
        else:
            self._store[slots] = maps.cpu().numpy()

    def get(self, rows: NDArray[np.intp]) -> Tensor:
        """Return the maps of bags, ``(B, ...)`` float32 on the device; zeros for those that have none."""
        slots = torch.from_numpy(self._slots[rows])
        known, first = slots >= 0, slots.clamp_min(0)
        if not known.any():
            return torch.zeros((len(rows), *self.shape), device=self.device)
        if isinstance(self._store, Tensor):
            maps = self._store[first.to(self.device)].float()
        else:
            maps = torch.from_numpy(self._store[first.numpy()]).to(self.device).float()
        return maps if known.all() else maps.mul_(known.to(self.device).view(-1, *(1,) * len(self.shape)))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU of its own; 0 of a processor, whose memory is everybody's."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0
