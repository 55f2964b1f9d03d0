"""One writer a run folder, by a lock of the operating system: a dead process holds none."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_ifkd.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FAR = 1 << 20  # Windows locks bytes and forbids reading them: lock one far behind the pid


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def hold(path: Path, patience: float = 1.0) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with`` block; the holder's pid stands in it.

    Parameters
    ----------
    path : the lock file; made if it is not there
    patience : seconds to try, because a look by :func:`holder` takes the lock for an instant

    Raises
    ------
    RunError
        If another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise RunError(
                    path.parent,
                    f"another process (pid {_pid(path)}) is working on this run",
                    "Wait for it or cancel it, or choose another --out",
                )
            time.sleep(0.05)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.truncate(descriptor if os.truncate in os.supports_fd else path, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)  # closing lets the lock go


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, None if nobody does (0 if it holds but has not written its pid yet)."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _try_lock(descriptor) else _pid(path)
    finally:
        os.close(descriptor)


def _pid(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return 0
