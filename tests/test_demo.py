"""The demo makes what it promises; here on a small phantom, with a network of the tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from napari_ifkd import demo
from napari_ifkd.config import load_config
from napari_ifkd.demo import DemoPlan, run_demo, summary_rows
from napari_ifkd.events import Event, Progress, RunCancelled, RunDone
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

MEASURES = {"f1", "iou", "mean_f1_positive", "average_precision", "best_threshold", "best_f1", "foreground_share", "n"}


@pytest.fixture
def plan(drawn_teacher: Path) -> DemoPlan:
    return DemoPlan(1024, 1024, 3, str(drawn_teacher), {"rounds.rounds": 1, "rounds.epochs": 1, "tiles.max_tiles": 32})


def test_demo_makes_all_it_promises_and_goes_on_where_it_stopped(plan: DemoPlan, drawn_config: Path, tmp_path: Path) -> None:
    config, seen = load_config(drawn_config), list[Event]()
    for event in run_demo(
        tmp_path, config, plan, should_stop=lambda: any(isinstance(e, Progress) and e.stage == "teacher map" for e in seen)
    ):
        seen.append(event)
    assert isinstance(seen[-1], RunCancelled)
    slide = (tmp_path / "slide" / "phantom.tiff").stat().st_mtime_ns
    events = list(run_demo(tmp_path, config, plan))
    assert isinstance(events[-1], RunDone)
    assert sum(isinstance(e, RunDone) for e in events) == 1
    assert (tmp_path / "slide" / "phantom.tiff").stat().st_mtime_ns == slide

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() == {"all_foreground", "teacher", "student", "accepted"}
    assert all(scores.keys() >= MEASURES for scores in summary.values())
    assert summary["all_foreground"]["foreground_share"] == 1
    assert summary["student"]["round"] == 1
    run = RunFolder.open(tmp_path / "run")
    assert summary["teacher"]["f1"] == run.metrics(0)["f1"]
    assert list(run.maps(1)) == ["phantom.tiff"]
    endings = {"".join(p.suffixes) for p in (tmp_path / "masks").iterdir()}
    assert {".geojson", ".ome.tif", ".provenance.json"} <= endings
    with Image.open(tmp_path / "comparison.png") as picture:
        assert picture.width > 2000
    columns, rows = summary_rows(tmp_path)
    assert [row[0] for row in rows] == ["all foreground", "teacher", "student", "accepted"]
    assert all(len(row) == len(columns) for row in rows)


def test_why_there_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.workflow.sys, "platform", "linux")
    monkeypatch.setattr(demo.workflow, "find_spec", lambda name: None)
    assert "napari" in (demo.display_missing() or "")
    monkeypatch.setattr(demo.workflow, "find_spec", lambda name: object())
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "display" in (demo.display_missing() or "")
    monkeypatch.setenv("DISPLAY", ":1")
    assert demo.display_missing() is None
