"""The Export dock: formats, options, progress, cancel, and what was written, by clicks."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_ifkd import export as engine
from napari_ifkd.annotations import Corrections
from napari_ifkd.config import Config
from napari_ifkd.events import MapReady, RunDone
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def dock(window: Any, tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> Any:
    run = RunFolder.create(tmp_path / "run", "predict", Config(), {"slides": [str(drawn_slide)]})
    path = run.map_path(0, drawn_slide.name)
    with open_slide(drawn_slide) as slide:
        values = np.full((slide.shape_level0[0] // 2, slide.shape_level0[1] // 2), 25, np.uint8)
        values[20:60, 20:60], values[80:84, 100:104] = 204, 150
        write_map(path, slide, values)
    run.append(MapReady(0, drawn_slide.name, path.relative_to(run.path).as_posix()))
    run.append(RunDone(0, "the only one"))
    window.bench.open(run.path)
    window.wait(lambda: window.session.shown is not None)
    window.session.look(sigma_px=0)
    dock = window.docks["Export"]
    assert dock.folder.value == drawn_slide.parent / "masks" / "run"  # no run writes over another's files
    assert dock.where.text() == f"Beside the slide: {dock.folder.value}"
    dock.folder.value = tmp_path / "masks"
    assert dock.where.text() == str(tmp_path / "masks")
    return dock


def choose(window: Any, dock: Any, *names: str) -> None:
    for name, box in dock.formats.boxes.items():
        if box.isChecked() != (name in names):
            window.click("Export", box)


def test_a_map_of_a_region_is_said_to_be_one_and_what_does_not_suit_the_slide_is_grey(window: Any, dock: Any) -> None:
    box = dock.formats.boxes["dicom-seg"]
    assert not box.isEnabled()
    assert "the slide as DICOM" in box.toolTip()
    assert all(other.isEnabled() for name, other in dock.formats.boxes.items() if name != "dicom-seg")

    review, shown = window.docks["Review"], window.session.shown
    assert "region" not in dock.what.text() + review.about.text()
    shown.found.attributes["region"] = True
    window.session.show(None)
    window.session.show(shown)
    assert "tiny.tif, a region of it<br>" in dock.what.text()
    assert "a region of the slide only" in review.about.text()


def test_a_segmentation_is_chosen_on_a_dicom_slide(window: Any, shared_data: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    pytest.importorskip("highdicom", reason="DICOM is an extra")
    from pydicom import dcmread

    path, dock = shared_data / "slides" / "CMU-1-Small-Region.dcm.d", window.docks["Export"]
    run = RunFolder.create(tmp_path / "run", "predict", Config(), {"slides": [str(path)]})
    with open_slide(path) as slide:
        values = np.full((slide.shape_level0[0] // 2, slide.shape_level0[1] // 2), 25, np.uint8)
        values[200:600, 200:600] = 204
        write_map(run.map_path(0, slide.name), slide, values)
        run.append(MapReady(0, slide.name, run.map_path(0, slide.name).relative_to(run.path).as_posix()))
    run.append(RunDone(0, "the only one"))
    window.bench.open(run.path)
    window.wait(lambda: window.session.shown is not None)
    dock.folder.value = tmp_path / "masks"
    choose(window, dock, "dicom-seg")
    window.click("Export", dock.export)
    window.wait(lambda: "Written" in dock.result.text())
    written = [dcmread(file, stop_before_pixels=True) for file in (tmp_path / "masks").rglob("*.dcm")]
    assert {file.Modality for file in written} == {"SEG"}


def test_options_are_kept_to(window: Any, dock: Any, tmp_path: Path) -> None:
    session = window.session
    corrections = Corrections.create(RunFolder(session.shown.run).corrections_path(session.slide.name), session.slide, 2.0)
    corrections.paint(100, 10, np.full((10, 10), 1, np.uint8))  # normal, where nothing was marked
    choose(window, dock, "geojson.gz", "ome-tiff", "png", "csv")
    window.click("Export", dock.fold.button)
    window.click("Export", dock.options.own)
    dock.options.threshold.setValue(0.55)
    dock.options.area.setValue(1e-4)
    dock.options.mpp.setValue(1.0)
    assert "threshold 0.55" in dock.what.text()
    window.click("Export", dock.export)
    window.wait(lambda: "Written" in dock.result.text())
    names = {path.name for path in (tmp_path / "masks").iterdir()}
    assert names == {f"tiny_round0{end}" for end in (".geojson.gz", ".ome.tif", ".png", ".lesions.csv", ".slide.csv", ".provenance.json")}
    assert all(name in dock.result.text() for name in names)
    assert dock.open_folder.isVisible()
    assert not dock.at_work.isVisible()
    image = tifffile.imread(tmp_path / "masks" / "tiny_round0.ome.tif")
    wanted = np.zeros((256, 320), np.uint8)
    wanted[40:120, 40:120] = 1  # the small one is below 100 um2
    np.testing.assert_array_equal(image, wanted)
    assert "1 smaller than asked for" in dock.result.text()
    assert "Corrected as painted: 0.0004 mm² normal." in dock.result.text()
    told = json.loads((tmp_path / "masks" / "tiny_round0.provenance.json").read_text())
    assert (told["threshold"], told["min_area_um2"], told["mpp"]) == (0.55, pytest.approx(100), 1.0)

    sidecar = tmp_path / "masks" / "tiny_round0.provenance.json"
    dock.options.threshold.setValue(0.65)  # other files of the same names: not without a question
    for answer, threshold in (("Cancel", 0.55), ("Replace", 0.65)):
        window.when(
            lambda: dock.box is not None and dock.box.isVisible(),
            lambda answer=answer: (dock.yes if answer == "Replace" else dock.box.button(dock.box.StandardButton.Cancel)).click(),
        )
        window.click("Export", dock.export)
        window.wait(lambda: not dock._busy)
        assert json.loads(sidecar.read_text())["threshold"] == threshold
    window.click("Export", dock.export)  # the same again
    window.wait(lambda: not dock._busy)
    assert dock.box is None


def test_the_folder_is_called_like_the_run_that_is_shown(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, export = window.session, window.docks["Export"]
    monkeypatch.chdir(drawn_slide.parent)
    slide = session.open(drawn_slide.name)  # as it is named on a command line
    for act in ("predict", "distill"):
        session.begin(act, tmp_path / act)
        write_map(tmp_path / act / "rounds/00/maps/tiny.zarr", slide, identity=act)
        session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
        session.apply(RunDone(0, ""))
        assert Path(export.folder.value) == drawn_slide.parent / "masks" / act
    bare = tmp_path / "bare.tif"
    shutil.copy(drawn_slide, bare)
    window.bench.open(bare)
    assert str(export.folder.value) in ("", ".")
    window.bench.look_at(slide)
    assert Path(export.folder.value) == drawn_slide.parent / "masks" / "distill"


def test_progress_is_shown_and_cancel_leaves_nothing(window: Any, dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clicked = threading.Event()
    real = engine.export_run

    def slow(*words: Any, should_stop: Callable[[], bool], **more: Any) -> list[Path]:
        asked = iter(range(3))

        def stop() -> bool:
            if next(asked, None) is None:  # half-way: wait for the click
                clicked.wait(60)
            return should_stop()

        return real(*words, should_stop=stop, **more)

    monkeypatch.setattr(engine, "export_run", slow)
    choose(window, dock, "geojson", "ome-zarr")
    window.click("Export", dock.export)
    window.wait(lambda: dock.bar.value() > 0)
    assert not dock.export.isEnabled()
    window.click("Export", dock.cancel)
    clicked.set()
    window.wait(lambda: "Cancelled" in dock.result.text())
    assert {path.name for path in (tmp_path / "masks").iterdir()} <= {"tiny_round0.geojson"}  # what was whole, stays
    assert dock.export.isEnabled()


def test_nothing_chosen_cannot_be_exported_and_everything_has_a_tooltip(window: Any, dock: Any) -> None:
    choose(window, dock)
    assert not dock.export.isEnabled()
    from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QPushButton

    for kind in (QAbstractSpinBox, QCheckBox, QComboBox, QPushButton):
        for widget in dock.findChildren(kind):
            assert widget.toolTip(), widget


def test_the_dock_is_not_wider_than_its_place(window: Any, dock: Any) -> None:
    window.front("Export")
    window.click("Export", dock.fold.button)
    window.wait(lambda: dock.options.isVisible())
    assert dock.widget().minimumSizeHint().width() <= 322


def test_what_is_of_a_sample_goes_where_one_looks(
    window: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ifkd._plugin.widgets.export.cache_folder", lambda: drawn_slide.parent.parent)
    monkeypatch.setattr("napari_ifkd._plugin.widgets.export.user_documents_path", lambda: tmp_path / "documents")
    slide, session = window.session.open(drawn_slide), window.session
    write_map(tmp_path / "run" / "maps" / "tiny.zarr", slide)
    session.begin("predict", tmp_path / "run")
    session.apply(MapReady(0, slide.name, "maps/tiny.zarr"))
    folder = tmp_path / "documents" / "napari-ifkd" / "masks" / "run"
    assert window.docks["Export"].folder.value == folder
    assert window.docks["Export"].where.text() == f"Among your documents: {folder}"


def test_each_format_and_option_is_chosen_by_hand(window: Any, dock: Any) -> None:
    for name, box in dock.formats.boxes.items():
        if box.isEnabled():
            before = set(dock.formats.value)
            window.click("Export", box)
            assert before ^ set(dock.formats.value) == {name}
    window.click("Export", dock.fold.button)
    options = dock.options
    for control, changes in (
        (options.area, "min_area_um2"),
        (options.simplify, "simplify_um"),
        (options.mpp, "mpp"),
        (options.version, "ome_zarr"),
    ):
        before = asdict(options.value)
        window.use("Export", control)
        assert {key for key, value in asdict(options.value).items() if value != before[key]} == {changes}
    window.click("Export", options.own)
    window.use("Export", options.threshold)
    assert options.threshold_or(0.2) == pytest.approx(0.55)


def test_the_folder_is_typed_chosen_and_opened(window: Any, dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("qtpy.QtGui.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile()))
    monkeypatch.setattr(dock.folder, "_show_file_dialog", lambda *_, **__: str(tmp_path / "chosen"))
    window.click("Export", dock.folder.choose_btn)
    assert dock.folder.value == tmp_path / "chosen"
    window.type("Export", dock.folder.line_edit.native, str(tmp_path / "typed"))
    choose(window, dock, "csv")
    window.click("Export", dock.export)
    window.wait(lambda: "Written" in dock.result.text())
    window.click("Export", dock.open_folder)
    assert opened == [str(tmp_path / "typed")]
    assert list((tmp_path / "typed").glob("*.csv"))
    slide = window.session.slide
    window.session.open(shutil.copy(slide.path, tmp_path / "other.tif"))
    assert dock.result.text() == ""  # nothing was written of that one
    assert not dock.open_folder.isVisible()
    window.session.activate(slide)
    assert "Written" in dock.result.text()
    window.click("Export", dock.open_folder)
    assert opened == 2 * [str(tmp_path / "typed")]


def test_what_to_bring_in_is_chosen_by_hand(window: Any, dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring = dock.bring_in
    drawn = tmp_path / "drawn.geojson"
    square = [[[40, 40], [120, 40], [120, 120], [40, 120], [40, 40]]]
    properties = {"classification": {"name": "Alien"}}
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": square}, "properties": properties}
    drawn.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    window.click("Export", dock.bring_fold.button)
    monkeypatch.setattr(bring.file, "_show_file_dialog", lambda *_, **__: str(drawn))
    window.type("Export", bring.file.line_edit.native, "nowhere.geojson")
    assert not bring.bring.isEnabled()
    window.click("Export", bring.file.choose_btn)
    assert bring.bring.isEnabled()
    window.choose("Export", bring.use, 1)
    assert bring.use.currentText() == "Corrections"
    window.type("Export", bring.tumour, "Alien")
    window.click("Export", bring.bring)
    window.wait(lambda: "mm² tumour" in bring.told.text())
    assert "0 mm² tumour" not in bring.told.text()


def test_what_is_not_in_the_files_is_said(tmp_path: Path) -> None:
    from napari_ifkd._plugin.widgets.export import _of_person

    file = tmp_path / "a.provenance.json"
    file.write_text(
        json.dumps(
            {"corrections": {"tumour_mm2": 0.02, "normal_mm2": 0.0, "tumour_in_mask_mm2": 0.005}, "lesions": 3, "smaller_left_out": 2}
        )
    )
    assert _of_person([file]) == [
        "Corrected as painted: 0.02 mm² tumour (⚠ 0.015 mm² of it is left out with such as are too small).",
        "Left out: 2 smaller than asked for.",
    ]
    file.write_text(json.dumps({"corrections": {"tumour_mm2": 0.02, "normal_mm2": 0.0, "tumour_in_mask_mm2": 0.0199}, "lesions": 0}))
    assert _of_person([file]) == ["Corrected as painted: 0.02 mm² tumour.", "⚠ The mask is empty."]
    file.write_text(json.dumps({}))
    assert _of_person([file]) == []


def test_whether_it_is_what_was_accepted_is_said(window: Any, reviewed: Any, tmp_path: Path) -> None:
    session, what = window.session, window.docks["Export"].what
    former = session.shown.run
    assert "Nothing is accepted of it yet." in what.text()
    session.accept(session.shown)
    assert "This is what was accepted." in what.text()
    session.look(threshold=0.3)
    assert "Accepted is another: round 1 at 0.5." in what.text()
    shutil.copytree(former, tmp_path / "later", ignore=shutil.ignore_patterns("accepted.json"))
    window.bench.open(tmp_path / "later")
    window.wait(lambda: session.shown.run == tmp_path / "later")
    assert f"Nothing is accepted of it yet; of {former.name} round 1 is, at 0.5." in what.text()
