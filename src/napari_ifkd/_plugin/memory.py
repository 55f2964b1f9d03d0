"""What is remembered of each slide comes back: where one looked, at what, and how. It holds while napari is open, and the next time too."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_ifkd.config import Config
from napari_ifkd.errors import InputError
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.hints import is_told_of
from napari_ifkd.session_records import BUILT_IN_TEACHER
from napari_ifkd.session_story import RunStory
from napari_ifkd.slides.resolution import SAME_MPP

from .brought import brought_layer, lay
from .brought import laid as laid_for
from .compared import kept_candidate
from .layers import prepare
from .look import show_whole
from .settings import cache_folder
from .side_by_side import divided_by
from .view_notes import ViewNotes
from .views import MOST_RECENT, Chosen, View, known_by, read_asked, read_view, recent_slides, write_asked
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.runs.resolve import Resolved
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate, Job
    from napari_ifkd.slides import Slide

    from .layers import LayerData
    from .run_desk import RunDesk


@dataclass(frozen=True)
class _Back:
    """Of what was lost with the last session beside the runs that are open, what could be read again.

    Attributes
    ----------
    files : what other programs marked, to compare with
    former : the round that was in use of the distillation before, and what was accepted of that
    brought : files that were brought in: use, path, layer, and whether it is seen
    said : what to tell of those that can be read no more
    """

    files: list[Candidate] = field(default_factory=list)
    former: tuple[Candidate, Accepted | None] | None = None
    brought: list[tuple[Any, Path, LayerData, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Memory(QObject):
    """Restore how a slide was looked at when it is the active one again.

    Parameters
    ----------
    viewer : napari's viewer
    session : what is open, chosen and shown
    runs : opens the runs of a slide again

    Attributes
    ----------
    recent : slides looked at last
    asked : settings of the last distillation, by dotted name, of the last export, as "export", and of the list of lesions, as "lesions";
        `recalled` tells that they are those of an earlier session
    """

    changed = Signal()
    recalled = Signal()
    ended = Signal()  # a run that ended while nobody looked is what is shown of the slide
    waits = Signal()  # runs of a slide come back later, or are there

    def __init__(self, viewer: Any, session: Session, runs: RunDesk) -> None:
        super().__init__()
        self.viewer, self.session, self.runs, self.notes = viewer, session, runs, ViewNotes(viewer, session)
        self.recent: list[Path] = []
        self.asked: dict[str, Any] = {}
        self._asked_for: dict[str, Callable[[View], View]] = {}  # makes of the last view of a slide that of what was asked for meanwhile
        self._met: set[str] = set()  # slides that came back once
        self._closed: set[str] = set()  # slides that were closed, and not opened again
        session.events.slides.connect(self._see_closed)
        self._suits = True  # whether the threshold that is set was chosen for the model, and not for a round that is none
        self._turns = 0  # how often another slide became the active one: what was to come back of it then does not once it is left
        session.events.job.connect(self._see_end)
        session.events.slide.connect(self._turn)
        in_thread(recent_slides, lambda found: self._listed([*self.recent, *found]), _nothing)
        in_thread(read_asked, self._recall, _nothing)

    @property
    def settled(self) -> bool:
        """Whether all that was remembered of the active slide is back."""
        return self.notes.followed is self.session.slide

    def folder(self) -> str:
        """Return the folder of the slide of the user's own that was looked at last, "" if none was."""
        return next((str(path.parent) for path in self.recent if not path.is_relative_to(cache_folder())), "")

    def run_of(self, slide: Slide) -> Callable[[], Path | None]:
        """Return what finds, in a thread, the run of the prediction that is looked at on a slide, or was last: None if there is none.

        Beside a prediction of which nobody has said anything, that of the rounds that are open: what was said there is of the tissue.
        """
        view, shown = self.notes.views.get(str(slide.path)), self.session.shown
        if slide is self.session.slide:
            last = () if shown is None else (str(shown.run),)
        else:
            last = () if view is None else (*view.runs, *(() if view.shown is None else view.shown[:1]))
        here = [c for c in self.session.candidates if c.slide == slide.name]

        def find() -> Path | None:
            run = next((run for run in map(Path, reversed(last)) if RunFolder(run).exists), None)
            rounds = next((c.run for c in here if c.act == "distill"), None)
            alone = run is not None and {c.act for c in here if c.run == run} == {"predict"}
            return rounds if alone and rounds is not None and run is not None and not is_told_of(RunFolder(run), slide.name) else run

        return find

    def began_here(self, run: Path) -> bool:
        """Return whether a run began while the active slide was looked at."""
        slide = self.session.slide
        return slide is not None and self.notes.began_on(run) == str(slide.path)

    def waiting(self, slide: Slide) -> bool:
        """Return whether runs of a slide come back when the run at work has ended."""
        return str(slide.path) in self.notes.pending

    def stay(self, slide: Slide, *, run: bool = False, accepted: Accepted | None = None) -> None:
        """Let what is shown of the active slide stay, whatever comes back of it: somebody has asked for it just now.

        Parameters
        ----------
        slide : the active one
        run : whether a run was asked for, not one of its rounds: if it is the one that was looked at last, all comes back as it was
        accepted : whose threshold and smoothing stay too; None leaves those of the last time
        """
        known, session, pending = str(slide.path), self.session, self.notes.pending
        shown, a, b = map(known_by, (session.shown, session.a, session.b))

        def asked(view: View) -> View:
            if run and shown is not None and view.shown is not None and view.shown[0] == shown[0]:
                return view
            kept = view.threshold if accepted is None else accepted.threshold
            smoothed = view.sigma_px if accepted is None or accepted.sigma_px is None else accepted.sigma_px
            return replace(view, shown=shown, a=a, b=b, compare="off", threshold=kept, sigma_px=smoothed, at_work=None)

        if slide is not self.notes.followed:  # it is still to come back
            self._asked_for[known] = asked
        if known in pending:
            pending[known] = asked(pending[known])

    # --- settings

    def note_asked(self, settings: dict[str, Any]) -> None:
        """Take note of settings with which something was begun: the next begins with them."""
        self.asked = {**self.asked, **settings}
        self.notes.write(lambda: write_asked(self.asked))

    def _recall(self, asked: dict[str, Any]) -> None:
        self.asked = {**asked, **self.asked}
        self.recalled.emit()

    def _listed(self, found: list[Path]) -> None:
        self.recent = list(dict.fromkeys(found))[:MOST_RECENT]
        self.changed.emit()

    # --- restoring

    def _turn(self, slide: Slide | None) -> None:
        """Leave the view of a slide and take up that of another; told before the session chooses what to show of it."""
        notes = self.notes
        if notes.followed is not None and slide is not None and notes.followed.path == slide.path:  # only its resolution was set
            notes.follow(slide)
            return
        if self.session.shown is not None:  # else what was set before stays to be looked at
            self._suits = self._is_of_model(self.session.shown)
        notes.leave()
        there = {str(one.path) for one in self.session.slides}
        self._asked_for = {path: asked for path, asked in self._asked_for.items() if path in there}
        self._turns += 1
        if slide is None:
            return
        self._listed([slide.path, *self.recent])
        known, turn = str(slide.path), self._turns
        self._go_to(slide, notes.views.get(known))  # at once: it may be drawn before the rest is there
        if known in notes.views:  # what was chosen since then stays: a model is of the tissue, not of one slide
            QTimer.singleShot(0, lambda: self._restore(slide, notes.views[known], turn))
        else:
            in_thread(lambda: read_view(slide), lambda view: self._restore(slide, view, turn), lambda _: self._restore(slide, None, turn))

    def _is_of_model(self, shown: Candidate) -> bool:
        """Return whether a prediction is of the model that is chosen: its threshold suits what that predicts elsewhere."""
        teacher = self.session.teacher
        if shown.act != "distill" or shown.round == 0 or teacher is None:
            return True
        return teacher.path == RunFolder(shown.run).model_path(shown.round)

    def _restore(self, slide: Slide, view: View | None, turn: int) -> None:
        self.notes.views.setdefault(str(slide.path), view)
        if turn != self._turns:
            return
        first = str(slide.path) not in self._met
        self._met.add(str(slide.path))
        if first and view is not None and view.model is not None:
            self._take_model(*view.model)
        if view is None:
            if len(self.notes.views) > 1:  # what was chosen on another slide is of that
                self.session.set_region("tissue")
                if not self._suits:
                    self._suits, usual = True, Config().inference
                    self.session.look(threshold=usual.threshold, sigma_px=usual.sigma_px)
            self._go_to(slide, None)  # again: controls of the first slide make napari's picture smaller
            self._follow(slide)
            return
        if view.mpp is not None and (slide.mpp is None or abs(view.mpp - slide.mpp) >= SAME_MPP):
            self._set_mpp(slide, view.mpp)
            return
        session = self.session
        self._go_to(slide, view)
        session.set_region(view.region)
        now = self._now(slide, view)
        session.look(threshold=now.threshold, sigma_px=now.sigma_px, heat=now.heat)
        self._suits = True
        self._bring_back(slide, view)

    def _bring_back(self, slide: Slide, view: View) -> None:
        """Open the runs of a view again and read its files, both at once, then look as it says, and follow it.

        Runs that cannot be opened while another is at work come after its end. Until all is there nothing is noted, so that it is not
        forgotten by who turns to another slide meanwhile.
        """
        turn, runs = self._turns, {c.run for c in self.session.candidates if c.slide == slide.name}
        waits = {"runs", "files"}
        before: list[object] = []  # the pair, once the runs were there

        def here() -> bool:
            return turn == self._turns and slide is self.session.slide  # it may have another resolution by now

        def done(what: str) -> None:
            waits.discard(what)
            if not waits:
                if before == self._pair():  # else the user chose another meanwhile
                    self._show_pair(self._now(slide, view))
                self._follow(slide)

        def opened(tried: bool) -> None:
            self.notes.pending.pop(str(slide.path), None)
            if not tried:
                self.notes.pending[str(slide.path)] = self._now(slide, view)
            self.waits.emit()
            if here():
                now = self._now(slide, view)
                if not self._ended_meanwhile(now, runs):
                    self._show(now)
                    before[:] = self._pair()
                done("runs")

        def read(back: _Back) -> None:
            if here():
                self._lay(back)
                done("files")

        there = {known_by(candidate) for candidate in self.session.comparable()}
        folders = [Path(pair[0]) for pair in (view.a, view.b) if pair is not None and pair not in there]
        laid = [known[:2] for known in self.notes.brought(slide)]
        if str(slide.path) in self._closed:  # what is given of it may have lost its layer with it
            self._closed.discard(str(slide.path))
            laid = [(use, path) for use, path in laid if laid_for(self.viewer, slide, use)]
        lost = [one for one in view.brought if one[:2] not in laid]
        former = None if view.former is None or view.former in there else view.former
        if folders or lost or former:
            in_thread(lambda: _read_back(folders, lost, former, slide, view), read, lambda _: read(_Back()))
        else:
            waits.discard("files")
        self.runs.restore(slide, [Path(run) for run in view.runs if Path(run) not in runs], opened)

    def _go_to(self, slide: Slide, view: View | None) -> None:
        """Look where one looked last on a slide, else at all of it."""
        if view is None or view.centre is None or view.zoom is None:
            show_whole(slide, self.viewer)
        else:
            camera = self.viewer.scene.camera
            camera.zoom, camera.center = view.zoom / divided_by(self.viewer), (0.0, *view.centre)

    def _now(self, slide: Slide, view: View) -> View:
        """Return a view of a slide with what was asked for since."""
        asked = self._asked_for.get(str(slide.path))
        return view if asked is None else asked(view)

    def _see_closed(self, now: Collection[Slide], before: Collection[Slide]) -> None:
        self._closed |= {str(slide.path) for slide in before} - {str(slide.path) for slide in now}

    def _see_end(self, job: Job | None) -> None:
        if self.notes.pending and (job is None or not job.alive):
            QTimer.singleShot(0, self._bring_back_pending)  # once all that ends with it is done

    def _bring_back_pending(self) -> None:
        slide, job = self.session.slide, self.session.job
        view = None if slide is None or (job is not None and job.alive) else self.notes.pending.get(str(slide.path))
        if slide is not None and view is not None:
            self._bring_back(slide, view)

    def _take_model(self, path: str, label: str) -> None:
        """Choose the model of the last time again, unless the user has chosen one by now."""

        def chosen() -> bool:
            return self.session.teacher is not None and self.session.teacher.label != BUILT_IN_TEACHER

        def found(model: Resolved) -> None:
            if not chosen():
                self.session.choose_teacher(model)

        if not chosen():
            in_thread(lambda: _model(Path(path), label), found, _nothing)

    def _set_mpp(self, slide: Slide, mpp: float) -> None:
        try:
            self.session.override_mpp(mpp)  # which restores the rest
        except InputError as error:
            say_error(error)
            self._follow(slide)

    def _follow(self, slide: Slide) -> None:
        self._asked_for.pop(str(slide.path), None)
        self.notes.follow(slide)

    # --- as far as it is still there

    def _show(self, view: View) -> None:
        # not what there is to compare with only: another distillation may have come while one looked at another slide
        there = {known_by(candidate): candidate for candidate in self.session.here()}
        shown = None if view.shown is None else there.get(view.shown)
        if shown is not None:
            self.session.show(shown)

    def _ended_meanwhile(self, view: View, before: Collection[Path]) -> bool:
        """Leave what a run shows that ended while nobody looked; tell whether there is one."""
        if view.at_work is None or Path(view.at_work) in before:
            return False
        of_it = [c for c in self.session.here() if str(c.run) == view.at_work and self.session.recommended(c) is not None]
        accepted = self.session.accepted_of(of_it[0]) if of_it else None
        if accepted is not None:
            self.session.look_as(accepted)
        if of_it:
            self.ended.emit()
        return bool(of_it)

    def _pair(self) -> list[object]:
        return [self.session.a, self.session.b, self.session.compare]

    def _show_pair(self, view: View) -> None:
        there = {known_by(candidate): candidate for candidate in self.session.comparable()}
        a, b = (None if chosen is None else there.get(chosen) for chosen in (view.a, view.b))
        if a is not None and b is not None:
            self.session.set_pair(a, b, picked=view.picked)
            self.session.set_compare(view.compare)
        elif view.compare == "uncertainty" and view.b is None and a is not None:  # which is of one too
            self.session.set_pair(a, None)
            self.session.set_compare(view.compare)

    def _lay(self, back: _Back) -> None:
        if back.said:
            say_error("\n".join(back.said))
        for candidate in back.files:
            self.session.take_file(candidate)
        if back.former is not None:
            self.session.take_former(*back.former)
        active = self.viewer.layers.selection.active  # a pen in the hand stays there
        for use, path, layer, visible in back.brought:
            lay(self.viewer, layer, use, visible=visible)
            if use != "look" and use not in self.session.given_here():  # else another was given meanwhile
                self.session.give(use, path)
        self.viewer.layers.selection.active = active


def _model(path: Path, label: str) -> Resolved:
    from napari_ifkd.models import read_card  # which takes torch
    from napari_ifkd.runs.resolve import Resolved

    return Resolved(path, read_card(path), label)


def _read_back(folders: list[Path], lost: Iterable[tuple[str, str, bool]], former: Chosen | None, slide: Slide, view: View) -> _Back:
    """Read files of other programs again: those to compare with, by the folders they are kept in, and those that were brought in.

    And the round of the distillation before.
    """
    back = _Back(former=None if former is None else _former(former, slide, view))
    for folder in folders:
        with suppress(InputError, OSError):
            if (folder / "map.zarr").is_dir():
                back.files.append(kept_candidate(folder / "map.zarr", slide, view.threshold, view.sigma_px))
    for use, path, visible in lost:
        try:
            back.brought.append((use, Path(path), brought_layer(Path(path), slide), visible))
        except (InputError, OSError):
            if use != "look":
                what = "reference" if use == "reference" else "weak regions"
                back.said.append(f"{path}: the {what} of {slide.name} cannot be read any more. Bring it in again, or distil without it.")
    return back


def _former(known: Chosen, slide: Slide, view: View) -> tuple[Candidate, Accepted | None] | None:
    with suppress(InputError, OSError):  # gone, or damaged: the Runs dock tells
        story = RunStory.read(known[0])
        for candidate in story.candidates:
            if known_by(candidate) == known and candidate.slide == slide.name:
                prepare(candidate.found, view.threshold, view.sigma_px)
                return candidate, story.accepted
    return None


def _nothing(_: object) -> None:
    return
