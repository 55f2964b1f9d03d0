"""How far the making of a map is, kept on disk: the tiles of rows that are complete are never predicted again."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import RunError
from napari_ifkd.files import cannot_write, durable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SHARE = 0.05  # of the time may go into keeping
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Standing:
    """A map in the making, after some batch of tiles.

    Parameters
    ----------
    tiles : number of tiles that are blended in
    top : row where the band in work begins, px of the map
    sums, weights : ``(size_px, W)`` float32, of the band
    written : rows on disk
    rows : ``(n, W)`` uint8, complete and not yet on disk
    """

    tiles: int
    top: int
    sums: NDArray[np.float32]
    weights: NDArray[np.float32]
    written: int
    rows: NDArray[np.uint8]


class Keeper:
    """Keeps the standing of one map, beside it.

    Parameters
    ----------
    path : the folder of the map
    identity : of all that the map follows from; what was kept of another is not taken up
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.file, self._begun = _file_of(path), aside_of(path) / "0" / "zarr.json"
        self.identity = identity
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to keep the standing again: seldom enough to cost next to nothing, on a slow disk too."""
        return time.monotonic() >= self._next

    def keep(self, standing: Standing) -> None:
        """Write the standing, whole or not at all.

        Raises
        ------
        RunError
            If it cannot be written.
        """
        began = time.monotonic()
        values: dict[str, Any] = {item.name: getattr(standing, item.name) for item in fields(standing)}
        try:
            with durable(self.file) as aside, aside.open("wb") as file:
                np.savez(file, identity=self.identity, **values)
        except OSError as error:
            raise cannot_write(RunError, self.file, error) from error
        now = time.monotonic()
        self._next = now + (now - began) / _SHARE

    def kept(self) -> Standing | None:
        """Return what was kept, None where there is nothing that could be taken up."""
        try:
            with np.load(self.file, allow_pickle=False) as found:
                if str(found["identity"]) != self.identity or not self._begun.is_file():
                    return None
                tiles, top, written = (int(found[name]) for name in ("tiles", "top", "written"))
                return Standing(tiles, top, found["sums"], found["weights"], written, found["rows"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def aside_of(path: Path) -> Path:
    """Return where a map in the making lies."""
    return path.with_name(f".{path.name}.partial")


def forget_standing(path: Path) -> None:
    """Remove what was kept of a map that is complete, or to be made anew."""
    _file_of(path).unlink(missing_ok=True)


def identity_of(facts: dict[str, Any], *parts: bytes) -> str:
    """Return a hash of all that a map follows from.

    Parameters
    ----------
    facts : JSON-ready
    parts : whatever else matters
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, facts], sort_keys=True).encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _file_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.standing")
