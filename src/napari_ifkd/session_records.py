"""What a session at the screen is made of: predictions to look at, and the run at work, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .inference import ProbabilityMap, open_map

if TYPE_CHECKING:
    from pathlib import Path

RegionKind = Literal["tissue", "field", "shapes"]
Compare = Literal["off", "overlay", "contours", "disagreement"]
JobState = Literal["running", "cancelling", "done", "cancelled", "failed"]

BUILT_IN_TEACHER = "phantom-teacher"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction one can look at: the map of one slide by the network of one round."""

    run: Path
    act: str  # "predict" or "distill"
    round: int  # 0 is the teacher
    slide: str  # file name
    path: Path  # of the map
    warnings: tuple[str, ...] = ()
    model: str = ""

    @property
    def label(self) -> str:
        """Return what to call it on the screen."""
        if self.act == "predict":
            return f"Teacher ({self.model})" if self.model else "Teacher"
        return "Round 0 (teacher)" if self.round == 0 else f"Round {self.round}"


@dataclass(frozen=True, slots=True)
class Job:
    """A run as far as the window knows it."""

    act: str
    out: Path
    state: JobState = "running"
    stage: str = "starting"
    done: int = 0
    total: int = 0
    unit: str = ""
    seconds_left: float | None = None
    message: str = ""

    @property
    def alive(self) -> bool:
        """Return whether the run still works."""
        return self.state in ("running", "cancelling")


def probability_map(candidate: Candidate) -> ProbabilityMap:
    """Open the map of a prediction."""
    return open_map(candidate.path)
