"""Where the slide of a map lies, for the formats that show it or belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import open_slide
from napari_ifkd.slides.dicom import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.slides import Slide


class SlideFinder:
    """Finds the slide of a map by its hash, among places that were told.

    Parameters
    ----------
    places : files, or folders of a DICOM slide
    """

    def __init__(self, places: Iterable[Path] = ()) -> None:
        self._places = list(places)

    def look_in(self, run: RunFolder) -> None:
        """Add where a run found its slides."""
        asked: dict[str, Any] = run.about["data"]
        self._places += [Path(str(value)) for name in ("slides", "data") for value in asked.get(name) or ()]

    def find(self, identity: dict[str, Any], stack: ExitStack, *, dicom: bool, shown: bool) -> tuple[Slide | None, Path | None]:
        """Return the slide of an identity, open until `stack` closes, and the folder of its DICOM; None for what is not there.

        Parameters
        ----------
        identity : as the map tells it
        stack : closes the slide
        dicom, shown : which of them is wanted
        """
        folders = sorted(
            (place for place in self._places if dicom and is_dicom(place)), key=lambda place: place.name != identity.get("name")
        )
        folder = next(iter(folders), None)  # the one of the map's name, else one that may be the slide before it was converted
        for place in self._places if shown else ():
            if place.exists() and place.name == identity.get("name"):
                try:
                    slide = stack.enter_context(open_slide(place, identity.get("mpp")))
                except SlideError:
                    continue  # it was moved or damaged; the mask is written all the same
                if slide.quick_hash == identity.get("quick_hash", slide.quick_hash):
                    return slide, folder
        return None, folder
