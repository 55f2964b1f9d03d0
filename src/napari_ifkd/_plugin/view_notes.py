"""How each slide is looked at, noted while one looks: once it rests it is written beside what is drawn on the slide."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from .brought import laid
from .layers import tag
from .side_by_side import divided_by
from .views import View, known_by, write_view
from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Job
    from napari_ifkd.slides import Slide

_RESTED_MS = 800


class ViewNotes(QObject):
    """Note how the slide that is followed is looked at.

    Parameters
    ----------
    viewer : napari's viewer
    session : what is open, chosen and shown

    Attributes
    ----------
    views : how slides were looked at last, by path; None where nobody had
    pending : views whose runs could not be opened again yet
    followed : the slide whose view is noted; None while one is restored
    """

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__()
        self.viewer, self.session = viewer, session
        self.views: dict[str, View | None] = {}
        self.pending: dict[str, View] = {}
        self.followed: Slide | None = None
        self._begun: dict[Path, str] = {}  # runs that were at work, and the slide that was looked at when they began
        self._at_work: Path | None = None  # the run that is
        self._fresh = False  # whether the slide that is followed was not written since
        self._one = Lock()  # for who writes
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_RESTED_MS)
        self._timer.timeout.connect(self._keep)
        for name in ("threshold", "sigma_px", "heat", "compare", "shown", "a", "b", "candidates", "teacher", "given", "region"):
            session.events[name].connect(self._note, max_args=0)
        session.events.job.connect(self._see)
        session.events.candidates.connect(self._see_maps)
        viewer.layers.events.inserted.connect(self._come)
        viewer.layers.events.removed.connect(self._note)
        camera = viewer.scene.camera
        camera.events.center.connect(self._note)
        camera.events.zoom.connect(self._note)

    @property
    def rested(self) -> bool:
        """Whether nothing is still to be noted."""
        return not self._timer.isActive()

    def follow(self, slide: Slide) -> None:
        """Note from now on how a slide is looked at, and that it is the last that was."""
        self.followed, self._fresh = slide, True
        self._note()

    def leave(self) -> None:
        """Note the slide that is followed as it is seen now, and follow none."""
        self._timer.stop()
        self._keep()
        self.followed = None

    def recentre(self, slide: Slide, centre: tuple[float, ...], zoom: float) -> None:
        """Let a slide that was left come back as it was looked at before: where it was left nobody went by themselves.

        Parameters
        ----------
        slide : that was left
        centre, zoom : of napari's camera, before; as in one picture
        """
        view = self.views.get(str(slide.path))
        if view is not None and slide is not self.followed:
            self._take(slide, replace(view, centre=(float(centre[-2]), float(centre[-1])), zoom=float(zoom)))
            self._stay_last()

    def write(self, write: Callable[[], None]) -> None:
        """Write in a thread, one after the other, each what is known by then: of two the last has the last word."""

        def alone() -> None:
            with self._one:
                write()

        in_thread(alone, _nothing, _nothing)

    def began_on(self, run: Path) -> str:
        """Return the path of the slide that was looked at when a run began, "" if nobody knows."""
        return self._begun.get(run, "")

    def brought(self, slide: Slide) -> tuple[tuple[str, str, bool], ...]:
        """Return the files that were brought in for a slide: use, path, and whether it is seen."""

        def seen(use: str) -> bool:
            return all(tag(layer).get("seen", layer.visible) for layer in laid(self.viewer, slide, use))

        given = [(one.use, str(one.path), seen(one.use)) for one in self.session.given if one.slide == slide.name]
        looked = [(tag(layer)["path"], tag(layer).get("seen", layer.visible)) for layer in laid(self.viewer, slide, "look")]
        return (*given, *(("look", str(path), bool(visible)) for path, visible in looked))

    def _note(self, _: object = None) -> None:
        if self.followed is not None:
            self._timer.start()

    def _come(self, event: Any) -> None:
        if tag(event.value).get("kind") == "brought":
            event.value.events.visible.connect(self._note)
            self._note()

    def _see(self, job: Job | None) -> None:
        if job is None:
            return
        slide = self.session.slide
        if job.alive and job.act != "train" and job.out not in self._begun and slide is not None:
            self._begun[job.out] = str(slide.path)
            self._note()
        if job.alive:
            self._at_work = job.out
        elif job.out == self._at_work:
            self._at_work = None
            self._note()
            if job.act == "distill" and job.state == "done":
                self._see_recommended(job)

    def _see_recommended(self, job: Job) -> None:
        """Let slides that are not looked at show the round that a run recommends at its end, as the active one does."""
        for slide in self.session.slides:
            view = self.views.get(str(slide.path))
            if view is None or slide is self.session.slide or view.compare != "off" or view.shown is None or view.shown[0] != str(job.out):
                continue
            self._take(slide, replace(view, shown=(view.shown[0], job.recommended or 0), a=None, b=None, at_work=None))
        self._stay_last()

    def _see_maps(self, _: object) -> None:
        """Let slides that are not looked at know of the run at work once there are maps of it: nobody may turn to them before the end."""
        job = self.session.job
        if job is None or not job.alive:
            return
        known = [c for c in (*self.session.candidates, *self.session.files) if c.act != "file"]
        for slide in self.session.slides:
            view, here = self.views.get(str(slide.path)), [c for c in known if c.slide == slide.name]
            runs = tuple(dict.fromkeys(str(c.run) for c in here if c.act != "former"))
            if view is None or slide is self.session.slide or str(slide.path) in self.pending or runs == view.runs:
                continue
            if str(job.out) in runs:
                former = known_by(next((c for c in here if c.act == "former"), None))
                self._take(slide, replace(view, runs=runs, former=former, at_work=str(job.out)))
                self._stay_last()

    def _stay_last(self) -> None:
        """Write the slide that is followed once more: it is the one that was looked at last."""
        if self.followed is not None and (view := self.views.get(str(self.followed.path))) is not None:
            self._take(self.followed, view)

    def _keep(self) -> None:
        slide = self.followed
        if slide is not None and slide in self.session.slides:
            view = self._view(slide)
            if self._fresh or view != self.views.get(str(slide.path)):
                self._fresh = False
                self._take(slide, view)

    def _take(self, slide: Slide, view: View) -> None:
        known = str(slide.path)
        self.views[known] = view
        self.write(lambda: write_view(slide, self.views[known] or view))

    def _view(self, slide: Slide) -> View:
        session, camera = self.session, self.viewer.scene.camera
        here = [candidate for candidate in (*session.candidates, *session.files) if candidate.slide == slide.name]
        shown, a, b = (known_by(candidate) if candidate in here else None for candidate in (session.shown, session.a, session.b))
        runs = [str(candidate.run) for candidate in here if candidate.act in ("predict", "distill")]
        job, at_work = session.job, None
        if job is not None and job.alive and self.began_on(job.out) == str(slide.path):  # it may have no map yet
            runs.append(str(job.out))
        if job is not None and job.alive and str(job.out) in runs:
            at_work = str(job.out)
        pending = self.pending.get(str(slide.path))
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
            brought=self.brought(slide),
            model=None if session.teacher is None else (str(session.teacher.path), session.teacher.label),
            former=known_by(next((candidate for candidate in here if candidate.act == "former"), None)),
            at_work=at_work,
            picked=session.picked,
        )


def _nothing(_: object) -> None:
    return
