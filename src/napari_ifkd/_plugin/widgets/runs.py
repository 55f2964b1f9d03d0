"""The Runs dock: what was run, what came of it; open it, take it up again, delete it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QFileDialog

from napari_ifkd._plugin import settings
from napari_ifkd.runs.listing import list_runs

from .dock import Dock
from .job_bar import JobBar
from .offer import Offer
from .parts import allow, button, row, text
from .runs_table import RunsTable, run_card

if TYPE_CHECKING:
    from napari_ifkd.runs.listing import RunSummary

_ALIVE = ("running", "paused")


class RunsDock(Dock):
    """List the runs of the runs folder."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.offer = Offer(self.bench)
        self.where = text("The runs folder")
        self.folder = button(
            "Folder …",
            "Keep runs in another folder from now on, and take along what is drawn on slides and how they were looked at",
            self._choose_folder,
        )
        self.refresh = button("Refresh", "Look at the disk again", self.look)
        self.table = RunsTable()
        self.open = button("Open", "Show the slide and the rounds; a run at work is followed", self._open, main=True)
        self.resume = button("Resume", "Go on from the last complete epoch or tile row, and look at its slide", self._resume)
        self.delete = button("Delete …", "Move the run to the trash", self._ask_delete)
        self.card = text("The run that is picked")
        self.progress = JobBar(self.bench, "predict", "distill", "train", warned=False, named=True)
        self.add(row(self.where, self.folder, self.refresh, stretch=(1, 0, 0)), self.table)
        self.add(row(self.open, self.resume, self.delete, stretch=(1, 1, 1)))
        self.add(self.offer, self.progress, self.card)  # what comes and goes, below what is clicked
        self.column.addStretch(1)
        self._job: tuple[Any, ...] = ()
        self._gone = ""  # what is told of a run that was deleted, until one is picked
        self.looking = self._again = False  # whether the disk is being read, and is to be read again
        self.table.picked.connect(self._show_picked)
        self.table.itemDoubleClicked.connect(lambda _: self._open())
        self.listen("offer", to=self.offer.update_offer)
        self.listen("job", "kept_threshold", "slide", "run", to=self._show_job)
        self.listen("accepted", to=self.look)
        self.hear(self.bench.folder_changed, self.look)
        self._show_picked()

    def came(self) -> None:
        """Look at the disk: other programs may have run meanwhile."""
        self.look()

    # --- the list

    def look(self) -> None:
        """Read the runs folder in a thread, and show what is there."""
        if not self.seen:  # it is read when the dock comes to the front
            return
        if self.looking:
            self._again = True
            return
        self.looking, self._again = True, False
        folder = settings.runs_folder()
        chosen = settings.chosen_folder()
        wrong = f"⚠ {escape(str(chosen))} is no folder: runs are kept in<br>" if chosen is not None and chosen != folder else ""
        self.where.setText(wrong + escape(str(folder)))
        self.in_thread(lambda: list_runs(folder) if folder.is_dir() else [], self._found, self._not_found)
        if not self.table.rowCount():
            self._show_picked()

    def _found(self, runs: list[RunSummary]) -> None:
        self.looking = False
        self.table.show_runs(runs)
        self.bench.runs.offer(runs)
        if self._again:
            self.look()

    def _not_found(self, error: Exception) -> None:
        self.looking = False
        self.table.show_runs([])
        self.card.setText(str(error))

    def _show_bar(self) -> None:
        self.progress.update_job()
        job, run = self.session.job, self.table.run()
        if (
            job is not None
            and not job.alive
            and (job.state == "done" or (run is not None and run.path != job.out and self.table.lists(job.out)))
        ):
            self.progress.hide()  # rows and cards tell of what is over; above the card of another it would be taken for that
        self.progress.resume.hide()  # that of the run that is picked stands below

    def _show_job(self) -> None:
        self._show_bar()
        job = self.session.job
        rounds = len(self.session.rounds) if job is not None and job.out == self.session.run else 0
        now = (job.out, job.state, job.stage == "starting", rounds) if job is not None else ()  # once it has begun it is on disk
        if now != self._job:  # not at every step of its progress
            self._job = now
            self.look()

    def _show_picked(self) -> None:
        run = self.table.run()
        alive = run is not None and run.status in _ALIVE
        job = self.session.job
        other = job is not None and job.alive and run is not None and run.path != job.out
        busy = "another run is at work, and one is followed at a time" if other else ""
        allow(self.open, "pick a run first" if run is None else busy if alive else "")
        resumable = run is not None and run.status in ("cancelled", "failed", "interrupted")
        allow(self.resume, busy if resumable else "pick a run that ended before it was done")
        self.delete.setEnabled(run is not None and not alive)
        if run is not None:
            self._gone = ""
        self._show_bar()
        none = "Reading the folder …" if self.looking else "No runs in this folder yet."
        nothing = "Pick a run." if self.table.rowCount() else none
        self.card.setText(run_card(run) if run is not None else f"{self._gone} {nothing}".strip())

    # --- the acts

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Keep runs in", str(settings.runs_folder()))
        if path:
            self.in_thread(lambda: settings.take_along(Path(path)), lambda _: settings.set_runs_folder(Path(path)))

    def _open(self) -> None:
        if (run := self.table.run()) is not None:
            self.bench.runs.open(run.path)

    def _resume(self) -> None:
        if (run := self.table.run()) is not None:
            self.bench.runs.resume(run.path)

    def _ask_delete(self) -> None:
        run, more = self.table.run(), "Its maps, networks, corrections and answers go with it; the slide stays."
        teacher = self.session.teacher
        if run is not None and teacher is not None and run.path.resolve() in teacher.path.resolve().parents:
            more += f" {teacher.label}, the model that is chosen, is of this run and goes too: choose another then."
        if run is not None and self.sure(f"Move {run.name} to the trash?", more, "Move to trash"):
            self._delete(run.path)

    def _delete(self, path: Path, *, forever: bool = False) -> None:
        def failed(error: Exception) -> None:
            # where there is no trash, as on some network drives
            if not forever and "trash" in str(error):
                if self.sure(f"{path.name} cannot be moved to the trash.", f"{error}\n\nRemove it forever?", "Remove forever"):
                    self._delete(path, forever=True)
            else:
                self.say_error(error)
            self.look()

        self.delete.setEnabled(False)
        self.bench.runs.delete(path, lambda: self._deleted(path, forever=forever), failed, forever=forever)

    def _deleted(self, path: Path, *, forever: bool) -> None:
        if isalive(self):  # type: ignore[no-untyped-call]
            self._gone = f"<b>{escape(path.name)}</b> is {'removed' if forever else 'in the trash'}."
            self.look()
