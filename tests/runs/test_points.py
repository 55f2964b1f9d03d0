"""Answered points decide which round of a run is recommended, and from which probability."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from scipy.stats import spearmanr

from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.config import Config, load_config
from napari_ifkd.distill.rounds import Outcome
from napari_ifkd.errors import RunError
from napari_ifkd.events import Event, RunDone, Warned
from napari_ifkd.evidence import Interval, Place
from napari_ifkd.runs.accepted import read_refused
from napari_ifkd.runs.acts import distill_run, predict_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import Judgement, RoundFigures, _no_better, about, put_down
from napari_ifkd.runs.points import PointEvidence, opened_evidence
from napari_ifkd.runs.recommending import recommend
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ifkd.slides import Slide


@pytest.fixture(scope="module")
def done(drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one round."""
    out = tmp_path_factory.mktemp("points") / "run"
    config = load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([drawn_slide], drawn_teacher, out, config))
    return RunFolder.open(out)


@pytest.fixture
def run(done: RunFolder) -> RunFolder:
    """The same without points and judgement."""
    for path in (done.points, done.path / "accepted.json", done.path / "taken_back.json"):
        path.unlink(missing_ok=True)
    return done


def _tumour(x: float) -> bool:
    return x >= 160  # where the drawn slide has it


def _answer(run: RunFolder, slide_path: Path, count: int, says: Callable[[float], bool] = _tumour) -> None:
    with open_slide(slide_path) as slide:
        evidence = PointEvidence(run, [slide], run.config)
        for _ in range(0, count, 10):
            known = read_points(run.points) if run.points.is_file() else []
            asked = evidence.proposals(10)
            write_points(run.points, [*known, *(replace(point, answer="tumour" if says(point.x) else "normal") for point in asked)])


def _judgement(run: RunFolder, slide_path: Path) -> tuple[Judgement | None, list[str]]:
    with open_slide(slide_path) as slide:
        evidence = PointEvidence(run, [slide], run.config)
        return evidence.judgement(), evidence.notes


def _run_with(run: RunFolder, slide_path: Path, out: Path) -> tuple[RunDone, list[Event], RunFolder]:
    """Do the same run again, with the points of this one."""
    config = run.config.replaced(**{"rounds.epochs": 1})
    events = list(distill_run([slide_path], run.about["data"]["teacher"], out, config, points=run.points))
    assert isinstance(events[-1], RunDone)
    return events[-1], events, RunFolder.open(out)


def test_points_decide_at_the_end_of_a_run_and_the_reason_says_so(run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    _answer(run, drawn_slide, 30)
    end, _, other = _run_with(run, drawn_slide, tmp_path / "run")
    assert end.reason.startswith("By points: ")
    assert "30 answered points" in end.reason
    assert "Had there been no points: " in end.reason
    accepted = other.accepted
    assert accepted is not None
    assert (accepted.by, accepted.round) == ("points", end.accepted_round)
    assert accepted.reason
    assert accepted.reason in end.reason
    assert f"At threshold {accepted.threshold:g}" in end.reason


def test_a_mask_that_was_taken_back_is_recommended_and_not_accepted_again(run: RunFolder, drawn_slide: Path) -> None:
    def end() -> RunDone:
        with open_slide(drawn_slide) as slide:
            outcome = Outcome(None, 1, (), "the rule")
            given = {"references": None, "truth": None, "exclusions": {}, "should_stop": lambda: False}
            (*_, last) = recommend(run, [slide], run.config, outcome, **given)
        assert isinstance(last, RunDone)
        return last

    _answer(run, drawn_slide, 30)
    first = end()
    assert run.accepted is not None
    assert "taken back" not in first.reason
    assert run.take_back() is None
    again = end()  # as after a resume
    assert run.accepted is None
    assert again.accepted_round == first.accepted_round
    assert "That was taken back before, so it is not accepted." in again.reason
    run.accept(0, 0.9)
    run.take_back()
    (chosen,) = read_refused(run.path / "taken_back.json")  # what the user's own hand accepted is not in it
    assert (chosen.by, run.was_taken_back(chosen.round, chosen.threshold, chosen.sigma_px or 0)) == ("points", True)
    assert not run.was_taken_back(chosen.round, chosen.threshold + 0.025, chosen.sigma_px or 0)
    run.accept(chosen.round, chosen.threshold, "points", sigma_px=chosen.sigma_px)  # by the user, as advised, after all
    assert "taken back" not in end().reason
    run.take_back()
    for damaged in ("{", "[1]", '{"taken_back": [3, {"round": 1}]}'):
        (run.path / "taken_back.json").write_text(damaged)
        assert not run.was_taken_back(chosen.round, chosen.threshold, chosen.sigma_px or 0)
    end()
    assert run.accepted is not None


def test_batches_are_numbered_and_keep_their_probabilities(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 20)
    points = read_points(run.points)
    assert [p.stratum for p in points] == ["batch 1 of tiny.tif"] * 10 + ["batch 2 of tiny.tif"] * 10
    assert all(p.probability is not None and 0 < p.probability <= 1 for p in points)


def test_the_users_own_word_and_masks_stand_above_points(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 10)
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    run.accept(0, 0.22, by="points")
    assert put_down(run, judgement)
    for by in ("reference", "user", "whoever comes later"):
        run.accept(0, 0.33, by=by)
        assert not put_down(run, judgement)
        assert run.accepted is not None
        assert (run.accepted.by, run.accepted.threshold) == (by, 0.33)
        assert put_down(run, replace(judgement, by="reference")) is (by == "reference")


def test_points_set_by_hand_do_not_judge(run: RunFolder, drawn_slide: Path) -> None:
    run.points.write_text("slide,x,y,answer\n" + "".join(f"tiny.tif,{60 + x},100,normal\n" for x in range(30)))
    judgement, notes = _judgement(run, drawn_slide)
    assert judgement is None
    assert notes == ["30 answered points do not decide: drawn with nobody knows which probability."]


def test_too_few_points_are_told_and_do_not_decide(run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    _answer(run, drawn_slide, 10)
    write_points(run.points, read_points(run.points)[:6])
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert not judgement.decides
    assert not put_down(run, judgement)
    assert run.accepted is None
    end, events, other = _run_with(run, drawn_slide, tmp_path / "run")
    assert end.reason.startswith("By the cautious rule: ")
    assert other.accepted is None
    assert any("6 points that can judge are too few" in e.message for e in events if isinstance(e, Warned))
    first, *others = read_points(run.points)
    write_points(run.points, [replace(first, answer="unsure"), *others])  # else who answered all misses one
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert judgement.reason == "5 points that can judge (1 unsure besides) are too few to decide; from 10 on they do."


def test_points_without_tumour_are_told_and_do_not_decide(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 20, lambda _: False)
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert not judgement.decides
    assert judgement.reason.startswith("None of 20 points that can judge is tumour")
    assert judgement.tumour.high < 0.5  # which they do tell


def test_points_that_taught_do_not_judge(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 10)
    taught: Config = run.config.replaced(**{"rounds.points_as_labels": True})
    with open_slide(drawn_slide) as slide:
        evidence = PointEvidence(run, [slide], taught)
        assert evidence.judgement() is None
    assert "cannot judge" in evidence.notes[0]


def _evidence(run: RunFolder, slide: Slide, **settings: object) -> PointEvidence:
    return PointEvidence(run, [slide], run.config.replaced(**settings))


def test_the_same_points_are_asked_until_they_are_answered_and_in_no_order(run: RunFolder, drawn_slide: Path) -> None:
    with open_slide(drawn_slide) as slide:
        first = _evidence(run, slide).proposals(30)
        assert _evidence(run, slide).proposals(30) == first
        frame = _evidence(run, slide)
        score = [float(frame.frame.probability[:, frame.places.index(Place(p.slide, p.x, p.y))].mean()) for p in first]
        assert len(first) == 30
        assert {p.answer for p in first} == {""}
        assert abs(spearmanr(score, range(30)).statistic) < 0.5  # whoever stops early has answered a random part
        _answer(run, drawn_slide, 10)
        assert not {(p.x, p.y) for p in _evidence(run, slide).proposals(30)} >= {(p.x, p.y) for p in first}


def test_what_is_asked_stands_for_the_tissue(run: RunFolder, drawn_slide: Path) -> None:
    """The mean over many draws of a count weighted by 1 / probability is the count over all places of the frame."""
    with open_slide(drawn_slide) as slide:
        sizes, right, whole = [], [], []
        for seed in range(16):
            evidence = _evidence(run, slide, seed=seed)
            weights = np.array([[1 / p.probability, (p.x >= 160) / p.probability] for p in evidence.proposals(20)])
            sizes.append(weights[:, 0].sum() / len(evidence.places))
            right.append(weights[:, 1].sum() / len(evidence.places))
            whole.append(np.mean([p.x >= 160 for p in evidence.places]))
    assert np.mean(sizes) == pytest.approx(1, abs=4 * np.std(sizes) / np.sqrt(16))
    assert np.mean(right) == pytest.approx(np.mean(whole), abs=4 * np.std(right) / np.sqrt(16))


def test_a_place_that_was_answered_before_brings_its_answer_along(run: RunFolder, drawn_slide: Path) -> None:
    with open_slide(drawn_slide) as slide:
        evidence = _evidence(run, slide)
        everything = evidence.proposals(len(evidence.places))
        half = [replace(point, answer="normal") for point in everything[::2]]
        write_points(run.points, half)
        again = evidence.proposals(len(evidence.places))
    known = {(p.x, p.y) for p in half}
    assert len(again) == len(everything)
    assert all(p.answer == ("normal" if (p.x, p.y) in known else "") for p in again)
    assert {p.stratum for p in again} == {"batch 2 of tiny.tif"}


def test_excluded_regions_are_neither_asked_about_nor_judged_by(run: RunFolder, drawn_slide: Path, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    regions = copy.exclusion_path(drawn_slide)
    regions.parent.mkdir()
    box = [[0, 0], [320, 0], [320, 128], [0, 128], [0, 0]]
    properties = {"classification": {"name": "Exclusion"}}
    feature = {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [box]}}
    regions.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    _answer(run, drawn_slide, 40)
    shutil.copy(run.points, copy.points)
    with open_slide(drawn_slide) as slide:
        without, evidence = _evidence(run, slide), _evidence(copy, slide)
        assert min(p.y for p in evidence.places) >= 128 > min(p.y for p in without.places)
        assert evidence.area_um2 == pytest.approx((without.area_um2 or 0) / 2, rel=0.1)
        assert min(p.y for p in evidence.proposals(50)) >= 128
        kept = evidence.answered()
    assert [p for p in read_points(run.points) if p.y >= 128] == kept
    assert "in an excluded region" in evidence.notes[-1]


def test_figures_of_all_rounds_come_with_areas_and_intervals(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 60)
    with open_slide(drawn_slide) as slide:
        judgement = _evidence(run, slide).judgement()
    assert judgement is not None
    assert [figures.round for figures in judgement.rounds] == [0, 1]
    assert judgement.chosen in judgement.rounds
    assert judgement.tumour_mm2 is not None
    assert judgement.tumour_mm2.low <= 192 * 128e-6 <= judgement.tumour_mm2.high  # the drawn tumour
    for figures in judgement.rounds:
        assert figures.marked_mm2 == pytest.approx(figures.marked * judgement.tumour_mm2.value / judgement.tumour.value)
        for interval in (figures.f1, figures.precision, figures.recall, figures.threshold):
            assert interval.low <= interval.value <= interval.high
    assert json.loads(json.dumps(judgement.record()))["advice"]["round"] == judgement.chosen.round


@pytest.fixture(scope="module")
def two_slides(
    drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, list[Path]]:
    """A run of two slides, the second one the first upside down."""
    folder = tmp_path_factory.mktemp("two")
    second = folder / "second.tif"
    options = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(second, tifffile.imread(drawn_slide)[::-1], photometric="rgb", **options)
    config = load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([drawn_slide, second], drawn_teacher, folder / "run", config))
    return RunFolder.open(folder / "run"), [drawn_slide, second]


def test_one_of_several_slides_can_be_asked_about_alone(two_slides: tuple[RunFolder, list[Path]]) -> None:
    run, _ = two_slides
    with opened_evidence(run.path, "second.tif") as alone, opened_evidence(run.path) as both:
        asked, everywhere = alone.proposals(12), both.proposals(12)
        assert {(p.slide, p.stratum) for p in asked} == {("second.tif", "batch 1 of second.tif")}
        assert {p.slide for p in everywhere} == {"tiny.tif", "second.tif"}
        assert {p.stratum for p in everywhere} == {"batch 1"}
        assert (both.area_um2 or 0) == pytest.approx(2 * (alone.area_um2 or 0), rel=0.05)
        answered = [replace(p, answer="tumour" if _tumour(p.x) else "normal") for p in (*asked, *everywhere)]
        write_points(run.points, answered)
        # what was drawn on both stands for each of them; what was drawn on one stands for that one
        assert len(alone.answered()) == 12 + sum(p.slide == "second.tif" for p in everywhere)
        assert sorted(both.answered(), key=str) == sorted(answered[12:], key=str)
        assert "12 answered points do not decide: drawn on one of the slides alone" in both.notes[-1]
    run.points.unlink()


def test_runs_that_points_cannot_judge_say_so(
    drawn_patches: Path,
    drawn_slide: Path,
    drawn_teacher: Path,
    drawn_config: Path,
    two_slides: tuple[RunFolder, list[Path]],
    tmp_path: Path,
) -> None:
    config = load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([drawn_patches], drawn_teacher, tmp_path / "patches", config))
    list(predict_run([drawn_slide], drawn_teacher, tmp_path / "predict", config))
    moved = RunFolder(shutil.copytree(two_slides[0].path, tmp_path / "moved"))
    about = (moved.path / "run.yaml").read_text().replace(str(two_slides[1][1].resolve()), "/nowhere/second.tif")
    (moved.path / "run.yaml").write_text(about)
    for path, slide, told in (
        (tmp_path / "patches", None, "learnt from patches alone.*--reference"),
        (tmp_path / "predict", None, "is a predict run"),
        (tmp_path, None, "is no run folder"),
        (moved.path, "third.tif", "has no slide third.tif"),
        (moved.path, None, "second.tif is gone .*tell by --slide"),
    ):
        with pytest.raises(RunError, match=told), opened_evidence(path, slide):
            pass
    with opened_evidence(moved.path, two_slides[1][1]) as found:
        assert [slide.name for slide in found.slides] == ["second.tif"]


def test_answers_that_are_all_tumour_still_judge(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 10, lambda _: True)
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert judgement.decides
    assert judgement.tumour.value > 0.6


def test_a_mask_no_better_than_all_tissue_is_no_advice(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 40, lambda x: int(x) % 2 == 0)  # whatever is there
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert judgement.chosen.marked > 0.9
    assert not judgement.decides
    assert judgement.reason.startswith("No better than marking all tissue as tumour: what would be chosen, ")
    assert not put_down(run, judgement)


@pytest.mark.parametrize(
    ("tumour", "marked", "precision", "f1", "better"),
    [
        ((0.43, 0.3, 0.56), 0.87, 0.43, 0.595, False),  # whatever is marked: at random
        ((0.43, 0.3, 0.56), 0.7, 0.55, 0.68, True),
        ((0.43, 0.3, 0.56), 0.95, 0.45, 0.62, False),  # nearly all of it
        ((0.95, 0.85, 1.0), 0.93, 0.98, 0.96, True),  # and nearly all of it is tumour
    ],
)
def test_what_is_no_better_than_all_tissue(
    tumour: tuple[float, float, float], marked: float, precision: float, f1: float, better: bool
) -> None:
    def near(value: float) -> Interval:
        return Interval(value, value - 0.1, min(1.0, value + 0.1))

    chosen = RoundFigures(1, "round 1", near(0.2), marked, None, near(precision), near(0.9), near(f1))
    judgement = Judgement("points", "", (chosen,), chosen, False, True, "", Interval(*tumour), None)
    assert _no_better(judgement) is not better
    other = replace(chosen, f1=near(0.99))  # which is better, but not surely: it is not what is advised
    assert _no_better(replace(judgement, rounds=(chosen, other))) is not better


@pytest.mark.parametrize(("mm2", "said"), [(0.0587, "0.059"), (2.449, "2.4"), (123.4, "120"), (1234.0, "1,200")])
def test_areas_known_from_a_sample_have_two_digits(mm2: float, said: str) -> None:
    assert about(mm2) == said


def test_who_was_unsure_is_told_of_too(run: RunFolder, drawn_slide: Path) -> None:
    _answer(run, drawn_slide, 20)
    first, second, *others = read_points(run.points)
    write_points(run.points, [replace(first, answer="unsure"), replace(second, answer="unsure"), *others])
    judgement, _ = _judgement(run, drawn_slide)
    assert judgement is not None
    assert judgement.decides
    assert "(18 answered points, and 2 unsure)" in judgement.reason
