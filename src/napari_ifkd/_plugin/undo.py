"""How what was done to the corrections of a slide is taken back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from napari_ifkd.runs.hints import copy_corrections

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.slides import Slide


@dataclass(frozen=True, eq=False)
class Undo:
    """One act that can be taken back.

    Parameters
    ----------
    slide : on which
    path : of the corrections
    act : takes it back; for a thread
    """

    slide: Slide
    path: Path
    act: Callable[[], object]


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
