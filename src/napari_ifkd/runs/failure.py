"""What ended a run, in one sentence with the remedy."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from napari_ifkd.errors import EngineError, InputError, RunError
from napari_ifkd.files import UNWRITABLE, words_of

_LITTLE = 1 << 16  # bytes


def failure_of(error: Exception, run: Path) -> InputError | EngineError:
    """Return what to tell of an error that ended a run: itself, if it was made to be told.

    Parameters
    ----------
    error : as it was raised
    run : the run folder
    """
    if (disk := _of_disk(error)) is not None and (disk.errno in UNWRITABLE or (disk is error and _inside(disk.filename, run))):
        return _unwritable(disk, run)
    if isinstance(error, (InputError, EngineError)):
        return error
    return EngineError(_sentence(error))


def disk_now(run: Path) -> RunError | None:
    """Return why the disk takes nothing more, None where it does: the words of a run that could not even tell why it ended."""
    if shutil.disk_usage(run).free < _LITTLE:
        return _unwritable(OSError(errno.ENOSPC, ""), run)
    if hasattr(os, "statvfs") and os.statvfs(run).f_flag & os.ST_RDONLY:
        return _unwritable(OSError(errno.EROFS, ""), run)
    return None


def _unwritable(error: OSError, run: Path) -> RunError:
    cause, remedy = words_of(error)
    again = f"`napari-ifkd resume {run}`" if (run / "run.yaml").is_file() else "start it again"
    return RunError(error.filename or run, f"cannot be written ({cause})", f"{remedy}, then {again}")


def _of_disk(error: BaseException) -> OSError | None:
    """Find the disk's error behind another."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__
    return found


def _inside(file: object, run: Path) -> bool:
    return isinstance(file, str | Path) and Path(file).absolute().is_relative_to(run.absolute())


def _sentence(error: Exception) -> str:
    """Tell an unforeseen error."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "The machine ran out of memory. Close what else uses it and resume the run, or begin anew with smaller tiles or on a CPU."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The run folder'}: {error.strerror}."
    first = (str(error).strip().splitlines() or [""])[0]
    return f"Something unforeseen went wrong ({type(error).__name__}: {first[:300]})."
