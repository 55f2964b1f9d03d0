"""A run that is at work, but not followed: napari was closed, or crashed, meanwhile, or it was started elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from .parts import Notice, button

if TYPE_CHECKING:
    from napari_ifkd._plugin.bench import Bench


class Offer(QWidget):
    """Offer to follow a run again; hidden where there is none.

    Parameters
    ----------
    bench : of the viewer
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.session = bench, bench.session
        self.notice = Notice()
        self.follow = button("Follow it", "Open its slide and show the run as it goes on", self._follow, main=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.notice)
        layout.addWidget(self.follow)

    def update_offer(self) -> None:
        """Show the offer as it is now."""
        run = self.session.offer
        self.setVisible(run is not None)
        if run is None:
            return
        what = {"distill": "A distillation", "predict": "A prediction", "train": "A training"}.get(run.act, "A run")
        of = f" of {' and '.join(run.slides[:2])}" if run.slides else ""
        of += f" and {len(run.slides) - 2} more" if len(run.slides) > 2 else ""
        self.notice.say(f"{what}{of} is {'paused' if run.status == 'paused' else 'still at work'}: {run.name}", kind="note")

    def _follow(self) -> None:
        if self.session.offer is not None:
            self.bench.runs.open(self.session.offer.path)
