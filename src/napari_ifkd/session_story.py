"""What the events of a run add up to, for a session at the screen. It shows nothing, so it may be read in a thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import InputError
from .events import EpochDone, Event, MapReady, RoundDone, RunDone, Warned
from .inference import open_map
from .runs.folder import RunFolder
from .session_records import Candidate, Job

if TYPE_CHECKING:
    from pathlib import Path

    from .inference import ProbabilityMap
    from .runs.accepted import Accepted


@dataclass
class RunStory:
    """A run as its events tell it.

    Attributes
    ----------
    job : where it stands
    rounds, curve : finished rounds and epochs, in order
    candidates : its maps, opened
    notice : the last warning
    accepted : the judgement of it
    best : the round it recommends, None before its end
    position : byte of the journal up to which it was read
    """

    job: Job
    rounds: tuple[RoundDone, ...] = ()
    curve: tuple[EpochDone, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    notice: str = ""
    accepted: Accepted | None = None
    best: int | None = None
    position: int = 0

    @classmethod
    def read(cls, path: str | Path) -> RunStory:
        """Read what a run has told so far.

        Raises
        ------
        RunError
            If there is none.
        """
        run = RunFolder.open(path)
        at_work = run.writer is not None  # before the journal: what a dying run says last is then read too
        slides = tuple(str(slide["name"]) for slide in run.about.get("slides") or ())
        story = cls(Job(run.act, run.path, slides=slides), accepted=run.accepted)
        for event, story.position in run.journal.events():
            story.apply(event)
        job = story.job
        if at_work and not job.alive:  # taken up again, but still loading
            story.job = job.anew("running")
        elif job.alive and not at_work:
            story.job = job.anew("interrupted", "interrupted")
        return story

    def apply(self, event: Event, found: ProbabilityMap | None = None) -> None:
        """Take note of an event.

        Parameters
        ----------
        event : the event
        found : the map that a MapReady tells of, if it is open already
        """
        self.job = self.job.after(event)
        match event:
            case EpochDone():
                self.curve = (*(e for e in self.curve if (e.round, e.epoch) != (event.round, event.epoch)), event)
            case RoundDone():
                self.rounds = (*(r for r in self.rounds if r.index != event.index), event)
            case MapReady():
                self._take_map(event, found)
            case Warned():
                self.notice = event.message
            case RunDone():
                self.best = event.accepted_round
                self.accepted = RunFolder(self.job.out).accepted  # points or reference masks may have decided just before

    @property
    def has_begun(self) -> bool:
        """Return whether there is anything of it to look at."""
        return bool(self.candidates or self.rounds or self.curve)

    def _take_map(self, event: MapReady, found: ProbabilityMap | None) -> None:
        job = self.job
        try:
            new = Candidate(job.out, job.act, event.round, event.slide, found or open_map(job.out / event.path))
        except InputError as error:
            self.notice = str(error)
            return
        self.candidates = (*(c for c in self.candidates if c != new), new)

    def restarted(self) -> RunStory:
        """Return the story as it is when the run is taken up again."""
        return replace(self, job=self.job.anew("running"), notice="", best=None)

    def asked(self, state: str) -> None:
        """Take note that the user asked the run to wait ("pausing"), to go on ("running"), or to stop ("cancelling")."""
        if self.job.alive and self.job.state != "cancelling":
            self.job = replace(self.job, state=state, seconds_left=None)  # type: ignore[arg-type]
