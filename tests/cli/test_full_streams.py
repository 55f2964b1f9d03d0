"""Commands whose terminal, log or result file cannot be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_ifkd.console import tell_error

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


def command(*words: str | Path, out: int | None = None, err: int | None = None) -> subprocess.CompletedProcess[bytes]:
    pipe = subprocess.PIPE
    return subprocess.run([sys.executable, "-m", "napari_ifkd", *words], stdout=out or pipe, stderr=err or pipe, check=False)


def test_a_result_that_cannot_be_written_is_no_success() -> None:
    with FULL.open("wb") as full:
        for words in (["models"], ["doctor", "--json"]):
            done = command(*words, out=full.fileno())
            assert done.returncode == 2
            assert done.stderr.decode().startswith("error: the disk: cannot be written (no space left on the device). Make space")
            assert len(done.stderr.splitlines()) == 1


def test_a_log_that_cannot_be_written_changes_neither_the_work_nor_the_status(
    drawn_patches: Path, drawn_config: Path, tmp_path: Path
) -> None:
    with FULL.open("wb") as full:
        assert command("info", tmp_path / "none.tif", err=full.fileno()).returncode == 2
        out = tmp_path / "run"
        done = command("train", drawn_patches, "--out", out, "--config", drawn_config, err=full.fileno())
    assert done.returncode == 0
    assert (out / "rounds" / "00" / "teacher.safetensors").is_file()


def test_a_closed_pipe_is_no_failure() -> None:
    read, write = os.pipe()
    os.close(read)
    done = command("models", out=write)
    os.close(write)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_whatever_cannot_be_written_is_the_user_s_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell_error(OSError(errno.EROFS, "no", "/data/table.csv"), debug=False) == 2
    told = "error: /data/table.csv: cannot be written (the disk is read-only). Make it writable, or choose another folder."
    assert capsys.readouterr().err.strip() == told
    assert tell_error(OSError(errno.EIO, "no"), debug=False) == 1
