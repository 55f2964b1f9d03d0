"""The phantom slide as sample data: drawn once, then kept in the user's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd import __version__

from .layers import LayerData, slide_layer
from .settings import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT, SEED = 4096, 3072, 7


def phantom() -> list[LayerData]:
    """Return the phantom slide as a layer; the first call draws it, which takes some seconds."""
    from napari_ifkd.slides import open_slide

    return [slide_layer(open_slide(phantom_path()))]


def phantom_path() -> Path:
    """Return the phantom slide's file, drawn if it is not there yet."""
    from napari.utils import progress

    from napari_ifkd.slides import write_phantom

    path = cache_folder() / f"phantom-{WIDTH}x{HEIGHT}-{SEED}-v{__version__}" / "phantom.tiff"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress(total=0, desc="Drawing the phantom slide") as bar:

        def drawn(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        write_phantom(path, WIDTH, HEIGHT, SEED, progress=drawn)
    return path
