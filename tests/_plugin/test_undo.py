"""Acts on corrections and how they are taken back: one at a time, the last one first, each in its own place."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_ifkd._plugin.undo import Undos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_last_act_on_these_corrections_is_taken_back_first(tmp_path: Path) -> None:
    undos, back, here, there = Undos(), list[str](), tmp_path / "here", tmp_path / "there"
    for path, name in ((here, "first"), (there, "elsewhere"), (here, "second")):
        assert undos.act(path, lambda name=name: (name, lambda: back.append(name))) == name
    assert undos.take_back(here) == "second"
    assert undos.take_back(here) == "first"
    assert not undos.any_of(here)
    assert undos.any_of(there)
    assert undos.take_back(here) is None  # nothing is left
    assert undos.any_taken_back(here)
    assert not undos.any_taken_back(there)
    assert back == ["second", "first"]
    assert undos.do_again(here) == "first"
    assert undos.any_of(here)
    undos.act(there, lambda: (None, lambda: None))
    undos.do_again(here)
    assert undos.do_again(here) is None  # nothing is left
    for _ in range(3):
        undos.take_back(here)
    assert back == ["second", "first", "second", "first"]
    undos.act(here, lambda: (None, lambda: None))  # what was taken back before is of the past
    assert not undos.any_taken_back(here)


def test_what_failed_is_not_forgotten(tmp_path: Path) -> None:
    undos = Undos()

    def fails() -> None:
        raise OSError("no space left")

    undos.act(tmp_path, lambda: (None, fails))
    with pytest.raises(OSError, match="no space"):
        undos.take_back(tmp_path)
    assert undos.any_of(tmp_path)
    with pytest.raises(OSError, match="no space"):
        undos.act(tmp_path / "other", fails)  # type: ignore[arg-type]
    assert not undos.any_of(tmp_path / "other")


def test_no_two_acts_at_once(tmp_path: Path) -> None:
    undos, at_work, most = Undos(), list[int](), list[int]()

    def change() -> tuple[None, Callable[[], object]]:
        at_work.append(1)
        time.sleep(0.01)
        most.append(len(at_work))
        at_work.pop()
        return None, lambda: change()

    threads = [threading.Thread(target=lambda: undos.act(tmp_path, change)) for _ in range(5)]
    threads += [threading.Thread(target=lambda: undos.take_back(tmp_path)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    undos, back = Undos(), list[int]()
    for number in range(60):
        undos.act(tmp_path, lambda number=number: (None, lambda: back.append(number)))
    while undos.any_of(tmp_path):
        undos.take_back(tmp_path)
    assert back == list(range(59, 9, -1))
