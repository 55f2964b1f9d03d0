"""What a session at the screen is made of: predictions to look at, and the run at work, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from .events import Progress, RunCancelled, RunContinued, RunDone, RunFailed, RunPaused, RunStarted

if TYPE_CHECKING:
    from pathlib import Path

    from .events import Event
    from .inference import ProbabilityMap

GivenUse = Literal["reference", "regions"]
RegionKind = Literal["tissue", "field", "shapes"]
Compare = Literal["off", "overlay", "contours", "side by side", "disagreement", "uncertainty", "a", "b"]
JobState = Literal["running", "pausing", "paused", "cancelling", "done", "cancelled", "failed", "interrupted"]

BUILT_IN_TEACHER = "phantom-teacher"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction one can look at: the map of one slide by the network of one round."""

    run: Path
    act: str  # "predict", "distill"; to compare with: "file" for one of another program, "former" for a round of the distillation before
    round: int  # 0 is the teacher
    slide: str  # file name
    found: ProbabilityMap = field(compare=False, repr=False)  # opened where it was found: in a thread, not where it is shown

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what whoever looks at it must know."""
        return tuple(self.found.warnings)

    @property
    def of_region(self) -> bool:
        """Return whether only a region of the slide was looked at."""
        return bool(self.found.attributes.get("region"))

    @property
    def model(self) -> str:
        """Return the name of the network."""
        return str(self.found.model.get("name", ""))

    @property
    def path(self) -> Path:
        """Return the folder of the map."""
        return self.found.path

    @property
    def label(self) -> str:
        """Return what to call it on the screen."""
        if self.act == "file":
            return self.model
        if self.act == "former":
            return f"{'Teacher' if self.round == 0 else f'Round {self.round}'} of {self.run.name}"
        if self.act == "predict":
            return f"Prediction ({self.model})" if self.model else "Prediction"
        return "Teacher" if self.round == 0 else f"Round {self.round}"


@dataclass(frozen=True, slots=True)
class Given:
    """A file that a person gave for the next distillation of a slide."""

    slide: str  # file name
    use: GivenUse  # masks that choose the round, or weak regions to learn from
    path: Path


@dataclass(frozen=True, slots=True)
class Job:
    """A run as far as the window knows it; counts, rate and memory are those of the present stage."""

    act: str
    out: Path
    state: JobState = "running"
    stage: str = "starting"
    done: int = 0
    total: int = 0
    unit: str = ""
    per_second: float | None = None
    seconds_left: float | None = None
    run_left: float | None = None  # s, of the whole run
    device_mb: float | None = None  # MiB
    message: str = ""
    recommended: int | None = None  # the round, once a distillation is done
    slides: tuple[str, ...] = ()  # names of its slides, none where they are not known

    @property
    def alive(self) -> bool:
        """Return whether its process lives, at work or waiting."""
        return self.state in ("running", "pausing", "paused", "cancelling")

    @property
    def resumable(self) -> bool:
        """Return whether it ended before it was done."""
        return self.state in ("cancelled", "failed", "interrupted")

    def anew(self, state: JobState, stage: str = "starting", *, message: str = "", recommended: int | None = None) -> Job:
        """Return the job in another state, without what was told of the stage before."""
        return Job(self.act, self.out, state, stage, message=message, recommended=recommended, slides=self.slides)

    def after(self, event: Event) -> Job:
        """Return the job as it is after an event of the run."""
        match event:
            case RunStarted():
                return self.anew("cancelling" if self.state == "cancelling" else "running")
            case Progress() if self.state in ("running", "pausing"):
                return replace(
                    self,
                    stage=event.stage,
                    done=event.done,
                    total=event.total,
                    unit=event.unit,
                    per_second=event.per_second,
                    seconds_left=event.seconds_left,
                    run_left=event.run_left,
                    device_mb=event.device_mb,
                )
            case RunPaused() if self.state in ("running", "pausing"):
                return replace(self, state="paused")
            case RunContinued() if self.state == "paused":
                return replace(self, state="running")
            case RunDone():
                return self.anew("done", "done", message=event.reason, recommended=event.accepted_round)
            case RunCancelled():
                return self.anew("cancelled", "cancelled")
            case RunFailed():
                return self.anew("failed", "failed", message=event.message)
            case _:
                return self
