"""What is said of lesions is written down beside the window, one write after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import shapely

from napari_ifkd.annotations.verdicts import outline_of, read_verdicts, write_verdicts
from napari_ifkd.export.taken_back import taken_back

from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Lock

    from shapely.geometry import Polygon

    from napari_ifkd.annotations.verdicts import Verdict
    from napari_ifkd.export.outlines import Outline
    from napari_ifkd.inference import ProbabilityMap

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Said:
    """What was said of a lesion.

    Attributes
    ----------
    path : of the table it goes to
    outline : of the lesion, px of its map
    found : that map
    verdict : None where it was taken back
    """

    path: Path
    outline: Outline
    found: ProbabilityMap
    verdict: Verdict | None

    def after(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Return the verdicts there are with this one; for a thread."""
        if self.verdict is None:
            return taken_back(self.outline, verdicts, self.found)
        return [*verdicts, replace(self.verdict, outline=_outline(self.outline.polygon, self.found.scale_yx))]


class VerdictWriter(Generic[_Told]):
    """Write verdicts down in a thread, each write after the last, for it reads what that one wrote.

    Parameters
    ----------
    table : held while a table of verdicts is read and written
    look : asked when a write begins; what it returns, if anything, is called in the thread after the write
    written : called after each write, with what that told
    failed : called in its place with the error
    """

    def __init__(
        self,
        table: Lock,
        look: Callable[[], Callable[[], _Told] | None],
        written: Callable[[_Told | None], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._table, self._look, self._told, self._failed = table, look, written, failed
        self._waiting: list[Said] = []
        self._writing = False

    @property
    def last(self) -> bool:
        """Whether nothing waits to be written after what is written now."""
        return not self._waiting

    @property
    def idle(self) -> bool:
        """Whether all is written."""
        return self.last and not self._writing

    def say(self, one: Said) -> None:
        """Write one down, as soon as those before it are."""
        self._waiting.append(one)
        self._write()

    def _write(self) -> None:
        if self._writing or not self._waiting:
            return
        path, look = self._waiting[0].path, self._look()
        new = [one for one in self._waiting if one.path == path]
        self._waiting = [one for one in self._waiting if one.path != path]
        self._writing = True

        def write() -> _Told | None:
            with self._table:
                verdicts = read_verdicts(path)
                for one in new:
                    verdicts = one.after(verdicts)
                write_verdicts(path, verdicts)
            return None if look is None else look()

        def written(told: _Told | None) -> None:
            self._writing = False
            self._told(told)
            self._write()

        def failed(error: Exception) -> None:
            self._writing = False
            self._failed(error)
            self._write()

        in_thread(write, written, failed)  # not of a dock, which may go meanwhile


def _outline(lesion: Polygon, scale_yx: tuple[float, float]) -> str:
    """Return the outline of a lesion, px of the map, as a verdict keeps it."""
    scale_y, scale_x = scale_yx
    return outline_of(shapely.transform(lesion, lambda xy: xy * (scale_x, scale_y)), max(scale_x, scale_y))
