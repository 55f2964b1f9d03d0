"""Take the pictures of the documentation from the running program: ``python scripts/screenshots.py [--teacher FILE] [--run RUN]``.

Opens the phantom slide in a napari window of 1280 x 800, predicts, distils and compares, and writes ``docs/images/*.png``.
Without a display it starts one by itself (``scripts/with_display.py``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parents[1]
SIZE = (1280, 800)


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "images")
    parser.add_argument("--slide", type=Path, help="default: the phantom slide of File, Open Sample")
    parser.add_argument("--mpp", type=float, help="resolution of a slide that does not tell it, um/px")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"), help="of the window")
    parser.add_argument("--teacher", default="phantom-teacher", help="weights FILE or NAME")
    parser.add_argument("--run", type=Path, help="show this distillation run instead of making one")
    parser.add_argument("--demo", type=Path, help="folder of a finished demo: take its comparison over, and nothing else")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--themes", nargs="+", default=["dark", "light"])
    arguments = parser.parse_args()
    if arguments.demo is not None:
        with Image.open(arguments.demo / "comparison.png") as drawn:
            _save(drawn.convert("RGB").resize((1800, round(drawn.height * 1800 / drawn.width))), arguments.out / "comparison.png")
        return 0
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return subprocess.call([sys.executable, str(PROJECT / "scripts" / "with_display.py"), sys.executable, *sys.argv])
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NAPARI_CONFIG"] = str(Path(scratch) / "napari.yaml")  # the settings of whoever runs this stay as they are
        _take(arguments, Path(scratch))
    return 0


def _take(arguments: argparse.Namespace, scratch: Path) -> None:
    from napari.settings import get_plugin_settings, get_settings
    from qtpy.QtCore import QThreadPool

    from napari_ifkd._plugin.__main__ import build
    from napari_ifkd._plugin.sample_data import phantom_path
    from napari_ifkd.config import Config
    from napari_ifkd.runs.resolve import resolve_model

    get_plugin_settings("napari-ifkd").runs.folder = str(scratch / "runs")
    viewer, bench = build(None)
    session = bench.session
    viewer.window.resize(*arguments.size)
    camera = _Camera(viewer, arguments.out, arguments.themes, bench)

    session.open(arguments.slide or phantom_path(), arguments.mpp)
    _until(lambda: session.tissue is not None)
    _wait(1000)
    viewer.reset_view()
    camera.dock("Slide")["outline"].value = True
    camera.take("Slide", "slide")
    camera.dock("Slide")["outline"].value = False
    _take_exclusions(camera, session, bench)

    teacher = camera.widget("Teacher")
    teacher.choose(arguments.teacher)
    asked = resolve_model(arguments.teacher).path
    _until(lambda: session.teacher is not None and session.teacher.path == asked)
    _take_teaching(camera, session, bench)
    viewer.scene.camera.zoom *= 2.5
    teacher.preview.click()
    _until(lambda: bench.previewer.state.startswith("This is"))
    camera.take("Teacher", "preview")
    viewer.reset_view()
    teacher.predict.click()
    _until(lambda: not session.job.alive)
    camera.take("Teacher", "teacher")

    if arguments.run is None:
        bench.distill(Config().replaced(**{"rounds.rounds": arguments.rounds, "rounds.epochs": arguments.epochs}))
        _until(lambda: len(session.curve) > 1 or not session.job.alive)
        camera.take("Distill", "distill-running")
        _until(lambda: not session.job.alive)
    else:
        bench.open(arguments.run)
    if session.job.state == "failed":
        raise SystemExit(session.job.message)
    _until(lambda: 0 < len(session.rounds) == len(camera.widget("Distill").bench.areas.mm2))  # measured in a thread
    camera.take("Distill", "distill")
    session.show_round(max(r.index for r in session.rounds))
    camera.widget("Distill").fold.click()
    camera.take("Distill", "distill-advanced")
    camera.widget("Distill").fold.click()

    for mode in ("overlay", "contours", "side by side", "disagreement", "uncertainty"):
        session.set_compare(mode)
        _wait(1500)
        camera.take("Review", f"review-{mode.replace(' ', '-')}")
    session.set_compare("contours")
    camera.take("Review", "window", themes=("dark",))
    session.set_compare("off")
    _take_pages(camera, session)
    viewer.reset_view()
    export = camera.widget("Export")
    export.folder.value = scratch / "masks"
    export.export.click()
    _until(lambda: "Written" in export.result.text() and export.bench.verdicts.settled)
    _wait(1500)  # what is told of the folder is told anew when verdicts settle
    export.result.setText(export.result.text().replace(str(scratch), "~"))
    with export.folder.changed.blocked():
        export.folder.line_edit.value = "~/masks"
        export.where.setText("~/masks")
    camera.take("Export", "export")
    export.bring_fold.button.click()
    export.ensureWidgetVisible(export.bring_in.bring)
    camera.take("Export", "bring-in")
    export.bring_fold.button.click()
    runs = camera.widget("Runs")
    camera.front("Runs")
    _until(lambda: runs.table.rowCount() > 0 and not runs.looking)
    runs.table.selectRow(0)
    runs.where.setText("~/.local/share/napari-ifkd/runs")  # where it is by default, not the scratch folder
    camera.take("Runs", "runs")
    viewer.close()
    QThreadPool.globalInstance().waitForDone()  # what is still read would never end once the interpreter does
    get_settings().reset()


def _take_exclusions(camera: _Camera, session: Any, bench: Any) -> None:
    """Draw two exclusions, and take them away again."""
    from shapely.geometry import Point, box

    dock, slide = camera.widget("Slide"), session.slide
    height, width = slide.shape_level0
    dock.exclusions_fold.button.click()
    pen, fold = box(0.3 * width, 0.3 * height, 0.42 * width, 0.42 * height), Point(0.6 * width, 0.5 * height).buffer(0.06 * height)
    bench.drawings.add("exclusion", slide, (("pen", pen), ("fold", fold)))
    _until(lambda: "2 regions" in dock.exclusions.told.text())
    camera.take("Slide", "exclusions")
    dock.exclusions.clear.click()
    _until(lambda: "Nothing" in dock.exclusions.told.text())
    dock.exclusions_fold.button.click()
    _drop(camera.viewer, bench, "drawn exclusion")


def _take_teaching(camera: _Camera, session: Any, bench: Any) -> None:
    """Draw rough regions, and take them away again."""
    from shapely.geometry import Point, box

    dock, slide = camera.widget("Teacher"), session.slide
    height, width = slide.shape_level0
    camera.front("Teacher")  # what is not seen scrolls nowhere
    dock.teach_fold.button.click()
    bench.drawings.add("tumour", slide, [("", Point(0.25 * width, 0.6 * height).buffer(0.16 * height))])
    bench.drawings.add("normal", slide, [("", box(0.52 * width, 0.4 * height, 0.68 * width, 0.58 * height))])
    _until(lambda: dock.teach.train.isEnabled())
    dock.ensureWidgetVisible(dock.teach.train)
    camera.take("Teacher", "teach")
    dock.teach_fold.button.click()
    for use in ("tumour", "normal"):
        bench.drawings.clear(use, slide)
        _drop(camera.viewer, bench, f"drawn {use}")


def _drop(viewer: Any, bench: Any, kind: str) -> None:
    for layer in list(bench.layers.ours(kind)):
        viewer.layers.remove(layer)


def _take_pages(camera: _Camera, session: Any) -> None:
    """Count points, as the last round says; judge lesions; correct."""
    review = camera.widget("Review")
    count, lesions, correct = review.count, review.lesions, review.correct
    review.pages.setCurrentWidget(count)
    _until(count.start.isEnabled)  # a run with answers tells of them first
    count.start.click()
    _until(lambda: count.asking.isVisibleTo(count))
    camera.take("Review", "review-points-asking")
    found = session.shown.found
    while count.asking.isVisibleTo(count):
        point = count.points[count.at]
        value = found.levels[0][int(point.y / found.scale_yx[0]), int(point.x / found.scale_yx[1])]
        count.answers["tumour" if value >= 128 else "normal"].click()
        _wait(20)
    _until(lambda: "F1" in count.card.text())
    camera.take("Review", "review-points")
    review.pages.setCurrentWidget(lesions)
    lesions.list.click()
    _until(lambda: lesions.model.rowCount() > 2)
    for judge in (lesions.accept, lesions.accept, lesions.reject):
        lesions.next.click()
        _wait(500)  # nothing is said of what was not seen yet
        judge.click()
        _wait(500)
    camera.take("Review", "review-lesions")
    review.pages.setCurrentWidget(correct)
    correct.begin.click()
    _until(lambda: correct.layer() is not None)
    layer = correct.layer()
    height, width = layer.data.shape
    for label, at in ((2, (0.35, 0.4)), (1, (0.6, 0.6))):
        layer.selected_label, layer.brush_size = label, min(height, width) // 6
        layer.paint((round(at[0] * height), round(at[1] * width)), label)
    camera.take("Review", "review-correct")
    correct.write.click()
    _until(lambda: correct.layer() is None)
    _wait(1000)


class _Camera:
    def __init__(self, viewer: Any, out: Path, themes: list[str], bench: Any) -> None:
        self.viewer, self.out, self.themes, self.layers = viewer, out, themes, bench.layers
        self.widget = bench.docks.find

    def dock(self, name: str) -> dict[str, Any]:
        return vars(self.widget(name))

    def front(self, dock: str) -> None:
        """Bring a dock to the front."""
        self.widget(dock).parentWidget().raise_()

    def take(self, dock: str, name: str, themes: tuple[str, ...] | None = None) -> None:
        """Bring a dock to the front and take the window in each theme."""
        self.front(dock)
        for theme in themes or self.themes:
            self.viewer.theme = theme
            self.viewer.mouse_over_canvas = False  # nobody is there: else the ring of a brush lies in the corner
            _wait(700)
            _until(lambda: self.layers.settled)  # until then the canvas keeps the picture that it had
            path = self.out / (f"{name}.png" if themes else f"{name}-{theme}.png")
            taken = Image.fromarray(self.viewer.window.screenshot(canvas_only=False, flash=False)).convert("RGB")
            _save(taken, path)


def _save(picture: Image.Image, path: Path) -> None:
    """Write a picture in 256 colours, which a page loads quickly."""
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def _wait(milliseconds: int) -> None:
    from qtpy.QtTest import QTest

    QTest.qWait(milliseconds)


def _until(condition: Callable[[], bool], seconds: float = 900) -> None:
    for _ in range(int(seconds * 10)):
        if condition():
            return
        _wait(100)
    raise SystemExit("nothing happened for too long")


if __name__ == "__main__":
    sys.exit(main())
