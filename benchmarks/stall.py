"""How long the window stands still while a run is at work: ``python benchmarks/stall.py [--out PAGE] [--where]``.

A real napari window of 1280 x 800 px shows the phantom slide and the Distill dock. A timer of 10 ms in its event loop notes how late it
fires: with nothing at work, then during distillations that run in their own process, while maps become layers and the curve grows.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT = Path(__file__).resolve().parents[1]
STEP_MS = 10
STALL_MS = 50  # from here on --where tells what the window was doing
P99_MS, MAX_MS = 30, 150  # asked for


class Pulse:
    """A timer in the event loop that notes how late it fires.

    Parameters
    ----------
    watch : also note what the window was doing when it was late
    """

    def __init__(self, watch: bool) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.late_ms: list[float] = []
        self.places: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(STEP_MS)
        if watch:
            threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True).start()

    def _beat(self) -> None:
        now = time.perf_counter()
        late = max(0.0, 1000 * (now - self._last) - STEP_MS)
        self.late_ms.append(late)
        if late > STALL_MS and self._seen:
            self.places[f"{late:.0f} ms: {self._seen.most_common(1)[0][0]}"] += 1
        self._seen.clear()
        self._last = now

    def _watch(self, thread: int) -> None:
        while (frame := sys._current_frames().get(thread)) is not None:
            if time.perf_counter() - self._last > 2e-3 * STEP_MS:
                stack = traceback.extract_stack(frame)[-12:]
                self._seen[" < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(stack))] += 1
            time.sleep(0.01)


@dataclass(frozen=True)
class Row:
    """What was measured over a while."""

    what: str
    seconds: float
    late_ms: np.ndarray
    load: float  # processes that wanted a processor in the minute before, this one's included

    @property
    def p99_ms(self) -> float:
        """Lateness that one beat in a hundred exceeds."""
        return float(np.quantile(self.late_ms, 0.99))

    def cells(self) -> list[str]:
        """Return the cells of the row."""
        late = self.late_ms
        beyond = int((late > MAX_MS).sum())
        figures = (float(np.median(late)), self.p99_ms, float(late.max()))
        return [self.what, f"{self.seconds:.0f}", *(f"{figure:.1f}" for figure in figures), str(beyond), f"{self.load:.1f}"]


def main() -> int:
    """Measure, print the figures, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="page to write, such as docs/results/stall.md")
    parser.add_argument("--runs", type=int, default=3, help="distillations, one after the other")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--idle", type=float, default=30, help="seconds with nothing at work")
    parser.add_argument("--where", action="store_true", help=f"tell what the window was doing when it was {STALL_MS} ms late")
    arguments = parser.parse_args()
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return subprocess.call([sys.executable, str(PROJECT / "scripts" / "with_display.py"), sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NAPARI_CONFIG"] = str(Path(scratch) / "napari.yaml")  # the settings of whoever runs this stay as they are
        rows = measure(arguments, Path(scratch))
    page = page_of(rows, arguments)
    print(page)
    if arguments.out is not None:
        arguments.out.write_text(page, encoding="utf-8")
    return 0


def measure(arguments: argparse.Namespace, scratch: Path) -> list[Row]:
    """Open the window; measure it at rest and during runs."""
    from napari.settings import get_plugin_settings
    from qtpy.QtTest import QTest

    from napari_ifkd._plugin.__main__ import build
    from napari_ifkd._plugin.sample_data import phantom_path
    from napari_ifkd.config import Config

    def until(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit("nothing happened for too long")
            QTest.qWait(100)

    def measured(what: str, act: Callable[[], None]) -> Row:
        load, start = os.getloadavg()[0], time.monotonic()
        pulse.late_ms.clear()
        pulse.places.clear()
        act()
        for place, _ in pulse.places.items():
            print(f"{what}: {place}", file=sys.stderr)
        return Row(what, time.monotonic() - start, np.asarray(pulse.late_ms), load)

    def distil() -> None:
        bench.distill(Config().replaced(**{"rounds.rounds": arguments.rounds, "rounds.epochs": arguments.epochs}))
        until(lambda: not session.job.alive, 3600)
        if session.job.state != "done":
            raise SystemExit(f"the run ended otherwise: {session.job.message or session.job.state}")
        QTest.qWait(2000)  # its last layers

    get_plugin_settings("napari-ifkd").runs.folder = str(scratch / "runs")
    viewer, bench = build(None)
    session: Any = bench.session
    viewer.window.resize(1280, 800)
    bench.open(phantom_path())
    until(lambda: session.tissue is not None and session.teacher is not None, 300)
    bench.docks.find("Distill").parentWidget().raise_()
    QTest.qWait(5000)
    pulse = Pulse(arguments.where)
    rows = [measured("nothing at work", lambda: QTest.qWait(int(1000 * arguments.idle)))]
    rows += [measured(f"run {number}", distil) for number in range(1, arguments.runs + 1)]
    viewer.close()
    return rows


def page_of(rows: Sequence[Row], arguments: argparse.Namespace) -> str:
    """Return the page, Markdown."""
    head = ("", "seconds", "p50, ms", "p99, ms", "longest, ms", f"beyond {MAX_MS} ms", "load before")
    table = [head, ("---",) * len(head), *(row.cells() for row in rows)]
    late = np.concatenate([row.late_ms for row in rows[1:]])
    p99, longest = float(np.quantile(late, 0.99)), float(late.max())
    verdicts = [
        f"- 99 % of the beats at most {P99_MS} ms late during runs: **{'holds' if p99 <= P99_MS else 'does not hold'}** ({p99:.1f} ms).",
        f"- None more than {MAX_MS} ms late during runs: **{'holds' if longest <= MAX_MS else 'does not hold'}** ({longest:.0f} ms).",
    ]
    return "\n".join(
        [
            "# How long the window stands still",
            "",
            "Written by `benchmarks/stall.py`; no number is typed by hand.",
            "",
            f"A real napari window of 1280 x 800 px with the phantom slide and the Distill dock, {_machine()}."
            f" A timer in its event loop fires every {STEP_MS} ms; the table tells how late it was. Each run is a distillation of"
            f" {arguments.rounds} rounds of {arguments.epochs} epochs in its own process, on the CPU, with every map shown as it comes."
            " Nobody touches the window."
            " *Load before* counts the processes that wanted a processor when the row began, those of other programs too.",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
            "",
            *verdicts,
            "",
            "The longest are turns in which napari makes a layer, as a run begins: that takes it long with nothing else at work too."
            " `--where` tells of each what it was.",
            "",
        ]
    )


def _machine() -> str:
    drawn = "drawn by software on Xvfb" if os.environ.get("XAUTHORITY", "").startswith("/tmp/xvfb-run") else "on the display there is"
    priority = os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{drawn}, on {os.cpu_count()} processors ({platform.machine()}, {platform.system()}, priority {priority}), on {when}"


if __name__ == "__main__":
    sys.exit(main())
