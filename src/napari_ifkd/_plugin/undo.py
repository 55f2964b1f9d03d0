"""How what was done to the corrections of a slide is taken back."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from napari_ifkd.runs.hints import copy_corrections

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 50  # acts that can be taken back
_Told = TypeVar("_Told")


@dataclass(frozen=True, eq=False)
class _Undo:
    path: Path
    act: Callable[[], object]


class Undos:
    """Acts on corrections, one at a time, and how each is taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._undos: list[_Undo] = []  # the last one last

    def act(self, path: Path, change: Callable[[], tuple[_Told, Callable[[], object]]]) -> _Told:
        """Change corrections; for a thread.

        Parameters
        ----------
        path : of the corrections
        change : makes the change; returns what it tells, and what takes it back
        """
        with self._lock:
            told, back = change()
            self._undos = [*self._undos, _Undo(path, back)][-_MOST:]
        return told

    def any_of(self, path: Path) -> bool:
        """Return whether an act on these corrections can be taken back."""
        return any(undo.path == path for undo in self._undos)

    def take_back(self, path: Path) -> None:
        """Take the last act on these corrections back, if there was one; for a thread."""
        with self._lock:
            last = next((undo for undo in reversed(self._undos) if undo.path == path), None)
            if last is not None:
                last.act()
                self._undos = [undo for undo in self._undos if undo is not last]


class Before:
    """The corrections of a slide as they are now, all of them; they lie in a scratch folder as long as this is kept."""

    def __init__(self, path: Path) -> None:
        self._path, self._scratch = path, TemporaryDirectory(prefix="napari-ifkd-")
        self._kept = Path(self._scratch.name) / path.name if path.is_dir() else None
        if self._kept is not None:
            copy_corrections(path, self._kept)

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
