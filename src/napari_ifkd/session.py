"""The evented state of a session at the screen: what is open, chosen, shown and running. It knows no Qt and no napari.

Views listen to ``session.events.<field>`` and read the session again; they change it through its methods only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

from .config import Config
from .errors import InputError, SlideError
from .events import EpochDone, Event, MapReady, Progress, RoundDone, RunCancelled, RunDone, RunFailed, Warned
from .inference import domain_warning, open_map
from .runs.folder import RunFolder
from .session_records import Candidate, Job
from .slides import Slide, Tissue, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable

    from .runs.accepted import Accepted
    from .runs.resolve import Resolved
    from .session_records import Compare, RegionKind


@dataclass(eq=False)
class Session:
    """What is open, chosen, shown and running.

    Attributes
    ----------
    slides, slide, tissue : the open slides, the active one, and its tissue once it was looked for
    region : where predictions are made
    teacher : the network chosen, None until one was found
    run : the distillation run whose rounds are looked at
    rounds, curve : the finished rounds of that run and its epochs, in order
    candidates, shown : the predictions there are, and the one looked at
    a, b, compare : the two predictions to compare, and how
    threshold, sigma_px : from probability to mask; px of the map
    job : the run at work, or the last one
    notice : the last warning
    accepted : the user's judgement of `run`
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    slides: tuple[Slide, ...] = ()
    slide: Slide | None = None
    tissue: Tissue | None = None
    region: RegionKind = "tissue"
    teacher: Resolved | None = None
    run: Path | None = None
    rounds: tuple[RoundDone, ...] = ()
    curve: tuple[EpochDone, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    shown: Candidate | None = None
    a: Candidate | None = None
    b: Candidate | None = None
    compare: Compare = "off"
    threshold: float = Config().inference.threshold
    sigma_px: float = Config().inference.sigma_px
    heat: bool = True
    opacity: float = 0.6
    job: Job | None = None
    notice: str = ""
    accepted: Accepted | None = None

    # --- slides

    def open(self, path: str | Path, mpp: float | None = None) -> Slide:
        """Open a slide, or find it among the open ones, and make it the active one.

        Parameters
        ----------
        path : the slide
        mpp : resolution that overrides the file's, um/px

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        wanted = Path(path).resolve()
        slide = next((s for s in self.slides if s.path.resolve() == wanted), None)
        if slide is None:
            slide = open_slide(path, mpp)
            self.slides = (*self.slides, slide)
        self.activate(slide)
        return slide

    def activate(self, slide: Slide | None) -> None:
        """Make one of the open slides the active one."""
        if slide is self.slide:
            return
        self.tissue = None
        self.slide = slide
        here = self.here()
        if self.shown not in here:
            self.shown = here[-1] if here else None
        self._choose_pair()

    def close(self, slide: Slide) -> None:
        """Forget a slide and what was predicted on it; the runs on disk stay."""
        self.slides = tuple(s for s in self.slides if s is not slide)
        self.candidates = tuple(c for c in self.candidates if c.slide != slide.name)
        if self.slide is slide:
            self.activate(self.slides[-1] if self.slides else None)
        slide.close()

    def override_mpp(self, mpp: float) -> Slide:
        """Open the active slide again with a resolution given by the user, um/px.

        Raises
        ------
        SlideError
            If no slide is open or the resolution cannot be.
        """
        old = self._needs_slide()
        new = open_slide(old.path, mpp)
        self.slides = tuple(new if s is old else s for s in self.slides)
        self.tissue = None
        self.slide = new
        old.close()
        return new

    def found_tissue(self, slide: Slide, tissue: Tissue) -> None:
        """Take note of the tissue of a slide, unless another is active by now."""
        if slide is self.slide:
            self.tissue = tissue

    def _needs_slide(self) -> Slide:
        if self.slide is None:
            raise SlideError("slide", "none is open", "Open one in the Slide dock or drop it onto the window")
        return self.slide

    # --- the teacher

    def choose_teacher(self, teacher: Resolved) -> None:
        """Choose the network, as :func:`napari_ifkd.runs.resolve.resolve_model` found it."""
        self.teacher = teacher

    def warning(self) -> str | None:
        """Return why the chosen teacher should not be believed on the active slide, None if nothing speaks against it."""
        if self.teacher is None or self.slide is None:
            return None
        return domain_warning(self.teacher.card, self.slide)

    # --- what is looked at

    def here(self) -> tuple[Candidate, ...]:
        """Return the predictions on the active slide, in order."""
        return tuple(c for c in self.candidates if self.slide is not None and c.slide == self.slide.name)

    def show(self, candidate: Candidate | None) -> None:
        """Look at a prediction."""
        self.shown = candidate

    def show_round(self, index: int) -> None:
        """Look at a round of the run on the active slide, if its map is there."""
        for candidate in self.here():
            if candidate.act == "distill" and candidate.round == index:
                self.shown = candidate

    def set_compare(self, mode: Compare) -> None:
        """Choose how the pair is shown; "off" shows the one prediction looked at."""
        self.compare = mode

    def look(
        self, *, threshold: float | None = None, sigma_px: float | None = None, opacity: float | None = None, heat: bool | None = None
    ) -> None:
        """Set how predictions look; None leaves a setting as it is.

        Parameters
        ----------
        threshold : from this probability on a pixel is tumour
        sigma_px : Gaussian smoothing before the threshold, px of the map
        opacity : of masks and heat map, 0 to 1
        heat : whether the heat map is shown
        """
        for name, value in (("threshold", threshold), ("sigma_px", sigma_px), ("opacity", opacity), ("heat", heat)):
            if value is not None:
                setattr(self, name, value)

    def set_region(self, region: RegionKind) -> None:
        """Choose where predictions are made."""
        self.region = region

    def set_pair(self, a: Candidate | None, b: Candidate | None) -> None:
        """Choose which predictions are compared."""
        self.a, self.b = a, b

    def _choose_pair(self) -> None:
        here = self.here()
        teachers = sorted((c for c in here if c.round == 0), key=lambda c: c.act != "distill")
        a = self.a if self.a in here else next(iter(teachers), None)
        b = self.b if self.b in here and self.b != a else next((c for c in reversed(here) if c != a), None)
        self.set_pair(a, b)

    # --- runs

    def begin(self, act: str, out: Path) -> None:
        """Take note that a run starts: its predictions replace those of the former run of its kind."""
        if act == "distill":
            self.run, self.rounds, self.curve, self.accepted = out, (), (), None
            self._drop(lambda c: c.act == "distill" and c.run != out)
        self.notice = ""
        self.job = Job(act, out)

    def asked_to_stop(self) -> None:
        """Take note that the user asked the run to stop."""
        if self.job is not None and self.job.alive:
            self.job = replace(self.job, state="cancelling", stage="stopping", seconds_left=None)

    def apply(self, event: Event) -> None:
        """Take note of an event of the run at work."""
        job = self.job
        if job is None:
            return
        match event:
            case Progress() if job.state == "running":
                self.job = replace(
                    job, stage=event.stage, done=event.done, total=event.total, unit=event.unit, seconds_left=event.seconds_left
                )
            case EpochDone():
                self.curve = (*self.curve, event)
            case RoundDone():
                self.rounds = (*(r for r in self.rounds if r.index != event.index), event)
            case MapReady():
                self._take_map(job, event)
            case Warned():
                self.notice = event.message
            case RunDone():
                self.job = replace(job, state="done", stage="done", seconds_left=None, message=event.reason)
                if job.act == "distill":  # end on the round that the run recommends
                    self.show_round(event.accepted_round)
            case RunCancelled():
                self.job = replace(job, state="cancelled", stage="cancelled", seconds_left=None)
            case RunFailed():
                self.job = replace(job, state="failed", stage="failed", seconds_left=None, message=event.message)

    def load_run(self, path: str | Path) -> RunFolder:
        """Look at a run that is on disk, as if it had just happened.

        Raises
        ------
        RunError
            If there is none.
        """
        run = RunFolder.open(path)
        self.begin(run.act, run.path)
        for event in run.events():
            self.apply(event)
        if run.act == "distill":
            self.accepted = run.accepted
            if self.accepted is not None:
                self.show_round(self.accepted.round)
        if self.job is not None and self.job.alive and run.writer is None:
            self.job = replace(self.job, state="cancelled", stage="interrupted")
        return run

    def accept(self, candidate: Candidate) -> Accepted:
        """Write down that the user accepts a round at the present threshold.

        Raises
        ------
        RunError
            If the run has no such round.
        """
        self.accepted = RunFolder.open(candidate.run).accept(candidate.round, self.threshold)
        return self.accepted

    def _take_map(self, job: Job, event: MapReady) -> None:
        path = job.out / event.path
        try:
            found = open_map(path)
        except InputError as error:
            self.notice = str(error)
            return
        model = str(found.model.get("name", ""))
        new = Candidate(job.out, job.act, event.round, event.slide, path, tuple(found.warnings), model)
        if new.act == "predict":
            self._drop(lambda c: c.act == "predict" and c.slide == new.slide and c.path != path)
        self.candidates = tuple(sorted({*self.candidates, new}, key=lambda c: (c.act != "predict", c.slide, c.round)))
        if new in self.here():
            if new.act == "distill":  # what a run is about: its rounds against its teacher
                self.set_pair(*((self.a, new) if new.round else (new, self.b)))
            self.shown = new
            self._choose_pair()

    def _drop(self, stale: Callable[[Candidate], bool]) -> None:
        self.candidates = tuple(c for c in self.candidates if not stale(c))
        if self.shown not in self.candidates:
            self.shown = None
        self._choose_pair()
