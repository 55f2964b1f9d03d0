"""What is deleted in napari's list of layers is kept: it is told, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.brought import brought_layer, lay
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.regions import write_regions

if TYPE_CHECKING:
    from pathlib import Path


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
        assert [said.partition(": ")[2] for said in told] == ["Round 1 is kept."]
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
    assert [said.partition(":")[0] for said in told] == ["Show corrections brings them back (Review, Compare)"]


def test_a_reference_goes_on_choosing(window: Any, drawn_slide: Path, tmp_path: Path, told: list[str]) -> None:
    window.bench.open(drawn_slide)
    session, slide = window.session, window.session.slide
    write_regions(tmp_path / "mask.geojson", {"Tumor": shapely.box(10, 10, 90, 90)}, slide)
    for _ in range(2):
        lay(window.viewer, brought_layer(tmp_path / "mask.geojson", slide), "reference")
        session.give("reference", tmp_path / "mask.geojson")
    window.qtbot.wait(50)
    assert not told  # the second took the place of the first
    (layer,) = window.ours("brought")
    window.viewer.layers.remove(layer)
    window.wait(lambda: bool(told))
    assert told == ["Bring in, in Export, shows it again: mask.geojson still chooses the round, and Forget ends that."]
    assert session.given_here() == {"reference": tmp_path / "mask.geojson"}
    window.wait(lambda: window.bench.memory.settled and window.bench.memory.notes.rested)
    window.viewer.layers.remove(window.bench.layers.find("slide", slide.path))
    assert not session.slides
    window.bench.open(drawn_slide)
    window.wait(lambda: len(window.ours("brought")) == 1)  # what chooses is to be seen
    assert session.given_here() == {"reference": tmp_path / "mask.geojson"}
