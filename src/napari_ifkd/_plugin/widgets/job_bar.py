"""Progress of the run at work: stage, share, time left, and a button to cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from .parts import Notice, button, row

if TYPE_CHECKING:
    from napari_ifkd._plugin.bench import Bench
    from napari_ifkd.session_records import Job


class JobBar(QWidget):
    """Show the session's job if it is one of the given acts; hidden before the first.

    Parameters
    ----------
    bench : of the viewer
    act : "predict" or "distill"
    """

    def __init__(self, bench: Bench, act: str) -> None:
        super().__init__()
        self.session, self.act = bench.session, act
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.bar.setToolTip("How far the present stage of the run is")
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.cancel = button("Cancel", "Stop the run within two seconds; everything complete is kept", bench.runner.cancel)
        self.warned = Notice()
        self.error = Notice()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self._at_work = row(self.bar, self.cancel, stretch=(1, 0))
        layout.addWidget(self._at_work)
        layout.addWidget(self.line)
        layout.addWidget(self.warned)
        layout.addWidget(self.error)

    def update_job(self) -> None:
        """Show the job as it is now."""
        job = self.session.job
        mine = job is not None and job.act == self.act
        self.setVisible(mine)
        if job is None or not mine:
            return
        self.cancel.setEnabled(job.state == "running")
        self._at_work.setVisible(job.alive)
        if job.total and job.state == "running":
            self.bar.setRange(0, job.total)
            self.bar.setValue(min(job.done, job.total))
        else:
            self.bar.setRange(0, 1)  # no busy bar: its animation would redraw the whole canvas thirty times a second
            self.bar.setValue(0)
        self.line.setText(_line(job))
        self.line.setVisible(bool(self.line.text()))
        self.warned.say(self.session.notice or None)
        self.error.say(job.message if job.state == "failed" else None, error=True)


def _line(job: Job) -> str:
    if job.state == "running":
        parts = [job.stage.capitalize()]
        if job.total:
            parts.append(f"{job.done:,} of {job.total:,} {job.unit}".rstrip())
        if job.seconds_left is not None:
            parts.append(time_left(job.seconds_left))
        return " · ".join(parts)
    said = {"cancelling": "Stopping …", "done": "Done.", "cancelled": "Cancelled; what was complete is kept.", "failed": ""}
    return f"Done: {job.message}" if job.state == "done" and job.message else said[job.state]


def time_left(seconds: float) -> str:
    """Say how long something still takes."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
