"""The preview of the visible field: asked by a click or a key, where it lies, and when it goes."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_ifkd.inference.field_part import FieldPart
from napari_ifkd.session_records import Candidate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def opened(window: Any, drawn_slide: Path, drawn_teacher: Path) -> Any:
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    window.docks["Teacher"].choose(drawn_teacher)
    window.wait(lambda: window.session.teacher is not None and window.session.teacher.path == drawn_teacher)
    window.viewer.reset_view()
    return window


def previewed(window: Any) -> None:
    window.wait(lambda: window.bench.previewer.state.startswith("This is a preview"))


def test_a_field_is_previewed_by_one_process_till_a_prediction_comes(
    opened: Any, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from napari_ifkd._plugin import preview

    dock, viewer, session, previewer = opened.docks["Teacher"], opened.viewer, opened.session, opened.bench.previewer

    # two requests at once share one process
    start, started = preview._start, []

    def counted() -> Any:
        time.sleep(0.2)  # so that the other one comes meanwhile
        started.append(start())
        return started[-1]

    monkeypatch.setattr(preview, "_start", counted)
    previewer._number += 1
    asked = previewer._number, opened.session.slide, opened.session.teacher, (0.0, 0.0, 64.0, 64.0), lambda: None
    threads = [threading.Thread(target=previewer._ask, args=asked) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
    previewer.look()
    previewed(opened)
    assert opened.ours("preview heat")

    # the field is shown where it lies, and follows the threshold
    opened.click("Teacher", dock.preview)
    assert dock.previewed.isVisible()
    previewed(opened)
    (heat,), (mask,) = opened.ours("preview heat"), opened.ours("preview mask")
    assert heat.units == next(opened.bench.layers.ours("slide")).units
    for wanted in (True, False):  # as a prediction would look
        opened.use("Teacher", dock.heat)
        assert (heat.visible, mask.contour > 0) == (wanted, wanted)

    def says(layer: Any, x: float, y: float) -> int:
        row, column = layer.world_to_data((y - 0.5, x - 0.5))  # 1 um/px
        return int(layer.data[round(row), round(column)])

    assert says(heat, 240, 120) > 150 > 100 > says(heat, 80, 120)
    assert (says(mask, 240, 120), says(mask, 80, 120)) == (1, 0)
    session.look(threshold=0.01)
    opened.wait(lambda: says(mask, 80, 120) == 1)

    # what is predicted on another slide leaves it
    for candidates in ((Candidate(tmp_path / "run", "predict", 0, "other.tif", SimpleNamespace(identity=None, path=tmp_path)),), ()):
        session.candidates = candidates
        assert opened.ours("preview mask") == [mask]
    session.look(threshold=0.5)

    viewer.scene.camera.zoom *= 4  # another field: the first is replaced
    opened.front("Teacher")
    opened.key("W")
    opened.wait(lambda: previewer.busy)
    previewed(opened)
    assert opened.ours("preview heat") == [heat]
    assert heat.extent.world[1][1] - heat.extent.world[0][1] < 130
    assert "Only" not in dock.previewed.text()

    # a picture that cannot be made is told of, and the next one comes
    picture = previewer._pictured

    def failing(_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(previewer, "_pictured", failing)
    viewer.reset_view()
    opened.click("Teacher", dock.preview)
    opened.wait(lambda: bool(said))
    assert "no room" in said[0]
    assert not previewer.busy
    monkeypatch.setattr(previewer, "_pictured", picture)
    opened.click("Teacher", dock.preview)
    previewed(opened)
    assert opened.ours("preview heat") == [heat]
    assert heat.extent.world[1][1] - heat.extent.world[0][1] > 300  # of the whole field

    # it goes when a prediction comes, and says what is wrong
    said.clear()
    viewer.scene.camera.center = (0, 9000, 9000)
    opened.click("Teacher", dock.preview)
    opened.wait(lambda: bool(said))
    assert "the field lies beside it" in said[0]
    assert "Predict" in dock.previewed.text()  # as before the first
    viewer.reset_view()
    opened.click("Teacher", dock.predict)
    opened.wait(lambda: session.job is not None and session.job.state == "done")
    assert not opened.ours("preview heat", "preview mask")
    assert session.shown is not None


def test_a_field_too_large_to_be_refined_is_told_to_be_coarse(opened: Any) -> None:
    """It may look quite unlike what a prediction says."""
    dock, previewer = opened.docks["Teacher"], opened.bench.previewer
    for coarse, told in ((True, "Coarse only"), (False, "This is a preview")):
        part = FieldPart(np.full((40, 40), 200, np.uint8), (0, 0), (2.0, 2.0), coarse, 0)
        previewer._take(previewer._number, previewer._pictured(part))
        previewer._take(previewer._number, None)
        assert told in dock.previewed.text()


def test_a_large_field_tells_how_much_is_to_come() -> None:
    from napari_ifkd._plugin.preview import _state

    def part(*, coarse: bool, to_come: int) -> FieldPart:
        return FieldPart(np.zeros((1, 1), np.uint8), (0, 0), (1.0, 1.0), coarse, to_come)

    assert _state(part(coarse=True, to_come=12)).startswith("Coarse so far: 12 finer parts to come.")
    assert _state(part(coarse=False, to_come=1)).startswith("Looking closer: 1 part to come.")
    assert _state(part(coarse=False, to_come=0)) == "Looking …"


def test_a_process_that_dies_is_told_of_and_the_next_request_starts_another(opened: Any, said: list[str]) -> None:
    dock, previewer = opened.docks["Teacher"], opened.bench.previewer
    opened.click("Teacher", dock.preview)
    opened.wait(lambda: previewer._child is not None)
    previewer._child.kill()
    opened.wait(lambda: bool(said))
    opened.qtbot.wait(300)  # one word of it, whoever noticed first
    assert ["ended unexpectedly" in each for each in said] == [True]
    assert not previewer.busy
    opened.click("Teacher", dock.preview)
    previewed(opened)
    assert opened.ours("preview heat")


def test_a_part_is_laid_upon_a_coarse_one() -> None:
    from napari_ifkd._plugin.preview import _laid_upon

    coarse = FieldPart(np.full((10, 20), 50, np.uint8), (5, 10), (4.0, 4.0), True)
    fine = FieldPart(np.full((8, 12), 200, np.uint8), (24, 36), (1.0, 1.0), False)
    made = _laid_upon(coarse, fine)
    assert (made.values.shape, made.origin_yx, made.scale_yx) == ((40, 80), (20, 40), (1.0, 1.0))
    assert (made.values == 200).sum() == 8 * 8  # what reaches beyond on the left is cut
    assert made.values[4:12, :8].min() == 200
