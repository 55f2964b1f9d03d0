"""How many images go through a network at once: all, until memory does not suffice; then halves, for good."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_ifkd.errors import EngineError
from napari_ifkd.events import Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

# what allocators, cuDNN and cuBLAS say where they raise no error of a kind of its own
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory did not suffice, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class Portion:
    """Does work on many images at once, in smaller and smaller parts where memory does not suffice.

    Parameters
    ----------
    work : what it is, in words, such as "training"; for messages

    Attributes
    ----------
    limit : the most images at once; None until memory did not suffice
    """

    def __init__(self, work: str) -> None:
        self.work = work
        self.limit: int | None = None
        self._notes: list[Warned] = []

    def run(self, count: int, do: Callable[[slice], Result], again: Callable[[], None] | None = None) -> list[tuple[slice, Result]]:
        """Do the work on `count` images, part by part.

        Parameters
        ----------
        count : images
        do : given which of them, does the work on these
        again : called before a new attempt, to undo what the failed one did

        Returns
        -------
        list of (slice, result)
            Parts take every so manieth image: of a batch that is ordered by class each has the same mixture.

        Raises
        ------
        EngineError
            If memory does not suffice for a single image.
        """
        while True:
            parts = 1 if self.limit is None else math.ceil(count / self.limit)
            try:
                return [(part, do(part)) for part in (slice(k, None, parts) for k in range(parts))]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                largest = math.ceil(count / parts)
                if largest == 1:
                    raise EngineError(
                        f"Memory does not suffice for {self.work}, not even for one image at a time. Close what else uses the device and "
                        "resume the run, or start anew with smaller tiles.size_px, another network or --device cpu."
                    ) from error
            # out here the error is gone, and with it its hold on all that the failed attempt had in memory
            self._halve(largest)
            if again is not None:
                again()

    def told(self) -> Iterator[Warned]:
        """Yield what the user should know and was not told yet."""
        while self._notes:
            yield self._notes.pop(0)

    def _halve(self, largest: int) -> None:
        self.limit = math.ceil(largest / 2)
        torch.cuda.empty_cache()  # does nothing where CUDA is not in use
        # of several halvings the last says all
        self._notes = [
            Warned(f"Memory does not suffice for {largest} images at once: {self.work} goes on with {self.limit} at once, more slowly.")
        ]
