"""What is remembered of each slide: where one looked, at what, and how. It holds while napari is open, and the next time too."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_ifkd.errors import InputError
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.session_records import BUILT_IN_TEACHER
from napari_ifkd.slides.resolution import SAME_MPP

from .brought import brought_layer, laid, lay
from .compared import kept_candidate
from .layers import tag
from .look import show_whole
from .settings import cache_folder
from .side_by_side import divided_by
from .views import MOST_RECENT, View, known_by, read_asked, read_view, recent_slides, write_asked, write_view
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_ifkd.runs.resolve import Resolved
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate, Job
    from napari_ifkd.slides import Slide

    from .layers import LayerData
    from .run_desk import RunDesk

_RESTED_MS = 800


@dataclass(frozen=True)
class _Back:
    """Of what was lost with the last session, what could be read again.

    Attributes
    ----------
    files : what other programs marked, to compare with
    brought : files that were brought in: use, path, layer, and whether it is seen
    said : what to tell of those that can be read no more
    """

    files: list[Candidate] = field(default_factory=list)
    brought: list[tuple[Any, Path, LayerData, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Memory(QObject):
    """Remember how each slide was looked at, and restore it when the slide is the active one again.

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
    waits = Signal()  # runs of a slide come back later, or are there

    def __init__(self, viewer: Any, session: Session, runs: RunDesk) -> None:
        super().__init__()
        self.viewer, self.session, self.runs = viewer, session, runs
        self._one = Lock()  # for who writes
        self.recent: list[Path] = []
        self.asked: dict[str, Any] = {}
        self._views: dict[str, View | None] = {}
        self._asked_for: dict[str, Callable[[View], View]] = {}  # makes of the last view of a slide that of what was asked for meanwhile
        self._met: set[str] = set()  # slides that came back once
        self._turns = 0  # how often another slide became the active one: what was to come back of it then does not once it is left
        self._pending: dict[str, View] = {}  # views whose runs could not be opened again yet
        self._at_work: Path | None = None  # the run that is
        self._begun: dict[Path, str] = {}  # runs that were at work, and the slide that was looked at when they began
        self._slide: Slide | None = None  # whose view is followed; None while one is restored
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_RESTED_MS)
        self._timer.timeout.connect(self._keep)
        for name in ("threshold", "sigma_px", "heat", "compare", "shown", "a", "b", "candidates", "teacher", "given", "region"):
            session.events[name].connect(self._note, max_args=0)
        session.events.job.connect(self._see)
        viewer.layers.events.inserted.connect(self._come)
        viewer.layers.events.removed.connect(self._note)
        camera = viewer.scene.camera
        camera.events.center.connect(self._note)
        camera.events.zoom.connect(self._note)
        session.events.slide.connect(self._turn)
        in_thread(recent_slides, lambda found: self._listed([*self.recent, *found]), _nothing)
        in_thread(read_asked, self._recall, _nothing)

    def folder(self) -> str:
        """Return the folder of the slide of the user's own that was looked at last, "" if none was."""
        return next((str(path.parent) for path in self.recent if not path.is_relative_to(cache_folder())), "")

    def run_of(self, slide: Slide) -> Path | None:
        """Return the run of the prediction that is looked at on a slide, or was last, None if there is none any more."""
        view, shown = self._views.get(str(slide.path)), self.session.shown
        if slide is self.session.slide:
            last = () if shown is None else (str(shown.run),)
        else:
            last = () if view is None else (*view.runs, *(() if view.shown is None else view.shown[:1]))
        return next((run for run in map(Path, reversed(last)) if RunFolder(run).exists), None)

    def stay(self, slide: Slide, *, run: bool = False, threshold: float | None = None) -> None:
        """Let what is shown of the active slide stay, whatever comes back of it: somebody has asked for it just now.

        Parameters
        ----------
        slide : the active one
        run : whether a run was asked for, not one of its rounds: if it is the one that was looked at last, all comes back as it was
        threshold : that stays too; None is that of the last time
        """
        known, session = str(slide.path), self.session
        shown, a, b = map(known_by, (session.shown, session.a, session.b))

        def asked(view: View) -> View:
            if run and shown is not None and view.shown is not None and view.shown[0] == shown[0]:
                return view
            kept = view.threshold if threshold is None else threshold
            return replace(view, shown=shown, a=a, b=b, compare="off", threshold=kept)

        if slide is not self._slide:  # it is still to come back
            self._asked_for[known] = asked
        if known in self._pending:
            self._pending[known] = asked(self._pending[known])

    def began_here(self, run: Path) -> bool:
        """Return whether a run began while the active slide was looked at."""
        slide = self.session.slide
        return slide is not None and self._begun.get(run) == str(slide.path)

    # --- noting

    def note_asked(self, settings: dict[str, Any]) -> None:
        """Take note of settings with which something was begun: the next begins with them."""
        self.asked = {**self.asked, **settings}
        self._write(lambda: write_asked(self.asked))

    def _recall(self, asked: dict[str, Any]) -> None:
        self.asked = {**asked, **self.asked}
        self.recalled.emit()

    def _note(self, _: object = None) -> None:
        if self._slide is not None:
            self._timer.start()

    def _see(self, job: Job | None) -> None:
        slide = self.session.slide
        if job is not None and job.alive and job.act != "train" and job.out not in self._begun and slide is not None:
            self._begun[job.out] = str(slide.path)
            self._note()
        if job is not None and job.alive:
            self._at_work = job.out
        elif job is not None and job.out == self._at_work:
            self._at_work = None
            if job.act == "distill" and job.state == "done":
                self._see_recommended(job)
        if self._pending and (job is None or not job.alive):
            QTimer.singleShot(0, self._open_pending)  # once all that ends with it is done

    def _see_recommended(self, job: Job) -> None:
        """Let slides that are not looked at show the round that a run recommends at its end, as the active one does."""
        active = "" if self.session.slide is None else str(self.session.slide.path)
        for path, view in self._views.items():
            if view is not None and path != active and view.compare == "off" and view.shown is not None and view.shown[0] == str(job.out):
                self._views[path] = replace(view, shown=(view.shown[0], job.recommended or 0), a=None, b=None)

    def _come(self, event: Any) -> None:
        if tag(event.value).get("kind") == "brought":
            event.value.events.visible.connect(self._note)
            self._note()

    def _keep(self) -> None:
        slide = self._slide
        if slide is not None and slide in self.session.slides:
            view = self._view(slide)
            if view != self._views.get(str(slide.path)):
                self._views[known := str(slide.path)] = view
                self._write(lambda: write_view(slide, self._views[known] or view))

    def _write(self, write: Callable[[], None]) -> None:
        """Write in a thread, one after the other, each what is known by then: of two the last has the last word."""

        def alone() -> None:
            with self._one:
                write()

        in_thread(alone, _nothing, _nothing)

    def _view(self, slide: Slide) -> View:
        session, camera = self.session, self.viewer.scene.camera
        here = [candidate for candidate in (*session.candidates, *session.files) if candidate.slide == slide.name]
        shown, a, b = (known_by(candidate) if candidate in here else None for candidate in (session.shown, session.a, session.b))
        runs = [str(candidate.run) for candidate in here if candidate.act in ("predict", "distill")]
        job = session.job
        if job is not None and job.alive and self._begun.get(job.out) == str(slide.path):  # it may have no map yet
            runs.append(str(job.out))
        pending = self._pending.get(str(slide.path))
        if pending is not None:
            shown, a, b, runs = shown or pending.shown, a or pending.a, b or pending.b, [*pending.runs, *runs]
        return View(
            str(slide.path),
            session.threshold,
            session.sigma_px,
            session.heat,
            session.compare,
            session.region,
            mpp=slide.mpp if slide.mpp_source == "override" else None,
            centre=(float(camera.center[-2]), float(camera.center[-1])),
            zoom=float(camera.zoom) * divided_by(self.viewer),
            shown=shown,
            a=a,
            b=b,
            runs=tuple(dict.fromkeys(runs)),
            brought=self._brought(slide),
            model=None if session.teacher is None else (str(session.teacher.path), session.teacher.label),
        )

    def _brought(self, slide: Slide) -> tuple[tuple[str, str, bool], ...]:
        def seen(use: str) -> bool:
            return all(tag(layer).get("seen", layer.visible) for layer in laid(self.viewer, slide, use))

        given = [(one.use, str(one.path), seen(one.use)) for one in self.session.given if one.slide == slide.name]
        looked = [(tag(layer)["path"], tag(layer).get("seen", layer.visible)) for layer in laid(self.viewer, slide, "look")]
        return (*given, *(("look", str(path), bool(visible)) for path, visible in looked))

    # --- restoring

    def _turn(self, slide: Slide | None) -> None:
        """Leave the view of a slide and take up that of another; told before the session chooses what to show of it."""
        self._timer.stop()
        if self._slide is not None and slide is not None and self._slide.path == slide.path:  # only its resolution was set
            self._slide = slide
            self._note()
            return
        self._keep()
        self._slide = None
        there = {str(one.path) for one in self.session.slides}
        self._asked_for = {path: asked for path, asked in self._asked_for.items() if path in there}
        self._turns += 1
        if slide is None:
            return
        self._listed([slide.path, *self.recent])
        known, turn = str(slide.path), self._turns
        if known in self._views:  # what was chosen since then stays: a model is of the tissue, not of one slide
            QTimer.singleShot(0, lambda: self._restore(slide, self._views[known], turn))
        else:
            in_thread(lambda: read_view(slide), lambda view: self._restore(slide, view, turn), lambda _: self._restore(slide, None, turn))

    def _restore(self, slide: Slide, view: View | None, turn: int) -> None:
        self._views.setdefault(str(slide.path), view)
        if turn != self._turns:
            return
        first = str(slide.path) not in self._met
        self._met.add(str(slide.path))
        if first and view is not None and view.model is not None:
            self._take_model(*view.model)
        if view is None:
            if len(self._views) > 1:  # what was chosen on another slide is of that
                self.session.set_region("tissue")
            show_whole(slide, self.viewer)  # the first one too: its controls make napari's picture smaller
            self._follow(slide, None)
            return
        if view.mpp is not None and (slide.mpp is None or abs(view.mpp - slide.mpp) >= SAME_MPP):
            self._set_mpp(slide, view.mpp)
            return
        session, camera = self.session, self.viewer.scene.camera
        if view.centre is not None and view.zoom is not None:
            camera.zoom, camera.center = view.zoom / divided_by(self.viewer), (0.0, *view.centre)
        session.set_region(view.region)
        session.look(threshold=self._now(slide, view).threshold, sigma_px=view.sigma_px, heat=view.heat)
        self._open_runs(slide, view)

    def _open_runs(self, slide: Slide, view: View) -> None:
        """Open the runs of a view again, and follow it then; those that cannot be while a run is at work come after its end."""
        open_now = {candidate.run for candidate in self.session.candidates if candidate.slide == slide.name}
        turn = self._turns

        def opened(tried: bool) -> None:
            self._pending.pop(str(slide.path), None)
            if not tried:
                self._pending[str(slide.path)] = self._now(slide, view)
            self.waits.emit()
            if turn == self._turns and slide is self.session.slide:  # it may have another resolution by now
                self._follow(slide, view)

        self.runs.restore(slide, [Path(run) for run in view.runs if Path(run) not in open_now], opened)

    def _now(self, slide: Slide, view: View) -> View:
        """Return a view of a slide with what was asked for since."""
        asked = self._asked_for.get(str(slide.path))
        return view if asked is None else asked(view)

    def waiting(self, slide: Slide) -> bool:
        """Return whether runs of a slide come back when the run at work has ended."""
        return str(slide.path) in self._pending

    def _open_pending(self) -> None:
        slide, job = self.session.slide, self.session.job
        view = None if slide is None or (job is not None and job.alive) else self._pending.get(str(slide.path))
        if slide is not None and view is not None:
            self._open_runs(slide, view)

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
            self._follow(slide, None)

    def _follow(self, slide: Slide, view: View | None) -> None:
        """Look at what was looked at, as far as it is still there, and note from now on."""
        if view is None:
            self._begin(slide)
            return
        turn, view = self._turns, self._now(slide, view)
        there = {known_by(candidate): candidate for candidate in self.session.comparable()}
        shown = None if view.shown is None else there.get(view.shown)
        if shown is not None:
            self.session.show(shown)
        there_now = [known[:2] for known in self._brought(slide)]
        lost = [one for one in view.brought if one[:2] not in there_now]  # of an earlier session
        missing = [Path(run) for run, _ in (pair for pair in (view.a, view.b) if pair is not None and pair not in there)]
        before = self._pair()

        def read(back: _Back) -> None:
            if turn == self._turns and slide is self.session.slide:
                if back.said:
                    say_error("\n".join(back.said))
                for candidate in back.files:
                    self.session.take_file(candidate)
                active = self.viewer.layers.selection.active  # a pen in the hand stays there
                for use, path, layer, visible in back.brought:
                    lay(self.viewer, layer, use, visible=visible)
                    if use != "look" and use not in self.session.given_here():  # else another was given meanwhile
                        self.session.give(use, path)
                self.viewer.layers.selection.active = active
                if self._pair() == before:  # else the user chose another meanwhile
                    self._show_pair(view)
                self._begin(slide)

        # until the files are there nothing is noted, so that they are not forgotten by who turns to another slide meanwhile
        if missing or lost:
            in_thread(lambda: _read_back(missing, lost, slide, view), read, lambda _: read(_Back()))
        else:
            read(_Back())

    def _pair(self) -> tuple[object, ...]:
        return self.session.a, self.session.b, self.session.compare

    def _show_pair(self, view: View) -> None:
        there = {known_by(candidate): candidate for candidate in self.session.comparable()}
        a, b = (None if chosen is None else there.get(chosen) for chosen in (view.a, view.b))
        if a is not None and b is not None:
            self.session.set_pair(a, b)
            self.session.set_compare(view.compare)
        elif view.compare == "uncertainty" and view.b is None and a is not None:  # which is of one too
            self.session.set_pair(a, None)
            self.session.set_compare(view.compare)

    def _begin(self, slide: Slide) -> None:
        self._slide = slide
        self._asked_for.pop(str(slide.path), None)
        self._note()

    def _listed(self, found: list[Path]) -> None:
        self.recent = list(dict.fromkeys(found))[:MOST_RECENT]
        self.changed.emit()


def _model(path: Path, label: str) -> Resolved:
    from napari_ifkd.models import read_card  # which takes torch
    from napari_ifkd.runs.resolve import Resolved

    return Resolved(path, read_card(path), label)


def _read_back(folders: list[Path], lost: Iterable[tuple[str, str, bool]], slide: Slide, view: View) -> _Back:
    """Read files of other programs again: those to compare with, by the folders they are kept in, and those that were brought in."""
    back = _Back()
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


def _nothing(_: object) -> None:
    return
