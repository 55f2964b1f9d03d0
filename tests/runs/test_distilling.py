"""Rounds of distillation on slides and patches, as a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from napari_ifkd.annotations.points import read_points
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import BagError, InputError, RunError
from napari_ifkd.events import EpochDone, Event, MapReady, Progress, RoundDone, RunCancelled, RunDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs.acts import distill_run, predict_run, resume_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.resolve import chosen_round, resolve_model

if TYPE_CHECKING:
    from pathlib import Path

MEASURES = {"f1", "iou", "mean_f1_positive", "average_precision", "best_threshold", "best_f1", "foreground_share", "n"}


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


def hashes(out: Path) -> list[str]:
    run = RunFolder(out)
    return [weights_hash(load_model(run.model_path(index))[0]) for index in run.rounds()]


def test_slide_with_truth(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    truth = drawn_slide.parent / "truth.tif"
    events = list(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", config, truth=truth))
    run = RunFolder.open(tmp_path / "run")
    assert isinstance(events[-1], RunDone)
    assert run.rounds() == [0, 1, 2]
    assert [e.index for e in events if isinstance(e, RoundDone)] == [0, 1, 2]
    assert [e.round for e in events if isinstance(e, MapReady)] == [0, 1, 2]
    for index in run.rounds():
        assert list(run.maps(index)) == ["tiny.tif"]
        assert run.metrics(index).keys() >= MEASURES
    told = [e for e in run.events() if isinstance(e, RoundDone)]
    assert all(e.scores.keys() >= MEASURES for e in told)
    assert told[1].decision is not None
    assert run.metrics(1)["decision"]["reason"] == told[1].decision.reason
    assert chosen_round(run) == events[-1].accepted_round
    card = resolve_model(tmp_path / "run").card
    assert (card.tile_px, card.mpp) == (32, 1.0)
    run.accept(1, 0.4)
    assert resolve_model(tmp_path / "run").label == "round 1 of run"


def test_the_map_of_a_prediction_is_not_made_again(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    list(predict_run([drawn_slide], drawn_teacher, tmp_path / "predicted", config))
    run = RunFolder.open(tmp_path / "predicted")
    stages = {}
    for name, teacher, judged in (("new", drawn_teacher, ()), ("same", drawn_teacher, [run.path]), ("run", run.path, ())):
        events = distill_run([drawn_slide], teacher, tmp_path / name, config, judged=judged, should_stop=lambda: False)
        stages[name] = {event.stage for event in events if isinstance(event, Progress)}
    assert "teacher map" in stages["new"]
    assert "teacher map" not in stages["same"] | stages["run"]
    assert hashes(tmp_path / "new") == hashes(tmp_path / "same") == hashes(tmp_path / "run")
    for name in ("same", "run"):
        np.testing.assert_array_equal(map_of(tmp_path / name), map_of(tmp_path / "new"))


def map_of(out: Path) -> np.ndarray:
    return open_map(RunFolder(out).maps(0)["tiny.tif"]).levels[0][:]


def test_truth_changes_nothing_but_the_scores(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    """Pixel truth never trains or chooses: weights and decisions are those of a run without it."""
    truth = drawn_slide.parent / "truth.tif"
    for name, mask in (("with", truth), ("without", None)):
        list(distill_run([drawn_slide], drawn_teacher, tmp_path / name, config, truth=mask))
    assert hashes(tmp_path / "with") == hashes(tmp_path / "without")
    decisions = [[e.decision for e in RunFolder(tmp_path / n).events() if isinstance(e, RoundDone)] for n in ("with", "without")]
    assert decisions[0] == decisions[1]


def test_resumed_run_is_bit_equal_wherever_it_stopped(drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    list(distill_run([drawn_patches], drawn_teacher, tmp_path / "whole", config))
    events: list[Event] = []
    for event in distill_run(
        [drawn_patches], drawn_teacher, tmp_path / "parts", config, should_stop=lambda: any(isinstance(e, EpochDone) for e in events)
    ):
        events.append(event)
    assert isinstance(events[-1], RunCancelled)
    parts = resume_run(tmp_path / "parts")  # dropped again, as if killed, in the second round
    for event in parts:
        if isinstance(event, EpochDone) and event.round == 2:
            break
    parts.close()
    rest = list(resume_run(tmp_path / "parts"))
    assert [(e.round, e.epoch) for e in rest if isinstance(e, EpochDone)] == [(2, 2)]
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "parts")
    told = [[e for e in RunFolder(tmp_path / n).events() if isinstance(e, RoundDone)] for n in ("whole", "parts")]
    assert told[0] == told[1]  # each round once


def test_stopped_while_a_round_makes_its_map(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    events = distill_run([drawn_slide], drawn_teacher, tmp_path / "run", config)
    for event in events:
        if getattr(event, "stage", "") == "round 1 of 2: map":
            break
    events.close()
    run = RunFolder(tmp_path / "run")
    assert run.rounds() == [0, 1]
    assert run.maps(1) == {}
    rest = list(resume_run(tmp_path / "run"))
    assert [e.index for e in rest if isinstance(e, RoundDone)] == [1, 2]
    assert [e.index for e in run.events() if isinstance(e, RoundDone)] == [0, 1, 2]
    assert list(run.maps(1)) == ["tiny.tif"]


def test_mixture_and_another_kind_of_student(
    drawn_slide: Path, drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config
) -> None:
    short = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1, "student.name": "sa-mil", "tiles.size_px": 64})
    events = list(distill_run([drawn_slide, drawn_patches], drawn_teacher, tmp_path / "run", short))
    assert isinstance(events[-1], RunDone)
    assert any(isinstance(e, Warned) and "32 px" in e.message for e in events)  # the teacher's tile size wins, and it is said
    assert load_model(RunFolder(tmp_path / "run").model_path(1))[1].network.name == "sa-mil"


def test_refusals(drawn_slide: Path, drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    with pytest.raises(BagError, match="does not exist"):
        list(distill_run([tmp_path / "none"], drawn_teacher, tmp_path / "run", config))
    with pytest.raises(InputError, match="--truth"):
        list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", config, truth=drawn_slide.parent / "truth.tif"))
    with pytest.raises(InputError, match="--regions"):
        list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", config, regions=[tmp_path / "r.geojson"]))
    with pytest.raises(BagError, match="um/px"):
        list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", config.replaced(**{"tiles.mpp": 0.5})))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"student": {"name": "encoder-mil"}}, "trunk"),
        ({"student": {"name": "custom", "custom": "nobody-has-it"}}, "nobody-has-it"),
        ({"student": {"name": "vgg-mil", "width": 0.125, "stages": [0, 2]}, "rounds.structure": "sides"}, "teacher has 3, the student 2"),
        ({"rounds.side_rates": [1.0, 2.0]}, "side_rates"),
    ],
)
def test_networks_that_will_not_do_are_told_before_anything_is_made(
    settings: dict[str, Any], told: str, drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config
) -> None:
    with pytest.raises(InputError, match=told):
        list(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", config.replaced(**settings)))
    assert not (tmp_path / "run").exists()


def test_points_lie_in_the_run_and_count_where_the_settings_say_so(
    drawn_slide: Path, drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config
) -> None:
    table = tmp_path / "answers.csv"
    table.write_text("slide,x,y,answer\ntiny.tif,60,60,tumour\ntiny.tif,100,60,\n")
    short = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    counted = short.replaced(**{"rounds.points_as_labels": True})
    told = {}
    for name, settings, points in (("without", short, None), ("kept", short, table), ("counted", counted, table)):
        events = list(distill_run([drawn_slide], drawn_teacher, tmp_path / name, settings, points=points))
        told[name] = " ".join(e.message for e in events if isinstance(e, Warned))
    assert [p.answer for p in read_points(RunFolder(tmp_path / "kept").points)] == ["tumour"]
    assert "teach nothing" in told["kept"]
    assert "1 answered point" in told["counted"]
    assert hashes(tmp_path / "without") == hashes(tmp_path / "kept") != hashes(tmp_path / "counted")

    early = RunFolder(tmp_path / "early")  # answered before the run began, and never overwritten nor silently preferred
    early.path.mkdir()
    early.points.write_bytes(table.read_bytes())
    with pytest.raises(InputError, match="there already"):
        list(distill_run([drawn_slide], drawn_teacher, early.path, short, points=table))
    assert isinstance(list(distill_run([drawn_slide], drawn_teacher, early.path, short))[-1], RunDone)

    table.unlink()  # the run has its own
    assert isinstance(list(resume_run(tmp_path / "counted"))[-1], RunDone)
    table.write_text("slide,x,y,answer\nother.tif,60,60,tumour\n")
    with pytest.raises(InputError, match=r"--points.*other\.tif"):
        list(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", short, points=table))
    with pytest.raises(InputError, match="--points"):
        list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", short, points=table))
    assert not (tmp_path / "run").exists()


def test_run_that_knows_fewer_settings_goes_on(drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    """As one of an older version: what it does not name has its default."""
    list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", config, should_stop=lambda: True))
    run = RunFolder(tmp_path / "run")
    about = run.about
    assert "points" not in about["data"]
    del about["config"]["rounds"]["ema"], about["config"]["stage1"]["cam"]
    (run.path / "run.yaml").write_text(yaml.safe_dump(about))
    assert isinstance(list(resume_run(run.path))[-1], RunDone)
    with pytest.raises(RunError, match="other data or settings"):
        list(distill_run([drawn_patches], drawn_teacher, run.path, config.replaced(**{"rounds.ema": 0.5})))
