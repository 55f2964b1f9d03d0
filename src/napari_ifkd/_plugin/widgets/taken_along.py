"""What the next run takes along of what a person said of its slides, in a line: it is looked for in a thread."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.hints import known_of

from .parts import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_ifkd.slides import Slide

    from .dock import Dock


class TakenAlong:
    """Tell what the next run would take along; while a run is at work, what that one took.

    Parameters
    ----------
    dock : looks in a thread, as long as it is there

    Attributes
    ----------
    label : tells it, and is hidden while there is nothing to tell
    """

    found = Signal()  # what is told is what there is now

    def __init__(self, dock: Dock) -> None:
        self._dock = dock
        self.label = text("Corrections teach the next rounds, answered points choose among them, verdicts on lesions hold for their masks")
        self._at_work: tuple[Path | None, str] = None, ""  # the run that is, and how it was told when it began
        self._begun_on: Slide | None = None  # the slide that was active when it was
        self._looked_on: Slide | None = None  # the slide that was active then
        self._looking = False
        self._looks = 0  # how often it was looked; the last one counts

    def look(self, slides: Sequence[Slide]) -> None:
        """Look what a run on these slides would take along, and tell it once it is found."""
        session, memory = self._dock.session, self._dock.bench.memory
        job = session.job
        finders, followed = [(slide, memory.run_of(slide)) for slide in slides], False
        if job is not None and job.alive and (memory.began_here(job.out) or any(c.run == job.out for c in session.here())):
            if memory.began_here(job.out) or self._at_work[0] == job.out:
                self._tell_at_work(job.out)
                return
            run, followed = job.out, True  # it began before napari did: what it took lies in its folder
            finders, self._at_work, self._begun_on = [(slide, lambda: run) for slide in slides], (run, ""), session.slide
        masks, active = len(session.choosing_masks(slides)), session.slide

        def tell(known: str) -> None:
            if asked == self._looks:
                self._looking = False
                self._tell(f"{'Taken along' if followed else 'The next run takes along'}: {escape(known)}." if known else "")
                job = session.job
                if job is not None and job.alive and job.out == self._at_work[0] and active is self._begun_on:
                    self._at_work = job.out, self._of_now()
                self.found.emit()

        def give_up(_: Exception) -> None:
            if asked == self._looks:
                self._looking = False

        self._looks += 1
        asked = self._looks
        if session.slide is not self._looked_on:  # till then nothing is told, rather than what was found on another
            self._looked_on = session.slide
            self._tell("")
        self._looking = True

        def work() -> str:
            given = len(RunFolder(run).asked.get("reference", [])) if followed else masks
            return _known(finders, masks_choose=given)

        self._dock.in_thread(work, tell, give_up)

    def _tell_at_work(self, run: Path) -> None:
        active = self._dock.session.slide
        if self._at_work[0] != run:  # what was told when it began holds for it
            self._at_work, self._begun_on = (run, "" if self.label.isHidden() else self._of_now()), active
        if self._looking and self._looked_on is active:
            return  # and what is found still
        self._looked_on, self._looking = active, False
        self._looks += 1  # what is looked for is of another slide
        self._tell(self._at_work[1])

    def _of_now(self) -> str:
        """Return what is taken along, as it is told of the run at work."""
        return self.label.text().replace("The next run takes along", "Taken along")

    def _tell(self, told: str) -> None:
        self.label.setText(told)
        self.label.setVisible(bool(told))


def _known(finders: Sequence[tuple[Slide, Callable[[], Path | None]]], *, masks_choose: int) -> str:
    """Look what there is in the runs of slides, each with what finds its run; slow enough to be done in a thread.

    Parameters
    ----------
    finders : a slide, and what finds its run
    masks_choose : how many reference masks choose, which stand above points
    """
    several, names = len(finders) > 1, [slide.name for slide, _ in finders]
    judged = [(slide, run) for slide, find in finders if (run := find()) is not None]
    told = [(slide.name, run.name, known_of(RunFolder(run), slide, names)) for slide, run in judged]
    known = "; ".join(f"{known} of {run}{f' ({slide})' if several else ''}" for slide, run, known in told if known)
    # points that were drawn on one slide
    alone = several and any(known_of(RunFolder(run), slide, [slide.name]) != told[at][2] for at, (slide, run) in enumerate(judged))
    if alone:
        return f"{known or 'points'}. The points are of one slide, so they judge that one and do not choose for all"
    if "answered point" in known and masks_choose:
        return f"{known}. The reference mask{'s choose' if masks_choose > 1 else ' chooses'}, and the points do not"
    if "answered point" in known:
        return f"{known}. Ten or more points choose its round and threshold; what was accepted by hand stays with its own run"
    return known
