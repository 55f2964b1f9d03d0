"""What is deleted in napari's list of layers is kept: it is told, and comes back."""

from __future__ import annotations

import shutil
import time
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
    assert [said.partition(":")[0] for said in told] == ["Compare, Show corrections"]


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


def test_what_is_painted_comes_back_where_its_layer_is_deleted(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_ifkd._plugin.widgets.correct.show_info", said.append)
    correct, layers = reviewed.correct, window.viewer.layers
    reviewed.pages.setCurrentWidget(correct)
    window.viewer.reset_view()
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    layers.remove(correct.layer())  # of which nothing was painted
    window.qtbot.wait(50)
    assert (correct.layer(), window.bench.painted_on) == (None, None)
    window.click("Review", correct.begin)
    window.wait(lambda: correct.layer() is not None)
    correct.layer().paint((30, 40), 2)
    painted = np.array(correct.layer().data)
    layers.selection.select_only(correct.layer())
    layers.remove_selected()
    window.wait(lambda: correct.layer() is not None)
    assert np.array_equal(correct.layer().data, painted)
    assert correct.layer().mode == "paint"
    assert layers.selection.active is correct.layer()
    assert said == ["Write back, or Discard (Review, Correct): what is painted is not written back."]
    window.click("Review", correct.write)
    window.wait(lambda: correct.layer() is None and "Corrected:" in correct.told.text())
    assert len(said) == 1


def test_one_layer_is_picked_in_the_list_after_one_was_deleted(window: Any, reviewed: Any, drawn_slide: Path, tmp_path: Path) -> None:
    session, layers = window.session, window.viewer.layers
    first = session.slide
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    window.wait(lambda: len(window.ours("slide")) == 2)
    window.bench.look_at(first)
    window.wait(lambda: window.bench.layers.settled and session.slide is first)
    mask = next(layer for layer in window.ours("mask") if layer.visible)
    layers.selection.select_only(mask)
    layers.move(layers.index(mask), 1 + max(layers.index(layer) for layer in window.ours("slide")))
    layers.remove_selected()
    window.qtbot.wait(100)
    picked = window.viewer.window._qt_viewer.layers.selectionModel().selectedIndexes()
    assert len(picked) == len(layers.selection) == 1
    assert session.slide is first


def test_marks_on_lesions_come_back_on_their_page(window: Any, reviewed: Any, told: list[str]) -> None:
    lesions = reviewed.lesions
    reviewed.pages.setCurrentWidget(lesions)
    window.click("Review", lesions.list)
    window.wait(lambda: lesions.model.rowCount() > 0)
    window.key("J")
    window.key("A")
    window.wait(lambda: bool(window.ours("verdicts")))
    told.clear()
    window.viewer.layers.remove(window.ours("verdicts")[0])
    window.wait(lambda: told == ["J or K, in Review, Lesions, brings them back: what was said of lesions is kept."])
    reviewed.pages.setCurrentWidget(reviewed.compare)
    reviewed.pages.setCurrentWidget(lesions)
    window.wait(lambda: bool(window.ours("verdicts")))
    window.viewer.layers.remove(window.ours("verdicts")[0])
    for key in ("J", "K"):  # it may be the last one that is picked
        window.key(key)
    window.wait(lambda: bool(window.ours("verdicts")))


def test_what_was_drawn_on_a_slide_goes_and_comes_with_it(window: Any, drawn_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_ifkd._plugin import drawn

    write = drawn._write
    monkeypatch.setattr(drawn, "_write", lambda *of: time.sleep(0.5) or write(*of))  # a drive that is slow
    window.bench.open(drawn_slide)
    session, drawings = window.session, window.bench.drawings
    window.wait(lambda: session.tissue is not None)
    drawings.add("exclusion", session.slide, [("", shapely.box(10, 10, 60, 60))])
    window.viewer.layers.remove(window.ours("slide")[0])  # at once: it is not on disk yet
    window.wait(lambda: not session.slides and not window.ours("drawn exclusion"))
    window.bench.open(drawn_slide)
    window.wait(lambda: session.slide is not None and drawings.count("exclusion", session.slide) == 1)
    window.wait(lambda: window.docks["Slide"].exclusions_fold.button.text() == "Exclusions (1)")
