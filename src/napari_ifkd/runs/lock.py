"""One writer a run folder, by a lock of the operating system: a dead process holds none."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_ifkd.errors import RunError
from napari_ifkd.files import cannot_write, make_folder, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDED = "NAPARI_IFKD_LOCK"  # environment: the descriptor of a lock that the starter of this process took for it


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` for the length of a ``with`` block; the holder's pid stands in it.

    Parameters
    ----------
    path : the lock file; made if it is not there

    Yields
    ------
    bool
        Whether whoever started this process had taken the lock for it, see :func:`take`.

    Raises
    ------
    RunError
        If another process holds the lock, or it cannot be written.
    """
    handed = _handed(path)
    if handed is None:
        descriptor = take(path)
    else:
        descriptor = handed
        del os.environ[HANDED]
        os.set_inheritable(handed, False)
    try:
        write_pid(descriptor, os.getpid())
    except OSError as error:
        os.close(descriptor)
        raise cannot_write(RunError, path.parent, error, "choose another folder (--out)") from error
    try:
        yield handed is not None
    finally:
        os.close(descriptor)  # closing lets the lock go


def take(path: Path, patience: float = 1.0) -> int:
    """Take the lock file `path`, made if it is not there, and return its descriptor; closing it everywhere lets the lock go.

    A child process that inherits the descriptor, and finds its number in the environment as `HANDED`, holds the lock from its first instant
    (not on Windows, where a child can only take it itself).

    Parameters
    ----------
    path : the lock file
    patience : seconds to try, because a look by :func:`holder` takes the lock for an instant

    Raises
    ------
    RunError
        If another process holds the lock, or it cannot be written.
    """
    try:
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(RunError, path.parent, error, "choose another folder (--out)") from error
    deadline = time.monotonic() + patience
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise _taken(path, _pid(path))
        time.sleep(0.05)
    return descriptor


def write_pid(descriptor: int, pid: int) -> None:
    """Write into a lock file who holds it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(pid).encode())


def check_free(path: Path) -> None:
    """Raise RunError if another process holds the lock."""
    if (pid := holder(path)) is not None:
        raise _taken(path, pid)


def _taken(path: Path, pid: int) -> RunError:
    return RunError(
        path.parent, f"another process (pid {pid}) is working on this run", "Wait for it or cancel it, or choose another folder (--out)"
    )


def _handed(path: Path) -> int | None:
    """Return the descriptor of `path` that this process inherited locked and does not hold yet, None if there is none."""
    try:
        descriptor = int(os.environ.get(HANDED, ""))
        ours = os.path.samestat(os.fstat(descriptor), path.stat())  # or this command works on another run than it was started for
    except (OSError, ValueError):
        return None
    return descriptor if ours else None


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, None if nobody does (0 if it holds but has not written its pid yet).

    A lock that was handed to this very process, and waits for its :func:`hold`, is held by nobody.
    """
    if _handed(path) is not None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)  # also where only others may write
    except OSError:
        return None
    try:
        # shared: two that look at once must not take each other for the holder
        return None if try_lock(descriptor, shared=True) else _pid(path)
    finally:
        os.close(descriptor)


def _pid(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return 0
