"""Maps of slides, as a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tifffile

from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import InputError, RunError, SlideError
from napari_ifkd.events import Event, MapReady, Progress, RunCancelled, RunDone
from napari_ifkd.inference import open_map
from napari_ifkd.runs.acts import predict_run, resume_run
from napari_ifkd.runs.evaluation import evaluate_all_foreground, evaluate_map_of
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.resolve import resolve_model


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


def test_each_slide_may_be_told_its_own_resolution(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    bare = tmp_path / "bare.tif"
    tifffile.imwrite(bare, tifffile.imread(drawn_slide), photometric="rgb", tile=(64, 64))
    asked = {"bare.tif": 0.5}
    list(predict_run([drawn_slide, bare], drawn_teacher, tmp_path / "run", config, mpp=asked))
    run = RunFolder.open(tmp_path / "run")
    assert [(slide["name"], slide["mpp"]) for slide in run.about["slides"]] == [(drawn_slide.name, 1.0), ("bare.tif", 0.5)]
    assert run.about["data"]["mpp"] == asked
    assert isinstance(list(resume_run(tmp_path / "run"))[-1], RunDone)
    link = tmp_path / "links" / "alias.tif"
    link.parent.mkdir()
    link.symlink_to(bare)
    list(predict_run([link], drawn_teacher, tmp_path / "linked", config, mpp={"alias.tif": 0.5}))
    assert isinstance(list(resume_run(tmp_path / "linked"))[-1], RunDone)
    with pytest.raises(SlideError, match=r"names other\.tif, which is none of the slides"):
        list(predict_run([drawn_slide, bare], drawn_teacher, tmp_path / "next", config, mpp={"other.tif": 0.5}))


def test_map_lies_where_design_says_and_beats_all_foreground(
    drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config
) -> None:
    events = list(predict_run([drawn_slide], drawn_teacher, tmp_path / "run", config))
    assert isinstance(events[-1], RunDone)
    run = RunFolder.open(tmp_path / "run")
    assert run.maps(0) == {"tiny.tif": tmp_path / "run" / "rounds" / "00" / "maps" / "tiny.zarr"}
    assert [e for e in events if isinstance(e, MapReady)] == [MapReady(0, "tiny.tif", "rounds/00/maps/tiny.zarr")]
    assert open_map(run.maps(0)["tiny.tif"]).slide["name"] == "tiny.tif"
    truth = drawn_slide.parent / "truth.tif"
    assert evaluate_map_of(tmp_path / "run", truth, config)["f1"] > evaluate_all_foreground(truth)["f1"] + 0.2
    assert resolve_model(tmp_path / "run").label == "teacher of run"
    public = {key: value for key, value in run.about.items() if key != "data"}
    assert str(drawn_slide.parent) not in json.dumps(public)


def test_stopped_prediction_makes_only_what_is_missing(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    second = shutil.copy(drawn_slide, tmp_path / "second.tif")
    seen: list[Event] = []
    for event in predict_run(
        [drawn_slide, second], drawn_teacher, tmp_path / "run", config, should_stop=lambda: any(isinstance(e, MapReady) for e in seen)
    ):
        seen.append(event)
    assert isinstance(seen[-1], RunCancelled)
    run = RunFolder(tmp_path / "run")
    assert list(run.maps(0)) == ["tiny.tif"]
    made = run.maps(0)["tiny.tif"].stat().st_mtime_ns
    again = list(resume_run(tmp_path / "run"))
    assert isinstance(again[-1], RunDone)
    assert set(run.maps(0)) == {"tiny.tif", "second.tif"}
    assert run.maps(0)["tiny.tif"].stat().st_mtime_ns == made
    assert any(isinstance(e, Progress) for e in again)


def test_resume_needs_the_same_slide(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    slide = Path(shutil.copy(drawn_slide, tmp_path / "a.tif"))
    list(predict_run([slide], drawn_teacher, tmp_path / "run", config))
    assert isinstance(list(resume_run(tmp_path / "run"))[-1], RunDone)
    shutil.rmtree(RunFolder(tmp_path / "run").maps(0)["a.tif"])  # now there is something to do
    slide.write_bytes(slide.read_bytes() + b"\0")
    with pytest.raises(RunError, match=r"another a\.tif"):
        list(resume_run(tmp_path / "run"))
    slide.unlink()
    with pytest.raises(SlideError):
        list(resume_run(tmp_path / "run"))


def test_the_run_keeps_its_teacher(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    teacher = Path(shutil.copy(drawn_teacher, tmp_path / "t.safetensors"))
    list(predict_run([drawn_slide], teacher, tmp_path / "run", config))
    shutil.rmtree(tmp_path / "run" / "rounds" / "00" / "maps")
    teacher.unlink()
    assert isinstance(list(resume_run(tmp_path / "run"))[-1], RunDone)
    assert RunFolder(tmp_path / "run").maps(0)


def test_region_limits_the_map(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    ring = [[160, 32], [288, 32], [288, 120], [160, 120], [160, 32]]
    region = tmp_path / "region.geojson"
    region.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}))
    list(predict_run([drawn_slide], drawn_teacher, tmp_path / "run", config, region=region))
    values = open_map(RunFolder(tmp_path / "run").maps(0)["tiny.tif"]).read(0, 0, 256, 320)
    assert values[40:110, 170:280].all()
    assert not values[130:].any()
    assert not values[:, :150].any()


def test_refusals(drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    twin = tmp_path / "tiny.tif"
    shutil.copy(drawn_slide, twin)
    with pytest.raises(SlideError, match="same name"):
        list(predict_run([drawn_slide, twin], drawn_teacher, tmp_path / "run", config))
    other = shutil.copy(drawn_slide, tmp_path / "b.tif")
    (tmp_path / "r.geojson").write_text("{}")
    with pytest.raises(InputError, match=r"r\.geojson belongs to no slide"):
        list(predict_run([drawn_slide, other], drawn_teacher, tmp_path / "run", config, region=tmp_path / "r.geojson"))
    assert not (tmp_path / "run").exists()
