"""Sample data: the phantom slide, drawn once, and a real one, fetched once; both are kept in the user's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd import __version__

from .layers import slide_layer
from .settings import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from .layers import LayerData

WIDTH, HEIGHT, SEED = 4096, 3072, 7
CMU_1 = "https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1-Small-Region.svs"
CMU_1_SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"


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


def cmu_1() -> list[LayerData]:
    """Return a small real slide of OpenSlide's test data as a layer; the first call fetches it (2 MB)."""
    from napari.utils import progress

    from napari_ifkd.slides import open_slide

    with progress(total=0, desc="Fetching CMU-1-Small-Region.svs"):
        path = cmu_1_path()
    return [slide_layer(open_slide(path))]


def cmu_1_path() -> Path:
    """Return the file of the real sample, fetched if it is not there yet.

    Raises
    ------
    SlideError
        If it cannot be fetched, or is another file than it should be.
    """
    from napari_ifkd.errors import SlideError
    from napari_ifkd.files import fetched

    name = CMU_1.rpartition("/")[2]
    folder = cache_folder() / "samples"
    try:
        return fetched(CMU_1, CMU_1_SHA256, folder / name)
    except ValueError as error:
        raise SlideError(CMU_1, "is another file than it used to be", "Open a slide of your own, or the phantom") from error
    except OSError as error:
        remedy = f"Check the connection (behind a proxy: HTTPS_PROXY), or put the file into {folder}"
        raise SlideError(CMU_1, "cannot be fetched: the server could not be reached", remedy) from error
