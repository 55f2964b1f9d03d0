"""Answered points, in and out; everything wrong with a file is told at once."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from napari_ifkd.annotations.points import Point, points_on, read_points, write_points
from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

POINTS = [
    Point("a.tif", 1 / 3, 2e5 + 0.1, "tumour", 0.1 + 0.2, "A only"),
    Point('b, "odd" é.svs', 0, 7, "normal"),
    Point("a.tif", 12.5, 3, "unsure", 1.0, "7"),
]


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_bytes(text.encode())
    return path


def test_points_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "new" / "points.csv"
    write_points(path, POINTS)
    assert read_points(path) == POINTS
    assert path.read_text(encoding="utf-8").splitlines()[0] == "slide,x,y,answer,probability,stratum"
    write_points(path, POINTS[:1])  # replaced, not appended to
    assert read_points(path) == POINTS[:1]
    write_points(path, [])
    assert read_points(path) == []
    assert [p.name for p in path.parent.iterdir()] == ["points.csv"]  # nothing is left aside


def test_what_a_spreadsheet_makes_of_it(tmp_path: Path) -> None:
    text = '\ufeffAnswer, note ,Y,X,slide\r\nTumour,"two\r\nlines",2,1,a.tif\r\n,,,,\r\n TUMOR ,,4.5,3e2, a.tif\r\n,not yet,6,5,a.tif\r\n'
    points = read_points(table(tmp_path, text))
    assert points == [Point("a.tif", 1, 2, "tumour"), Point("a.tif", 300, 4.5, "tumour")]


def test_semicolons_and_decimal_commas_as_where_the_comma_is_decimal(tmp_path: Path) -> None:
    text = "slide;x;y;answer;probability\na,b.tif;1,5;2e2;t;0,25\na.tif;3.25;4;N;\na.tif;3;4;u;\n"
    points = read_points(table(tmp_path, text))
    assert points == [Point("a,b.tif", 1.5, 200, "tumour", 0.25), Point("a.tif", 3.25, 4, "normal"), Point("a.tif", 3, 4, "unsure")]
    assert (
        read_points(table(tmp_path, text.replace(",5;", ".5;").replace("0,25", "0.25").replace("a,b", "a").replace(";", "\t")))[0].x == 1.5
    )


def test_points_that_are_still_asked_come_back_where_they_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    asked = Point("a.tif", 5.5, 6, "", 0.125, "batch 1")
    write_points(path, [POINTS[0], asked])
    assert read_points(path) == POINTS[:1]
    assert read_points(path, unanswered=True) == [POINTS[0], asked]


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    text = (
        "slide,x,y,answer,probability,stratum\n"
        "a.tif,1,2,tumour,0.5,\n"
        ",1,2,normal,,\n"
        "a.tif,one,nan,maybe,0,\n"
        "a.tif,-1,2,,1.5,\n"  # not answered, yet wrong
        "a.tif,1,2,normal\n"
    )
    with pytest.raises(AnnotationError) as told:
        read_points(table(tmp_path, text))
    message = str(told.value)
    assert "line 2" not in message
    for part in (
        "line 3: no slide",
        "line 4: x 'one'",
        "line 4: y 'nan'",
        "line 4: answer 'maybe'",
        "line 4: probability '0'",
        "line 5: x '-1'",
        "line 5: probability '1.5'",
        "line 6 has 4 cells, the header 6",
    ):
        assert part in message
    assert "points.csv" in message


def test_a_thousand_problems_are_still_one_message(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"line 21: .*; and 980 more") as told:
        read_points(table(tmp_path, "slide,x,y,answer\n" + "a.tif,1,2,hm\n" * 1000))
    assert len(re.findall(r"line \d+", str(told.value))) == 20


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "lacks the columns slide, x, y, answer"),
        ("slide x y answer\na.tif 1 2 tumour\n", "comma-separated"),
        ("slide,x,y\n", "lacks the column answer"),
        ("slide,x,y,answer,X\n", "has x twice"),
        ('slide,x,y,answer\n"a.tif,1,2,tumour\n', "line 2"),
    ],
)
def test_what_is_no_such_table(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(AnnotationError, match=cause):
        read_points(table(tmp_path, text))


def test_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="No such file"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "bin.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match="no text in UTF-8"):
        read_points(tmp_path / "bin.csv")
    (tmp_path / "file").touch()
    with pytest.raises(AnnotationError, match="cannot be written"):
        write_points(tmp_path / "file" / "points.csv", POINTS)


def test_points_of_a_slide() -> None:
    slide = SimpleNamespace(name="a.tif", shape_level0=(200_001, 20))
    assert points_on(POINTS, slide) == [POINTS[0], POINTS[2]]  # type: ignore[arg-type]
    slide.shape_level0 = (200_000, 20)
    with pytest.raises(AnnotationError, match=r"1 of 2 lie beside the slide \(20 x 200000 px"):
        points_on(POINTS, slide)  # type: ignore[arg-type]
