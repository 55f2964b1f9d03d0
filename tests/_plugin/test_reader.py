"""Files, runs and maps as layers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import QTimer

from napari_ifkd._plugin import sample_data
from napari_ifkd._plugin.reader import get_reader, read
from napari_ifkd.config import Config
from napari_ifkd.errors import InputError, SlideError
from napari_ifkd.events import MapReady
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> Path:
    """Return a run with two rounds."""
    run = RunFolder.create(tmp_path / "run", "distill", Config(), {"data": [str(drawn_slide)], "mpp": None})
    with open_slide(drawn_slide) as slide:
        for index in (0, 1):
            write_map(run.map_path(index, drawn_slide), slide)
            run.append(MapReady(index, slide.name, run.map_path(index, drawn_slide).relative_to(run.path).as_posix()))
    return run.path


def test_it_takes_what_it_knows_and_nothing_else(drawn_slide: Path, run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 9), np.uint8)).save(tmp_path / "picture.png")
    assert get_reader(str(drawn_slide)) is not None
    assert get_reader([str(drawn_slide), str(run)]) is not None
    assert get_reader(str(run / "rounds/01/maps/tiny.zarr")) is not None
    assert get_reader(str(tmp_path / "picture.png")) is not read  # napari's own, without a slide
    (tmp_path / "text.txt").touch()
    assert get_reader(str(tmp_path / "text.txt")) is None
    assert get_reader(str(tmp_path)) is None


def test_a_slide_is_a_lazy_image_in_micrometres(drawn_slide: Path) -> None:
    ((data, options, kind),) = read(str(drawn_slide))
    assert kind == "image"
    assert options["rgb"]
    assert options["scale"] == (1.0, 1.0)
    assert options["units"] == ("um", "um")
    finest = data[0] if isinstance(data, list) else data
    assert finest.shape == (256, 320, 3)
    assert not isinstance(finest, np.ndarray)


def test_a_folder_of_dicom_is_a_slide(window: Any, shared_data: Path) -> None:
    pytest.importorskip("wsidicom")
    folder = shared_data / "slides" / "CMU-1-Small-Region.dcm.d"
    window.viewer.open(str(folder), plugin="napari-ifkd")
    window.wait(lambda: window.session.slide is not None and window.session.tissue is not None)
    assert window.session.slide.shape_level0 == (2967, 2220)
    window.session.close(window.session.slide)
    window.bench.open(next(folder.glob("*.dcm")))  # a dialog for files cannot choose a folder
    assert window.session.slide.path == folder


def test_what_is_no_slide_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"not a tiff at all")
    with pytest.raises(SlideError, match=r"bad\.tif"):
        read(str(tmp_path / "bad.tif"))


def test_a_run_is_its_slide_and_its_rounds(run: Path) -> None:
    layers = read(str(run))
    assert [kind for _, _, kind in layers] == ["image", "image", "labels", "image", "labels"]
    assert [options.get("visible", True) for _, options, _ in layers] == [True, False, False, True, True]


def test_a_dropped_run_joins_the_docks(window: Any, run: Path) -> None:
    window.viewer.open(str(run), plugin="napari-ifkd")
    window.wait(lambda: len(window.session.candidates) == 2)
    assert window.session.slide.name == "tiny.tif"
    assert len(window.viewer.layers) == 5  # none of them twice
    assert window.docks["Review"].accept.isEnabled()


def test_the_phantom_is_drawn_once(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WIDTH", 512), ("HEIGHT", 384)):
        monkeypatch.setattr(sample_data, name, value)
    lived: list[str] = []
    dock = window.docks["Slide"]
    QTimer.singleShot(0, lambda: lived.append(dock.card.text()))  # comes only where something hears events
    window.viewer.open_sample("napari-ifkd", "phantom")
    assert len(lived) == 1
    assert lived[0].startswith("Drawing the phantom slide")
    window.wait(lambda: window.session.tissue is not None)
    assert window.session.slide.is_phantom
    assert sample_data.phantom_path().is_file()
    monkeypatch.setattr("napari_ifkd.slides.write_phantom", None)  # a second drawing would fail
    assert len(sample_data.phantom()) == 1


def test_a_sample_on_its_way_is_not_begun_twice_and_may_be_left(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtpy.QtCore import QEventLoop

    began, go, refused = [], threading.Event(), list[InputError]()
    loops = list[QEventLoop]()

    def draw(path: Path, *_: Any, **__: Any) -> None:
        began.append(threading.current_thread() is threading.main_thread())
        go.wait(30)

    class Loop(QEventLoop):
        def __init__(self) -> None:
            super().__init__()
            loops.append(self)

    def again() -> None:
        try:
            sample_data.phantom()
        except InputError as error:
            refused.append(error)
        loops[0].quit()  # as when napari is closed

    monkeypatch.setattr("napari_ifkd.slides.write_phantom", draw)
    monkeypatch.setattr(sample_data, "QEventLoop", Loop)
    window.when(lambda: bool(began), again)
    assert sample_data.phantom() == []
    assert began == [False]
    assert "on its way already" in str(refused[0])
    go.set()


def test_the_real_sample_is_fetched_once_and_checked(
    window: Any, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        """Serve the file as pooch would fetch it, and check it as pooch does."""
        asked.append(url)
        target = path / fname
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents[0])
        if hashlib.sha256(target.read_bytes()).hexdigest() != known_hash.removeprefix("sha256:"):
            target.unlink()
            raise ValueError("hash of downloaded file does not match")
        return str(target)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    contents = [b"something else"]
    with pytest.raises(SlideError, match="is another file"):
        window.viewer.open_sample("napari-ifkd", "cmu_1")
    contents[0] = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    window.viewer.open_sample("napari-ifkd", "cmu_1")
    window.wait(lambda: window.session.tissue is not None)
    assert window.session.slide.name == "CMU-1-Small-Region.svs"
    assert set(asked) == {sample_data.CMU_1}


def test_napari_starts_without_torch() -> None:
    code = (
        "import sys, npe2; pm = npe2.PluginManager.instance(); pm.discover(); pm.get_manifest('napari-ifkd');"
        "import napari_ifkd._plugin.reader, napari_ifkd._plugin.widgets.slide, napari_ifkd._plugin.widgets.teacher,"
        "napari_ifkd._plugin.widgets.distill, napari_ifkd._plugin.widgets.review, napari_ifkd._plugin.widgets.export, napari_ifkd.export;"
        "from napari_ifkd.models import list_models; list_models(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_moved_demo_opens_with_its_own_slide_and_its_accepted_round(window: Any, run: Path, drawn_slide: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    (demo / "slide").mkdir(parents=True)
    shutil.copyfile(drawn_slide, demo / "slide" / drawn_slide.name)
    shutil.copytree(run, demo / "run")
    folder = RunFolder.open(demo / "run")
    for index in (0, 1):
        folder.model_path(index).touch()
    folder.accept(0, 0.5)
    window.docks["Slide"].bench.open(demo)
    session = window.session
    assert [slide.path for slide in session.slides] == [demo / "slide" / drawn_slide.name]
    window.wait(lambda: len(session.here()) == 2)
    assert session.shown.round == 0
    assert "the teacher" in window.docks["Review"].accepted.text()
    window.wait(lambda: session.tissue is not None)


def test_a_map_brings_its_run(window: Any, run: Path) -> None:
    window.docks["Slide"].bench.open(run / "rounds/01/maps/tiny.zarr")
    window.wait(lambda: len(window.session.candidates) == 2)
    assert window.session.slide.name == "tiny.tif"


def test_masks_of_other_programs_lie_on_the_slide(window: Any, run: Path, drawn_slide: Path, tmp_path: Path, said: list[str]) -> None:
    from napari_ifkd.export import export_run

    files = export_run(run, ["geojson", "asap", "ome-tiff", "ome-zarr"], tmp_path / "out", round=1, threshold=0.5, sigma_px=0)[:-1]
    assert read(str(files[0])) == [(None,)]  # where docks are, they tell why nothing comes
    assert "Open its slide first" in said[0]
    window.bench.open(drawn_slide)
    window.wait(lambda: window.session.tissue is not None)
    (image,) = window.ours("slide")
    wanted = None
    labels = tifffile.imread(next(path for path in files if path.name.endswith(".ome.tif")))
    for name in ("labels.png", "labels.tif"):  # of another program, which says nothing of its resolution
        (Image.fromarray(labels).save if name.endswith("png") else partial(tifffile.imwrite, data=labels))(tmp_path / name)
        files.append(tmp_path / name)
    Image.fromarray(np.zeros((50, 300, 3), np.uint8)).save(tmp_path / "photo.png")
    (photo,) = window.viewer.open(str(tmp_path / "photo.png"), plugin="napari-ifkd")
    assert (type(photo).__name__, photo.rgb) == ("Image", True)  # as napari opens any picture
    for path in files:
        assert get_reader(str(path)) is not None
        (layer,) = window.viewer.open(str(path), plugin="napari-ifkd")  # as File > Open and a drop do
        assert layer.name == path.name
        assert layer.units == image.units
        assert (np.abs(layer.extent.world - image.extent.world) <= np.asarray(layer.scale)).all()
        height, width = window.session.slide.shape_level0
        area = (np.asarray(layer.data) == 1).sum() / layer.data.size * height * width
        wanted = area if wanted is None else wanted
        assert area == pytest.approx(wanted, rel=0.01), path.name
    assert wanted


def test_a_slide_of_another_reader_is_taken_in(window: Any, drawn_slide: Path) -> None:
    slide = window.docks["Slide"]
    assert not slide.adopt.isVisible()
    window.viewer.open(str(drawn_slide), plugin="napari")  # as somebody does who takes napari's own reader
    assert window.session.slide is None
    window.wait(slide.adopt.isVisible)
    assert drawn_slide.name in slide.stranger.text()
    window.click("Slide", slide.adopt)
    window.wait(lambda: window.session.tissue is not None)
    assert window.session.slide.path == drawn_slide
    assert len(window.ours("slide")) == 1
    assert not [layer for layer in window.viewer.layers if layer.name == drawn_slide.stem]
    assert not slide.adopt.isVisible()


def test_slides_with_and_without_resolution_are_dropped_one_after_the_other(
    window: Any, drawn_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("napari._vispy.canvas.show_warning", warned.append)
    tifffile.imwrite(tmp_path / "plain.tif", np.full((600, 800, 3), 200, np.uint8), photometric="rgb", tile=(128, 128), metadata=None)
    for path in (drawn_slide, tmp_path / "plain.tif"):
        window.viewer.open(str(path), plugin="napari-ifkd")
        window.wait(lambda path=path: window.session.slide is not None and window.session.slide.path == path)
        window.viewer.window._qt_viewer.canvas.native.repaint()
    assert window.session.slide.mpp is None
    assert not warned


def test_a_picture_that_is_no_slide_stays_what_it_is(window: Any, tmp_path: Path, said: list[str]) -> None:
    slide = window.docks["Slide"]
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((64, 64), np.uint16))
    window.viewer.open(str(tmp_path / "deep.tif"), plugin="napari")
    window.wait(slide.adopt.isVisible)
    window.click("Slide", slide.adopt)
    assert "deep.tif" in said[0]
    assert slide.trouble.isVisible()
    assert said[0] in slide.trouble.notice.text()
    window.click("Slide", slide.trouble.dismiss)
    assert not slide.trouble.isVisible()
    assert [layer.name for layer in window.viewer.layers] == ["deep"]
