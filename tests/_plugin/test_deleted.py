"""What is deleted in napari's list of layers is kept: it is told, and comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_ifkd._plugin import layers as made
from napari_ifkd.runs.folder import RunFolder


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is told of deleted layers."""
    said: list[str] = []
    monkeypatch.setattr("napari_ifkd._plugin.deleted.show_info", said.append)
    return said


def test_a_mask_that_is_looked_at_is_told_of_and_comes_back(scene: Any, told: list[str]) -> None:
    viewer, session, view = scene
    for threshold in (0.4, 0.3):
        viewer.layers.remove(view.find("mask", session.shown.path))
        assert [said.partition(",")[0] for said in told] == ["Round 1 is kept"]
        session.look(threshold=threshold)
        assert view.find("mask", session.shown.path).visible
        told.clear()


def test_nothing_is_told_of_what_nobody_looks_at_nor_of_what_we_remove(scene: Any, told: list[str]) -> None:
    viewer, session, view = scene
    viewer.layers.remove(view.find("mask", session.a.path))
    view.remove(view.find("mask", session.shown.path))
    viewer.layers.remove(view.find("heat", session.shown.path))
    assert not told


def test_corrections_are_told_of_where_they_are_of_what_is_shown(scene: Any, told: list[str]) -> None:
    viewer, session, _ = scene
    run = RunFolder(session.shown.run)
    for name in ("other.tif", session.slide.name):
        assert not told
        metadata = {made.KEY: {"kind": "corrections", "path": str(run.corrections_path(name))}}
        viewer.layers.remove(viewer.add_labels(np.zeros((9, 9), np.uint8), metadata=metadata))
    assert [said.partition(",")[0] for said in told] == ["Corrections are kept"]
