"""What a run tells once, however often it is taken up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ifkd.events import EpochDone, Event, RoundDone, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Told:
    """Lets an event pass unless the journal tells it: an epoch and a round are told once a run, a warning once a session.

    Parameters
    ----------
    events : the journal so far
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self._known = {_key(event) for event in events if not isinstance(event, Warned)}

    def news(self, event: Event) -> bool:
        """Return whether the event is to be told; it counts as told from then on."""
        key = _key(event)
        if key is None:
            return True
        new = key not in self._known
        self._known.add(key)
        return new


def epoch_of(state: dict[str, Any] | None, epochs: int) -> Iterator[EpochDone]:
    """Yield the epoch at which a checkpoint stands: a process may have died after it was stored, and before it was told.

    Parameters
    ----------
    state : the checkpoint, None where there is none
    epochs : in a phase
    """
    if state is not None and state["epoch"] and "loss" in state:  # one of an older version does not know its loss
        yield EpochDone(int(state.get("round", 0)), int(state["epoch"]), epochs, float(state["loss"]), dict(state["scores"]))


def _key(event: Event) -> tuple[object, ...] | None:
    match event:
        case EpochDone(round=index, epoch=epoch):
            return "epoch", index, epoch
        case RoundDone(index=index):
            return "round", index
        case Warned(message=message):
            return "warned", message
        case _:
            return None
