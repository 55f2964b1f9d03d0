"""Exclusions and rough regions: drawn in layers of ours, kept per slide, and what a run makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile

from napari_ifkd._plugin.drawn import USES
from napari_ifkd.annotations import read_regions
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.regions import write_regions
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEN = shapely.box(192, 64, 256, 128)


@pytest.fixture
def opened(window: Any, drawn_slide: Path) -> Iterator[Any]:
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    yield window
    window.wait(lambda: not window.bench.drawings._timer.isActive())


def draw(window: Any, box: tuple[float, float, float, float]) -> None:
    """Add a polygon to the layer in hand, as a mouse would; (x, y) in level-0 px at 1 um/px."""
    layer = window.viewer.layers.selection.active
    assert layer.mode == "add_polygon"
    left, top, right, bottom = (v - 0.5 for v in box)
    layer.add_polygons([np.array([[top, left], [top, right], [bottom, right], [bottom, left]])])


def test_what_is_excluded_is_drawn_kept_and_left_out(opened: Any, drawn_slide: Path, drawn_teacher: Path, make_napari_viewer: Any) -> None:
    dock, drawings, slide = opened.docks["Slide"].exclusions, opened.bench.drawings, opened.session.slide
    opened.click("Slide", opened.docks["Slide"].exclusions_fold.button)
    assert "Nothing is excluded" in dock.told.text()
    opened.click("Slide", dock.draw)
    draw(opened, PEN.bounds)
    opened.wait(lambda: "1 region, 0.0041 mm²" in dock.told.text())
    opened.wait(drawings.file("exclusion", slide).is_file)
    assert read_regions(drawings.file("exclusion", slide), slide).exclusion.equals(PEN)

    opened.docks["Teacher"].choose(drawn_teacher)
    opened.wait(lambda: opened.session.teacher is not None and opened.session.teacher.path == drawn_teacher)
    opened.click("Teacher", opened.docks["Teacher"].predict)
    opened.wait(lambda: opened.session.job is not None and opened.session.job.state == "done")
    found = opened.session.shown.found
    scale = found.scale_yx[0]
    values = np.asarray(found.levels[0])
    inside = np.s_[int(64 / scale) : int(128 / scale), int(192 / scale) : int(256 / scale)]
    assert not values[inside].any()
    values[inside] = 1
    assert (values[int(48 / scale) : int(208 / scale), int(48 / scale) : int(272 / scale)] > 0).all()
    assert RunFolder(opened.session.shown.run).exclusion_path(slide.name).is_file()

    second = opened.another(make_napari_viewer(show=True))  # tomorrow
    second.bench.open(drawn_slide)
    second.wait(lambda: second.bench.drawings.count("exclusion", second.session.slide) == 1)
    assert second.bench.drawings.geometry("exclusion", second.session.slide).symmetric_difference(PEN).area < 1
    second.front("Slide")
    second.click("Slide", second.docks["Slide"].exclusions_fold.button)
    second.wait(second.docks["Slide"].exclusions.clear.isEnabled)
    second.click("Slide", second.docks["Slide"].exclusions.clear)
    second.wait(lambda: not drawings.file("exclusion", slide).exists())


def test_a_pen_is_pressed_while_it_draws(opened: Any) -> None:
    teach, drawings, selection = opened.docks["Teacher"].teach, opened.bench.drawings, opened.viewer.layers.selection
    exclude = opened.docks["Slide"].exclusions.draw
    opened.click("Teacher", opened.docks["Teacher"].teach_fold.button)
    tumour, normal = teach.draw["tumour"], teach.draw["normal"]
    opened.click("Teacher", tumour)
    assert (drawings.drawing, tumour.isChecked(), normal.isChecked()) == ("tumour", True, False)
    assert "double click" in teach.what.text()
    opened.click("Teacher", normal)
    assert (drawings.drawing, tumour.isChecked(), normal.isChecked()) == ("normal", False, True)
    opened.click("Teacher", normal)  # put down
    assert (drawings.drawing, normal.isChecked(), selection.active.mode) == (None, False, "pan_zoom")
    assert "double click" not in teach.what.text()
    opened.click("Slide", opened.docks["Slide"].exclusions_fold.button)
    opened.click("Slide", exclude)
    assert exclude.isChecked()
    assert "double click" in opened.docks["Slide"].exclusions.told.text()
    selection.active = next(opened.bench.layers.ours("slide"))
    assert not exclude.isChecked()


def test_outlines_are_as_wide_on_the_screen_at_every_zoom(opened: Any) -> None:
    drawings, camera = opened.bench.drawings, opened.viewer.scene.camera
    drawings.begin("exclusion")
    draw(opened, PEN.bounds)
    layer = drawings.layer("exclusion", opened.session.slide)

    def px() -> list[float]:
        return [float(width * layer.scale[-1] * camera.zoom) for width in (*layer.edge_width, layer.current_edge_width)]

    usual = px()
    for zoom, seen in ((0.1, True), (20.0, False)):
        layer.visible = seen
        camera.zoom = zoom
        opened.wait(lambda: np.allclose(px(), usual, rtol=0.2))


def test_what_is_drawn_on_a_layer_that_is_deleted_holds_and_comes_back(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings, slide, told = opened.bench.drawings, opened.session.slide, list[str]()
    monkeypatch.setattr("napari_ifkd._plugin.deleted.show_info", told.append)
    drawings.add("exclusion", slide, [("pen", PEN)])
    assert drawings.excluded().equals(PEN)
    layer = drawings.layer("exclusion", slide)
    layer.translate = (10, 20)  # by napari's own tool
    assert drawings.excluded().bounds == tuple(v + by for v, by in zip(PEN.bounds, (20, 10, 20, 10), strict=True))
    excluded = drawings.excluded()
    opened.viewer.layers.remove(layer)
    opened.wait(lambda: bool(told))
    assert told[0].startswith("Draw brings it back")
    assert drawings.excluded().equals(excluded)
    assert "1 region" in opened.docks["Slide"].exclusions.told.text()
    assert "Their layer was deleted" in opened.docks["Slide"].exclusions.told.text()
    assert read_regions(drawings.keeper(slide)(), slide).exclusion.equals_exact(excluded, 0.01)
    drawings.begin("exclusion")
    assert layer in opened.viewer.layers
    assert drawings.drawing == "exclusion"
    assert drawings.excluded().equals(excluded)
    draw(opened, (200, 60, 240, 90))
    opened.wait(lambda: drawings.count("exclusion", slide) == 2)
    drawings.put_down()
    both = drawings.excluded().bounds
    opened.viewer.layers.remove(layer)
    opened.session.override_mpp(2 * slide.mpp)  # what is not seen follows too
    assert drawings.count("exclusion", opened.session.slide) == 2
    assert np.allclose(drawings.excluded().bounds, both, atol=1)
    opened.click("Slide", opened.docks["Slide"].exclusions_fold.button)
    opened.click("Slide", opened.docks["Slide"].exclusions.clear)
    assert drawings.excluded() is None
    opened.wait(lambda: not drawings.file("exclusion", opened.session.slide).exists())


@pytest.mark.parametrize("first", ["exclusion", "slide"])
def test_what_was_excluded_comes_back_with_a_slide_that_was_closed(opened: Any, first: str) -> None:
    drawings, slide, layers = opened.bench.drawings, opened.session.slide, opened.viewer.layers
    drawings.add("exclusion", slide, [("pen", PEN)])
    opened.wait(lambda: drawings.file("exclusion", slide).is_file())
    gone = [drawings.layer("exclusion", slide), opened.bench.layers.find("slide", slide.path)]
    for layer in gone if first == "exclusion" else gone[::-1]:
        layers.remove(layer)
    assert not opened.session.slides
    opened.bench.open(slide.path)
    opened.wait(lambda: bool(opened.ours("drawn exclusion")))
    assert drawings.excluded().equals_exact(PEN, 0.01)
    assert drawings.keeper(opened.session.slide)() is not None


def test_a_layer_that_comes_back_has_lines_as_wide_as_ever_and_a_copy_does_not(opened: Any) -> None:
    drawings, slide, layers = opened.bench.drawings, opened.session.slide, opened.viewer.layers
    drawings.begin("exclusion")
    draw(opened, PEN.bounds)
    layer = drawings.layer("exclusion", slide)
    usual = float(layer.edge_width[0]) * opened.viewer.scene.camera.zoom
    layers.remove(layer)
    opened.viewer.scene.camera.zoom *= 10
    opened.qtbot.wait(250)
    drawings.begin("exclusion")
    assert float(layer.edge_width[0]) * opened.viewer.scene.camera.zoom == pytest.approx(usual, rel=0.2)
    layers.append(type(layer)(layer.data, shape_type=layer.shape_type, ndim=2, metadata=layer.metadata, name="a copy"))
    layers.remove("a copy")
    drawings.begin("exclusion")
    assert len(opened.ours("drawn exclusion")) == 1


def test_a_file_that_cannot_be_read_excludes_nothing(window: Any, drawn_slide: Path) -> None:
    drawings = window.bench.drawings
    with open_slide(drawn_slide) as slide:
        file = drawings.file("exclusion", slide)
    file.parent.mkdir(parents=True)
    file.write_text("nonsense")
    window.bench.open(drawn_slide)
    window.wait(lambda: str(window.session.slide.path) in drawings._restored)
    assert drawings.excluded() is None
    assert drawings.keeper(window.session.slide)() is None


def test_what_was_excluded_yesterday_holds_before_it_is_seen(window: Any, drawn_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever predicts at once, while the drawings are still read, neither loses them nor predicts there."""
    drawings, session = window.bench.drawings, window.session
    monkeypatch.setattr(drawings, "_restore", lambda *_: None)  # it never gets so far
    window.bench.open(drawn_slide)
    slide = session.slide
    file = drawings.file("exclusion", slide)
    file.parent.mkdir(parents=True)
    write_regions(file, {"Exclusion": PEN}, slide)
    kept = drawings.keeper(slide)()
    assert kept is not None
    assert kept.name == "tiny_exclusions.geojson"
    assert read_regions(kept, slide).exclusion.equals(PEN)
    assert file.is_file()
    type(drawings)._restore(drawings, slide, drawings._read(slide))
    assert drawings.count("exclusion", slide) == 1


def test_the_quality_check_suggests_and_the_user_removes(window: Any, drawn_slide: Path, tmp_path: Path) -> None:
    image = tifffile.imread(drawn_slide)
    image[100:160, 40:280] = (20, 40, 170)  # blue ink
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "pen.tif", image, photometric="rgb", **options)
    window.bench.open(tmp_path / "pen.tif")
    dock, drawings = window.docks["Slide"].exclusions, window.bench.drawings
    window.click("Slide", window.docks["Slide"].exclusions_fold.button)
    window.click("Slide", dock.check)
    window.wait(lambda: "1 region" in dock.told.text())
    slide = window.session.slide
    layer = drawings.layer("exclusion", slide)
    assert list(layer.features["kind"]) == ["pen"]
    assert "1 region (1 pen), " in dock.told.text()
    assert shapely.box(44, 104, 276, 156).difference(drawings.geometry("exclusion", slide)).area < 100
    window.click("Slide", dock.check)  # what is excluded already is not suggested again
    window.wait(lambda: "The check found nothing more." in dock.told.text())
    assert dock.check.text() == "Check quality"
    assert drawings.count("exclusion", slide) == 1
    layer.selected_data = {0}
    layer.remove_selected()
    window.wait(lambda: "Nothing is excluded" in dock.told.text())
    window.wait(lambda: not drawings.file("exclusion", slide).exists())
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None and dock.check.isEnabled())
    layers = list(window.viewer.layers)
    window.click("Slide", dock.check)
    window.wait(lambda: "The check found nothing" in dock.told.text())
    assert list(window.viewer.layers) == layers  # and none for nothing, which would take a brush from the hand
    window.bench.look_at(slide)
    assert "Nothing is excluded on this slide." in dock.told.text()
    window.bench.look_at(window.session.slides[1])
    assert "The check found nothing" in dock.told.text()  # nobody need do it again


def test_rough_regions_become_a_teacher_that_predicts(opened: Any) -> None:
    dock, session = opened.docks["Teacher"].teach, opened.session
    opened.click("Teacher", opened.docks["Teacher"].teach_fold.button)
    assert not dock.train.isEnabled()
    opened.click("Teacher", dock.draw["tumour"])
    draw(opened, (165, 32, 288, 160))
    opened.wait(lambda: "Both kinds are needed" in dock.told.text())
    assert not dock.train.isEnabled()
    opened.click("Teacher", dock.draw["normal"])
    draw(opened, (32, 32, 150, 224))
    opened.wait(dock.train.isEnabled)
    assert {layer.name.split(" · ")[0] for layer in opened.bench.layers.ours("drawn tumour", "drawn normal")} == {
        USES[use][0] for use in ("tumour", "normal")
    }
    for name, value in (("tiles.size_px", 32), ("stage1.epochs", 20), ("network.width", 0.125)):
        next(part for part in (*dock.epochs, *dock.form) if part.name == name).value = value
    assert opened.bench.drawings.drawing == "normal"
    opened.click("Teacher", dock.train)
    assert opened.bench.drawings.drawing is None  # the next click in the picture is no corner
    opened.wait(lambda: session.job is not None and session.job.state == "done")
    run = session.job.out
    opened.wait(lambda: session.teacher is not None and run in session.teacher.path.parents)
    assert "tiny.tif" in opened.docks["Teacher"].card.text()
    opened.click("Teacher", opened.docks["Teacher"].predict)
    opened.wait(lambda: session.job.act == "predict" and session.job.state == "done")
    found = session.shown.found
    scale, values = found.scale_yx[0], np.asarray(found.levels[0]).astype(float)
    right, left = (values[int(48 / scale) : int(208 / scale), int(a / scale) : int(b / scale)].mean() for a, b in ((176, 272), (48, 144)))
    assert right > left + 40


def test_a_patch_folder_teaches_too(window: Any, drawn_patches: Path) -> None:
    dock, session = window.docks["Teacher"].teach, window.session
    window.click("Teacher", window.docks["Teacher"].teach_fold.button)
    dock.patches.value = drawn_patches
    window.wait(dock.train.isEnabled)
    window.wait(lambda: f"Patches of {drawn_patches.name}:" in dock.told.text())
    for name, value in (("tiles.size_px", 32), ("stage1.epochs", 1), ("network.width", 0.125)):
        next(part for part in (*dock.epochs, *dock.form) if part.name == name).value = value
    window.click("Teacher", dock.train)
    window.wait(lambda: session.job is not None and session.job.state == "done")
    window.wait(lambda: session.teacher is not None and session.job.out in session.teacher.path.parents)
