"""The moving average of a network over its training steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from .training import snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ifkd.models import MILModel

    from .training import State


class MovingAverage:
    """The exponential moving average of a network's parameters and buffers.

    Parameters
    ----------
    model : the network that learns; the average starts at its present weights
    decay : in [0, 1): the average of a step is ``decay`` of the last one and the rest of the network

    Attributes
    ----------
    model : a network of the same kind that holds the average, in evaluation mode
    """

    def __init__(self, model: MILModel, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._averaged, self._counted = _by_kind(self.model)

    @torch.no_grad()
    def update(self, model: MILModel) -> None:
        """Take a step towards the network; what is not a real number (such as a count of batches) is copied."""
        averaged, counted = _by_kind(model)
        torch._foreach_lerp_(self._averaged, averaged, 1 - self.decay)
        for mine, theirs in zip(self._counted, counted, strict=True):
            mine.copy_(theirs)

    def state(self) -> State:
        """Return the averaged weights, copied to the CPU."""
        state: State = snapshot(self.model.state_dict())
        return state

    def restore(self, state: State) -> None:
        """Go back to what :meth:`state` returned."""
        self.model.load_state_dict(state)


def _by_kind(model: MILModel) -> tuple[list[Tensor], list[Tensor]]:
    values = [*model.parameters(), *model.buffers()]
    return [v for v in values if v.is_floating_point()], [v for v in values if not v.is_floating_point()]
