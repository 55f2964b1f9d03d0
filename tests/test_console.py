"""What the terminal shows of a run."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from napari_ifkd import console
from napari_ifkd.events import Progress, RunContinued, RunPaused, RunStarted, Warned


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Progress("map", 1, 9), ""),
        (Progress("map", 5, 9, "tiles", 12.345, 3725.4), ", 12.3 a second, 1:02:05 left"),
        (Progress("map", 5, 9, "tiles", 0.05, 80.0, 2048.0), ", 3 a minute, 0:01:20 left, 2.1 GB of GPU memory"),
    ],
)
def test_throughput_time_left_and_gpu_memory_are_told_as_far_as_known(event: Progress, told: str) -> None:
    assert console.pace_text(event) == told


@pytest.mark.parametrize(("size", "told"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "2 kB"), (25.4e6, "25 MB"), (3.21e12, "3210.0 GB")])
def test_sizes(size: float, told: str) -> None:
    assert console.size_text(size) == told


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [RunStarted("distill"), Progress("map", 5, 9, "tiles", 12.3, 60.0), RunPaused(), RunContinued(), Warned("[odd] text")]
    said = {}
    for terminal in (True, False):
        file = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=file, force_terminal=terminal, width=200, soft_wrap=True, highlight=False))
        assert console.show(iter(events)) == events[-1]
        said[terminal] = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", file.getvalue())  # without colours
    assert "5/9 tiles, 12.3 a second, 0:01:00 left" in said[True]
    assert said[False].splitlines() == [
        "distill begins",
        "paused; `napari-ifkd resume` lets it go on",
        "goes on",
        "warning: [odd] text",
    ]


def test_in_a_pipe_a_row_of_a_table_is_a_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "out", Console(highlight=False, soft_wrap=True))
    console.say_table(("name", "why"), [("a", "long " * 60), ("b", None)])
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == ["name", "a", "b"]


def test_a_bar_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for terminal in (True, False):
        file = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=file, force_terminal=terminal, width=200, soft_wrap=True, highlight=False))
        with console.bar("export") as progress:
            progress(1, 4)
        said[terminal] = file.getvalue()
    assert "export" in said[True]
    assert "25%" in said[True]
    assert said[False] == ""
