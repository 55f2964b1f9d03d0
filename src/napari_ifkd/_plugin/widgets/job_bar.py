"""The run at work: stage, share, time left, speed; pause, continue, cancel; its log and resume where it ended early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_ifkd._plugin.words import in_window
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import TOLD_BY

from .log_dialog import LogDialog
from .parts import Notice, button, keep_room, room_for, row, shortened

if TYPE_CHECKING:
    from napari_ifkd._plugin.bench import Bench
    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.session_records import Job

_WORDS = "x\nx\nx"  # as many lines as are said of a run at work
_ROOM = "Its progress, Pause and Cancel come here."  # of room that is kept, and would look as if something were missing


class JobBar(QWidget):
    """Show the session's job if it is one of the given acts; hidden, or empty, before the first.

    Parameters
    ----------
    bench : of the viewer
    acts : such as "predict", "distill"
    warned : whether the dock itself tells that the network does not know the slide
    named : whether the run is called by its name
    steady : whether there is room for a run at work from the beginning: what lies below stays when one begins, ends, or is of elsewhere.
        The dock has its note, `warned`, below that
    """

    def __init__(self, bench: Bench, *acts: str, warned: bool = True, named: bool = False, steady: bool = False) -> None:
        super().__init__()
        self._warned, self._named, self._steady = warned, named, steady
        self.bench, self.session, self.acts = bench, bench.session, acts
        self._room = False  # whether there is room for what is said of a run at work
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.bar.setToolTip("How far the present stage of the run is")
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.line.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        runner = bench.runner
        self.pause = button("Pause", "Let the run wait, with all it has in memory; the processor or GPU is free meanwhile", runner.pause)
        self.proceed = button("Continue", "Let the paused run go on where it waits", runner.proceed)
        self.cancel = button("Cancel", "Stop the run within two seconds; everything complete is kept", runner.cancel)
        self.resume = button("Resume", "Go on from the last complete epoch or tile row", self._resume)
        self.log = button("Log", "Read what the run said", self._show_log)
        self.warned = Notice(brief=steady)
        self.error = Notice()
        self._buttons = row(self.pause, self.proceed, self.cancel, self.resume, self.log, stretch=(1, 1, 1, 1, 1))
        self._parts = layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.bar, self.line, self._buttons, self.error, *(() if steady else (self.warned,))):
            layout.addWidget(part)
        layout.addStretch(1)

    def update_job(self) -> None:
        """Show the job as it is now."""
        job = self.session.job
        if job is None or job.act not in self.acts:
            self.setVisible(self._steady)
            for part in (self.bar, self._buttons):
                part.hide()
            self.line.setText(_ROOM)
            self.line.setVisible(self._steady)
            for told in (self.error, self.warned):
                told.say(None)
            return
        self.setVisible(True)
        self.setUpdatesEnabled(False)  # a bar that moves is drawn at once, and with it the whole canvas: once is enough
        self._show(job)
        self.setUpdatesEnabled(True)

    def resizeEvent(self, event: Any) -> None:
        """Keep room for a run at work, at the width there is by now."""
        super().resizeEvent(event)
        if self._steady:
            parts = self.bar.sizeHint().height(), room_for(self.line, [_WORDS]), self.cancel.sizeHint().height()
            self.setMinimumHeight(sum(parts) + 2 * self._parts.spacing())

    def _show(self, job: Job) -> None:
        room = self.bar.sizePolicy()
        room.setRetainSizeWhenHidden(job.resumable)  # where it ended early the buttons stay
        self.bar.setSizePolicy(room)
        self.bar.setVisible(job.alive)
        self.pause.setVisible(job.state == "running")
        self.proceed.setVisible(job.state in ("pausing", "paused"))
        self.cancel.setVisible(job.alive)
        self.cancel.setEnabled(job.state != "cancelling")
        self.resume.setVisible(job.resumable and RunFolder(job.out).exists)  # it may have been refused before it was one
        self.log.setVisible(job.resumable)
        self._buttons.setVisible(job.state != "done")
        slide = self.session.slide
        of_others = slide is not None and bool(job.slides) and slide.name not in job.slides
        elsewhere = job.act == "distill" and (self.session.run != job.out or of_others)  # what lies around is of another run, or slide
        step = "%p% of this step" if job.act == "distill" else "%p%"
        self.bar.setFormat(f"{shortened(job.out.name.replace('%', '_'))}: {step}" if elsewhere else step)
        if job.total and job.alive and job.state != "cancelling":
            self.bar.setRange(0, job.total)
            self.bar.setValue(min(job.done, job.total))
        else:
            self.bar.setRange(0, 1)  # no busy bar: its animation would redraw the whole canvas thirty times a second
            self.bar.setValue(0)
        named = self._named or (elsewhere and not job.alive)
        steered = job.alive or job.resumable
        if self._room != steered:  # the buttons below stay
            self._room = steered
            keep_room(self.line, [_WORDS + "\nx" * named] if steered else [])
        accepted = self.session.accepted if self.session.run == job.out else None
        judging, advice = self.bench.judging, ""
        if self.session.run == job.out:
            advice = "Its points are being judged" if judging.under_way and accepted is None else judging.advice()
        told = job_line(job, accepted, advice) if self._is_here(job) else f"{job.out.name} is done, on another slide."
        shown = self.session.shown
        other = shown is not None and shown.run != job.out and any(c.run == job.out for c in self.session.here())
        if job.act == "predict" and job.state == "done" and other:
            told = ""  # it is of a prediction that nobody looks at
        kept = self.session.kept_threshold
        if told and kept is not None and job.state == "done" and job.act != "distill" and accepted is None and self._is_here(job):
            told += f" The threshold is {kept:.3g}, as it was before."  # which may suit this one less
        self.line.setText(f"{job.out.name}\n{told}" if named and told and self._is_here(job) else told)
        self.line.setVisible(bool(self.line.text()))
        self.line.setToolTip(in_window(job.message) if job.state == "done" else "")
        notice = self.session.notice
        told_already = self._warned and notice in self.session.warnings()
        self.warned.say(None if told_already or not self._is_here(job) else notice, kind="note")
        self.error.say(job.message if job.state == "failed" else None, kind="error")

    def _is_here(self, job: Job) -> bool:
        """Return whether what is said of the end of a run holds for the active slide."""
        slide, told = self.session.slide, {*job.slides, *(c.slide for c in self.session.candidates if c.run == job.out)}
        return job.state != "done" or slide is None or not told or slide.name in told

    def _resume(self) -> None:
        if self.session.job is not None:
            self.bench.runs.resume(self.session.job.out)

    def _show_log(self) -> None:
        if self.session.job is not None:
            LogDialog(RunFolder(self.session.job.out).log, self.window()).show()


def job_line(job: Job, accepted: Accepted | None, advice: str = "") -> str:
    """Return what to say of a job besides its bar and its error, in one or two lines; once a round is accepted, of that.

    Parameters
    ----------
    job : the run
    accepted : what was accepted of it
    advice : what points recommend, who know more than its rule
    """
    match job.state:
        case "running" | "pausing" | "paused":
            unit = "" if job.act == "distill" else job.unit  # the pace tells it, and all has room on one line
            done = f"{job.done:,} of {job.total:,} {unit}".rstrip() if job.total else ""
            first = " · ".join(part for part in (job.stage.capitalize(), done) if part)
            if job.state == "pausing":
                return f"{first}\nPauses after this batch …"
            if job.state == "paused":
                return f"{first}\nPaused: it waits, with all it has in memory."
            left = time_left(job) if job.seconds_left is not None and job.done < job.total else ""
            pace = [f"{rate(job.per_second)} {job.unit}/s"] if job.per_second else []
            pace += [f"{job.device_mb:,.0f} MiB of GPU"] if job.device_mb is not None else []
            return "\n".join(part for part in (first, left, " · ".join(pace)) if part)
        case "cancelling":
            return "Stopping …"
        case "done" if job.act == "train":
            return "Trained, and chosen as the model: preview a field, then predict."
        case "done" if accepted is not None and not advice:
            name = f"Round {accepted.round}" if accepted.round else "The teacher"
            by = "" if accepted.by == "user" else f" by {TOLD_BY.get(accepted.by, accepted.by)}"
            return f"Done. {name} is accepted{by}, at threshold {accepted.threshold:.3g}."
        case "done" if job.act == "distill":
            best = f"round {job.recommended}" if job.recommended else "the teacher"
            return f"Done. {advice or f'The run recommends {best}'}: compare, correct and accept in the Review dock."
        case "done":
            return "Done. Set the threshold; rounds of distillation, in the Distill dock, come next."
        case "cancelled":
            return "Cancelled; what was complete is kept."
        case "interrupted":
            return "It ended without a word: killed, or the computer went down. What was complete is kept."
        case _:
            return ""


def rate(per_second: float) -> str:
    """Say how many a second, in two digits."""
    return f"{per_second:.2g}" if per_second < 10 else f"{per_second:,.0f}"


def time_left(job: Job) -> str:
    """Say how long a job still takes: its step, where it has several, and the whole as far as can be told."""
    left = f"{_long(job.seconds_left or 0.0)} left"
    if job.act != "distill":
        return f"about {left}"
    return f"{left} of this step" + (f", {_long(job.run_left)} of the run" if job.run_left is not None else "")  # on one line


def _long(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
