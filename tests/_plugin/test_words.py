"""Errors of the engine in the words of the window."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_ifkd
from napari_ifkd._plugin.words import WORDS, in_window


@pytest.mark.parametrize("option", WORDS)
def test_the_engine_says_it_so(option: str) -> None:
    root = Path(napari_ifkd.__file__).parent
    assert any(option in path.read_text(encoding="utf-8") for path in root.rglob("*.py") if "_plugin" not in path.parts)


def test_no_option_is_left() -> None:
    told = "Say which of its classes mean tumour by --tumour CLASS, or choose another folder (--out)"
    assert in_window(told) == "Say which of its classes mean tumour in the field tumour class, or choose another folder"
    assert "--" not in "".join(WORDS.values())
