"""Verdicts on lesions come back as they were written, and a broken table is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from napari_ifkd.annotations.verdicts import Verdict, outline_of, read_verdicts, standing, write_verdicts
from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

TWO = [Verdict("a, b.svs", 10.5, 3, "reject", 2, 0.45, "2026-01-01T00:00:00+00:00", 0.25), Verdict("c.svs", 1, 2, "accept", 0, 0.5, "x")]


def test_there_and_back(tmp_path: Path) -> None:
    assert read_verdicts(tmp_path / "none.csv") == []
    write_verdicts(tmp_path / "v.csv", TWO)
    assert read_verdicts(tmp_path / "v.csv") == TWO
    assert [path.name for path in tmp_path.iterdir()] == ["v.csv"]


def test_outlines_are_kept_short(tmp_path: Path) -> None:
    square = shapely.box(10, 20, 30, 50)
    kept = [replace(TWO[1], outline=outline_of(square, 1.0))]
    write_verdicts(tmp_path / "v.csv", kept)
    assert read_verdicts(tmp_path / "v.csv") == kept
    assert shapely.from_wkt(kept[0].outline).equals(square)
    angles = np.linspace(0, 2 * np.pi, 40_000, endpoint=False)
    ragged = shapely.Polygon(np.stack([np.cos(angles), np.sin(angles)], 1) * (9000 + 4 * (np.arange(40_000) % 2))[:, None])
    write_verdicts(tmp_path / "v.csv", [replace(kept[0], outline=outline_of(ragged, 10.0))])
    assert shapely.from_wkt(read_verdicts(tmp_path / "v.csv")[0].outline).area == pytest.approx(ragged.area, rel=0.02)


def test_an_outline_that_is_too_long_is_left_out() -> None:
    grid = [(10_010 + 20 * i, 10_010 + 20 * j) for i in range(60) for j in range(60)]
    holes = [shapely.box(x, y, x + 6.5, y + 6.5).exterior.coords for x, y in grid]
    assert outline_of(shapely.Polygon(shapely.box(10_000, 10_000, 11_220, 11_220).exterior, holes), 1.0) == ""
    kept = shapely.from_wkt(outline_of(shapely.Polygon(shapely.box(10_000, 10_000, 11_220, 11_220).exterior, holes), 8.0))
    assert kept.equals(shapely.box(10_000, 10_000, 11_220, 11_220))  # finer than a pixel


def test_outlines_are_valid_as_they_are_written() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):  # necks and holes narrower than what is written of them
        spots = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for x, y in rng.integers(0, 12, (70, 2)).tolist()])
        for part in shapely.get_parts(spots):
            fine = shapely.transform(part, lambda xy: 0.13 * xy)
            assert shapely.from_wkt(outline_of(fine, 0.065)).is_valid


def test_what_is_said_again_of_a_lesion_is_one_verdict() -> None:
    def of(x: float, y: float, side: float, word: str, outline: bool = True) -> Verdict:
        square = outline_of(shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2), 1.0)
        return replace(TWO[0], x=x, y=y, verdict=word, outline=square if outline else "")

    assert standing([]) == []
    one, other = of(50, 50, 40, "accept"), of(200, 50, 40, "reject")
    assert standing([one, other, replace(one, verdict="reject"), one]) == [other, one]  # at the same place
    moved = of(51, 50, 42, "reject")
    assert standing([one, other, moved]) == [other, moved]  # of another round
    part = of(45, 45, 10, "reject")
    assert standing([one, part]) == [one, part]  # of the rest of it, what was said before stands
    assert standing([part, one]) == [one]
    assert standing([replace(part, outline=""), one]) == [one]  # a table of before
    assert standing([one, replace(one, x=49.0, outline="")]) == [one, replace(one, x=49.0, outline="")]  # nobody knows


def test_a_table_of_before_knows_no_areas(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(HEAD + "a,1,2,accept,0,0.5,t\n")
    assert read_verdicts(tmp_path / "v.csv") == [Verdict("a", 1, 2, "accept", 0, 0.5, "t")]


HEAD = "slide,x,y,verdict,round,threshold,time\n"


@pytest.mark.parametrize(
    "text",
    [
        "slide,x\na,1\n",
        HEAD + "a,1,2,maybe,0,0.5,t\n",
        HEAD + "a,nan,2,accept,0,0.5,t\n",
        HEAD[:-1] + ",outline\na,1,2,accept,0,0.5,t,POLY\n",
    ],
)
def test_what_is_no_table_of_verdicts(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(AnnotationError, match=r"v\.csv.*(verdict|columns)"):
        read_verdicts(tmp_path / "v.csv")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotationError, match="say it again later"):
        write_verdicts(tmp_path / "file" / "v.csv", TWO)
