"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real slides and patches; tests that need it are skipped where it is absent.

    The environment variable NAPARI_IFKD_DATA names it, or it lies in ``../shared/data`` beside the project.
    """
    folder = Path(os.environ.get("NAPARI_IFKD_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NAPARI_IFKD_DATA to its folder")
    return folder
