"""Pseudo-masks from a file in the place of a teacher network."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd.annotations.corrections import Corrections
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import BagError, ConfigError, InputError, RunError
from napari_ifkd.events import EpochDone, Event, MapReady, RoundDone, RunCancelled, RunDone, Warned
from napari_ifkd.export import export_run
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, save_model, weights_hash
from napari_ifkd.runs.acts import distill_run, predict_run, resume_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.resolve import chosen_round, resolve_model
from napari_ifkd.session import Session
from napari_ifkd.session_story import RunStory
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


@pytest.fixture
def mask(drawn_slide: Path, tmp_path: Path) -> Path:
    """Copy the slide's truth to a file that is given as pseudo-mask."""
    return shutil.copy(drawn_slide.parent / "truth.tif", tmp_path / "guess.tif")


@pytest.fixture
def maps(drawn_patches: Path, tmp_path: Path) -> Path:
    """Make a folder of 8-bit probability maps for the patches: .8 on the tumour, .1 elsewhere, under another ending."""
    folder = tmp_path / "guesses"
    folder.mkdir()
    for path in [*drawn_patches.glob("pos/*.png"), *drawn_patches.glob("neg/*.png")]:
        truth = drawn_patches / "gt" / path.name
        tumour = np.asarray(Image.open(truth)) > 0 if truth.is_file() else np.zeros((32, 32), bool)
        Image.fromarray(np.where(tumour, 204, 26).astype(np.uint8)).save(folder / f"{path.stem}.tif")
    return folder


def hashes(out: Path) -> list[str]:
    run = RunFolder(out)
    return [weights_hash(load_model(run.model_path(index))[0]) for index in run.rounds() if index]


def test_label_image_of_a_slide(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    out = tmp_path / "run"
    events = list(distill_run([drawn_slide], mask, out, config, truth=drawn_slide.parent / "truth.tif"))
    assert isinstance(events[-1], RunDone)
    run = RunFolder.open(out)
    assert run.rounds() == [0, 1, 2]
    assert not run.model_path(0).exists()
    assert [e.round for e in events if isinstance(e, MapReady)] == [0, 1, 2]
    facts = json.loads((run.round_dir(0) / "teacher.json").read_text())
    assert facts == run.about["model"]
    assert (facts["name"], facts["kind"], len(facts["sha256"])) == ("guess.tif", "image", 64)

    first = open_map(run.maps(0)["tiny.tif"])
    truth = tifffile.imread(mask) > 0
    values = first.read(0, 0, *first.shape)
    assert first.shape == truth.shape  # the slide has 1 um/px, and so have the tiles
    np.testing.assert_array_equal(values >= 128, truth)
    assert run.metrics(0)["f1"] > 0.95
    assert run.metrics(1)["agreement"] > 0

    _, card = load_model(run.model_path(1))
    assert (card.network.name, card.network.width, card.tile_px, card.mpp) == ("vgg-mil", 0.125, 32, 1.0)
    assert "guess.tif" in card.trained_on
    assert str(tmp_path) not in card.model_dump_json() + json.dumps(facts)


def test_what_a_run_stands_for_when_its_teacher_is_no_network(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    out = tmp_path / "run"
    # nothing is accepted: no student may change the area at all
    kept = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1, "acceptance.max_area_shift": 1e-9})
    list(distill_run([drawn_slide], mask, out, kept))
    run = RunFolder.open(out)
    assert chosen_round(run) == 0
    with pytest.raises(RunError, match=r"no network but the pseudo-masks of guess\.tif"):
        resolve_model(out)
    with pytest.raises(RunError, match=r"guess\.tif"):
        list(predict_run([drawn_slide], out, tmp_path / "maps", config))
    session = Session()
    session.take_run(RunStory.read(out))
    assert [r.index for r in session.rounds] == [0, 1]
    assert sorted(c.round for c in session.candidates) == [0, 1]
    assert run.accept(0, 0.5).round == 0  # a person may prefer the pseudo-masks as they came
    provenance = next(p for p in export_run(out, ["geojson"], tmp_path / "masks") if p.name.endswith("provenance.json"))
    assert json.loads(provenance.read_text())["model"]["sha256"] == run.about["model"]["sha256"]
    run.accept(1, 0.5)
    assert resolve_model(out).label == "round 1 of run"


def test_resume_needs_the_file_no_more_and_refuses_another(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    list(distill_run([drawn_slide], mask, tmp_path / "whole", config))
    events: list[Event] = []
    for event in distill_run(
        [drawn_slide], mask, tmp_path / "parts", config, should_stop=lambda: sum(isinstance(e, EpochDone) for e in events) == 3
    ):
        events.append(event)
    assert isinstance(events[-1], RunCancelled)
    kept = mask.read_bytes()
    tifffile.imwrite(mask, np.zeros((256, 320), np.uint8), metadata=None)
    with pytest.raises(RunError, match=r"another guess\.tif"):
        list(resume_run(tmp_path / "parts"))
    mask.unlink()
    assert isinstance(list(resume_run(tmp_path / "parts"))[-1], RunDone)
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "parts")
    told = [[e for e in RunFolder(tmp_path / n).events() if isinstance(e, RoundDone)] for n in ("whole", "parts")]
    assert told[0] == told[1]
    mask.write_bytes(kept)


def test_file_that_is_gone_before_its_map_was_made(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    events = list(distill_run([drawn_slide], mask, tmp_path / "run", config, should_stop=lambda: True))
    assert isinstance(events[-1], RunCancelled)
    mask.unlink()
    with pytest.raises(InputError, match="is gone"):
        list(resume_run(tmp_path / "run"))


def test_folder_of_maps_for_patches(drawn_patches: Path, maps: Path, tmp_path: Path, config: Config) -> None:
    events = list(
        distill_run([drawn_patches], maps, tmp_path / "run", config.replaced(**{"student.name": "sa-mil", "student.width": 0.125}))
    )
    assert isinstance(events[-1], RunDone)
    run = RunFolder.open(tmp_path / "run")
    assert run.about["model"]["kind"] == "folder"
    assert load_model(run.model_path(1))[1].network.name == "sa-mil"
    first = next(e for e in events if isinstance(e, RoundDone))
    assert first.scores["positive_area"] == pytest.approx(20 / 32)  # of the maps: 20 of 32 columns
    assert first.scores["bag_accuracy"] == 1


def test_resumed_run_on_a_folder_of_maps_is_bit_equal(drawn_patches: Path, maps: Path, tmp_path: Path, config: Config) -> None:
    list(distill_run([drawn_patches], maps, tmp_path / "whole", config))
    events: list[Event] = []
    for event in distill_run(
        [drawn_patches], maps, tmp_path / "parts", config, should_stop=lambda: any(isinstance(e, EpochDone) for e in events)
    ):
        events.append(event)
    assert isinstance(list(resume_run(tmp_path / "parts"))[-1], RunDone)
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "parts")


def test_painted_pixels_count_beside_a_file(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    for name in ("plain", "painted"):
        run = RunFolder(tmp_path / name)
        if name == "painted":
            with open_slide(drawn_slide) as slide:
                Corrections.create(run.corrections_path(drawn_slide), slide, 1.0).paint(40, 40, np.full((40, 60), 2, np.uint8))
        events = list(distill_run([drawn_slide], mask, run.path, config.replaced(**{"rounds.rounds": 1})))
        assert any(isinstance(e, Warned) and "corrected tile" in e.message for e in events) == (name == "painted")
    assert hashes(tmp_path / "plain") != hashes(tmp_path / "painted")


@pytest.mark.parametrize("kind", ["map", "regions", "folder"])
def test_other_files_of_slides(kind: str, drawn_slide: Path, mask: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    slides = [drawn_slide]
    if kind == "map":
        list(predict_run([drawn_slide], drawn_teacher, tmp_path / "predicted", config))
        teacher = RunFolder(tmp_path / "predicted").maps(0)["tiny.tif"]
    elif kind == "regions":
        teacher = tmp_path / "drawn.geojson"
        ring = [[160, 32], [288, 32], [288, 224], [160, 224], [160, 32]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "Tumor"}},
        }
        teacher.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    else:
        teacher = tmp_path / "masks"
        teacher.mkdir()
        slides.append(shutil.copy(drawn_slide, tmp_path / "second.tif"))
        for slide in slides:
            shutil.copy(mask, teacher / slide.name)
    short = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    assert isinstance(list(distill_run(slides, teacher, tmp_path / "run", short))[-1], RunDone)
    run = RunFolder.open(tmp_path / "run")
    assert run.about["model"]["kind"] == kind
    assert len(run.maps(0)) == len(run.maps(1)) == len(slides)
    truth = tifffile.imread(mask) > 0
    for path in run.maps(0).values():
        found = open_map(path).read(0, 0, *truth.shape)
        if kind == "map":
            np.testing.assert_array_equal(found, open_map(teacher).read(0, 0, *truth.shape))
        else:
            np.testing.assert_array_equal(found >= 128, truth)


def test_map_by_a_network_that_knows_phantoms_only_stays_one(
    drawn_slide: Path, drawn_teacher: Path, tmp_path: Path, config: Config
) -> None:
    model, card = load_model(drawn_teacher)
    save_model(tmp_path / "phantoms.safetensors", model, card.model_copy(update={"domain": "phantom"}))
    list(predict_run([drawn_slide], tmp_path / "phantoms.safetensors", tmp_path / "predicted", config))
    source = RunFolder(tmp_path / "predicted").maps(0)["tiny.tif"]
    list(distill_run([drawn_slide], source, tmp_path / "run", config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})))
    run = RunFolder(tmp_path / "run")
    assert load_model(run.model_path(1))[1].domain == "phantom"
    assert all(open_map(run.maps(index)["tiny.tif"]).domain_warning for index in (0, 1))


def test_refusals_leave_no_folder(drawn_slide: Path, drawn_patches: Path, mask: Path, maps: Path, tmp_path: Path, config: Config) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="both were given"):
        list(distill_run([drawn_slide, drawn_patches], maps, out, config))
    with pytest.raises(InputError, match="of one slide, and patches"):
        list(distill_run([drawn_patches], mask, out, config))
    second = shutil.copy(drawn_slide, tmp_path / "second.tif")
    with pytest.raises(InputError, match="of one slide, and 2"):
        list(distill_run([drawn_slide, second], mask, out, config))
    with pytest.raises(InputError, match=r"no file for the slide tiny\.tif"):
        list(distill_run([drawn_slide], maps, out, config))
    with pytest.raises(InputError, match="one patch folder, and 2"):
        list(distill_run([drawn_patches, shutil.copytree(drawn_patches, tmp_path / "more")], maps, out, config))
    next(maps.glob("*.tif")).unlink()
    with pytest.raises(BagError, match="has no map"):
        list(distill_run([drawn_patches], maps, out, config))
    assert not out.exists()


def test_structure_sides_needs_a_network(drawn_slide: Path, mask: Path, tmp_path: Path, config: Config) -> None:
    with pytest.raises(ConfigError, match="sides"):
        list(distill_run([drawn_slide], mask, tmp_path / "run", config.replaced(**{"rounds.structure": "sides"})))
