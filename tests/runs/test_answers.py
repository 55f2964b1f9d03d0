"""A table goes out with questions and comes back with answers; nothing that was answered is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.annotations.points import Point, read_points, write_points
from napari_ifkd.errors import AnnotationError, InputError
from napari_ifkd.runs.answers import Taken, ask, take_answers
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ifkd.slides import Slide

ASKED = [Point("tiny.tif", 10.5 * k, 20 * k, "", 0.01 * k, "batch 1 of tiny.tif") for k in range(1, 6)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


@pytest.fixture
def slide(drawn_slide: Path) -> Iterator[Slide]:
    with open_slide(drawn_slide) as opened:
        yield opened


def test_a_table_goes_out_and_comes_back(run: RunFolder, slide: Slide, tmp_path: Path) -> None:
    table = tmp_path / "asked.csv"
    ask(run, ASKED, table)
    assert read_points(table, unanswered=True) == ASKED
    lines = table.read_text().splitlines()
    filled = [line.replace(",,", f",{said},") for line, said in zip(lines[1:], ("t", "n", "unsure", ""), strict=False)]
    table.write_text("\n".join([lines[0], *filled]))
    assert take_answers(run, [slide], table) == Taken(answered=3, unsure=1, changed=0, unanswered=1, elsewhere=0)
    assert read_points(run.points) == [replace(p, answer=a) for p, a in zip(ASKED, ("tumour", "normal", "unsure"), strict=False)]
    assert take_answers(run, [slide], table).answered == 3  # taken in twice counts once
    assert len(read_points(run.points)) == 3


def test_the_last_answer_about_a_place_counts_in_every_batch(run: RunFolder, slide: Slide, tmp_path: Path) -> None:
    first = [replace(p, answer="tumour") for p in ASKED]
    write_points(run.points, first)
    again = replace(ASKED[0], answer="normal", stratum="batch 2 of tiny.tif", probability=0.5)
    write_points(tmp_path / "t.csv", [again, replace(first[1], answer="unsure")])
    assert take_answers(run, [slide], tmp_path / "t.csv").changed == 2
    points = read_points(run.points)
    assert points == [replace(first[0], answer="normal"), replace(first[1], answer="unsure"), *first[2:], again]


def test_a_table_that_contradicts_itself_or_is_about_nothing_here_is_refused_whole(run: RunFolder, slide: Slide, tmp_path: Path) -> None:
    write_points(run.points, before := [replace(ASKED[0], answer="normal")])
    table = tmp_path / "t.csv"
    bad: list[tuple[list[Point], str, type[InputError]]] = [
        ([replace(ASKED[1], answer="tumour"), replace(ASKED[1], answer="normal", stratum="x")], "both tumour and normal", AnnotationError),
        ([replace(ASKED[1], answer="tumour", slide="other.tif")], "none of its 1 answered points lies on a slide", InputError),
        (ASKED, "none of its 0 answered points", InputError),
        ([replace(ASKED[1], answer="tumour", x=1e6)], "lie beside the slide", AnnotationError),
    ]
    for points, told, kind in bad:
        write_points(table, points)
        with pytest.raises(kind, match=told):
            take_answers(run, [slide], table)
    assert read_points(run.points) == before
    write_points(table, [replace(ASKED[1], answer="tumour"), replace(ASKED[1], answer="tumour", slide="other.tif")])
    assert take_answers(run, [slide], table).elsewhere == 1
    assert [p.slide for p in read_points(run.points)] == ["tiny.tif"] * 2


def test_questions_never_overwrite_answers_that_the_run_does_not_have(run: RunFolder, slide: Slide, tmp_path: Path) -> None:
    table = tmp_path / "asked.csv"
    write_points(table, [replace(ASKED[0], answer="tumour"), *ASKED[1:]])
    with pytest.raises(AnnotationError, match=r"holds 1 answers that the run does not have yet.*--answered"):
        ask(run, ASKED, table)
    take_answers(run, [slide], table)
    ask(run, ASKED, table)
    assert read_points(table) == []
    table.write_text("a letter")
    with pytest.raises(AnnotationError, match="lacks the columns"):
        ask(run, ASKED, table)
    assert table.read_text() == "a letter"
