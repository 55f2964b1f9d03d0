"""The evented state of a session at the screen: what is open, chosen, shown and running. It knows no Qt and no napari.

Views listen to ``session.events.<field>`` and read the session again; they change it through its methods only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .config import Config
from .errors import SlideError
from .events import EpochDone, Event, MapReady, RoundDone, RunDone
from .inference import warnings_of
from .runs.folder import RunFolder
from .session_records import Given, Job
from .session_story import RunStory
from .session_viewing import Viewing
from .slides import Slide, Tissue, open_slide

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .inference import ProbabilityMap
    from .runs.accepted import Accepted
    from .runs.listing import RunSummary
    from .runs.resolve import Resolved
    from .session_records import Candidate, GivenUse, RegionKind


@dataclass(eq=False)
class Session(Viewing):
    """What is open, chosen and running, beside what is looked at.

    Attributes
    ----------
    slides, tissue : the open slides, and the tissue of the active one once it was looked for
    region : where predictions are made
    teacher : the network chosen, None until one was found
    run : the distillation run whose rounds are looked at
    rounds, curve : the finished rounds of that run and its epochs, in order
    job : the run at work, or the last one
    offer : a run that is at work, on the active slide if there is one, but is not followed
    notice : the last warning
    accepted : the user's judgement of `run`
    given : files for the next distillation
    """

    slides: tuple[Slide, ...] = ()
    tissue: Tissue | None = None
    region: RegionKind = "tissue"
    teacher: Resolved | None = None
    run: Path | None = None
    rounds: tuple[RoundDone, ...] = ()
    curve: tuple[EpochDone, ...] = ()
    job: Job | None = None
    offer: RunSummary | None = None
    notice: str = ""
    accepted: Accepted | None = None
    given: tuple[Given, ...] = ()

    def __post_init__(self) -> None:
        """Begin with no run."""
        super().__post_init__()
        self._story: RunStory | None = None  # of the run that is at work, or was last
        self._distilled: dict[Path, RunStory] = {}  # distillations whose rounds may be looked at
        self._judged: dict[Path, Accepted | None] = {}  # what was accepted of each run

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
        self._tell_rounds()
        if self.shown not in here:
            best = next((c for c in here if c.act == "distill" and c.round == self._best(c.run)), None)
            self.shown = best or (here[-1] if here else None)
        self._choose_pair()
        self.show(self.shown)

    def close(self, slide: Slide) -> None:
        """Forget a slide and what was predicted on it; the runs on disk stay."""
        self.slides = tuple(s for s in self.slides if s is not slide)
        of_it = any((c.run, c.slide) == (self.run, slide.name) for c in self.candidates)
        self.candidates = tuple(c for c in self.candidates if c.slide != slide.name)
        alive = self.job is not None and self.job.alive
        left = self.run if of_it and not alive and all(c.run != self.run for c in self.candidates) else None
        self.files = tuple(c for c in self.files if c.slide != slide.name)
        if self.slide is slide:
            self.activate(self.slides[-1] if self.slides else None)
        if left is not None:
            self._leave(left)
        slide.close()

    def override_mpp(self, mpp: float) -> Slide:
        """Open the active slide again with a resolution given by the user, um/px.

        Raises
        ------
        SlideError
            If no slide is open or the resolution cannot be.
        """
        old = self.slide
        if old is None:
            raise SlideError("slide", "none is open", "Open one in the Slide dock or drop it onto the window")
        new = open_slide(old.path, mpp)
        self.slides = tuple(new if s is old else s for s in self.slides)
        self.tissue = None
        self.set_compare("off")  # the twin of side by side is of the former
        self.slide = new
        old.close()
        return new

    def found_tissue(self, slide: Slide, tissue: Tissue) -> None:
        """Take note of the tissue of a slide, unless another is active by now."""
        if slide is self.slide:
            self.tissue = tissue

    def set_region(self, region: RegionKind) -> None:
        """Choose where predictions are made."""
        self.region = region

    # --- the teacher

    def choose_teacher(self, teacher: Resolved) -> None:
        """Choose the network, as :func:`napari_ifkd.runs.resolve.resolve_model` found it."""
        self.teacher = teacher

    def warnings(self, slides: Sequence[Slide] = ()) -> list[str]:
        """Return why the chosen teacher should not be believed on slides, the active one by default: none, one or several reasons."""
        on = slides or [slide for slide in (self.slide,) if slide is not None]
        found: dict[str, list[str]] = {}
        for slide in on:
            for told in () if self.teacher is None else warnings_of(self.teacher.card, slide):
                found.setdefault(told, []).append(slide.name)
        return [f"{told} ({', '.join(names)})" if len(on) > 1 else told for told, names in found.items()]

    def give(self, use: GivenUse, path: Path | None, slide: Slide | None = None) -> None:
        """Take a file for the next distillation of a slide, the active one by default; None takes the one there is back."""
        to = slide or self.slide
        if to is not None:
            name = to.name
            kept = tuple(given for given in self.given if (given.slide, given.use) != (name, use))
            self.given = kept if path is None else (*kept, Given(name, use, path))

    def choosing_masks(self, slides: Sequence[Slide]) -> list[Given]:
        """Return the reference masks that choose the round of a run on slides: of several slides, one mask judges its slide alone."""
        names = [slide.name for slide in slides]
        masks = [given for given in self.given if given.use == "reference" and given.slide in names]
        return masks if len(masks) > 1 or len(slides) == 1 else []

    def given_here(self) -> dict[GivenUse, Path]:
        """Return what was given for the active slide."""
        return {given.use: given.path for given in self.given if self.slide is not None and given.slide == self.slide.name}

    # --- runs

    def begin(self, act: str, out: Path, slides: Iterable[Slide] = ()) -> None:
        """Take note that a run starts; predictions and rounds of the former run of its kind stay until there are some of its own."""
        self._story, self.offer = RunStory(Job(act, out, slides=tuple(slide.name for slide in slides))), None
        self._retell()

    def take_run(self, story: RunStory) -> None:
        """Look at a run as it stands; on its slides it takes the place of the former of its kind. One that is at work is followed on."""
        if self.offer is not None and (story.job.alive or self.offer.path == story.job.out):
            self.offer = None
        self._drop_former(story, {c.slide for c in story.candidates})
        if self.job is None or not self.job.alive or self.job.out == story.job.out:
            self._story = story
            self._retell(shown=True)
        self._note(story)
        self.files = tuple(c for c in self.files if c.run != story.job.out)  # it is looked at as itself
        self._choose_pair()
        self._add(story.candidates)
        self._tell_rounds(shown=self._story is story)
        own = {c.round: c for c in self.here() if c.run == story.job.out and c.act == "distill"}
        if own:  # the user asked for this run: its rounds are what is looked at, and compared
            best = self._best(story.job.out)
            shown = own.get(max(own) if best is None else best)
            if shown is not None:
                self._choose_pair(own.get(0), shown if shown.round else None)
                self.show(shown)

    def tell_of(self, run: Path) -> None:
        """Let the last job be a distillation that is open, unless one is at work: it was looked at last."""
        story = self._distilled.get(run)
        if story is not None and (self.job is None or not self.job.alive):
            self._story = story
            self._retell()

    def _leave(self, run: Path) -> None:
        """Tell no more of a run whose slides are closed: it is opened again with them."""
        if self.job is not None and self.job.out == run:
            self._story, self.job, self.notice = None, None, ""
        if self.run == run:
            self.run, self.rounds, self.curve, self.accepted = None, (), (), None

    def take_maps(self, slide: Slide) -> None:
        """Take in what the run at work has told of a slide so far: it was closed meanwhile, and is open again."""
        if self._story is not None:
            self._add(c for c in self._story.candidates if c.slide == slide.name)
            self._tell_rounds()

    def apply(self, event: Event, found: ProbabilityMap | None = None) -> None:
        """Take note of an event of the run at work, see :meth:`RunStory.apply`."""
        story = self._story
        if story is None:
            return
        story.apply(event, found)
        self._retell()
        if isinstance(event, MapReady):
            self._drop_former(story, {event.slide})
            self._add(c for c in story.candidates if (c.round, c.slide) == (event.round, event.slide))
            self._tell_rounds()
        elif isinstance(event, RunDone) and story.job.act != "distill":
            usual = Config().inference.threshold
            self.kept_threshold = None if self.threshold == usual else self.threshold
        elif isinstance(event, RunDone) and self._distils_here(story) and not (self._comparing or self.held()):
            best = next((c for c in self.here() if (c.run, c.round) == (self.run, event.accepted_round)), None)
            if best is not None:  # end on the round it recommends
                self._pair_up(best)
                self.show(best)
            if self.accepted is not None:
                self.look_as(self.accepted)

    def show_round(self, index: int) -> None:
        """Look at a round of the run whose rounds are told, if its map of the active slide is there."""
        for candidate in self.here():
            if candidate.run == self.run and candidate.round == index:
                self.show(candidate)

    def asked(self, state: Literal["pausing", "running", "cancelling"]) -> None:
        """Take note that the user asked the run to wait, to go on, or to stop."""
        if self._story is not None:
            self._story.asked(state)
            self._retell()

    def take_former(self, candidate: Candidate, accepted: Accepted | None) -> None:
        """Take in the round that was in use of the distillation before, and what was accepted of that, unless there is one by now."""
        if all((c.act, c.slide) != ("former", candidate.slide) for c in self.files) and candidate not in self.candidates:
            self._judged[candidate.run] = accepted
            self.files = (*self.files, replace(candidate, act="former"))

    def let_go(self, run: Path, slide: Slide) -> None:
        """Forget the maps of a run on a slide; those of others, and on disk, stay."""
        self._drop(lambda c: c.run == run and c.slide == slide.name)

    def forget_run(self, path: Path) -> None:
        """Forget a run that is no longer on disk, and the network of it where that is chosen."""
        if self.teacher is not None and self.teacher.path.resolve().is_relative_to(path.resolve()):
            self.teacher = None
        self.files = tuple(c for c in self.files if c.run != path)
        self._drop(lambda c: c.run == path)
        if self.shown is None:
            self.shown = next(reversed(self.here()), None)
        self._choose_pair()
        self._distilled.pop(path, None)
        self._leave(path)
        self._tell_rounds()

    def offered(self, run: RunSummary | None) -> None:
        """Take note of a run that is at work and could be followed."""
        self.offer = run

    def accept(self, candidate: Candidate, by: str = "user", reason: str = "") -> Accepted:
        """Write down that the user accepts a round at the present threshold and smoothing.

        Parameters
        ----------
        candidate : of the round
        by, reason : the evidence that advised it, and why

        Raises
        ------
        RunError
            If the run has no such round.
        """
        accepted = RunFolder.open(candidate.run).accept(candidate.round, self.threshold, by, reason, self.sigma_px)
        self._take_judgement(candidate.run, accepted)
        return accepted

    def take_back(self, candidate: Candidate) -> None:
        """Let what was accepted before of the run of a prediction be accepted again, nothing where nothing was.

        Raises
        ------
        RunError
            If there is no such run any more.
        """
        self._take_judgement(candidate.run, RunFolder.open(candidate.run).take_back())

    def _take_judgement(self, run: Path, accepted: Accepted | None) -> None:
        self._judged[run] = accepted
        for story in (self._story, self._distilled.get(run)):
            if story is not None and story.job.out == run:
                story.accepted = accepted
        if run == self.run:
            self.accepted = accepted
        else:
            self.events.accepted.emit(self.accepted, self.accepted)

    def look_as(self, accepted: Accepted) -> None:
        """Look at threshold and smoothing of what was accepted."""
        self.look(threshold=accepted.threshold, sigma_px=accepted.sigma_px)

    def is_accepted(self, candidate: Candidate, threshold: float | None = None) -> bool:
        """Return whether the mask of a prediction, at the smoothing that is set, is what was accepted of its run.

        Parameters
        ----------
        candidate : the prediction
        threshold : None is the one that is set
        """
        accepted = self.accepted_of(candidate)
        at = self.threshold if threshold is None else threshold
        return accepted is not None and accepted.is_mask(candidate.round, at, self.sigma_px)

    def accepted_of(self, candidate: Candidate) -> Accepted | None:
        """Return what was accepted of the run of a prediction, None if nothing."""
        return self._judged.get(candidate.run)

    def accepted_before(self) -> tuple[Candidate, Accepted] | None:
        """Return the round of :meth:`former`, and what was accepted of its run; None where nothing was, or where it is looked at."""
        former = self.former()
        accepted = None if former is None else self.accepted_of(former)
        if former is None or accepted is None or (self.shown is not None and self.shown.run == former.run):
            return None
        return former, accepted

    def recommended(self, candidate: Candidate) -> int | None:
        """Return the round that the distillation of a prediction recommends, None before its end."""
        story = self._distilled.get(candidate.run)
        return None if story is None else story.best

    @property
    def slides_of_run(self) -> frozenset[str]:
        """Names of the slides of the run whose rounds are told."""
        story = None if self.run is None else self._distilled.get(self.run)
        return frozenset() if story is None else frozenset((*story.job.slides, *(c.slide for c in story.candidates)))

    def _retell(self, *, shown: bool = False) -> None:
        """Say what the run at work tells by now; a field that stays what it was makes no noise.

        Parameters
        ----------
        shown : of a distillation, also as long as there is nothing of it: the user asked for it
        """
        story = self._story
        if story is None:
            return
        self._note(story)
        self._tell_rounds(shown=shown)
        self.notice, self.job = story.notice, story.job

    def _best(self, run: Path) -> int | None:
        """Return which round of a distillation is accepted, else recommended; None before its end."""
        story = self._distilled.get(run)
        return None if story is None else story.best if story.accepted is None else story.accepted.round

    def _distils_here(self, story: RunStory) -> bool:
        return story.job.act == "distill" and any(c.run == story.job.out for c in self.here())

    def _note(self, story: RunStory) -> None:
        self._judged[story.job.out] = story.accepted
        if story.job.act == "distill":
            self._distilled[story.job.out] = story

    def _tell_rounds(self, *, shown: bool = False) -> None:
        """Say which rounds there are of the distillation on the active slide; where there is none, of the one at work, or of the last.

        Parameters
        ----------
        shown : of the one at work, also as long as there is nothing of it
        """
        here = next((c.run for c in self.here() if c.act == "distill"), None)
        story = self._story if self._story is not None and self._story.job.act == "distill" else None
        elsewhere = any(c.run == self.run for c in self.candidates)  # what is told is of another slide
        begun = story is not None and (story.has_begun or self.run in (None, story.job.out) or (story.job.alive and elsewhere))
        if not (shown or (here is None and begun)):
            story = None if here is None else self._distilled.get(here)
        if story is not None:
            self.run, self.rounds, self.curve, self.accepted = story.job.out, story.rounds, story.curve, story.accepted

    def _drop_former(self, story: RunStory, slides: Collection[str]) -> None:
        """Let rounds of other distillations of slides go; of each one stays to compare with: accepted, else looked at, else the last."""
        former = [c for c in self.candidates if c.act == "distill" and c.run != story.job.out and c.slide in slides]
        if story.job.act != "distill" or not former:
            return
        kept: dict[str, Candidate] = {}
        for candidate in former:
            if candidate.slide not in kept or self._in_use(candidate) or not self._in_use(kept[candidate.slide]):
                kept[candidate.slide] = candidate
        others = (c for c in self.files if c.act != "former" or c.slide not in kept)
        self.files = (*others, *(replace(c, act="former") for c in kept.values()))
        self._drop(lambda c: c in former, replaced=True)
        there = {c.run for c in self.candidates}
        self._distilled = {run: known for run, known in self._distilled.items() if run in there or known is self._story}

    def _in_use(self, candidate: Candidate) -> bool:
        accepted = self.accepted_of(candidate)
        return candidate.round == accepted.round if accepted is not None else candidate == self.shown
