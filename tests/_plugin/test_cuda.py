"""Distillation on a GPU, started from the window. It runs where there is one, and has no say elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from napari_ifkd.distill.metrics import evaluate_masks
from napari_ifkd.inference import open_map

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def test_distillation_through_the_window_on_cuda_agrees_with_the_cpu(
    window: Any, drawn_slide: Path, drawn_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, teacher, distill = window.session, window.docks["Teacher"], window.docks["Distill"]
    session.open(drawn_slide)
    window.wait(lambda: session.tissue is not None)
    teacher.choose(drawn_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    distill.main["rounds.rounds"].value, distill.main["rounds.epochs"].value = 1, 2
    distill.advanced["tiles.positive_above"].value, distill.advanced["tiles.negative_below"].value = 0.5, 0.5
    masks = {}
    for device in ("cuda", "cpu"):
        monkeypatch.setattr("napari_ifkd._plugin.bench.device", lambda device=device: device)
        window.click("Distill", distill.run)
        window.wait(lambda: session.job is not None and session.job.state != "running", 240)
        assert session.job.state == "done", session.job.message
        assert yaml.safe_load((session.run / "run.yaml").read_text(encoding="utf-8"))["config"]["device"] == device
        shown = next(c for c in session.here() if c.run == session.run and c.round == 1)
        found = open_map(shown.path)
        masks[device] = found.read(0, 0, *found.shape)
    scores = evaluate_masks([masks["cuda"]], [masks["cpu"] >= 128])
    assert scores["f1"] > 0.99
