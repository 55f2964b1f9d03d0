"""The command line: its commands, exit statuses, and what goes to stdout and stderr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from typer.main import get_command

from napari_ifkd import __version__, cli
from napari_ifkd.annotations import read_regions
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.slides import open_slide

MEASURES = {"f1", "iou", "mean_f1_positive", "average_precision", "best_threshold", "best_f1", "foreground_share", "n"}


def one_line(text: str) -> bool:
    return text.startswith("error: ") and text.count("\n") == 1 and "Traceback" not in text


def test_help_is_quick_and_lists_every_command() -> None:
    before = os.times()
    said = subprocess.run([sys.executable, "-m", "napari_ifkd", "--help"], capture_output=True, text=True, check=True, timeout=60)
    after = os.times()
    took = after.children_user + after.children_system - before.children_user - before.children_system
    for command in get_command(cli.app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"\b{command}\b", said.stdout), command
    assert took < 4  # seconds of the processor, whatever else the machine does; usually below one


def test_help_loads_no_engine() -> None:
    code = (
        "import sys; from napari_ifkd import cli\ntry: cli.main(['distill', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'zarr', 'dask', 'timm', 'cv2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_version(run) -> None:
    said = run("--version")
    assert (said.status, said.out) == (0, f"napari-ifkd {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["info"],
        ["predict", "x.svs", "--out", "o"],
        ["train", "p", "--out", "o", "--model", "unet"],
        ["distill", "p", "--teacher", "t", "--out", "o", "--rounds", "many"],
        ["evaluate"],
        ["evaluate", "--model", "m"],
        ["evaluate", "--model", "m", "--patches", "p", "--map", "m", "--truth", "t"],
        ["export", "run", "--out", "o", "--threshold", "7"],
        ["info", "no_such_slide.svs"],
        ["patches", "--out", "o"],
        ["patches", "no_such_slide.svs", "--out", "o"],
        ["patches", ".", "--out", "o", "--size", "3"],
        ["train", "no_such_folder", "--out", "o"],
        ["predict", "no_such_slide.svs", "--model", "phantom-teacher", "--out", "o"],
        ["distill", "no_such_folder", "--teacher", "phantom-teacher", "--out", "o"],
        ["resume", "no_such_run"],
        ["evaluate", "--model", "no_such_model", "--patches", "p"],
        ["evaluate", "--map", "no_such_map", "--truth", "t"],
        ["export", "no_such_run", "--format", "geojson", "--out", "o"],
    ],
)
def test_wrong_use_and_bad_input_end_with_2_and_one_line(run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(*words)
    assert said.status == 2
    assert said.out == ""
    assert one_line(said.err), said.err


def test_all_problems_of_a_config_at_once(run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("sead: 1\nrounds: {epochs: 0}\n")
    said = run("train", tmp_path, "--out", tmp_path / "o", "--config", tmp_path / "c.yaml")
    assert said.status == 2
    assert "sead" in said.err
    assert "rounds.epochs" in said.err


def test_failure_of_ours_ends_with_1_and_debug_shows_where(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr("napari_ifkd.doctor.examine", broken)
    said = run("doctor")
    assert said.status == 1
    assert one_line(said.err)
    said = run("doctor", "--debug")
    assert said.status == 1
    assert "Traceback" in said.err
    assert "ZeroDivisionError: no luck" in said.err


def test_slide_without_resolution_says_how_to_give_one(run, drawn_teacher: Path, tmp_path: Path) -> None:
    import tifffile

    slide = tmp_path / "bare.tif"
    tifffile.imwrite(slide, np.full((256, 256, 3), 200, np.uint8), tile=(128, 128), photometric="rgb", metadata=None)
    said = run("predict", slide, "--model", drawn_teacher, "--out", tmp_path / "run")
    assert said.status == 2
    assert one_line(said.err)
    assert "--mpp" in said.err
    assert not (tmp_path / "run").exists()
    for words, wrong in (
        (["x"], "'x'"),
        (["bare.tif=fine"], "'bare.tif=fine'"),
        (["0.5", "bare.tif=0.25"], "for all slides and once more"),
        (["0"], "'0'"),
        (["a=1", "a=2"], "twice for one"),
    ):
        options = [part for word in words for part in ("--mpp", word)]
        said = run("predict", slide, "--model", drawn_teacher, "--out", tmp_path / "run", *options)
        assert said.status == 2
        assert one_line(said.err)
        assert wrong in said.err


def test_info_as_json_is_one_object(run, drawn_slide: Path) -> None:
    said = run("info", drawn_slide, "--json")
    assert said.status == 0
    assert said.out.count("\n") == 1
    facts = json.loads(said.out)
    assert (facts["width"], facts["height"], facts["mpp"]) == (320, 256, 1.0)
    assert facts["tissue"]["found"]
    assert "tissue.found" in run("info", drawn_slide).out


def test_check_suggests_what_to_exclude(run, drawn_slide: Path, tmp_path: Path) -> None:
    said = run("check", drawn_slide, "--out", tmp_path / "none.geojson")
    assert said.status == 0
    assert "no file was written" in said.err
    assert not (tmp_path / "none.geojson").exists()
    image = tifffile.imread(drawn_slide)
    image[100:160, 40:280] = (20, 40, 170)  # blue ink
    options = {"tile": (128, 128), "resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "pen.tif", image, photometric="rgb", **options)
    assert "pen" in run("check", tmp_path / "pen.tif", "--out", tmp_path / "pen.geojson").out
    with open_slide(tmp_path / "pen.tif") as slide:
        (region,) = read_regions(tmp_path / "pen.geojson", slide)
    assert region.classification == "pen"
    assert shapely.box(44, 104, 276, 156).difference(region.geometry).area < 100


def test_patches_of_an_annotated_slide_train_a_teacher(run, drawn_slide: Path, drawn_config: Path, tmp_path: Path) -> None:
    words = ["patches", drawn_slide, "--annotations", drawn_slide.parent / "truth.tif", "--out", tmp_path / "p", "--config", drawn_config]
    said = run(*words, "--max-tiles", 30)
    assert said.status == 0, said.err
    assert re.search(r"^group +positive +negative *\ntiny +15 +15", said.out)
    assert said.out.endswith(f"15 positive and 15 negative patches in 1 group: {tmp_path / 'p'}\n")
    assert "warning: 18 tiles are not drawn" in said.err
    said = run("train", tmp_path / "p", "--out", tmp_path / "run", "--epochs", 1, "--config", drawn_config)
    assert said.status == 0, said.err  # a part of the one slide is held out
    again = run(*words)
    assert again.status == 2
    assert one_line(again.err)


def test_cancelled_patches_leave_nothing(
    run, drawn_slide: Path, drawn_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    @contextmanager
    def at_once():
        yield lambda: True

    monkeypatch.setattr("napari_ifkd.runs.stop.stop_on_signals", at_once)
    truth = drawn_slide.parent / "truth.tif"
    said = run("patches", drawn_slide, "--annotations", truth, "--out", tmp_path / "p", "--config", drawn_config)
    assert (said.status, said.out, said.err) == (130, "", "cancelled; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_rough_regions_of_a_slide_train_a_teacher(run, drawn_slide: Path, drawn_config: Path, tmp_path: Path) -> None:
    def drawn(name: str, **boxes: tuple[int, int, int, int]) -> Path:
        features = [
            {"type": "Feature", "geometry": shapely.geometry.mapping(shapely.box(*box)), "properties": {"classification": {"name": kind}}}
            for kind, box in boxes.items()
        ]
        (tmp_path / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return tmp_path / name

    both, one = drawn("both.geojson", Tumor=(165, 32, 288, 160), Normal=(32, 32, 150, 224)), drawn("one.geojson", Tumor=(165, 32, 288, 160))
    few = ["--config", drawn_config, "--epochs", 1]
    said = run("train", drawn_slide, "--regions", both, "--out", tmp_path / "teacher", *few)
    assert said.status == 0, said.err
    told = RunFolder.open(tmp_path / "teacher").about
    assert told["data"]["data"] == [str(drawn_slide.resolve())]
    assert told["data"]["regions"] == [str(both.resolve())]
    said = run("predict", drawn_slide, "--model", tmp_path / "teacher", "--out", tmp_path / "map", "--config", drawn_config)
    assert said.status == 0, said.err
    said = run("train", drawn_slide, "--regions", one, "--out", tmp_path / "none", *few)
    assert said.status == 2
    assert "no negative" in said.err
    said = run("train", drawn_slide, "--out", tmp_path / "none", *few)
    assert said.status == 2
    assert "--regions" in said.err
    assert one_line(said.err), said.err


def test_the_whole_path(run, drawn_slide: Path, drawn_patches: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path) -> None:
    truth, few = drawn_slide.parent / "truth.tif", ["--config", drawn_config]
    said = run("train", drawn_patches, "--out", tmp_path / "teacher", "--epochs", 1, *few)
    assert said.status == 0, said.err
    assert said.out == ""  # a run tells its progress on stderr
    assert "teacher, epoch 1 of 1" in said.err
    said = run("predict", drawn_slide, "--model", drawn_teacher, "--out", tmp_path / "maps", *few)
    assert said.status == 0, said.err
    said = run("distill", drawn_slide, "--teacher", drawn_teacher, "--out", tmp_path / "run", "--rounds", 1, "--epochs", 1,
               "--truth", truth, "--seed", 3, *few)  # fmt: skip
    assert said.status == 0, said.err
    assert RunFolder(tmp_path / "run").config.seed == 3
    assert RunFolder(tmp_path / "run").rounds() == [0, 1]
    assert run("resume", tmp_path / "run").status == 0

    for words in (["--map", tmp_path / "run", "--truth", truth], ["--model", tmp_path / "teacher", "--patches", drawn_patches]):
        said = run("evaluate", *words, "--json", *few)
        assert said.status == 0, said.err
        assert said.out.count("\n") == 1
        assert json.loads(said.out).keys() >= MEASURES
    assert "average_precision" in run("evaluate", "--map", tmp_path / "run", "--truth", truth).out

    said = run("export", tmp_path / "run", "--format", "geojson,ome-tiff", "--out", tmp_path / "masks", "--round", 1)
    assert said.status == 0, said.err
    assert all(Path(line).is_file() for line in said.out.splitlines())
    assert {p.name for p in (tmp_path / "masks").iterdir()} >= {"tiny_round1.geojson", "tiny_round1.ome.tif"}
    assert run("export", tmp_path / "run", "--format", "docx", "--out", tmp_path / "masks").status == 2

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    said = run("predict", drawn_slide, "--model", drawn_teacher, "--out", tmp_path / "other", *few)
    assert said.status == 2
    assert "not empty" in said.err


def test_other_methods_students_and_teachers(run, drawn_slide: Path, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    few = ["--config", drawn_config, "--epochs", 1]
    said = run("train", drawn_patches, "--out", tmp_path / "cam", "--method", "cam", *few)
    assert said.status == 0, said.err
    said = run("train", drawn_patches, "--out", tmp_path / "bound", "--method", "supervised", *few)
    assert said.status == 0, said.err
    assert "learns from pixel masks" in said.err
    for name in ("cam", "bound"):  # each evaluated by the same command
        said = run("evaluate", "--model", tmp_path / name, "--patches", drawn_patches, "--json", "--config", drawn_config)
        assert json.loads(said.out).keys() >= MEASURES, said.err
    said = run(
        "distill", drawn_patches, "--teacher", tmp_path / "cam", "--student", "resnet-mil", "--rounds", 1, "--out", tmp_path / "a", *few
    )
    assert said.status == 0, said.err
    assert RunFolder(tmp_path / "a").config.student.name == "resnet-mil"

    (tmp_path / "answers.csv").write_text("slide,x,y,answer\ntiny.tif,60,60,tumour\n")
    mask = drawn_slide.parent / "truth.tif"
    words = [
        "distill",
        drawn_slide,
        "--teacher",
        mask,
        "--mode",
        "oeem",
        "--points",
        tmp_path / "answers.csv",
        "--out",
        tmp_path / "b",
        *few,
    ]
    said = run(*words)
    assert said.status == 0, said.err
    assert RunFolder(tmp_path / "b").rounds() == [0, 1]
    assert RunFolder(tmp_path / "b").points.is_file()
    said = run(*words[:4], "--structure", "sides", "--out", tmp_path / "c", *few)
    assert said.status == 2
    assert one_line(said.err)
    assert not (tmp_path / "c").exists()


def test_models_and_doctor(run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "phantom-teacher" in run("models").out
    assert "device" in run("doctor").out
    assert json.loads(run("doctor", "--json").out)["napari-ifkd"] == __version__


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupt_ends_with_130_and_says_how_to_go_on(drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    words = ["train", str(drawn_patches), "--out", str(tmp_path / "run"), "--config", str(drawn_config), "--epochs", "5000"]
    with subprocess.Popen([sys.executable, "-m", "napari_ifkd", *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 1 of" in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(timeout=20) == 130
    assert "resume" in said
    assert "Traceback" not in said
    assert RunFolder(tmp_path / "run").status == "cancelled"
