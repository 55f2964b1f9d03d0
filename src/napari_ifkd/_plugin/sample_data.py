"""Sample data: the phantom slide, drawn once, and a real one, fetched once; both are kept in the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psygnal
from qtpy.QtCore import QEventLoop, QObject, Signal  # type: ignore[attr-defined] # qtpy makes it of what there is
from qtpy.QtWidgets import QApplication

from napari_ifkd import __version__
from napari_ifkd.errors import InputError

from .layers import slide_layer
from .settings import cache_folder
from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layers import LayerData

_AT_WORK: set[Path] = set()  # samples that are being made
WIDTH, HEIGHT, SEED = 4096, 3072, 7
CMU_1 = "https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1-Small-Region.svs"
CMU_1_SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"


def phantom() -> list[LayerData]:
    """Return the phantom slide as a layer; the first call draws it, which takes some seconds."""
    return _sample(_phantom_file(), phantom_path, "Drawing the phantom slide")


def cmu_1() -> list[LayerData]:
    """Return a small real slide of OpenSlide's test data as a layer; the first call fetches it (2 MB)."""
    return _sample(_cmu_1_file(), lambda _: cmu_1_path(), "Fetching CMU-1-Small-Region.svs")


def _sample(ready: Path, make: Callable[[Callable[[int, int], None]], Path], doing: str) -> list[LayerData]:
    """Return a sample as a layer; one that must be made first is made in a thread, and the window answers meanwhile.

    No layer comes where the window was closed meanwhile.

    Raises
    ------
    InputError
        If it is being made already.
    """
    from napari_ifkd.slides import open_slide

    if not ready.is_file() and QApplication.instance() is not None:
        if ready in _AT_WORK:
            raise InputError(ready.name, f"is on its way already ({doing[0].lower()}{doing[1:]})", "Wait for it")
        _AT_WORK.add(ready)
        try:
            if not _wait_for(make, doing):
                return []
        finally:
            _AT_WORK.discard(ready)
    return [slide_layer(open_slide(make(lambda *_: None)))]


def _wait_for(make: Callable[[Callable[[int, int], None]], Path], doing: str) -> bool:
    """Make a file in a thread while the window lives on: napari wants its layers before a sample's function returns.

    Returns
    -------
    bool
        Whether it was made; not where the program is about to end.
    """
    from napari.utils import progress
    from napari.utils.notifications import show_info

    loop, relay, made, failures = QEventLoop(), _Relay(), list[Path](), list[Exception]()

    def done(path: Path) -> None:
        made.append(path)
        loop.quit()

    def failed(error: Exception) -> None:
        failures.append(error)
        loop.quit()

    show_info(f"{doing} …")  # one line of napari's
    SAMPLE.say(f"{doing} …")
    with progress(total=0, desc=doing) as bar:

        def shown(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            SAMPLE.say(f"{doing} … {100 * done // max(1, total)} %")

        relay.told.connect(shown)
        in_thread(lambda: make(relay.told.emit), done, failed)
        loop.exec()
    SAMPLE.say("")
    if failures:
        raise failures[0]
    return bool(made)


class Sample:
    """What is told of a sample that is being made, for whoever shows it.

    Attributes
    ----------
    told : "" while none is
    """

    changed = psygnal.Signal()

    def __init__(self) -> None:
        self.told = ""

    def say(self, told: str) -> None:
        """Tell something else."""
        self.told = told
        self.changed.emit()


SAMPLE = Sample()


class _Relay(QObject):
    """Carries progress from a thread to the window."""

    told = Signal(int, int)


def _phantom_file() -> Path:
    return cache_folder() / f"phantom-{WIDTH}x{HEIGHT}-{SEED}-v{__version__}" / "phantom.tiff"


def _cmu_1_file() -> Path:
    return cache_folder() / "samples" / CMU_1.rpartition("/")[2]


def phantom_path(progress: Callable[[int, int], None] = lambda *_: None) -> Path:
    """Return the phantom slide's file, drawn if it is not there yet."""
    from napari_ifkd.slides import write_phantom

    path = _phantom_file()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_phantom(path, WIDTH, HEIGHT, SEED, progress=progress)
    return path


def cmu_1_path() -> Path:
    """Return the file of the real sample, fetched if it is not there yet.

    Raises
    ------
    SlideError
        If it cannot be fetched, or is another file than it should be.
    """
    from napari_ifkd.errors import SlideError
    from napari_ifkd.files import fetched

    path = _cmu_1_file()
    try:
        return fetched(CMU_1, CMU_1_SHA256, path)
    except ValueError as error:
        raise SlideError(CMU_1, "is another file than it used to be", "Open a slide of your own, or the phantom") from error
    except OSError as error:
        remedy = f"Check the connection (behind a proxy: HTTPS_PROXY), or put the file into {path.parent}"
        raise SlideError(CMU_1, "cannot be fetched: the server could not be reached", remedy) from error
