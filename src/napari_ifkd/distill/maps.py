"""Maps of bags: what a frozen network says about each, computed once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_ifkd.errors import Cancelled
from napari_ifkd.models import MILModel, SideOutputs, autocast, pick_device, prepare
from napari_ifkd.models.memory import Portion
from napari_ifkd.pace import Pace

from .map_store import MapStore
from .training import normalisation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.events import Event

_CHUNK = 8  # small batches are quickest on a CPU; a GPU gets more
_CHUNK_GPU = 64


@dataclass(frozen=True)
class TeacherMaps:
    """The teacher's answer to the bags it was asked about, for one round.

    Parameters
    ----------
    fused : of maps ``(H, W)``; zeros for bags the teacher was not asked about
    sides : of maps ``(K, H, W)``, or None
    """

    fused: MapStore
    sides: MapStore | None


def teacher_maps(
    teacher: MILModel,
    bags: Bags,
    rows: NDArray[np.intp],
    config: Config,
    *,
    averaged: bool,
    sides: bool,
    should_stop: Callable[[], bool],
    portion: Portion | None = None,
) -> Generator[Event, None, TeacherMaps]:
    """Compute the maps a round learns from.

    Parameters
    ----------
    teacher : frozen network
    bags : training bags
    rows : those the teacher is asked about, ascending
    config : its device and precision
    averaged : average over the 8 flips and rotations (4 flips where images are not square)
    sides : keep the side outputs too
    should_stop : asked before each batch
    portion : how many images go through the network at once, as found before

    Yields
    ------
    Progress; Warned where memory does not suffice for a batch

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    """
    device, size = pick_device(config.device), bags.images.shape[1:3]
    portion = portion or Portion("asking the teacher")
    fused = MapStore(rows, len(bags), size, device)
    side_maps: MapStore | None = None
    pace = Pace("asking the teacher", len(rows), "images")
    for index, outputs in forward(teacher, bags.images, rows, config, averaged=averaged, should_stop=should_stop, portion=portion):
        yield from portion.told()
        fused.put(index, outputs[0])
        if sides:
            side_maps = side_maps or MapStore(rows, len(bags), (len(outputs) - 1, *size), device)
            side_maps.put(index, outputs[1:].transpose(0, 1))
        if (event := pace.add(len(index))) is not None:
            yield event
    return TeacherMaps(fused, side_maps)


def forward(
    model: MILModel,
    images: NDArray[np.uint8],
    rows: NDArray[np.intp],
    config: Config,
    *,
    averaged: bool = False,
    should_stop: Callable[[], bool],
    portion: Portion | None = None,
) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Run a frozen network over images.

    Yields
    ------
    index : some of ``rows``, in any order
    outputs : Tensor, ``(1 + K, B, H, W)`` float32 on the device: the fused map first, then the side outputs, all probabilities

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    EngineError
        If memory does not suffice for a single image.
    """
    device = pick_device(config.device)
    portion = portion or Portion("looking at images")
    model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    chunk = _CHUNK if device.type == "cpu" else _CHUNK_GPU
    views = _views(square=images.shape[1] == images.shape[2]) if averaged else [(False, False, False)]

    def answer(index: NDArray[np.intp]) -> Tensor:
        x = prepare(torch.from_numpy(images[index]), normalisation_of(model), device)
        total: Tensor | None = None
        for view in views:
            if should_stop():
                raise Cancelled
            with torch.no_grad(), autocast(device, config.precision):
                outputs: SideOutputs = model(_turn(x, *view).contiguous(memory_format=torch.channels_last))
            stacked = torch.stack([outputs.fused.float(), *(side.float().sigmoid() for side in outputs.side_logits)])[:, :, 0]
            back = _turn_back(stacked, *view)
            total = back if total is None else total + back
        assert total is not None
        return total / len(views)

    for start in range(0, len(rows), chunk):
        index = rows[start : start + chunk]
        for part, outputs in portion.run(len(index), lambda part, index=index: answer(index[part])):  # type: ignore[misc]
            yield index[part], outputs


def _views(square: bool) -> list[tuple[bool, ...]]:
    return [
        (rows, columns, axes) for axes in ((False, True) if square else (False,)) for rows in (False, True) for columns in (False, True)
    ]


def _turn(x: Tensor, rows: bool, columns: bool, axes: bool) -> Tensor:
    flips = [dim for dim, wanted in ((-2, rows), (-1, columns)) if wanted]
    x = x.flip(flips) if flips else x
    return x.transpose(-1, -2) if axes else x


def _turn_back(x: Tensor, rows: bool, columns: bool, axes: bool) -> Tensor:
    x = x.transpose(-1, -2) if axes else x
    flips = [dim for dim, wanted in ((-2, rows), (-1, columns)) if wanted]
    return x.flip(flips) if flips else x
