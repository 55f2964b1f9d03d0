"""How what was done to the corrections of a slide is taken back, and done again."""

from __future__ import annotations

import shutil
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_ifkd.annotations import Corrections
from napari_ifkd.runs.hints import copy_corrections

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_MOST = 50  # acts that can be taken back
_Told = TypeVar("_Told")


@dataclass(frozen=True, eq=False)
class _Act:
    path: Path
    change: Callable[[], tuple[object, Callable[[], object]]]
    told: object
    back: Callable[[], object]


class Undos:
    """Acts on corrections, one at a time, and how each is taken back, and done again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[_Act] = []  # the last one last
        self._taken_back: list[_Act] = []

    def act(self, path: Path, change: Callable[[], tuple[_Told, Callable[[], object]]]) -> _Told:
        """Change corrections; for a thread.

        Parameters
        ----------
        path : of the corrections
        change : makes the change; returns what it tells, and what takes it back
        """
        with self._lock:
            told, back = change()
            self._done = [*self._done, _Act(path, change, told, back)][-_MOST:]
            self._taken_back = [act for act in self._taken_back if act.path != path]
        return told

    def any_of(self, path: Path) -> bool:
        """Return whether an act on these corrections can be taken back."""
        return _last(self._done, path) is not None

    def any_of_another_run(self, path: Path) -> bool:
        """Return whether an act on the corrections of the same slide in another run can be taken back."""
        return any(act.path.name == path.name and act.path != path for act in self._done)

    def any_taken_back(self, path: Path) -> bool:
        """Return whether an act on these corrections that was taken back can be done again."""
        return _last(self._taken_back, path) is not None

    def take_back(self, path: Path) -> object:
        """Take the last act on these corrections back, if there was one, and return what it had told; for a thread."""
        with self._lock:
            last = _last(self._done, path)
            if last is None:
                return None
            last.back()
            self._done = [act for act in self._done if act is not last]
            self._taken_back = [*self._taken_back, last][-_MOST:]
            return last.told

    def do_again(self, path: Path) -> object:
        """Do what was taken back last of these corrections once more, and return what it tells now; for a thread."""
        with self._lock:
            last = _last(self._taken_back, path)
            if last is None:
                return None
            told, back = last.change()
            self._taken_back = [act for act in self._taken_back if act is not last]
            self._done = [*self._done, _Act(path, last.change, told, back)][-_MOST:]
            return told


def _last(acts: list[_Act], path: Path) -> _Act | None:
    return next((act for act in reversed(acts) if act.path == path), None)


class Before:
    """The corrections of a slide as they are now, all of them; they lie in a scratch folder as long as this is kept."""

    def __init__(self, path: Path) -> None:
        scratch = mkdtemp(prefix="napari-ifkd-")
        weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)  # also when napari quits, without a word
        self._path, self._kept = path, Path(scratch) / path.name if path.is_dir() else None
        if self._kept is not None:
            copy_corrections(path, self._kept)

    def read(self, y0: int, x0: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read a window of them, as :meth:`napari_ifkd.annotations.Corrections.read`."""
        return np.zeros((h, w), np.uint8) if self._kept is None else Corrections.open(self._kept).read(y0, x0, h, w)

    def restore(self) -> None:
        """Put them in their place again."""
        aside, old = (self._path.with_name(f".{self._path.name}.{end}.part") for end in ("new", "old"))
        if self._kept is not None:
            copy_corrections(self._kept, aside)
        shutil.rmtree(old, ignore_errors=True)
        if self._path.exists():
            self._path.rename(old)  # at once: a run that reads them meanwhile must not find a half
        try:
            if self._kept is not None:
                aside.rename(self._path)
        except OSError:
            if old.exists():
                old.rename(self._path)
            raise
        shutil.rmtree(old, ignore_errors=True)
