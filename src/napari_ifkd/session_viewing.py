"""What is looked at on the slides, and how: one prediction, or two that are compared. It follows no run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from psygnal import SignalGroupDescriptor

from .config import Config
from .slides.resolution import SAME_MPP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .session_records import Candidate, Compare
    from .slides import Slide


@dataclass(eq=False)
class Viewing:
    """Which predictions there are, which is looked at, and which two are compared.

    Attributes
    ----------
    slide : the active one
    candidates, shown : the predictions there are, and the one looked at
    files : what other programs marked, and the round that was in use of the distillation before, to compare predictions with
    a, b, compare : the two predictions to compare, and how
    threshold, sigma_px : from probability to mask; px of the map
    kept_threshold : the threshold that a prediction, or a teacher, found when it came, unless it is the usual one or was moved since
    heat, opacity : whether the heat map is seen; of masks and heat map, 0 to 1
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    slide: Slide | None = None
    candidates: tuple[Candidate, ...] = ()
    files: tuple[Candidate, ...] = ()
    shown: Candidate | None = None
    a: Candidate | None = None
    b: Candidate | None = None
    compare: Compare = "off"
    threshold: float = Config().inference.threshold
    sigma_px: float = Config().inference.sigma_px
    kept_threshold: float | None = None
    heat: bool = False
    opacity: float = 0.6

    def __post_init__(self) -> None:
        """Begin with nobody at work."""
        self._picked: Candidate | None = None  # B, where somebody chose it
        self.held: Callable[[], bool] = bool  # whether somebody works on what is shown: new rounds of its run do not take its place

    # --- what there is

    def here(self) -> tuple[Candidate, ...]:
        """Return the predictions on the active slide, in order."""
        return tuple(c for c in self.predictions() if self.slide is not None and c.slide == self.slide.name)

    def predictions(self) -> tuple[Candidate, ...]:
        """Return the predictions on all slides, in order; a round 0 that took over the map of a prediction stands for both."""
        taken_over = {c.found.identity for c in self.candidates if c.act == "distill" and c.round == 0 and c.found.identity}
        return tuple(c for c in self.candidates if c.act == "distill" or c.found.identity not in taken_over)

    def comparable(self) -> tuple[Candidate, ...]:
        """Return what may be compared on the active slide: the predictions, and what other programs marked."""
        return (*self.here(), *(c for c in self.files if self.slide is not None and c.slide == self.slide.name))

    def outdated(self, candidate: Candidate | None) -> str:
        """Say so where a prediction was made at another resolution than the slide has by now, "" elsewhere."""
        if candidate is None or self.slide is None or candidate.slide != self.slide.name:
            return ""
        made, now = candidate.found.slide.get("mpp"), self.slide.mpp
        if not made or not now or abs(made - now) < SAME_MPP:
            return ""
        return f"This prediction was made at {made:.4g} µm/px, and the slide has {now:.4g} now: its areas are those of then. Predict again."

    def former(self) -> Candidate | None:
        """Return the round that was in use of the distillation before on the active slide, None where there was none."""
        return next((c for c in self.comparable() if c.act == "former"), None)

    def take_file(self, candidate: Candidate) -> None:
        """Take in what another program marked; one of the same file takes the place of the former."""
        known = candidate.slide, candidate.label
        self.files = (*(c for c in self.files if (c.slide, c.label) != known), candidate)

    def _add(self, candidates: Iterable[Candidate]) -> None:
        """Take predictions in, and look at the last of them that is on the active slide."""
        new = tuple(candidates)
        predicted = {c.slide for c in new if c.act == "predict"}  # a slide has one prediction: the last
        kept = (c for c in self.candidates if c not in new and not (c.act == "predict" and c.slide in predicted))
        self.candidates = tuple(sorted((*kept, *new), key=lambda c: (c.act != "predict", c.slide, c.round)))
        there = self.here()
        # a prediction that equals the round 0 that is open is seen as that
        same = {c.found.identity: c for c in there if c.act == "distill" and c.round == 0 and c.found.identity}
        here = [c if c in there else same[c.found.identity] for c in new if c in there or self._taken_over(c, same)]
        if not here:
            if self.shown is not None and self.shown not in there:
                self.shown = None
            return
        last, predicted_now = here[-1], new[-1].act == "predict"
        busy = self._comparing or (self.shown in there and self.held())
        if last.act == "distill" and busy and not predicted_now:  # under the user's eyes
            if self.compare != "uncertainty" or self.b is not None:
                self._choose_pair()
            return
        with_file = self.comparing and self.b is not None and self.b.act == "file" and self.compare not in ("b", "uncertainty")
        if predicted_now and not with_file:  # else it is A, beside the file
            self.compare = "off"  # else it would not be seen
        if last.act == "distill" and not predicted_now:  # what a run is about: its rounds against its teacher
            self._pair_up(last)
        self._choose_pair()
        self.show(last)

    def _taken_over(self, candidate: Candidate, same: Mapping[str, Candidate]) -> bool:
        active = self.slide is not None and candidate.slide == self.slide.name
        return active and candidate.act == "predict" and candidate.found.identity in same

    def _drop(self, stale: Callable[[Candidate], bool], *, replaced: bool = False) -> None:
        """Let predictions go; what is looked at stays so till those are taken in by which it is replaced, where there are such."""
        kept = tuple(c for c in self.candidates if not stale(c))
        if kept == self.candidates:
            return
        self.candidates = kept
        if self.shown not in kept and not replaced:
            self.shown = None
        self._choose_pair()

    # --- what is looked at

    def show(self, candidate: Candidate | None) -> None:
        """Look at a prediction, which is one of the pair from then on: a teacher, or what is compared with a file, as A, else as B."""
        self.shown = candidate
        if self.alone not in (None, candidate):  # else another would be seen than is spoken of
            self.compare = "off"
        if candidate is not None and candidate in self.here() and candidate not in (self.a, self.b):
            as_a = candidate.round == 0 or (self.b is not None and self.b not in self.here() and not self._gives_way(self.b))
            by_itself = self.a is None or self.a.act == "predict"  # a prediction gives way to the teacher of the run
            a = (self._teacher_of(candidate) or self.a) if by_itself else self.a
            self.a, self.b = (candidate, self.b) if as_a else (a, candidate)

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
        if threshold is not None:
            self.kept_threshold = None
        for name, value in (("threshold", threshold), ("sigma_px", sigma_px), ("opacity", opacity), ("heat", heat)):
            if value is not None:
                setattr(self, name, value)

    # --- what is compared

    @property
    def unsure(self) -> Candidate | None:
        """The prediction whose uncertainty is looked at: B, or A where there is no B."""
        return self.a if self.b is None else self.b

    @property
    def comparing(self) -> bool:
        """Whether the pair is looked at; of a single prediction there is its uncertainty."""
        if self.compare == "uncertainty":
            return self.unsure is not None
        return self.compare != "off" and None not in (self.a, self.b)

    @property
    def alone(self) -> Candidate | None:
        """The one of the pair that is seen without the other, None in every other way of comparing."""
        return {"a": self.a, "b": self.b}.get(self.compare) if self.comparing else None

    @property
    def _comparing(self) -> bool:
        return self.comparing and self.shown in self.here()

    def set_compare(self, mode: Compare) -> None:
        """Choose how the pair is shown; "off" shows the one prediction looked at."""
        self.compare = mode
        if mode != "uncertainty" and self.b is None:  # what came meanwhile was not to take its place
            self._choose_pair()

    def set_pair(self, a: Candidate | None, b: Candidate | None, *, picked: bool = True) -> None:
        """Choose which predictions are compared.

        Parameters
        ----------
        a, b : the predictions
        picked : whether a person chose them: then B stays whatever rounds come
        """
        self.a, self.b, self._picked = a, b, b if picked else None

    @property
    def picked(self) -> bool:
        """Whether a person chose B."""
        return self.b is not None and self.b == self._picked

    def _gives_way(self, candidate: Candidate) -> bool:
        """Return whether it was B for want of a round, and nobody chose it: a round takes its place."""
        return candidate.act == "former" and candidate != self._picked

    def compare_file(self, candidate: Candidate) -> None:
        """Take in what another program marked, and compare what is looked at with it."""
        self.take_file(candidate)
        self.set_pair(self.shown if self.shown in self.here() else None, candidate)
        self._choose_pair()

    def _choose_pair(self, a: Candidate | None = None, b: Candidate | None = None) -> None:
        """Compare these if they are there, else what is compared, else what there is: of rounds the last, or what was in use before."""
        here, there = self.here(), self.comparable()
        teachers = sorted((c for c in here if c.round == 0), key=lambda c: c.act != "distill")
        rounds, former = ([c for c in reversed(there) if c.act == act] for act in ("distill", "former"))
        first = next((c for c in (a, self.a, *teachers) if c is not None and c in there), None)
        own = None if self.b is not None and self._gives_way(self.b) and not self.comparing else self.b
        second = (c for c in (b, own, *rounds, *former, *reversed(here)) if c is not None and c in there and c != first)
        self.a, self.b = first, next(second, None)

    def _pair_up(self, candidate: Candidate) -> None:
        """Let a round be B, and the teacher of its run A; beside a file of another program it is A."""
        if self.b is not None and self.b.act == "file" and self.b in self.comparable():
            self.a = candidate
        else:
            self._choose_pair(self._teacher_of(candidate), candidate if candidate.round else None)

    def _teacher_of(self, candidate: Candidate) -> Candidate | None:
        """Return round 0 of the distillation that a prediction on the active slide is of, None where it has none."""
        return next((c for c in self.here() if (c.run, c.act, c.round) == (candidate.run, "distill", 0)), None)
