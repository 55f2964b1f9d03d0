"""Teach it yourself: what the fold tells of what there is to learn from. The way to a teacher that predicts is in test_drawn."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import shapely

from napari_ifkd.events import MapReady, RunDone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LEFT, RIGHT = shapely.box(32, 32, 150, 224), shapely.box(165, 32, 288, 160)


def test_tiles_are_counted_as_training_will_cut_them(window: Any, drawn_slide: Path, drawn_patches: Path, tmp_path: Path) -> None:
    dock, session, drawings = window.docks["Teacher"].teach, window.session, window.bench.drawings
    window.bench.open(drawn_slide)
    window.wait(lambda: session.tissue is not None)
    window.click("Teacher", window.docks["Teacher"].teach_fold.button)
    dock.form["tiles.mpp"].value, dock.form["tiles.size_px"].value = 1, 32
    first = session.slide
    drawings.add("tumour", first, [("", RIGHT)])
    drawings.add("normal", first, [("", LEFT)])
    window.wait(lambda: "Tiles inside: 16 with and 18 without" in dock.told.text())
    assert "larger" not in dock.told.text()
    assert "Few of both: draw more." in dock.told.text()  # a dozen is a start, dozens are asked for

    drawings.add("exclusion", first, [("pen", shapely.box(192, 64, 256, 128))])  # 2 x 2 tiles
    window.wait(lambda: "Tiles inside: 12 with and 18 without" in dock.told.text())

    dock.form["tiles.size_px"].value = 128
    window.wait(lambda: "0 without" in dock.told.text())
    assert "Draw larger and on tissue, or take smaller tiles" in dock.told.text()
    assert not dock.train.isEnabled()
    assert "tiles of one kind are missing: draw larger" in dock.train.toolTip()
    dock.patches.value = drawn_patches
    window.wait(lambda: "Both are learned from" in dock.told.text() and dock.train.isEnabled())
    assert "They do not tell their resolution: taken as 1 µm/px" in dock.told.text()
    dock.patches.line_edit.value = ""
    window.wait(lambda: not dock.train.isEnabled())
    dock.form["tiles.size_px"].value = 32

    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    window.bench.open(other)
    window.wait(lambda: session.slide.path == other and session.tissue is not None)
    drawings.add("normal", session.slide, [("", LEFT)])
    window.wait(lambda: "on 2 slides" in dock.told.text() and "Tiles inside: 12 with and 36 without" in dock.told.text())

    drawings.clear("tumour", first)
    window.wait(lambda: "Both kinds are needed" in dock.told.text() and "0 with and 36" in dock.told.text())
    assert not dock.train.isEnabled()
    window.wait(lambda: not drawings._timer.isActive())


def test_nothing_is_trained_from_a_folder_that_will_not_do(window: Any, drawn_slide: Path, drawn_patches: Path, tmp_path: Path) -> None:
    dock = window.docks["Teacher"].teach
    window.bench.open(drawn_slide)
    (tmp_path / "empty").mkdir()
    for folder, told in ((tmp_path / "empty", "neither labels.csv nor pos/"), (drawn_patches, "Patches of")):
        dock.patches.value = folder
        window.wait(lambda told=told: told in dock.told.text())
        assert dock.train.isEnabled() == (folder is drawn_patches)
        assert ("nothing can be learned from the patch folder" in dock.train.toolTip()) == (folder is not drawn_patches)
    dock.patches.value = tmp_path / "empty"
    window.wait(lambda: not dock.train.isEnabled() and "neither labels.csv" in dock.told.text())
    window.front("Slide")
    window.wait(lambda: not window.docks["Teacher"].seen)
    shutil.copytree(drawn_patches, tmp_path / "empty", dirs_exist_ok=True)  # mended meanwhile
    window.front("Teacher")
    window.wait(dock.train.isEnabled)


def test_the_pens_stay_under_the_mouse(window: Any, drawn_slide: Path) -> None:
    dock = window.docks["Teacher"].teach
    window.bench.open(drawn_slide)
    window.click("Teacher", window.docks["Teacher"].teach_fold.button)

    def places() -> tuple[int, int]:
        return dock.draw["normal"].y(), dock.train.y()

    at, before = places(), None
    while at != before:  # on a busy machine what was folded takes a while to be laid out
        window.qtbot.wait(300)
        at, before = places(), at
    for use in ("tumour", "normal", "normal"):
        window.click("Teacher", dock.draw[use])
        window.qtbot.wait(50)
        assert places() == at


def test_a_new_teacher_begins_at_the_usual_threshold(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was set for another network says nothing of it; what is seen already does not change."""
    session, chosen, told = window.session, [], []
    monkeypatch.setattr(window.docks["Teacher"], "choose", lambda run, news: chosen.append(run) or told.append(news))
    window.bench.open(drawn_slide)
    for name, seen, wanted in (("one", False, 0.5), ("two", True, 0.2)):
        if seen:
            write_map(tmp_path / "map/maps/tiny.zarr", session.slide)
            session.begin("predict", tmp_path / "map")
            session.apply(MapReady(0, session.slide.name, "maps/tiny.zarr"))
        session.look(threshold=0.2)
        session.begin("train", tmp_path / name)
        session.apply(RunDone(0, "done"))
        assert chosen[-1] == tmp_path / name
        assert told[-1] == f"<b>{name}</b> is trained, and the model from now on."
        assert session.threshold == wanted
    assert "The threshold is 0.2, as it was before" in window.docks["Teacher"].teach.progress.line.text()
