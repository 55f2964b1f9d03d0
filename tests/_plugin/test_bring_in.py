"""What another program drew is brought in by clicks: as a layer, as corrections, for the next distillation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from PIL import Image

from napari_ifkd._plugin.brought import brought_layer
from napari_ifkd._plugin.commands import distill_command
from napari_ifkd._plugin.layers import tag
from napari_ifkd.annotations import Corrections, read_regions
from napari_ifkd.config import Config
from napari_ifkd.events import MapReady, RunDone
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable

SQUARE = [[40, 20], [120, 20], [120, 100], [40, 100], [40, 20]]


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "drawn.geojson"
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": {"classification": {"name": "Nest"}},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


@pytest.fixture
def part(window: Any, tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> Any:
    run = RunFolder.create(tmp_path / "run", "predict", Config(), {"slides": [str(drawn_slide)]})
    path = run.map_path(0, drawn_slide.name)
    with open_slide(drawn_slide) as slide:
        write_map(path, slide, np.full((slide.shape_level0[0] // 2, slide.shape_level0[1] // 2), 25, np.uint8))
    run.append(MapReady(0, drawn_slide.name, path.relative_to(run.path).as_posix()))
    run.append(RunDone(0, "the only one"))
    window.bench.open(run.path)
    window.wait(lambda: window.session.shown is not None)
    dock = window.docks["Export"]
    window.click("Export", dock.bring_fold.button)
    return dock.bring_in


def bring(window: Any, part: Any, path: Path, use: str) -> None:
    part.file.value = path
    part.use.setCurrentText(use)
    done: list[bool] = []
    part.done.connect(lambda: done.append(True))
    window.click("Export", part.bring)
    window.wait(lambda: bool(done))


def test_a_drawing_lies_on_its_slide(window: Any, part: Any, drawn: Path) -> None:
    assert not part.bring.isEnabled()
    for _ in range(2):  # once more takes the place of the first
        bring(window, part, drawn, "Look at it")
        (layer,) = window.bench.layers.ours("brought")
    (image,) = window.ours("slide")
    assert layer.units == image.units
    assert np.allclose(layer.extent.world, image.extent.world, atol=np.max(layer.scale))
    inside = np.argwhere(np.asarray(layer.data) == 4)  # a class of no meaning is shown all the same
    mpp = window.session.slide.mpp
    first, last = layer.data_to_world(inside.min(0) - 0.5), layer.data_to_world(inside.max(0) + 0.5)
    assert np.allclose(first, (19.5 * mpp, 39.5 * mpp), atol=mpp)
    assert np.allclose(last, (99.5 * mpp, 119.5 * mpp), atol=mpp)


def test_what_marks_no_area_is_told_of_and_what_is_small_is_seen(window: Any, part: Any, drawn: Path, tmp_path: Path) -> None:
    mpp, (height, width) = window.session.slide.mpp, window.session.slide.shape_level0
    told = json.loads(drawn.read_text())
    for kind, place in (("Point", [9, 9]), ("LineString", [[9, 9], [20, 20]])):
        told["features"].append({"type": "Feature", "geometry": {"type": kind, "coordinates": place}, "properties": {}})
    told["features"][0]["geometry"]["coordinates"] = [[[40.6, 20.6], [40.9, 20.6], [40.9, 20.9], [40.6, 20.6]]]  # less than a pixel
    drawn.write_text(json.dumps(told))
    bring(window, part, drawn, "Look at it")
    assert "2 points and lines are left out: no area." in part.told.text()
    (layer,) = window.bench.layers.ours("brought")
    (place,) = np.argwhere(np.asarray(layer.data))
    assert np.allclose(layer.data_to_world(place), (20 * mpp, 40 * mpp), atol=mpp)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(tmp_path / "nothing.png")
    bring(window, part, tmp_path / "nothing.png", "Look at it")
    assert part.told.text().startswith("It marks nothing")
    assert list(window.bench.layers.ours("brought")) == [layer]


def test_corrections_of_the_run_that_is_shown(window: Any, part: Any, drawn: Path, said: list[str]) -> None:
    part.file.value = drawn
    part.use.setCurrentText("Corrections")
    window.click("Export", part.bring)
    window.wait(lambda: any("in the field tumour class" in line for line in said))
    part.tumour.setText("nest, other")
    window.click("Export", part.rest)
    bring(window, part, drawn, "Corrections")
    session = window.session
    painted = Corrections.open(RunFolder(session.shown.run).corrections_path(session.slide.name))
    area = (80 * session.slide.mpp) ** 2 / 1e6
    assert painted.area_mm2(2) == pytest.approx(area, rel=0.05)
    height, width = session.slide.shape_level0
    assert painted.area_mm2() == pytest.approx(height * width * session.slide.mpp**2 / 1e6, rel=0.05)
    assert "mm² tumour" in part.told.text()


def test_a_file_that_is_laid_to_look_at_is_seen_once_when_it_is_given_too(window: Any, part: Any, drawn: Path) -> None:
    drawn.write_text(drawn.read_text().replace("Nest", "Tumor"))
    for use in ("Look at it", "Reference", "Look at it"):
        bring(window, part, drawn, use)
    (layer,) = window.bench.layers.ours("brought")
    assert (tag(layer)["use"], layer.visible) == ("reference", True)


def test_a_file_that_is_dropped_once_more_stays_what_it_was_and_is_seen_as_it_is(
    window: Any, part: Any, drawn_slide: Path, tmp_path: Path
) -> None:
    with open_slide(drawn_slide) as slide:
        height, width = slide.shape_level0
    drawn, session = tmp_path / "drawn.png", window.session
    for factor, marked in ((1, 0.5), (1, 0.25), (3, 0.25)):  # edited, and then written larger: with levels
        values = np.zeros((factor * height, factor * width), np.uint8)
        values[: round(marked * len(values))] = 255
        Image.fromarray(values).save(drawn)
        if marked == 0.5:
            bring(window, part, drawn, "Reference")
        else:
            window.ours("brought")[0].visible = False
            window.bench.dropped(drawn)
            window.qtbot.wait(50)
        window.wait(lambda: len(window.ours("brought")) == 1)
        (layer,) = window.ours("brought")
        finest = np.asarray(layer.data[0] if layer.multiscale else layer.data)
        assert (finest > 0).mean() == pytest.approx(marked, abs=0.01)
        assert (layer.visible, layer.name, tag(layer)["use"]) == (True, "drawn.png · reference", "reference")
        assert session.given_here() == {"reference": drawn}
    layer.visible = False
    session.override_mpp(2 * session.slide.mpp)
    window.wait(lambda: window.bench.memory.settled)
    window.bench.dropped(drawn)
    window.wait(lambda: len(window.ours("brought")) == 1 and window.ours("brought")[0].visible)
    (layer,) = window.ours("brought")
    (image,) = window.ours("slide")
    for slide in (None, session.slide):
        session.activate(slide)
    assert np.allclose(layer.extent.world[1], image.extent.world[1], rtol=0.02)


def test_what_is_brought_in_while_its_slide_is_closed_leaves_nothing(
    window: Any, part: Any, drawn: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    let, done = Event(), list[bool]()
    monkeypatch.setattr(
        "napari_ifkd._plugin.widgets.bring_in.brought_layer", lambda *given: brought_layer(*given) if let.wait(20) else None
    )
    part.done.connect(lambda: done.append(True))
    part.file.value = drawn
    window.click("Export", part.bring)
    window.viewer.layers.remove(window.ours("slide")[0])
    let.set()
    window.wait(lambda: bool(done))
    assert not window.ours("brought")
    assert not said


def test_what_was_brought_in_goes_with_its_slide_and_comes_back_with_it(window: Any, part: Any, drawn: Path, said: list[str]) -> None:
    drawn.write_text(drawn.read_text().replace("Nest", "Tumor"))
    looked_at = Path(shutil.copy(drawn, drawn.with_name("look.geojson")))
    bring(window, part, drawn, "Reference")
    bring(window, part, looked_at, "Look at it")
    slide, other = window.session.slide.path, Path(shutil.copy(window.session.slide.path, drawn.with_name("other.tif")))
    part.use.setCurrentText("Reference")
    window.bench.open(other)
    window.wait(lambda: window.bench.memory.settled)
    assert part.use.currentText() == "Look at it"  # which does no harm
    bring(window, part, looked_at, "Look at it")
    window.bench.look_at(window.session.slides[0])
    window.wait(lambda: window.bench.memory.settled and window.bench.memory.notes.rested)
    window.viewer.layers.remove(window.bench.layers.find("slide", slide))
    window.wait(lambda: [tag(layer)["of"] for layer in window.ours("brought")] == [str(other)])
    window.bench.open(slide)
    window.wait(lambda: len(window.ours("brought")) == 3)
    back = {tag(layer)["use"]: layer for layer in window.ours("brought") if tag(layer)["of"] == str(slide)}
    assert {use: layer.visible for use, layer in back.items()} == {"reference": True, "look": True}
    assert window.session.given_here() == {"reference": drawn}
    assert not said


def test_files_for_the_next_distillation(window: Any, part: Any, drawn: Path, tmp_path: Path, said: list[str]) -> None:
    session, distill = window.session, window.docks["Distill"]
    part.file.value = drawn
    for use, remedy in (("Reference", "Classify them as Tumor or Normal"), ("Weak regions", "Classify its regions")):
        part.use.setCurrentText(use)
        window.click("Export", part.bring)
        window.wait(lambda remedy=remedy: any(remedy in line for line in said))
        assert session.given_here() == {}
    drawn.write_text(drawn.read_text().replace("Nest", "Tumor"))
    bring(window, part, drawn, "Reference")
    bring(window, part, drawn, "Weak regions")
    assert session.given_here() == {"reference": drawn, "regions": drawn}
    assert "Reference: drawn.geojson" in part.given["reference"].text()
    height, width = session.slide.shape_level0
    labels = np.zeros((height // 2, width // 2), np.uint8)
    labels[10:50, 20:60] = 1  # the same square
    Image.fromarray(labels).save(tmp_path / "labels.png")
    bring(window, part, tmp_path / "labels.png", "Weak regions")
    assert read_regions(session.given_here()["regions"], session.slide).tumour.equals(shapely.box(40, 20, 120, 100))
    assert part.given["regions"].text().endswith("labels.png")  # and not the file of regions that was made of it
    bring(window, part, drawn, "Weak regions")
    words = distill_command([session.slide], "T", tmp_path / "new", config=Config(), given=session.given, judged=[session.shown.run])
    for option, value in (("--reference", drawn), ("--regions", drawn), ("--judged", session.shown.run)):
        assert words[words.index(option) + 1] == str(value)
    window.docks["Teacher"].choose("phantom-teacher")
    window.wait(lambda: session.teacher is not None and "chooses the round" in distill.what.text())
    here, layers = session.slide, window.bench.layers
    lies = [layer for layer in layers.ours("brought") if tag(layer)["path"] == str(drawn)]
    assert lies
    shutil.copy(here.path, tmp_path / "other.tif")
    window.bench.open(tmp_path / "other.tif")
    assert not any(layer.visible for layer in layers.ours("brought"))  # they would look as if they were of this slide
    session.give("reference", drawn, here)  # as when it is read while one looks elsewhere
    assert session.given_here() == {}
    window.bench.look_at(here)
    assert all(layer.visible for layer in lies)
    window.click("Export", part.forget["regions"])
    assert list(session.given_here()) == ["reference"]
    assert part.forget["reference"].isVisible()
    assert not part.forget["regions"].isVisible()
    window.click("Export", part.forget["reference"])
    assert session.given_here() == {}
    assert "chooses" not in distill.what.text()
    assert not [layer for layer in layers.ours("brought") if layer in lies]
