"""A real viewer, a small phantom slide and a small network that finds its tumour."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("napari", reason="the window needs napari")
pytest.importorskip("pytestqt", reason="the window is tested with pytest-qt")

WIDTH, HEIGHT, SEED = 1536, 1152, 3


@pytest.fixture(scope="session")
def phantom_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from napari_ifkd.slides import write_phantom

    return write_phantom(tmp_path_factory.mktemp("slide") / "phantom.tiff", WIDTH, HEIGHT, SEED)


@pytest.fixture(scope="session")
def quick_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network that overfits the phantom slide; it says it knows phantoms only."""
    import torch

    from napari_ifkd.config import NetworkConfig
    from napari_ifkd.models import ModelCard, build_model, prepare, save_model
    from napari_ifkd.slides import phantom_field

    rgb, truth = phantom_field(SEED, (0, 0), (HEIGHT, WIDTH), width=WIDTH, height=HEIGHT)
    tile, half = 64, (slice(None, None, 2), slice(None, None, 2))
    rgb, truth = rgb[half], truth[half]  # 1 um/px
    places = [(y, x) for y in range(0, rgb.shape[0] - tile + 1, tile) for x in range(0, rgb.shape[1] - tile + 1, tile)]
    images = torch.from_numpy(np.stack([rgb[y : y + tile, x : x + tile] for y, x in places]))
    masks = torch.from_numpy(np.stack([truth[y : y + tile, x : x + tile] for y, x in places])).float().unsqueeze(1)
    network = NetworkConfig(width=0.125)
    model = build_model(network, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(0)
    for _ in range(60):
        pick = torch.randperm(len(places))[:24]
        outputs = model(prepare(images[pick], model.normalisation))
        loss = torch.nn.functional.binary_cross_entropy(outputs.fused.clamp(1e-4, 1 - 1e-4), masks[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("teacher") / "quick-teacher.safetensors"
    card = ModelCard(name="quick-teacher", network=network, mpp=1.0, tile_px=tile, trained_on="one phantom slide", domain="phantom")
    save_model(path, model.eval(), card)
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs, caches and children of a test in its own folder, and children small."""
    from napari_ifkd._plugin import settings

    monkeypatch.setattr(settings, "runs_folder", lambda: tmp_path / "runs")
    monkeypatch.setattr("napari_ifkd._plugin.bench.runs_folder", lambda: tmp_path / "runs")
    monkeypatch.setattr("napari_ifkd._plugin.sample_data.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "2"))
    monkeypatch.setenv("NAPARI_IFKD_MODELS", str(tmp_path / "models"))


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Window]:
    """Return a real viewer with the five docks."""
    from napari_ifkd._plugin.docks import add_docks

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    docks = {name: dock.inner_widget() for name, dock in add_docks(viewer).items()}
    yield Window(viewer, docks, qtbot)
    docks["Slide"].bench.runner.release()
    quiet()


def quiet() -> None:
    """Wait for the threads of a test."""
    from qtpy.QtWidgets import QApplication
    from superqt.utils._qthreading import WorkerBase

    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


class Window:
    """A viewer and its docks, with hands to click."""

    def __init__(self, viewer: Any, docks: dict[str, Any], qtbot: Any) -> None:
        self.viewer, self.docks, self.qtbot = viewer, docks, qtbot
        self.session = docks["Slide"].bench.session

    def click(self, dock: str, widget: Any) -> None:
        """Bring a dock to the front and click a widget of it with the mouse."""
        from qtpy.QtCore import Qt

        native = getattr(widget, "native", widget)
        parent = self.docks[dock].parentWidget()
        while parent is not None and not parent.inherits("QDockWidget"):
            parent = parent.parentWidget()
        if parent is not None:
            parent.raise_()
        self.docks[dock].ensureWidgetVisible(native)
        self.qtbot.waitUntil(native.isVisible, timeout=5000)
        assert native.isEnabled(), f"{native} is disabled"
        self.qtbot.mouseClick(native, Qt.MouseButton.LeftButton)

    def wait(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so, while the window lives."""
        self.qtbot.waitUntil(condition, timeout=int(seconds * 1000))

    def ours(self, *kinds: str) -> list[Any]:
        """Return our layers of these kinds."""
        return list(self.docks["Slide"].bench.layers.ours(*kinds))
