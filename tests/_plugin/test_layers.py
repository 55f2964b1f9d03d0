"""Where layers lie and what they hold: no window needed, napari's model of a viewer will do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile
from dask.callbacks import Callback
from napari.components import ViewerModel
from napari.layers import Labels

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.layer_view import LayerView
from napari_ifkd._plugin.measure import agreement, area_mm2, disagreements
from napari_ifkd._plugin.region import region_geometry
from napari_ifkd.errors import AnnotationError
from napari_ifkd.events import MapReady, Progress, RunDone
from napari_ifkd.session import Session
from napari_ifkd.slides import find_tissue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0001, 16.0])
def test_a_reduced_layer_lies_on_the_pixels_it_was_made_of(factor: float) -> None:
    place = made.placement(0.5, (factor, factor))
    layer = Labels(np.zeros((8, 8), np.uint8), **place)
    first_edge = layer.data_to_world((-0.5, -0.5))
    assert np.allclose(first_edge, (-0.25, -0.25))  # the outer edge of level-0 pixel 0
    assert np.allclose(layer.data_to_world((7.5, 7.5)), 0.5 * (8 * factor - 0.5))


def test_without_a_resolution_layers_are_in_pixels() -> None:
    assert made.placement(None)["units"] == ("pixel", "pixel")


def test_all_layers_share_one_frame(scene: Any) -> None:
    viewer, session, view = scene
    session.found_tissue(session.slide, find_tissue(session.slide))
    view.show_tissue(True)
    (slide,) = view.ours("slide")
    for layer in view.ours("mask", "heat", "tissue"):
        assert layer.units == slide.units
        assert (np.abs(layer.extent.world - slide.extent.world) <= np.asarray(layer.scale)).all(), layer.name
    assert str(viewer.layers.units[0]) == "micrometer"


def test_the_round_looked_at_shows(scene: Any) -> None:
    _, session, view = scene
    for candidate in session.here():
        session.show(candidate)
        assert [made.tag(layer)["round"] for layer in view.ours("mask") if layer.visible] == [candidate.round]
        assert [made.tag(layer)["round"] for layer in view.ours("heat") if layer.visible] == [candidate.round]
    session.look(heat=False)
    assert not [layer for layer in view.ours("heat") if layer.visible]


def test_one_heat_map_shows_whatever_is_looked_at(scene: Any) -> None:
    viewer, session, view = scene
    (heat,) = view.ours("heat")
    for candidate in session.here():
        session.show(candidate)
        assert list(view.ours("heat")) == [heat]
        assert (made.tag(heat)["round"], heat.visible) == (candidate.round, True)
        assert candidate.label in heat.name
        assert (np.asarray(heat.data[0]) == np.asarray(candidate.found.levels[0])).all()
        assert viewer.layers.index(heat) < min(viewer.layers.index(mask) for mask in view.ours("mask"))


def test_whatever_comes_is_shown_in_the_layers_there_are(
    scene: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    viewer, session, view = scene
    before = list(viewer.layers)
    for act in ("predict", "distill"):
        session.begin(act, tmp_path / act)
        write_map(tmp_path / act / "rounds/00/maps/tiny.zarr", session.slide)
        session.apply(MapReady(0, session.slide.name, "rounds/00/maps/tiny.zarr"))
        (mask,) = [layer for layer in view.ours("mask") if layer.visible]
        assert made.tag(mask)["run"] == str(tmp_path / act)
        assert mask.name.startswith(session.shown.label.partition(" (")[0])
    assert set(viewer.layers) == set(before)
    for run in ("distill", "predict", "run"):
        session.forget_run(tmp_path / run)
    assert not list(view.ours("mask", "heat"))


def test_a_run_that_ends_leaves_no_empty_layers(scene: Any, tmp_path: Path) -> None:
    _, session, view = scene
    session.begin("predict", tmp_path / "predict")
    session.forget_run(tmp_path / "run")
    assert any(made.is_spare(layer) for layer in view.ours("mask"))
    session.apply(RunDone(0, "the only one"))
    assert not [layer for layer in view.ours("mask", "heat") if made.is_spare(layer)]


def test_the_layers_move_to_another_slide(scene: Any, tmp_path: Path, write_map: Callable[..., None]) -> None:
    _, session, view = scene
    other = tmp_path / "other.tif"
    tifffile.imwrite(
        other, np.full((300, 500, 3), 220, np.uint8), photometric="rgb", tile=(64, 64), resolution=(1e4, 1e4), resolutionunit=3
    )
    slide = session.open(other)
    session.begin("predict", tmp_path / "there")
    write_map(tmp_path / "there/rounds/00/maps/other.zarr", slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/other.zarr"))
    (image,) = [layer for layer in view.ours("slide") if layer.visible]
    seen = [layer for layer in view.ours("mask", "heat") if layer.visible and not made.is_spare(layer)]
    assert len(seen) == 2
    for layer in seen:
        assert (np.abs(layer.extent.world - image.extent.world) <= np.asarray(layer.scale)).all(), layer.name


def test_layers_of_slides_with_and_without_resolution_have_one_unit(scene: Any, tmp_path: Path) -> None:
    """Where units differ, napari draws without any and warns of it at each change."""
    viewer, session, _ = scene
    here = session.slide
    tifffile.imwrite(tmp_path / "bare.tif", np.full((300, 500, 3), 220, np.uint8), photometric="rgb", tile=(64, 64))
    session.open(tmp_path / "bare.tif")
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"pixel"}
    session.activate(here)
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"micrometer"}


def test_what_was_hidden_on_one_slide_does_not_appear_on_another(scene: Any, tmp_path: Path) -> None:
    viewer, session, view = scene
    layers = {
        kind: viewer.add_labels(np.ones((9, 9), np.uint8), metadata={made.KEY: {"kind": kind, "path": str(session.slide.path)}})
        for kind in ("drawn tumour", "preview mask")
    }
    view.hide_predictions(True)
    assert view.blind
    assert not any(layer.visible for layer in layers.values())
    tifffile.imwrite(tmp_path / "bare.tif", np.full((300, 500, 3), 220, np.uint8), photometric="rgb", tile=(64, 64))
    here = session.slide
    session.open(tmp_path / "bare.tif")
    view.hide_predictions(False)
    assert not any(layer.visible for layer in layers.values())
    session.activate(here)
    view.hide_predictions(True)
    layers["preview mask"].visible = True
    view.hide_predictions(True)
    view.hide_predictions(False)
    assert [layer.visible for layer in layers.values()] == [False, True]


def test_layers_change_one_a_turn_and_are_drawn_when_all_are_there(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    viewer, session, turns, held = ViewerModel(), Session(), [], []
    view = LayerView(viewer, session, turns.append, held.append)
    slide = session.open(drawn_slide)
    user = viewer.add_points(np.zeros((1, 2)))
    session.begin("distill", tmp_path / "run")
    for index in range(3):
        write_map(tmp_path / f"run/rounds/0{index}/maps/tiny.zarr", slide)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
    counts = [len(viewer.layers)]
    assert not view.settled
    while turns:
        turns.pop(0)()
        counts.append(len(viewer.layers))
    assert np.diff(counts).max() == 1
    assert counts[-1] == 2 + 2  # what the user has, and two masks
    assert held == [True, False]
    assert view.settled
    assert viewer.layers.selection.active is user  # nobody takes away what the user works on


def test_another_slide_is_drawn_before_what_lies_on_it_comes(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> None:
    """Else the picture is that of the former for as long as its layers need."""
    viewer, session, turns, held = ViewerModel(), Session(), [], []
    view = LayerView(viewer, session, turns.append, held.append)

    def settle() -> None:
        while turns:
            turns.pop(0)()

    def seen(kind: str) -> list[str]:
        return [made.tag(layer)["path"] for layer in view.ours(kind) if layer.visible and not made.is_spare(layer)]

    shutil.copy(drawn_slide, tmp_path / "other.tif")
    slides = [session.open(path) for path in (drawn_slide, tmp_path / "other.tif")]
    session.begin("distill", tmp_path / "run")
    for slide in slides:
        write_map(tmp_path / f"run/rounds/00/maps/{slide.name}.zarr", slide)
        session.apply(MapReady(0, slide.name, f"rounds/00/maps/{slide.name}.zarr"))
    settle()
    corrections = viewer.add_labels(np.ones((9, 9), np.uint8), metadata={made.KEY: {"kind": "corrections", "path": str(tmp_path)}})
    for slide in slides:
        held.clear()
        session.activate(slide)
        assert not view.settled
        assert (seen("slide"), seen("mask"), held) == ([str(slide.path)], [], [])  # it is drawn like this
        assert corrections not in viewer.layers
        settle()
        assert (len(seen("mask")), held) == (1, [True, False])
    session.apply(MapReady(1, slides[1].name, f"rounds/00/maps/{slides[1].name}.zarr"))
    session.set_compare("disagreement")
    settle()
    for steps in range(4):  # however soon one comes back
        session.activate(slides[0])
        for _ in range(min(steps, len(turns))):
            turns.pop(0)()
        session.activate(slides[1])
        settle()
        assert [layer.visible for layer in view.ours("disagreement")] == [True]
    session.set_compare("off")
    session.activate(slides[0])
    turns.pop(0)()  # layers come when the next one is turned to
    session.activate(slides[1])
    assert (seen("slide"), seen("mask"), held[-1]) == ([str(slides[1].path)], [], False)
    settle()
    assert view.settled
    assert held[-1] is False


def test_a_map_that_cannot_be_shown_does_not_freeze_the_picture(
    drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, session, turns, held = ViewerModel(), Session(), [], []
    view = LayerView(viewer, session, turns.append, held.append)
    slide = session.open(drawn_slide)
    while turns:
        turns.pop(0)()
    session.begin("predict", tmp_path / "run")
    write_map(tmp_path / "run/rounds/00/maps/tiny.zarr", slide)
    session.apply(MapReady(0, slide.name, "rounds/00/maps/tiny.zarr"))
    monkeypatch.setattr(made, "mask_options", None)
    with pytest.raises(TypeError):
        while turns:
            turns.pop(0)()
    assert held == [True, False]
    assert view.settled


def test_a_new_threshold_is_a_new_mask_at_every_level(scene: Any) -> None:
    _, session, view = scene
    layer = view.find("mask", session.shown.path)
    before = layer.data
    assert np.asarray(before[0]).sum() == 1600
    session.look(threshold=0.9)
    assert layer.data is not before
    assert np.asarray(layer.data[0]).sum() == 0
    session.look(threshold=0.05)
    assert np.asarray(layer.data[0]).mean() == 1


def test_disagreement_tells_who_sees_what(scene: Any) -> None:
    _, session, view = scene
    session.set_compare("disagreement")
    (layer,) = view.ours("disagreement")
    data = np.asarray(layer.data[0])
    assert [(data == value).sum() for value in (1, 2, 3)] == [800, 800, 800]
    assert not [mask for mask in view.ours("mask") if mask.visible]
    session.look(threshold=0.9)
    assert not np.asarray(layer.data[0]).any()
    session.set_compare("off")
    assert not list(view.ours("disagreement"))


def test_areas_and_agreement_are_exact(scene: Any) -> None:
    _, session, view = scene
    a = session.here()[0].found
    assert area_mm2(a, 0.5, 0) == pytest.approx(1600 * 4e-6)

    def masks(threshold: float) -> list[Any]:
        session.look(threshold=threshold, sigma_px=0)
        return view.masks.disagreement(*session.here())

    found = agreement(masks(0.5), a)
    assert found.f1 == pytest.approx(0.5)
    assert (found.a_only_mm2, found.b_only_mm2, found.both_mm2) == pytest.approx((800 * 4e-6,) * 3)
    assert agreement(masks(0.99), a).f1 is None
    left = shapely.box(40, 0, 80, 200)  # columns 20 to 40 of the maps
    assert area_mm2(a, 0.5, 0, left) == pytest.approx(800 * 4e-6)
    view.masks.exclude(left)
    found = agreement(masks(0.5), a)
    assert (found.a_only_mm2, found.b_only_mm2, found.both_mm2) == pytest.approx((0, 800 * 4e-6, 800 * 4e-6))
    assert disagreements(masks(0.5), a)
    view.masks.exclude(shapely.box(40, 0, 160, 200))
    assert len(disagreements(masks(0.5), a)) == 0


def test_what_a_prediction_of_a_region_did_not_look_at_does_not_count(scene: Any, tmp_path: Path, write_map: Callable[..., None]) -> None:
    _, session, view = scene
    slide = session.slide
    values = np.zeros((slide.shape_level0[0] // 2, slide.shape_level0[1] // 2), np.uint8)
    values[20:60, 20:40], values[30:50, 20:40] = 25, 204  # columns 20 to 40 were looked at
    write_map(tmp_path / "part/maps/tiny.zarr", slide, values, region="drawn")
    session.begin("predict", tmp_path / "part")
    session.apply(MapReady(0, slide.name, "maps/tiny.zarr"))
    part, whole, _ = session.here()
    assert part.of_region
    for pair, a_only, b_only in (((part, whole), 0, 400), ((whole, part), 400, 0)):
        found = agreement(view.masks.disagreement(*pair), whole.found)
        assert (found.a_only_mm2, found.b_only_mm2, found.both_mm2) == pytest.approx((a_only * 4e-6, b_only * 4e-6, 400 * 4e-6))


def test_what_threads_compute_leaves_the_cache_of_napari_alone(scene: Any) -> None:
    """It is not made for threads: used by two at once it fails, in the middle of a picture."""
    _, session, _ = scene
    a, b = (candidate.found for candidate in session.here())
    masks = made.mask_levels(a, 0.5, 1.0), made.mask_levels(b, 0.5, 1.0)
    seen: list[Any] = []
    with Callback(posttask=lambda key, *_: seen.append(key)):
        area_mm2(a, 0.5, 1.0)
        agreement(made.disagreement_levels(*masks), a)
        disagreements(made.disagreement_levels(*masks), a)
        made.prepare(a, 0.5, 1.0)
        assert seen == []
        made.disagreement_levels(*masks)[0].compute()  # the way to tell
        assert seen


def test_progress_leaves_what_the_user_set_of_a_layer(scene: Any) -> None:
    _, session, view = scene
    (mask,) = [layer for layer in view.ours("mask") if layer.visible]
    mask.opacity, mask.visible = 0.2, False
    session.apply(Progress("training", 1, 10))
    assert (mask.opacity, mask.visible) == (0.2, False)


def test_the_outline_of_the_tissue_leaves_the_selection_alone(drawn_slide: Path) -> None:
    viewer, session = ViewerModel(), Session()
    view = LayerView(viewer, session)
    slide = session.open(drawn_slide)
    user = viewer.add_shapes()
    session.found_tissue(slide, find_tissue(slide))
    view.show_tissue(True)
    assert [layer.visible for layer in view.ours("tissue")] == [True]
    assert viewer.layers.selection.active is user


def test_layers_that_wait_for_maps_do_so_on_the_slide_of_the_run(
    scene: Any, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    _, session, view = scene
    shutil.copy(drawn_slide, tmp_path / "other.tif")

    def waiting() -> list[Any]:
        return [layer for layer in view.ours("mask") if made.is_spare(layer)]

    session.forget_run(tmp_path / "run")
    first = session.slide
    session.begin("distill", tmp_path / "next", [first])
    assert waiting()
    session.open(tmp_path / "other.tif")
    assert not waiting()  # nor before the first map
    session.activate(first)
    assert waiting()
    write_map(tmp_path / "next/rounds/00/maps/tiny.zarr", first, np.full((9, 9), 25, np.uint8))
    session.apply(MapReady(0, first.name, "rounds/00/maps/tiny.zarr"))
    session.activate(next(slide for slide in session.slides if slide is not first))
    assert not waiting()
    session.activate(first)
    assert waiting()


def test_an_overridden_resolution_moves_the_slide_layer(scene: Any) -> None:
    _, session, view = scene
    session.override_mpp(0.25)
    (slide,) = view.ours("slide")
    assert np.allclose(slide.scale, 0.25)


def test_closing_a_slide_takes_its_predictions_away(scene: Any) -> None:
    viewer, session, view = scene
    viewer.layers.remove(next(view.ours("slide")))
    session.close(session.slide)
    assert not [layer for layer in view.ours("mask", "heat") if not made.is_spare(layer)]


def test_the_visible_field_is_what_the_camera_sees(scene: Any) -> None:
    viewer, session, _ = scene
    slide = session.slide
    assert region_geometry("tissue", slide, viewer) is None
    viewer.canvas.size = (100, 200)
    viewer.scene.camera.zoom = 2
    viewer.scene.camera.center = (0, 119.5, 99.5)
    assert region_geometry("field", slide, viewer).bounds == pytest.approx((50, 95, 150, 145))  # x, y: 200 x 100 canvas px at 2 px/um
    viewer.scene.camera.center = (0, 9e5, 9e5)
    with pytest.raises(AnnotationError, match="beside the slide"):
        region_geometry("field", slide, viewer)


def test_shapes_become_a_region_in_slide_pixels(scene: Any) -> None:
    viewer, session, _ = scene
    with pytest.raises(AnnotationError, match="nothing is drawn"):
        region_geometry("shapes", session.slide, viewer)
    viewer.add_shapes([[[9.5, 19.5], [9.5, 59.5], [29.5, 59.5], [29.5, 19.5]]], shape_type="rectangle", units=("um", "um"))
    assert region_geometry("shapes", session.slide, viewer).bounds == pytest.approx((20, 10, 60, 30))
    viewer.add_shapes([[[0, 0], [50, 50]]], shape_type="line", units=("um", "um"))
    with pytest.raises(AnnotationError, match="no closed shape"):
        region_geometry("shapes", session.slide, viewer)


def test_layers_of_a_run_that_is_deleted_go_on_slides_that_are_not_active_too(scene: Any, drawn_slide: Path, tmp_path: Path) -> None:
    viewer, session, view = scene
    a, b = session.here()
    for candidate in (a, b):  # as napari's reader brings them
        viewer.add_labels(np.zeros((9, 9), np.uint8), metadata=made.tagged(candidate, "mask"))
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    session.open(tmp_path / "other.tif")
    assert not [layer for layer in view.ours("mask", "heat") if not made.is_spare(layer)]
    session.forget_run(a.run)
    session.activate(session.slides[0])
    assert not [layer for layer in view.ours("mask", "heat") if not made.is_spare(layer)]


def test_what_was_painted_has_a_line_around_it() -> None:
    values = np.zeros((6, 7), np.uint8)
    values[0, 0], values[3, 3:5], values[5, 6] = 1, 2, 2  # at the border too
    seen = made.edged(values)
    assert np.array_equal(np.where(values > 0, values, 0), np.where(seen == 3, 0, seen))
    for row, column in np.argwhere(values == 0):
        beside = values[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any()
        assert (seen[row, column] == 3) == beside
    assert np.array_equal(made.edged(seen), seen)
    gone = np.where(values == 1, 0, seen)
    assert (made.edged(gone)[:2, :2] == 0).all()  # and its line goes with it
