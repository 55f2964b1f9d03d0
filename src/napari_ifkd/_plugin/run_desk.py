"""What the window does with runs on disk: open, take up again, delete, and find one that is still at work. The disk is read in threads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import InputError
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.listing import RunSummary, delete_run, summarise
from napari_ifkd.session_story import RunStory

from .commands import written_beside
from .layers import prepare
from .reader import run_slides
from .trouble import TROUBLE
from .worker import Runner, in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Job
    from napari_ifkd.slides import Slide

AT_WORK = ("running", "paused")


class RunDesk:
    """Open, resume and delete runs for a session; errors are told to the user.

    Parameters
    ----------
    session : shows the run that is looked at
    runner : follows it while it is at work
    look_at : makes an open slide the active one
    stay : lets what is shown of the active slide, and how what is accepted is looked at, stay whatever comes back of it
    """

    def __init__(
        self, session: Session, runner: Runner, look_at: Callable[[Slide], None], stay: Callable[[Slide, Accepted | None], None]
    ) -> None:
        self.session, self.runner, self._look_at_slide, self._stay = session, runner, look_at, stay
        self._reading: set[Path] = set()
        self._along: dict[str, Path] = {}  # slides, and the run that came back on them with another: their own last run takes its place
        self._refused = ""  # what was said to who has to wait for the run at work
        session.events.job.connect(self._see_end)

    def open(self, path: Path) -> None:
        """Look at a run: its slides, where they still are, and its rounds; a run at work is followed."""
        self._read(path, self._look_at, follows=False)

    def resume(self, path: Path) -> None:
        """Take a run up again from its last complete epoch or tile row, and follow it."""
        self._read(path, self.runner.resume, follows=True)

    def restore(self, slide: Slide, paths: Sequence[Path], done: Callable[[bool], None]) -> None:
        """Open runs of a slide again, as far as they are there and the slide stays the active one; one that is at work is followed again.

        Parameters
        ----------
        slide : the active one
        paths : of the runs
        done : called on the Qt thread at the end, with False where one is left for later: another is followed, or being opened
        """
        if not paths or self._reading:
            done(not paths)
            return

        def read() -> list[RunStory]:
            stories = []
            for path in paths:
                with suppress(InputError, OSError):  # gone, or damaged: the Runs dock tells
                    stories.append(self._prepared(path)[0])
            return sorted(stories, key=lambda story: (story.job.alive, story.job.act != "predict"))  # nothing is taken after one at work

        def take(stories: list[RunStory]) -> None:
            if self._reading:  # meanwhile
                done(False)
                return
            later = False
            for story in stories if slide is self.session.slide else ():
                job, along = self.session.job, self._along.get(slide.name)
                if along is not None and story.job.act == "distill" and along != story.job.out:
                    self.session.let_go(along, slide)
                if any(candidate.act == story.job.act for candidate in self.session.here()):
                    continue  # the user opened another
                if job is not None and job.alive and job.out == story.job.out:
                    self.session.take_maps(slide)  # it is followed already
                elif story.job.alive and self._other_at_work(story.job.out):
                    later = True
                else:
                    apart = self._apart(story)
                    self.session.take_run(apart)
                    if story.job.act == "distill":
                        self._along |= {c.slide: story.job.out for c in apart.candidates}
                        self._along.pop(slide.name, None)
                    if story.job.alive:
                        self.runner.attach(story)
            if (run := self._along.pop(slide.name, None)) is not None and slide is self.session.slide:
                self.session.tell_of(run)  # and not of the prediction that came now
            done(not later)

        in_thread(read, take, lambda _: done(True))

    def _apart(self, story: RunStory) -> RunStory:
        """Return a run without its maps of slides on which rounds of another are looked at."""
        others = {c.slide for c in self.session.candidates if c.act == "distill" and c.run != story.job.out}
        if story.job.act != "distill" or story.job.alive:
            return story
        return replace(story, candidates=tuple(c for c in story.candidates if c.slide not in others))

    def _other_at_work(self, path: Path) -> bool:
        job = self.session.job
        return job is not None and job.alive and job.out != path

    def delete(self, path: Path, done: Callable[[], None], failed: Callable[[Exception], None], *, forever: bool = False) -> None:
        """Move a run to the trash, or remove it.

        Parameters
        ----------
        path : of the run
        done, failed : called on the Qt thread
        forever : nothing brings it back
        """

        def gone(_: object) -> None:
            self.session.forget_run(path)
            done()

        in_thread(lambda: delete_run(path, forever=forever, beside=written_beside(path)), gone, failed)

    def look_for_work(self, folder: Path) -> None:
        """Offer a run of a folder that is still at work, rather one on the active slide: napari was closed, or crashed, meanwhile."""
        in_thread(lambda: _at_work(folder), self.offer, _ignore)

    def offer(self, runs: Iterable[RunSummary]) -> None:
        """Offer the run at work that changed last, unless one is followed."""
        job, slide = self.session.job, self.session.slide
        if job is not None and job.alive:
            self.session.offered(None)
            return
        fit = [run for run in runs if run.status in AT_WORK]
        here = [run for run in fit if slide is not None and slide.name in run.slides]
        self.session.offered(max(here or fit, key=lambda run: run.changed, default=None))

    def _read(self, path: Path, then: Callable[[RunStory], None], *, follows: bool) -> None:
        if path in self._reading or (follows and not self._free_for(path, resume=True)):
            return
        self._reading.add(path)

        def read(found: tuple[RunStory, list[Any]]) -> None:
            self._reading.discard(path)
            story, slides = found
            if (follows or story.job.alive or self._stands_in_for_work(story)) and not self._free_for(path, resume=follows):
                return
            active = self.session.slide
            try:
                for slide, mpp in slides:
                    if all(known.name != slide.name for known in self.session.slides):  # a demo that was moved brought its own copy
                        self.session.open(slide, mpp)
                names = {slide.name for slide, _ in slides}
                of_run = next((s for s in (active, *self.session.slides) if s is not None and s.name in names), None)
                if of_run is not None and of_run is not self.session.slide:  # else the pen in the hand stays there
                    self._look_at_slide(of_run)
                if of_run is not None and of_run is not active:
                    self.session.set_compare("off")  # that was of another slide
                then(story)
                if of_run is not None:
                    ended = story.accepted if not (follows or story.job.alive) else None
                    self._stay(of_run, ended)
            except (InputError, OSError) as error:
                say_error(error)

        def unread(error: Exception) -> None:
            self._reading.discard(path)
            say_error(error)

        in_thread(lambda: self._prepared(path), read, unread)

    def _prepared(self, path: Path) -> tuple[RunStory, list[Any]]:
        story = RunStory.read(path)
        for candidate in story.candidates:
            prepare(candidate.found, self.session.threshold, self.session.sigma_px)
        return story, list(run_slides(path))

    def _stands_in_for_work(self, story: RunStory) -> bool:
        """Return whether a run would take the place of rounds of the one at work: a slide has those of one."""
        job, slides = self.session.job, {c.slide for c in story.candidates}
        at_work = [c for c in self.session.candidates if job is not None and c.run == job.out]
        return story.job.act == "distill" and any(c.act == "distill" and c.slide in slides for c in at_work)

    def _free_for(self, path: Path, *, resume: bool) -> bool:
        job = self.session.job
        if self._other_at_work(path):
            cause = "is at work itself, or on a slide whose rounds are coming in: it cannot be opened while another run is at work"
            if resume:
                cause = "cannot be resumed while another run is at work"
            say_error(InputError(path, cause, f"{'Resume' if resume else 'Open'} it when that has ended, or cancel that"))
            self._refused = TROUBLE.message
        return job is None or not job.alive

    def _see_end(self, job: Job | None) -> None:
        """Take back that one has to wait."""
        if TROUBLE.message == self._refused and (job is None or not job.alive):
            TROUBLE.clear()

    def _look_at(self, story: RunStory) -> None:
        self._along.clear()  # it was asked for by now
        self.session.take_run(story)
        if story.job.alive:
            self.runner.attach(story)
        elif story.accepted is not None:
            self.session.look_as(story.accepted)


def _at_work(folder: Path) -> list[RunSummary]:
    if not folder.is_dir():
        return []
    return [summarise(path) for path in folder.iterdir() if RunFolder(path).writer is not None]


def _ignore(_: Exception) -> None:
    return  # a folder that cannot be read has nothing to offer; opening the list of runs tells why
