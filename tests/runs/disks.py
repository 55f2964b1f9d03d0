"""Small disks to run out of: a tmpfs where we may mount one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _mount(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of a size for the length of a block; skip the test, with the reason, where that is not allowed."""
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("a small disk needs tmpfs")
    done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def resize(disk: Path, size: str) -> None:
    """Give a small disk another size."""
    assert _mount("-o", f"remount,size={size}", disk).returncode == 0


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write a folder on a small disk, not even root, for the length of a block."""
    assert _mount("--bind", folder, folder).returncode == 0
    try:
        assert _mount("-o", "remount,bind,ro", folder).returncode == 0
        yield
    finally:
        assert subprocess.run(["umount", "--lazy", str(folder)], check=False).returncode == 0


def fill(disk: Path) -> None:
    """Use a disk up to the last byte, by the file ``ballast``."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    assert os.statvfs(disk).f_bavail == 0


def use_up(path: Path) -> None:
    """Fill what a journal or log has left of its last page by an empty line, so that the next line needs room."""
    left = -path.stat().st_size % 4096
    if left:
        with path.open("ab") as file:
            file.write(b" " * (left - 1) + b"\n")
