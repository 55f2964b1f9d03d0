"""The records of progress: small frozen dataclasses, the same in the engine, the journal and the window."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run began or went on."""

    act: str  # "train", "predict" or "distill"
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """Work done so far in one stage."""

    stage: str  # such as "teacher map", "scoring tiles", "training", "round 1 of 3: map"
    done: int
    total: int
    unit: str = "tiles"
    per_second: float | None = None
    seconds_left: float | None = None
    device_mb: float | None = None  # MiB: the most the GPU held for this process so far; None without a GPU
    run_left: float | None = None  # s: until the run is done, as far as can be told


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something the user should know; the work goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class EpochDone(Event):
    """An epoch is complete (and, in a run, on disk)."""

    round: int  # 0 is the stage-1 teacher, 1... the distillation rounds
    epoch: int  # 1-based
    epochs: int
    loss: float  # mean training loss of a bag
    scores: dict[str, float] = field(default_factory=dict)  # validation: bag_accuracy, positive_area, negative_area, agreement


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the student of a round took the teacher's role, and why."""

    switched: bool
    criterion: str  # the rule that decided: "cautious", "area prior", "always", "diverged"
    evidence: str  # what was looked at, with numbers
    reason: str  # one sentence for a person


@dataclass(frozen=True, slots=True)
class RoundDone(Event):
    """A round of distillation is over; index 0 is the first teacher."""

    index: int
    decision: Decision | None
    scores: dict[str, float] = field(
        default_factory=dict
    )  # as EpochDone.scores; with --truth also f1, iou, ...; with --reference reference_f1


@dataclass(frozen=True, slots=True)
class MapReady(Event):
    """A probability map is complete."""

    round: int
    slide: str  # file name of the slide
    path: str  # of the map, relative to the run folder


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    """The run is complete; `accepted_round` is the round whose network it recommends."""

    accepted_round: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """The user paused the run; its process waits, with all it has in memory."""


@dataclass(frozen=True, slots=True)
class RunContinued(Event):
    """The user let a paused run go on."""


@dataclass(frozen=True, slots=True)
class RunCancelled(Event):
    """The user stopped the run; everything complete stands."""


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """The run stopped on an error, told in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """A record written by a newer version; kept, not understood."""

    name: str
    data: dict[str, Any]


_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (RunStarted, Progress, Warned, EpochDone, RoundDone, MapReady, RunPaused, RunContinued, RunDone, RunCancelled, RunFailed)
}


def to_record(event: Event) -> dict[str, Any]:
    """Turn an event into a JSON-ready record ``{"event": name, ...fields}``."""
    if isinstance(event, UnknownEvent):
        return {"event": event.name, **event.data}
    return {"event": type(event).__name__, **asdict(event)}


def from_record(record: dict[str, Any]) -> Event:
    """Turn a record back into its event; unknown kinds become :class:`UnknownEvent`, unknown fields are dropped."""
    name = str(record.get("event", ""))
    data = {key: value for key, value in record.items() if key != "event"}
    kind = _KINDS.get(name)
    if kind is None:
        return UnknownEvent(name, data)
    try:
        if kind is RoundDone and isinstance(data.get("decision"), dict):
            data["decision"] = Decision(**_known(Decision, data["decision"]))
        return kind(**_known(kind, data))
    except TypeError:  # a field we need is missing
        return UnknownEvent(name, data)


def _known(kind: type[Event | Decision], data: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {key: value for key, value in data.items() if key in names}
