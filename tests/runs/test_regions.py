"""Regions that a run is given: a teacher learnt from rough ones, and what is excluded is looked at nowhere."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
import tifffile
from shapely.geometry import mapping

from napari_ifkd.annotations import Corrections, read_regions
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import BagError, InputError
from napari_ifkd.events import EpochDone, RoundDone, RunCancelled, RunDone, Warned
from napari_ifkd.export import export_run
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs.acts import distill_run, predict_run, resume_run, train_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.points import opened_evidence
from napari_ifkd.runs.regions import read_run_regions, write_regions
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

LEFT, RIGHT = (32, 32, 150, 224), (165, 32, 288, 160)  # rough: the lower right stays unmarked
PEN = (192, 64, 256, 128)


def drawn(path: Path, **boxes: tuple[int, int, int, int]) -> Path:
    features = [
        {"type": "Feature", "geometry": mapping(shapely.box(*box)), "properties": {"classification": {"name": name}}}
        for name, box in boxes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config).replaced(**{"stage1.epochs": 12})


def test_rough_regions_teach_a_teacher_that_finds_the_rest(drawn_slide: Path, tmp_path: Path, config: Config) -> None:
    regions = drawn(tmp_path / "rough.geojson", Tumor=RIGHT, Normal=LEFT)
    events = list(train_run([drawn_slide], tmp_path / "teacher", config, regions=[regions]))
    assert isinstance(events[-1], RunDone)
    run = RunFolder.open(tmp_path / "teacher")
    # tiles of 32 px: 4 x 4 are mostly inside RIGHT, 3 x 6 wholly inside LEFT
    assert any("16 tiles are positive and 18 negative by your regions" in e.message for e in events if isinstance(e, Warned))
    _, card = load_model(run.model_path(0))
    assert "tiny.tif" in card.trained_on
    assert "tiles, image-level labels only" in card.trained_on
    numbers = [int(number) for number in re.findall(r"\b\d+\b(?!%)", card.trained_on)]
    assert sum(numbers) == 16 + 18  # positive, negative, kept aside, and between the two: nothing is unaccounted for
    assert "between these and those were left out" in card.trained_on
    accuracy = run.metrics(0)["bag_accuracy"]
    assert f"({accuracy:.0%} told apart rightly)" in card.trained_on
    assert str(tmp_path) not in card.model_dump_json()
    assert card.learned_from == (run.about["slides"][0]["quick_hash"],)
    short = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    list(distill_run([drawn_slide], tmp_path / "teacher", tmp_path / "rounds", short))
    assert load_model(RunFolder(tmp_path / "rounds").model_path(1))[1].learned_from == card.learned_from
    assert [slide["name"] for slide in run.about["slides"]] == ["tiny.tif"]

    list(predict_run([drawn_slide], tmp_path / "teacher", tmp_path / "map", config))
    found = open_map(RunFolder(tmp_path / "map").maps(0)["tiny.tif"])
    values = np.asarray(found.levels[0]).astype(float)
    scale = found.scale_yx[0]
    never_marked = values[int(168 / scale) : int(216 / scale), int(176 / scale) : int(280 / scale)].mean()
    assert never_marked > values[int(40 / scale) : int(216 / scale), int(40 / scale) : int(140 / scale)].mean() + 60


def test_a_resumed_teacher_of_regions_is_bit_equal(drawn_slide: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"stage1.epochs": 3})
    regions = drawn(tmp_path / "rough.geojson", Tumor=RIGHT, Normal=LEFT)
    without = drawn(tmp_path / "pen.geojson", Pen=PEN)
    given = {"regions": [regions], "exclude": [without]}
    list(train_run([drawn_slide], tmp_path / "whole", settings, **given))
    done: list[object] = []
    for event in train_run(
        [drawn_slide], tmp_path / "parts", settings, **given, should_stop=lambda: any(isinstance(e, EpochDone) for e in done)
    ):
        done.append(event)
    assert isinstance(done[-1], RunCancelled)
    without.unlink()  # the run has its own copy
    assert isinstance(list(resume_run(tmp_path / "parts"))[-1], RunDone)
    hashes = {weights_hash(load_model(RunFolder(tmp_path / name).model_path(0))[0]) for name in ("whole", "parts")}
    assert len(hashes) == 1


def test_slides_and_patches_teach_together(drawn_slide: Path, drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"stage1.epochs": 1})
    other = tmp_path / "other.tif"
    shutil.copy(drawn_slide, other)
    folder = tmp_path / "regions"
    folder.mkdir()
    drawn(folder / "tiny.geojson", Tumor=RIGHT)
    drawn(folder / "other_regions.geojson", Normal=LEFT)
    (folder / "notes.txt").write_text("beside")
    list(train_run([drawn_slide, other, drawn_patches], tmp_path / "run", settings, regions=[folder]))
    _, card = load_model(RunFolder(tmp_path / "run").model_path(0))
    numbers = [int(word) for word in card.trained_on.replace(":", "").split() if word.isdigit()]
    assert "kept aside" in card.trained_on
    assert "left out" not in card.trained_on  # whole groups were kept aside
    assert sum(numbers[-3:]) == 16 + 18 + 24  # positive, negative, kept aside
    assert card.learned_from == ()


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({}, "has no regions"),
        ({"Tumor": RIGHT}, "no negative"),
        ({"Normal": LEFT}, "no positive"),
        ({"Tumor": (170, 40, 180, 50), "Normal": (40, 40, 50, 50)}, "no region holds most of one"),
        ({"Tumor": (1000, 1000, 1100, 1100)}, "outside tiny.tif"),
    ],
)
def test_regions_that_teach_nothing_are_told(
    marks: dict[str, tuple[int, int, int, int]], told: str, drawn_slide: Path, tmp_path: Path, config: Config
) -> None:
    regions = [drawn(tmp_path / "rough.geojson", **marks)] if marks else []
    with pytest.raises(InputError, match=told):
        list(train_run([drawn_slide], tmp_path / "run", config, regions=regions))


def test_only_masks_of_patches_supervise(drawn_slide: Path, tmp_path: Path, config: Config) -> None:
    regions = drawn(tmp_path / "rough.geojson", Tumor=RIGHT, Normal=LEFT)
    with pytest.raises(BagError, match="supervised"):
        list(train_run([drawn_slide], tmp_path / "run", config.replaced(**{"stage1.method": "supervised"}), regions=[regions]))
    assert not (tmp_path / "run").exists()


def test_what_is_excluded_is_predicted_nowhere(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    without = drawn(tmp_path / "any name.geojson", Pen=PEN)
    list(predict_run([drawn_slide], drawn_teacher, tmp_path / "run", config, exclude=[without]))
    run = RunFolder.open(tmp_path / "run")
    values = np.asarray(open_map(run.maps(0)["tiny.tif"]).levels[0])
    inside = np.zeros_like(values, bool)
    inside[PEN[1] : PEN[3], PEN[0] : PEN[2]] = True
    assert values.shape == (256, 320)
    assert not values[inside].any()
    assert values[~inside][:].any()
    assert (values[40:60, 180:280] > 0).all()
    with open_slide(drawn_slide) as slide:
        assert read_regions(run.exclusion_path("tiny.tif"), slide).exclusion.equals(shapely.box(*PEN))
    shutil.rmtree(run.maps(0)["tiny.tif"])
    without.unlink()
    list(resume_run(tmp_path / "run"))
    assert np.array_equal(np.asarray(open_map(run.maps(0)["tiny.tif"]).levels[0]), values)


def test_no_export_holds_what_is_excluded(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    """Neither what the run excluded, though somebody painted tumour there, nor what is excluded later."""
    list(predict_run([drawn_slide], drawn_teacher, tmp_path / "run", config, exclude=[drawn(tmp_path / "pen.geojson", Pen=PEN)]))
    run = RunFolder.open(tmp_path / "run")
    with open_slide(drawn_slide) as slide:
        corrections = Corrections.create(run.corrections_path("tiny.tif"), slide, 1.0)
        corrections.paint(60, 180, np.full((80, 60), 2, np.uint8))
    later = drawn(tmp_path / "later.geojson", Anything=(200, 150, 240, 200))
    masks = {}
    for name, exclude in (("first", []), ("then", [later])):
        files = export_run(run.path, ["ome-tiff", "geojson"], tmp_path / name, threshold=0.5, exclude=exclude)
        masks[name] = tifffile.imread(next(path for path in files if path.name.endswith(".ome.tif"))) > 0
        facts = json.loads(next(path for path in files if path.name.endswith("provenance.json")).read_text())
        assert facts["excluded_mm2"] == pytest.approx((64 * 64 + (2000 if exclude else 0)) / 1e6)
        shapes = json.loads((tmp_path / name / "tiny_round0.geojson").read_text())["features"]
        whole = shapely.union_all([shapely.geometry.shape(feature["geometry"]) for feature in shapes])
        assert whole.intersection(shapely.box(*PEN)).area == 0
    assert not masks["first"][64:128, 192:256].any()
    assert masks["first"][60:64, 180:240].all()
    assert masks["first"][150:200, 200:240].all()
    masks["first"][150:200, 200:240] = False
    assert np.array_equal(masks["first"], masks["then"])


def test_no_round_looks_at_what_is_excluded(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    """Neither bags nor maps nor points: those of the rounds, those of the weak regions, and those given besides."""
    regions = drawn(tmp_path / "weak.geojson", Exclusion=(32, 32, 64, 64), Normal=LEFT)
    without = drawn(tmp_path / "pen.geojson", Pen=PEN)
    settings = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1, "acceptance.rule": "always"})
    events = list(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", settings, regions=[regions], exclude=[without]))
    assert [e.index for e in events if isinstance(e, RoundDone)] == [0, 1]
    run = RunFolder.open(tmp_path / "run")
    for index in (0, 1):
        values = np.asarray(open_map(run.maps(index)["tiny.tif"]).levels[0])
        assert not values[64:128, 192:256].any()
        assert not values[32:64, 32:64].any()
        assert (values[140:200, 180:280] > 0).all()
    with opened_evidence(run.path) as evidence:
        excluded = shapely.box(*PEN).union(shapely.box(32, 32, 64, 64))
        assert len(evidence.places) > 100
        assert not any(excluded.contains(shapely.Point(place.x, place.y)) for place in evidence.places)


def test_regions_are_written_as_they_are_read_where_the_scan_has_bounds(drawn_slide: Path, tmp_path: Path) -> None:
    with open_slide(drawn_slide) as slide:
        shifted = _Shifted(slide)
        path = tmp_path / "tiny.geojson"
        write_regions(path, {"Exclusion": shapely.box(*PEN)}, shifted)
        (feature,) = json.loads(path.read_text())["features"]
        assert shapely.geometry.shape(feature["geometry"]).bounds == (PEN[0] - 7, PEN[1] - 5, PEN[2] - 7, PEN[3] - 5)  # as QuPath counts
        assert read_regions(path, shifted).exclusion.equals(shapely.box(*PEN))


class _Shifted:
    """A slide whose scan does not begin at its corner."""

    def __init__(self, slide: object) -> None:
        self._slide, self.bounds_origin_yx_level0 = slide, (5, 7)

    def __getattr__(self, name: str) -> object:
        return getattr(self._slide, name)


def test_files_are_matched_by_name(drawn_slide: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    with open_slide(drawn_slide) as slide:
        run = RunFolder(tmp_path / "none")
        drawn(folder / "nobody.geojson", Pen=PEN)
        with pytest.raises(InputError, match="belongs to no slide"):
            read_run_regions(run, [slide], exclude=[folder])
        drawn(folder / "tiny_exclusions.geojson", Pen=PEN)
        assert set(read_run_regions(run, [slide], exclude=[folder]).exclusions) == {"tiny.tif"}
        with pytest.raises(InputError, match="does not exist"):
            read_run_regions(run, [slide], exclude=[tmp_path / "gone.geojson"])
