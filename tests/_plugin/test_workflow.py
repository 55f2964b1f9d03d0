"""The whole job by clicks in a real viewer: open, predict, distil, look, compare, accept, export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_from_slide_to_export_by_clicks(
    window: Any, phantom_slide: Path, quick_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, viewer = window.session, window.viewer
    slide, teacher, distill, review, export = (window.docks[n] for n in ("Slide", "Teacher", "Distill", "Review", "Export"))
    assert not teacher.predict.isEnabled()

    # open
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_, **__: (str(phantom_slide), ""))
    window.click("Slide", slide.open)
    window.wait(lambda: session.tissue is not None)
    assert session.slide.name == "phantom.tiff"
    assert "1,536" in slide.card.text()
    assert "0.5 µm/px" in slide.card.text()
    assert viewer.canvas.overlays.scale_bar.visible

    # choose a network
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *_, **__: (str(quick_teacher), ""))
    window.click("Teacher", teacher.file)
    window.wait(lambda: session.teacher is not None)
    assert "vgg-mil" in teacher.card.text()
    assert teacher.warning.isHidden()  # a phantom is what it knows

    # predict
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
    assert np.asarray(mask.data[0] if mask.multiscale else mask.data).sum() < before
    teacher.threshold.value = 0.5
    window.wait(lambda: session.threshold == 0.5)

    # distil
    distill.main["rounds.rounds"].value, distill.main["rounds.epochs"].value = 2, 1
    window.click("Distill", distill.fold)
    distill.advanced["tiles.positive_above"].value, distill.advanced["tiles.negative_below"].value = 0.5, 0.5
    distill.advanced["rounds.batch"].value = 8
    window.click("Distill", distill.run)
    window.wait(lambda: session.job.state != "running", 240)
    assert session.job.state == "done", session.job.message
    assert [r.index for r in session.rounds][-2:] == [1, 2]
    assert len(session.curve) == 2
    assert distill.table.rowCount() == len(session.rounds)
    assert {c.round for c in session.here() if c.act == "distill"} == {0, 1, 2}
    assert len(window.ours("mask")) == 4  # the prediction, and three of the run

    # look at a round by its row
    first = next(row for row in range(distill.table.rowCount()) if distill.table.item(row, 0).text() == "1")
    distill.table.selectRow(first)
    assert session.shown.round == 1
    visible = [layer for layer in window.ours("mask") if layer.visible]
    assert [layer.metadata["napari_ifkd"]["round"] for layer in visible] == [1]

    # compare
    for mode, layers in (("overlay", 2), ("contours", 2), ("disagreement", 0)):
        radio = next(b for b in review.mode.native.findChildren(_radio()) if b.text().lower() == mode)
        window.click("Review", radio)
        assert session.compare == mode
        masks = [layer for layer in window.ours("mask") if layer.visible]
        assert len(masks) == layers
        assert all(layer.contour == (2 if mode == "contours" else 0) for layer in masks)
    (disagreement,) = window.ours("disagreement")
    values = np.unique(np.asarray(disagreement.data[0] if disagreement.multiscale else disagreement.data))
    assert set(values) <= {0, 1, 2, 3}
    window.wait(lambda: "F1" in review.numbers.text())
    off = next(b for b in review.mode.native.findChildren(_radio()) if b.text() == "Off")
    window.click("Review", off)
    assert not window.ours("disagreement")

    # accept
    window.click("Review", review.accept)
    accepted = json.loads((session.run / "accepted.json").read_text())
    assert accepted["round"] == 1
    assert "round 1" in review.accepted.text()

    # export
    export.folder.value = tmp_path / "masks"
    window.click("Export", export.export)
    window.wait(lambda: "Written" in export.result.text())
    names = {path.name for path in (tmp_path / "masks").iterdir()}
    assert {"phantom_round1.geojson", "phantom_round1.ome.tif"} <= names
    assert export.open_folder.isVisible()


def _radio() -> Any:
    from qtpy.QtWidgets import QRadioButton

    return QRadioButton
