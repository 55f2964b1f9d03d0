"""Points by the command line alone, on a phantom slide: asked, answered by its truth, judged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import tifffile

from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.config import load_config
from napari_ifkd.runs.acts import distill_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import write_phantom

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def phantom(drawn_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a phantom slide, its truth, and a run on it."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder / "phantom.tiff", 1024, 1024, seed=3, truth=folder / "truth.tiff")
    config = load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([folder / "phantom.tiff"], "phantom-teacher", folder / "run", config))
    return folder


def answer(folder: Path, table: Path) -> None:
    """Fill a table in, by the truth; a place that was answered in an earlier one brings its answer along."""
    truth = tifffile.imread(folder / "truth.tiff")
    asked = read_points(table, unanswered=True)
    told = [replace(p, answer="tumour" if truth[int(p.y), int(p.x)] else "normal") for p in asked]
    assert all(p.answer in ("", truly.answer) for p, truly in zip(asked, told, strict=True))
    assert sum(not p.answer for p in asked) > len(asked) / 2
    write_points(table, told)


def test_from_questions_to_a_round_and_a_threshold(phantom: Path, run) -> None:
    folder, truth = phantom / "run", tifffile.imread(phantom / "truth.tiff") > 0
    said = run("points", folder, "--count", 5)
    table = folder / "points-asked.csv"
    assert f"napari-ifkd points {folder} --answered {table}" in said.out
    answer(phantom, table)
    said = run("points", folder, "--answered", table)
    assert said.status == 0
    assert "no advice yet: 5 points that can judge are too few" in said.out
    assert RunFolder(folder).accepted is None

    other = phantom / "more.csv"
    told = json.loads(run("points", folder, "--count", 45, "--out", other, "--json").out)
    assert (told["asked"], told["table"]) == (45, str(other))
    answer(phantom, other)
    told = json.loads(run("points", folder, "--answered", other, "--json").out)
    judgement = told["judgement"]
    assert told["taken"]["answered"] == 45
    assert judgement["decides"]
    assert judgement["evidence"] == "50 answered points"
    assert {row["round"] for row in judgement["rounds"]} == {0, 1}
    area = judgement["tumour_mm2"]
    truly = truth.sum() * 0.25e-6  # 0.5 um/px
    assert area["low"] < area["value"] < area["high"]
    assert 0.5 * truly < area["value"] < 2 * truly  # how often intervals hold is the matter of tests/evidence, in many draws
    assert told["accepted"]["by"] == "points"
    assert told["accepted"]["threshold"] == judgement["advice"]["threshold"]

    said = run("points", folder, "--answered", other)
    assert said.out.splitlines()[0].split() == ["round", "from", "mm2", "F1", "precision", "recall"]
    assert all(len(line) <= 80 for line in said.out.splitlines()[:3])  # fits a terminal
    assert f"advice: {judgement['advice']['reason']}" in said.out
    assert "accepted by points: " in said.out

    RunFolder(folder).accept(0, 0.9)
    assert "the teacher at 0.9, accepted by you, stands" in run("points", folder, "--answered", other).out
    accepted = RunFolder(folder).accepted
    assert accepted is not None
    assert accepted.by == "user"


def test_what_will_not_do_is_told_in_a_line(phantom: Path, tmp_path: Path, run) -> None:
    (tmp_path / "answers.csv").write_text("slide,x,y,answer\nphantom.tiff,1,2,maybe\n")
    for words, told in (
        (["points", tmp_path], "is no run folder"),
        (["points", phantom / "run", "--slide", "other.svs"], "has no slide other.svs"),
        (["points", phantom / "run", "--answered", tmp_path / "none.csv"], "cannot be read"),
        (["points", phantom / "run", "--answered", tmp_path / "answers.csv"], "line 2: answer 'maybe'"),
        (["points", phantom / "run", "--answered", tmp_path / "answers.csv", "--out", tmp_path / "o.csv"], "Give one of them"),
        (["points", phantom / "run", "--count", 0], "--count"),
    ):
        said = run(*words)
        assert said.status == 2
        assert told in said.err
        assert (said.err.count("\n"), said.out) == (1, "")


def test_a_mask_given_for_choosing_decides_and_one_for_scoring_does_not(
    drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path, run
) -> None:
    truth = drawn_slide.parent / "truth.tif"
    words = ["distill", drawn_slide, "--teacher", drawn_teacher, "--config", drawn_config, "--rounds", 1, "--epochs", 1]
    assert "done: By the cautious rule: " in run(*words, "--out", tmp_path / "scored", "--truth", truth).err
    assert RunFolder(tmp_path / "scored").accepted is None
    said = run(*words, "--out", tmp_path / "chosen", "--reference", truth)
    assert "done: By reference masks: " in said.err
    assert "flatter what they chose" in said.err
    accepted = RunFolder(tmp_path / "chosen").accepted
    assert accepted is not None
    assert accepted.by == "reference"
    assert "flatter" in run("evaluate", "--map", tmp_path / "chosen", "--truth", truth).err
    assert run("evaluate", "--map", tmp_path / "scored", "--truth", truth).err == ""
    said = run(*words, "--out", tmp_path / "bad", "--reference", tmp_path / "none.tif")
    assert said.status == 2
    assert "--reference" in said.err
    assert not (tmp_path / "bad").exists()
