"""Errors of the engine in the words of the window."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import napari_ifkd
from napari_ifkd._plugin.words import WORDS, in_window


@pytest.mark.parametrize("option", WORDS)
def test_the_engine_says_it_so(option: str) -> None:
    root = Path(napari_ifkd.__file__).parent
    assert any(option in path.read_text(encoding="utf-8") for path in root.rglob("*.py") if "_plugin" not in path.parts)


TOLD_IN_THE_WINDOW = ("annotations", "export", "files.py", "inference", "models", "runs/folder.py", "runs/lock.py", "slides")
OF_ANOTHER_PROGRAM = ("vips tiffsave", "`hf auth login`")
NEVER_THERE = ("choose another student with --student", "(--out)")  # the window offers no such student


@pytest.mark.parametrize("part", TOLD_IN_THE_WINDOW)
def test_no_option_is_left(part: str) -> None:
    root = Path(napari_ifkd.__file__).parent / part
    left = []
    for path in [root] if root.is_file() else root.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
        told = [in_window(word) for word in words if isinstance(word, str) and not any(other in word for other in OF_ANOTHER_PROGRAM)]
        left += [word for word in told if re.search(r"(^|[ (`])--[a-z]", word) and not any(never in word for never in NEVER_THERE)]
    assert left == []
    assert "--" not in "".join(WORDS.values())
