"""How layers of predictions look and lie: no window needed, napari's model of a viewer will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.look import field_px
from napari_ifkd.events import MapReady, RoundDone, RunDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_name_that_became_free_is_given_without_a_number(scene: Any, tmp_path: Path, write_map: Callable[..., None]) -> None:
    viewer, session, view = scene
    names = {layer.name for layer in view.ours("mask")}
    session.begin("distill", tmp_path / "next")  # rounds of another run, with the same names
    for index in (0, 1):
        write_map(tmp_path / f"next/rounds/0{index}/maps/tiny.zarr", session.slide)
        session.apply(MapReady(index, session.slide.name, f"rounds/0{index}/maps/tiny.zarr"))
        session.apply(RoundDone(index, None))
    session.apply(RunDone(1, ""))
    session.show_round(0)
    session.show_round(1)
    assert not [layer.name for layer in viewer.layers if "[" in layer.name]
    former = {layer.name for layer in view.ours("mask") if made.tag(layer)["act"] == "former"}
    assert former == {"Round 1 of run · mask"}
    assert {layer.name for layer in view.ours("mask")} <= names | former


def test_the_heat_map_is_seen_inside_the_outline_of_the_mask(scene: Any) -> None:
    _, session, view = scene
    for heat in (True, False):
        session.look(heat=heat)
        assert {layer.contour > 0 for layer in view.ours("mask") if layer.visible} == {heat}


def test_masks_are_outlined_beside_a_preview(scene: Any) -> None:
    """Else nobody sees which of the two marks a place."""
    viewer, session, view = scene
    session.look(heat=False)
    (seen,) = [layer for layer in view.ours("mask") if layer.visible]
    tagged = {made.KEY: {"kind": "preview mask", "path": str(session.slide.path)}}
    preview = viewer.add_labels(np.ones((9, 9), np.uint8), metadata=tagged)
    assert seen.contour > 0
    preview.visible = False
    assert seen.contour == 0
    preview.visible = True
    viewer.layers.remove(preview)
    assert (seen.visible, seen.contour) == (True, 0)


def test_contours_and_overlay_show_the_pair(scene: Any) -> None:
    viewer, session, view = scene
    session.set_compare("contours")
    assert [layer.contour > 0 for layer in view.ours("mask")] == [True, True]
    assert {made.tag(layer)["round"] for layer in view.ours("mask")} == {0, 1}
    colours = [tuple(layer.colormap.color_dict[1]) for layer in view.ours("mask")]
    assert len(set(colours)) == 2
    session.set_compare("overlay")
    assert [layer.contour for layer in view.ours("mask")] == [0, 0]
    a, b = (viewer.layers.index(view.find("mask", one.path)) for one in (session.a, session.b))
    viewer.layers.move(b, a)  # as they lie after another slide was looked at
    assert [made.tag(layer)["round"] for layer in view.ours("mask")] == [session.b.round, session.a.round]
    session.set_compare("contours")
    assert [made.tag(layer)["round"] for layer in view.ours("mask")] == [session.a.round, session.b.round]


def test_what_a_person_says_lies_above_what_networks_say(scene: Any) -> None:
    viewer, session, _ = scene
    a, b = session.here()
    session.show(a)
    viewer.layers.selection.active = corrections = viewer.add_labels(
        np.zeros((9, 9), np.uint8), metadata={made.KEY: {"kind": "corrections", "path": "corrections"}}
    )
    session.set_pair(a, b)
    for compare in ("overlay", "disagreement", "uncertainty", "side by side", "overlay"):
        session.set_compare(compare)
        assert compare == "side by side" or viewer.layers[-1] is corrections
    assert viewer.layers.selection == {corrections}
    for kind in ("brought", "drawn tumour"):  # before the prediction was made, or after: it lies where it would after a restart
        said = viewer.add_labels(np.zeros((9, 9), np.uint8), metadata={made.KEY: {"kind": kind, "path": kind}})
        viewer.layers.move(viewer.layers.index(said), 1)
        session.set_compare("off" if session.compare == "overlay" else "overlay")
        assert viewer.layers.index(said) > max(
            viewer.layers.index(layer) for layer in viewer.layers if made.tag(layer).get("kind") == "mask"
        )


def test_predictions_stay_on_the_tissue_when_the_slide_gets_another_resolution(scene: Any) -> None:
    viewer, session, view = scene
    a, b = session.here()
    session.set_pair(a, b)
    session.set_compare("overlay")
    before, camera = session.slide.mpp, viewer.scene.camera
    camera.zoom, camera.center = 3.0, (0.0, 40.0, 60.0)
    field = field_px(session.slide, viewer)
    for mpp in (2 * before, before):
        session.override_mpp(mpp)
        assert np.allclose(field_px(session.slide, viewer), field)  # one looks at the same tissue
        (image,) = view.ours("slide")
        for layer in view.ours("mask", "heat"):
            assert np.allclose(layer.extent.world, image.extent.world, atol=mpp)


def test_opacity_is_of_masks_that_are_filled(scene: Any) -> None:
    _, session, view = scene
    session.look(heat=False)
    (mask,) = [layer for layer in view.ours("mask") if layer.visible]
    session.look(opacity=0.3)
    assert (mask.contour, mask.opacity) == (0, 0.3)
    session.look(heat=True)
    session.look(opacity=0.5)
    assert (mask.contour > 0, mask.opacity) == (True, 1.0)
    session.look(heat=False)
    assert (mask.contour, mask.opacity) == (0, 0.5)


def test_outlines_are_as_wide_on_the_screen_at_any_zoom(scene: Any) -> None:
    viewer, _, view = scene
    (mask,) = [layer for layer in view.ours("mask") if layer.visible]
    widths = []
    for zoom in (2.0, 0.1, 2.0):
        viewer.scene.camera.zoom = zoom
        widths.append(mask.contour)
        assert mask.contour == made.outline_of(mask, zoom)
    assert widths[0] < widths[1] > widths[2]
