"""What is looked at and compared, without slides and runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from napari_ifkd.session_records import Candidate
from napari_ifkd.session_viewing import Viewing


def found(run: str, act: str, index: int = 0, *, identity: str = "", slide: str = "one.tif") -> Candidate:
    """Return a prediction of which nobody reads the map."""
    looked: Any = SimpleNamespace(identity=identity, model={"name": run})
    return Candidate(Path(run), act, index, slide, looked)


@pytest.fixture
def viewing() -> Viewing:
    slide: Any = SimpleNamespace(name="one.tif")
    return Viewing(slide=slide)


def test_its_fields_are_heard_of_once(viewing: Viewing) -> None:
    heard: list[Any] = []
    for name in ("shown", "compare", "threshold"):
        viewing.events[name].connect(lambda value: heard.append(value))
    one = found("p", "predict")
    viewing.show(one)
    viewing.set_compare("overlay")
    viewing.look(threshold=0.25, opacity=0.1)
    viewing.look(threshold=0.25)
    assert heard == [one, "overlay", 0.25]


def test_a_threshold_that_was_moved_is_no_kept_one(viewing: Viewing) -> None:
    viewing.kept_threshold = 0.4
    viewing.look(heat=True)
    assert viewing.kept_threshold == 0.4
    viewing.look(threshold=0.3)
    assert (viewing.kept_threshold, viewing.heat) == (None, True)


def test_a_round_is_compared_with_the_teacher_of_its_run(viewing: Viewing) -> None:
    alone, *rounds = found("p", "predict"), *(found("d", "distill", index) for index in range(3))
    viewing.candidates = (alone, *rounds)
    viewing.set_pair(alone, None)
    viewing.show(rounds[2])
    assert (viewing.a, viewing.b) == (rounds[0], rounds[2])  # the prediction gives way
    viewing.show(rounds[1])
    assert (viewing.a, viewing.b) == (rounds[0], rounds[1])


def test_of_what_is_not_there_nothing_is_compared(viewing: Viewing) -> None:
    viewing.candidates = (found("d", "distill"), found("d", "distill", 1), found("e", "distill", 5, slide="other.tif"))
    viewing.set_pair(viewing.candidates[2], None)
    viewing.set_compare("overlay")
    assert (viewing.a, viewing.b) == viewing.candidates[:2]
    assert viewing.comparing
    viewing.set_pair(viewing.a, None)
    assert not viewing.comparing
    viewing.compare = "uncertainty"  # there is one of a single prediction
    assert viewing.comparing
    assert viewing.unsure == viewing.a


def test_a_prediction_that_became_the_teacher_of_a_run_is_told_of_once(viewing: Viewing) -> None:
    viewing.candidates = (found("p", "predict", identity="x"), found("d", "distill", identity="x"), found("q", "predict", identity="y"))
    assert [c.run.name for c in viewing.here()] == ["d", "q"]
    viewing.slide = None
    assert viewing.here() == ()
    assert len(viewing.predictions()) == 2


def test_a_file_read_again_takes_the_place_of_the_former(viewing: Viewing) -> None:
    shown = found("p", "predict")
    viewing.candidates = (shown,)
    viewing.show(shown)
    for folder in ("at-1", "at-2"):  # as at two resolutions
        file = Candidate(Path(folder), "file", 0, "one.tif", found("marked", "file").found)
        viewing.compare_file(file)
        assert viewing.files == (file,)
        assert (viewing.a, viewing.b) == (shown, file)


def test_what_is_compared_for_want_of_a_round_gives_way_to_one(viewing: Viewing) -> None:
    teacher, first, second = (found("d", "distill", index) for index in range(3))
    former = found("before", "former", 1)
    viewing.files = (former,)
    viewing.candidates = (teacher,)
    viewing._choose_pair()
    assert (viewing.a, viewing.b) == (teacher, former)
    viewing.set_compare("overlay")
    viewing.candidates = (teacher, first)
    viewing._choose_pair()
    assert viewing.b == former  # under the user's eyes
    viewing.set_compare("off")  # as a page does that looks at one
    assert (viewing.a, viewing.b, viewing.picked) == (teacher, former, False)
    viewing._choose_pair()
    assert (viewing.a, viewing.b) == (teacher, first)
    viewing.set_pair(teacher, former)  # somebody wants it
    assert viewing.picked
    viewing.candidates = (teacher, first, second)
    viewing._choose_pair()
    assert viewing.b == former
    viewing.show(second)
    assert (viewing.a, viewing.b) == (second, former)
    viewing.set_pair(teacher, former, picked=False)
    viewing.show(second)
    assert (viewing.a, viewing.b) == (teacher, second)


def test_which_is_seen_alone(viewing: Viewing) -> None:
    viewing.candidates = pair = found("d", "distill"), found("d", "distill", 1)
    viewing.set_pair(*pair)
    alone = {}
    for mode in ("off", "overlay", "a", "b"):
        viewing.set_compare(mode)  # type: ignore[arg-type]
        alone[mode] = viewing.alone
    assert alone == {"off": None, "overlay": None, "a": pair[0], "b": pair[1]}
    viewing.show(pair[1])
    assert viewing.compare == "b"
    viewing.show(pair[0])  # who asks for the other is to see it
    assert viewing.compare == "off"
