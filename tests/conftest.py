"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real slides and patches; tests that need it are skipped where it is absent.

    The environment variable NAPARI_IFKD_DATA names it, or it lies in ``../shared/data`` beside the project.
    """
    folder = Path(os.environ.get("NAPARI_IFKD_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NAPARI_IFKD_DATA to its folder")
    return folder


@pytest.fixture
def tiny_slide(tmp_path: Path) -> Path:
    """Write a slide of 1024 x 768 px (x, y) at 0.5 um/px, two stored levels, lossless: white glass and one round section of H&E colours.

    The section has its centre at x 512, y 384 (level-0 px) and a radius of 250 px; its right half is purple, its left half pink.
    """
    y, x = np.mgrid[:768, :1024].astype(np.float32)
    rng = np.random.default_rng(0)
    image = np.full((768, 1024, 3), 244, np.float32)
    section = (y - 384) ** 2 + (x - 512) ** 2 < 250**2
    image[section & (x < 512)] = (225, 150, 190)
    image[section & (x >= 512)] = (130, 80, 160)
    image[section] += rng.normal(0, 12, (int(section.sum()), 1))
    level0 = np.clip(image, 0, 255).astype(np.uint8)
    level1 = level0.reshape(384, 2, 512, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    path = tmp_path / "tiny.tif"
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate", "metadata": None, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(level0, subifds=1, resolution=(20000, 20000), **options)
        tiff.write(level1, subfiletype=1, resolution=(10000, 10000), **options)
    return path


def draw_tissue(shape: tuple[int, int], seed: int, positive: bool) -> np.ndarray:
    """Draw something like H&E, ``(*shape, 3)`` uint8: pink, with dark purple nuclei where `positive`."""
    rng = np.random.default_rng(seed)
    image = np.array([222, 160, 196]) + rng.normal(0, 12, (*shape, 3))
    if positive:
        nuclei = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.08
        image[nuclei] = np.array([92, 58, 130]) + rng.normal(0, 10, (int(nuclei.sum()), 3))
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def drawn_patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patch folder of 24 images of 32 px in six groups, with masks."""
    folder = tmp_path_factory.mktemp("tiny") / "patches"
    for name in ("pos", "neg", "gt"):
        (folder / name).mkdir(parents=True)
    for k in range(24):
        positive = k % 2 == 0
        image = draw_tissue((32, 32), k, False)
        if positive:
            image[:, 12:] = draw_tissue((32, 32), k, True)[:, 12:]
            mask = np.zeros((32, 32), np.uint8)
            mask[:, 12:] = 255
            Image.fromarray(mask).save(folder / "gt" / f"g{k // 4}_{k}.png")
        Image.fromarray(image).save(folder / ("pos" if positive else "neg") / f"g{k // 4}_{k}.png")
    return folder


@pytest.fixture(scope="session")
def drawn_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slide of 320 x 256 px at 1 um/px, tissue on white glass, its right half tumour; ``truth.tif`` beside it."""
    folder = tmp_path_factory.mktemp("slide")
    slide = np.full((256, 320, 3), 243, np.uint8)
    slide[32:224, 32:288] = draw_tissue((192, 256), 1, False)
    slide[32:224, 160:288] = draw_tissue((192, 128), 2, True)
    truth = np.zeros((256, 320), np.uint8)
    truth[32:224, 160:288] = 1
    options: dict[str, Any] = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(folder / "tiny.tif", slide, photometric="rgb", **options)
    tifffile.imwrite(folder / "truth.tif", truth, **options)
    return folder / "tiny.tif"


@pytest.fixture(scope="session")
def drawn_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, as YAML, with which everything takes seconds."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(
        "network: {width: 0.125}\ntiles: {size_px: 32}\nstage1: {epochs: 2, batch: 8}\nthreads: 1\n"
        "rounds: {rounds: 2, epochs: 2, batch: 16, robust: {averaged_views: false}}\n"
        "inference: {overlap: 0, sigma_px: 1}\n"
        "device: cpu\nprecision: float32\n"
    )
    return path


@pytest.fixture(scope="session")
def drawn_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file of a small network that calls dark purple tumour; 32 px at 1 um/px."""
    import torch

    from napari_ifkd.config import NetworkConfig
    from napari_ifkd.models import ModelCard, build_model, prepare, save_model

    network = NetworkConfig(width=0.125)
    model = build_model(network, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    images = torch.from_numpy(np.stack([draw_tissue((32, 32), 100 + k, k % 2 == 0) for k in range(16)]))
    labels = (torch.arange(16) % 2 == 0).float().view(-1, 1, 1, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so small a network more threads only wait for each other
    for _ in range(40):
        outputs = model(prepare(images, model.normalisation))
        loss = torch.nn.functional.binary_cross_entropy(outputs.fused.clamp(1e-4, 1 - 1e-4), labels.expand_as(outputs.fused))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.set_num_threads(threads)
    path = tmp_path_factory.mktemp("teacher") / "tiny-teacher.safetensors"
    save_model(path, model, ModelCard(name="tiny-teacher", network=network, mpp=1.0, tile_px=32, trained_on="drawn tissue"))
    return path


@pytest.fixture
def write_map() -> Callable[..., None]:
    """Return a function (path, slide, values=None, **facts) that writes a map at 2 level-0 px per px: a square of .8 in .1, or values."""
    from napari_ifkd.inference.map_writer import MapWriter

    def write(path: Path, slide: Any, values: np.ndarray | None = None, **facts: Any) -> None:
        height, width = slide.shape_level0[0] // 2, slide.shape_level0[1] // 2
        if values is None:
            values = np.full((height, width), 25, np.uint8)
            values[height // 4 : height // 2, width // 4 : width // 2] = 204
        side = 2 * slide.mpp
        about = {
            "slide": slide.identity(),
            "mpp": side,
            "pixel_size_um_yx": [side, side],
            "scale_yx": [2.0, 2.0],
            "model": {"name": "drawn"},
        }
        with MapWriter(path, values.shape) as writer:
            writer.append(values)
            writer.complete({**about, "warnings": [], **facts}, lambda: None)

    return write
