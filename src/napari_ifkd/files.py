"""Files and folders that appear whole or not at all, and are still there after a power cut.

All that the program writes is made aside, under a name that no reader looks for, forced to disk, renamed, and the rename forced to disk.
An aside is locked while it is made. The next writer of the same file sweeps those that nobody holds: their writers were killed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAR = 1 << 20  # Windows locks bytes and forbids reading them: lock one far behind whatever stands in the file
_DAY_S = 86_400
_WORDS = {
    errno.ENOSPC: ("no space left on the device", "Make space"),
    errno.EDQUOT: ("the disk quota is used up", "Make space"),
    errno.EFBIG: ("the file is too large for this disk or account", "Lift the limit"),
    errno.EROFS: ("the disk is read-only", "Make it writable"),
    errno.EACCES: ("permission denied", "Get the right to write there"),
    errno.EPERM: ("not permitted", "Get the right to write there"),
}
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Errors that only writing meets."""
Problem = TypeVar("Problem", bound=InputError)


def fetched(url: str, sha256: str, target: Path) -> Path:
    """Return a file, fetched from an address if it is not there yet.

    Raises
    ------
    ValueError
        If what was fetched has another hash; it is not kept.
    OSError
        If it cannot be fetched; requests' errors are OSErrors.
    """
    import pooch  # takes a while to import

    pooch.get_logger().setLevel("WARNING")  # else it writes to the terminal
    return Path(pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=target.name, path=target.parent))


def write_aside(path: str | Path, content: str | bytes | memoryview) -> None:
    """Write a file, whole or not at all; text as UTF-8 and as it is. Its folder is made.

    Raises
    ------
    OSError
        If it cannot be written; it names the file. What was there before stands.
    """
    with durable(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def durable(path: str | Path) -> Iterator[Path]:
    """Give a place aside to write a file to; after the block it takes its name, replacing what was there.

    Parameters
    ----------
    path : the file; its folder is made. Two processes may write it at once: the last one wins

    Yields
    ------
    Path
        An empty file. If the block raises, it goes, and what was there before stands.

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    with _beside(Path(path), folder=False) as aside:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(Path(path).parent)


@contextmanager
def durable_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder aside to fill; after the block it takes its name.

    Parameters
    ----------
    path : the folder; it must not be there, or be empty. The folder around it is made

    Yields
    ------
    Path
        If the block raises, it goes with all that is in it.

    Raises
    ------
    OSError
        If it cannot be written, or something is there.
    """
    path = Path(path)
    with _beside(path, folder=True) as aside:
        yield aside
        sync_tree(aside)
        if path.is_dir():
            path.rmdir()  # Windows renames over nothing, not even an empty folder
        aside.rename(path)
        sync(path.parent)


@contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` for what it takes to make that; gone afterwards."""
    with _beside(Path(path), folder=True) as aside:
        yield aside


def is_aside(path: Path) -> bool:
    """Whether a file or folder is one in the making, or was left so by a killed process."""
    return path.name.startswith(".") and path.name.endswith(".part")


def make_folder(path: Path) -> None:
    """Make a folder and those around it, all on disk."""
    made = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        if folder.exists() and not folder.is_dir():  # mkdir would say that a file exists; another may have made the folder just now
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        made.append(folder)
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    if os.name == "nt" and path.is_dir():
        return  # there folders cannot be opened
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():  # some network disks know no such thing for folders
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Force a folder with all that is in it to disk."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:  # a disk takes many at once
        list(pool.map(sync, [*folder.rglob("*"), folder]))


def reserve(descriptor: int, size: int) -> None:
    """Take `size` bytes of disk for an open file: touching a mapped page that the disk has no room for kills a process without a word.

    Raises
    ------
    OSError
        If there is no room.
    """
    if not hasattr(os, "posix_fallocate") or not size:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a disk that cannot promise room
            raise


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, None where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def words_of(error: OSError) -> tuple[str, str]:
    """Return what a disk's error means, and what helps, neither with a full stop."""
    told = error.strerror or str(error) or type(error).__name__
    return _WORDS.get(error.errno or 0, (told[:1].lower() + told[1:], "Check the disk and the folder"))


def cannot_write(kind: type[Problem], path: str | Path, error: OSError, otherwise: str = "choose another folder") -> Problem:
    """Return the error to raise for a file or folder that cannot be written.

    Parameters
    ----------
    kind : of the error
    path : the file or folder
    error : what the disk said
    otherwise : what else the user can do
    """
    cause, remedy = words_of(error)
    return kind(path, f"cannot be written ({cause})", f"{remedy}, or {otherwise}")


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, or on POSIX a folder; False if another process has it. Closing it everywhere lets the lock go, and so does dying.

    Parameters
    ----------
    descriptor : of the file
    shared : only keep others from locking it alone (the same as not shared on Windows)
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def naming(path: Path, aside: Path | None = None) -> Iterator[None]:
    """Let what the disk says in a block name the file: as it comes it names nothing, or the place aside."""
    try:
        yield
    except OSError as error:
        if error.filename is None or (aside is not None and str(error.filename).startswith(str(aside))):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def _beside(path: Path, *, folder: bool) -> Iterator[Path]:
    """Hold a new file or folder aside; whatever is still there at the end goes."""
    with naming(path):
        make_folder(path.parent)
        _sweep(path)
        aside, held = _claim(path, folder)
        try:
            with naming(path, aside):
                yield aside
        finally:
            _remove(aside)
            if held is not None:
                os.close(held)


def _claim(path: Path, folder: bool) -> tuple[Path, int | None]:
    while True:
        aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        if folder:
            aside.mkdir()
        else:
            aside.touch(exist_ok=False)
        if sys.platform == "win32":  # a lock there would keep its own writer out
            return aside, None
        import fcntl

        with suppress(FileNotFoundError):
            held = os.open(aside, os.O_RDONLY)
            with suppress(OSError):  # a disk that knows no locks
                fcntl.flock(held, fcntl.LOCK_EX)
            if aside.exists():
                return aside, held
            os.close(held)
        # else it was swept before it was locked


def _sweep(path: Path) -> None:
    """Remove the asides of a file that nobody holds: whoever made them was killed."""
    for aside in path.parent.iterdir():
        if not is_aside(aside) or not aside.name.startswith(f".{path.name}.") or len(aside.name) != len(path.name) + 15:
            continue
        with suppress(OSError):  # somebody else sweeps too
            if os.name == "nt":
                if time.time() - aside.stat().st_mtime > _DAY_S:
                    _remove(aside)
                continue
            descriptor = os.open(aside, os.O_RDONLY)
            try:
                if try_lock(descriptor):
                    _remove(aside)
            finally:
                os.close(descriptor)


def _remove(aside: Path) -> None:
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
