"""The whole job by clicks in a real viewer: open, predict, distil, look, compare, accept, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from qtpy.QtCore import Qt

from napari_ifkd._plugin.words import area
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    import pytest


def test_from_slide_to_export_by_clicks(
    window: Any, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, viewer = window.session, window.viewer
    slide, teacher, distill, review, export = (window.docks[n] for n in ("Slide", "Teacher", "Distill", "Review", "Export"))
    assert not teacher.predict.isEnabled()

    # open
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_, **__: (str(drawn_slide), ""))
    window.click("Slide", slide.open)
    window.wait(lambda: session.tissue is not None)
    assert session.slide.name == "tiny.tif"
    assert "320" in slide.card.text()
    assert "1 µm/px" in slide.card.text()
    assert viewer.canvas.overlays.scale_bar.visible

    # choose a network
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_, **__: (str(drawn_teacher), ""))
    window.click("Teacher", teacher.file)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    assert "vgg-mil" in teacher.card.text()
    assert teacher.warning.isHidden()

    # predict
    window.use("Teacher", teacher.heat)
    window.click("Teacher", teacher.predict)
    assert not teacher.predict.isEnabled()
    window.wait(lambda: session.job.state != "running")
    assert session.job.state == "done", session.job.message
    assert teacher.predict.isEnabled()
    (image,), (heat,), (mask,) = window.ours("slide"), window.ours("heat"), window.ours("mask")
    for layer in (heat, mask):
        assert layer.units == image.units
        one_map_pixel = np.asarray(layer.scale)
        assert (np.abs(layer.extent.world - image.extent.world) <= one_map_pixel).all()

    # live threshold: another mask, no other run
    before = np.asarray(mask.data[0] if mask.multiscale else mask.data).sum()
    teacher.threshold.value = 0.95
    window.wait(lambda: session.threshold == 0.95)
    seen = np.asarray(mask.data[0] if mask.multiscale else mask.data)
    assert seen.sum() < before
    looked_at = np.count_nonzero(session.shown.found.read(0, 0, *session.shown.found.shape))
    told = f"{area(seen.sum() * np.prod(mask.scale) / 1e6)}, {seen.sum() / looked_at:.0%} of what it looked at"
    window.wait(lambda: told in teacher.marked.text())
    teacher.threshold.value = 0.5
    window.wait(lambda: session.threshold == 0.5)

    # distil
    distill.main["rounds.rounds"].value, distill.main["rounds.epochs"].value = 2, 1
    window.click("Distill", distill.fold)
    distill.advanced["tiles.positive_above"].value, distill.advanced["tiles.negative_below"].value = 0.5, 0.5
    distill.advanced["rounds.batch"].value = 16
    distill.advanced["rounds.robust.averaged_views"].value = False
    window.click("Distill", distill.run)
    window.wait(lambda: session.job.state != "running", 240)
    assert session.job.state == "done", session.job.message
    assert [r.index for r in session.rounds][-2:] == [1, 2]
    assert len(session.curve) == 2
    assert distill.table.rowCount() == len(session.rounds)
    assert [c.label for c in session.here()] == ["Teacher", "Round 1", "Round 2"]  # the first took the prediction over
    assert "The run recommends" in distill.progress.line.text()
    assert len(window.ours("mask")) == 2  # what is shown, and what was before: napari's layers are used again

    # look at a round by its row
    first = next(row for row in range(distill.table.rowCount()) if distill.table.item(row, 0).text() == "1")
    distill.table.selectRow(first)
    assert session.shown.round == 1
    visible = [layer for layer in window.ours("mask") if layer.visible]
    assert [layer.metadata["napari_ifkd"]["round"] for layer in visible] == [1]

    # compare
    for mode, layers in (("overlay", 2), ("contours", 2), ("disagreement", 0)):
        window.click("Review", review.compare.mode.buttons[mode])
        assert session.compare == mode
        masks = [layer for layer in window.ours("mask") if layer.visible]
        assert len(masks) == layers
        assert all((layer.contour > 0) == (mode == "contours") for layer in masks)
    (disagreement,) = window.ours("disagreement")
    values = np.unique(np.asarray(disagreement.data[0] if disagreement.multiscale else disagreement.data))
    assert set(values) <= {0, 1, 2, 3}
    window.wait(lambda: "F1" in review.compare.numbers.text())
    window.click("Review", review.compare.mode.buttons["off"])
    assert not window.ours("disagreement")

    # accept
    window.click("Review", review.accept)
    accepted = json.loads((session.run / "accepted.json").read_text())
    assert accepted["round"] == 1
    assert distill.progress.line.text().startswith("Done. Round 1 is accepted, at threshold")
    assert "round 1" in review.accepted.text()

    # export
    export.folder.value = tmp_path / "masks"
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())
    names = {path.name for path in (tmp_path / "masks").iterdir()}
    assert {"tiny_round1.geojson", "tiny_round1.ome.tif"} <= names
    assert export.open_folder.isVisible()


def test_out_of_its_domain_the_warning_goes_everywhere(window: Any, shared_data: Path, phantom_teacher: Path, tmp_path: Path) -> None:
    session, teacher, export = window.session, window.docks["Teacher"], window.docks["Export"]
    window.viewer.open(str(shared_data / "slides" / "CMU-1-Small-Region.svs"), plugin="napari-ifkd")  # as a drop does
    window.wait(lambda: session.tissue is not None)
    assert "aperio" in window.docks["Slide"].card.text()
    teacher.choose(phantom_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == phantom_teacher)
    assert "phantom slides only" in teacher.warning.text()
    assert teacher.warning.isVisibleTo(teacher.content)
    window.click("Slide", next(b for b in window.docks["Slide"].region.native.findChildren(_radio()) if b.text() == "Visible field"))
    window.viewer.scene.camera.zoom = 2
    window.use("Teacher", teacher.heat)
    window.click("Teacher", teacher.predict)
    window.wait(lambda: session.job.state != "running")
    assert session.job.state == "done", session.job.message
    (image,), (heat,), (mask,) = window.ours("slide"), window.ours("heat"), window.ours("mask")
    for layer in (heat, mask):
        assert "wrong tissue" in layer.name
        assert "phantom slides only" in layer.metadata["napari_ifkd"]["warnings"][0]
        assert (np.abs(layer.extent.world - image.extent.world) <= np.asarray(layer.scale)).all()
    assert "phantom slides only" in export.warning.text()
    export.folder.value = tmp_path / "masks"
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())
    (sidecar,) = (tmp_path / "masks").glob("*.provenance.json")
    assert "phantom slides only" in sidecar.read_text()


def _radio() -> Any:
    from qtpy.QtWidgets import QRadioButton

    return QRadioButton


def test_rounds_on_two_slides_patches_and_drawn_regions(
    window: Any, drawn_slide: Path, drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    distill, session = window.docks["Distill"], window.session
    window.bench.open(drawn_slide)
    window.front("Distill")
    assert not distill.all_slides.native.isEnabled()
    assert "one slide is open" in distill.all_slides.native.toolTip()
    window.bench.open(other)
    window.docks["Teacher"].choose(drawn_teacher)
    window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
    window.click("Distill", distill.all_slides)
    window.bench.drawings.add("tumour", session.slide, [("", shapely.box(165, 32, 288, 160))])
    window.wait(lambda: "1 drawn region" in distill.what.text())
    assert "2 slides" in distill.what.text()
    with monkeypatch.context() as patched:
        asked: list[list[str]] = []
        patched.setattr(window.bench.runner, "start", lambda act, command, *_: asked.append(command()))
        for used in (False, True):
            window.click("Distill", distill.use_drawn)
            assert ("drawn region" in distill.what.text()) == used
            window.click("Distill", distill.run)
            assert ("--regions" in asked[-1]) == used
    distill.patches.value = drawn_patches
    distill.main["rounds.rounds"].value = distill.main["rounds.epochs"].value = 1
    distill.advanced["rounds.robust.averaged_views"].value = False
    window.click("Distill", distill.run)
    window.wait(lambda: session.job is not None and session.job.state == "done")
    run = RunFolder.open(session.run)
    assert [Path(path).name for path in run.about["data"]["data"]] == ["other.tif", "tiny.tif", drawn_patches.name]
    assert set(run.maps(1)) == {"tiny.tif", "other.tif"}
    assert [path.name for path in Path(run.about["data"]["regions"][0]).iterdir()] == ["other.geojson"]
    for slide in session.slides:
        session.activate(slide)
        assert {c.round for c in session.here()} == {0, 1}
    bare = tmp_path / "third.tif"  # of which the run knows nothing
    shutil.copy(drawn_slide, bare)
    window.bench.open(bare)
    assert "on another slide" in distill.whose.text()
    window.show("Distill", distill.table)
    place = distill.table.visualItemRect(distill.table.item(1, 0)).center()
    window.qtbot.mouseClick(distill.table.viewport(), Qt.MouseButton.LeftButton, pos=place)  # goes to a slide that has it
    assert (session.slide.name, session.shown.round) == ("tiny.tif", 1)
    assert "on another slide" not in distill.whose.text()
