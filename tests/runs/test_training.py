"""A teacher from a patch folder, as a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from napari_ifkd.bags import read_patches, split_groups
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import BagError, ConfigError, EngineError, RunError
from napari_ifkd.events import EpochDone, Event, RoundDone, RunCancelled, RunDone, RunFailed, RunStarted, Warned
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs import training
from napari_ifkd.runs.acts import resume_run, train_run
from napari_ifkd.runs.folder import RunFolder


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config).replaced(**{"stage1.epochs": 3})


def test_a_device_that_is_not_there_leaves_no_run(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    with pytest.raises(ConfigError, match="device nonsense"):
        list(train_run([drawn_patches], tmp_path / "run", config.replaced(device="nonsense")))
    assert not (tmp_path / "run").exists()


def stopped_after(epochs: int, patches: Path, out: Path, config: Config) -> list[Event]:
    """Train until so many epochs are done, then ask to stop."""
    done: list[Event] = []
    for event in train_run([patches], out, config, should_stop=lambda: sum(isinstance(e, EpochDone) for e in done) >= epochs):
        done.append(event)
    return done


def test_train_leaves_a_teacher_and_a_journal(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    events = list(train_run([drawn_patches], tmp_path / "run", config))
    run = RunFolder.open(tmp_path / "run")
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunDone)
    assert [e.epoch for e in events if isinstance(e, EpochDone)] == [1, 2, 3]
    assert [type(e) for e in run.events() if not isinstance(e, type(events[1]))][-1] is RunDone
    assert run.status == "done"
    assert run.rounds() == [0]
    assert any(isinstance(e, RoundDone) and e.index == 0 for e in run.events())
    _, card = load_model(run.model_path(0))
    assert (card.tile_px, card.mpp, card.domain) == (32, 1.0, "")
    assert str(tmp_path) not in card.model_dump_json()
    assert run.metrics(0)["bag_accuracy"] >= 0


def test_resumed_teacher_is_bit_equal(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    list(train_run([drawn_patches], tmp_path / "whole", config))
    events = stopped_after(1, drawn_patches, tmp_path / "parts", config)
    assert isinstance(events[-1], RunCancelled)
    assert RunFolder(tmp_path / "parts").status == "cancelled"
    with pytest.raises(RunError, match="no network yet"):
        from napari_ifkd.runs.resolve import resolve_model

        resolve_model(tmp_path / "parts")
    again = list(resume_run(tmp_path / "parts"))
    assert again[0] == RunStarted("train", resumed=True)
    assert [e.epoch for e in again if isinstance(e, EpochDone)] == [2, 3]
    hashes = {weights_hash(load_model(RunFolder(tmp_path / name).model_path(0))[0]) for name in ("whole", "parts")}
    assert len(hashes) == 1
    for ref in (tmp_path / "parts", RunFolder(tmp_path / "parts").model_path(0)):  # all networks of runs are called alike there
        assert resolve_model(ref).label == "parts"
    shutil.copyfile(ref, tmp_path / "lung.safetensors")
    assert resolve_model(tmp_path / "lung.safetensors").label == "lung"  # elsewhere as its file
    assert [type(e) for e in resume_run(tmp_path / "parts")] == [RunStarted, RunDone]  # complete: it just says so


def test_a_run_of_an_earlier_version_goes_on(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    stopped_after(1, drawn_patches, tmp_path / "run", config)
    path = tmp_path / "run" / "run.yaml"
    about = yaml.safe_load(path.read_text())
    about["data"] = {"patches": str(drawn_patches.resolve())}  # as it was written then
    path.write_text(yaml.safe_dump(about))
    again = list(resume_run(tmp_path / "run"))
    assert [e.epoch for e in again if isinstance(e, EpochDone)] == [2, 3]


def test_bad_patches_leave_no_folder(tmp_path: Path, config: Config) -> None:
    with pytest.raises(BagError):
        list(train_run([tmp_path / "none"], tmp_path / "run", config))
    assert not (tmp_path / "run").exists()


def test_one_class_fails_in_words(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    shutil.copytree(drawn_patches / "pos", tmp_path / "patches" / "pos")
    with pytest.raises(BagError, match="no negative images"):
        list(train_run([tmp_path / "patches"], tmp_path / "run", config))
    assert isinstance(RunFolder(tmp_path / "run").events()[-1], RunFailed)


def test_unforeseen_error_is_told_and_chained(drawn_patches: Path, tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> object:
        raise ZeroDivisionError("no luck\nat all")

    monkeypatch.setattr(training, "train_teacher", broken)
    with pytest.raises(EngineError, match=r"ZeroDivisionError: no luck\)") as told:
        list(train_run([drawn_patches], tmp_path / "run", config))
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert RunFolder(tmp_path / "run").status == "failed"


def test_dropped_generator_counts_as_cancelled(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    events = train_run([drawn_patches], tmp_path / "run", config)
    while not isinstance(next(events), EpochDone):
        pass
    events.close()
    assert RunFolder(tmp_path / "run").status == "cancelled"
    assert RunFolder(tmp_path / "run").writer is None


@pytest.mark.parametrize("method", ["mil", "cam", "oaa"])
def test_image_labels_are_all_that_is_read(method: str, drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    patches = shutil.copytree(drawn_patches, tmp_path / "patches")
    for mask in (patches / "gt").iterdir():
        mask.write_text("whoever opens this fails")
    settings = config.replaced(**{"stage1.method": method, "stage1.epochs": 2, "stage1.cam.snapshots": 2})
    events = list(train_run([patches], tmp_path / "run", settings))
    assert isinstance(events[-1], RunDone)
    assert "image-level labels only" in load_model(RunFolder(tmp_path / "run").model_path(0))[1].trained_on
    with pytest.raises(BagError, match="gt/"):
        list(train_run([patches], tmp_path / "supervised", settings.replaced(**{"stage1.method": "supervised"})))


def test_supervised_opens_the_masks_of_the_training_split_only(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"stage1.method": "supervised"})
    whole = list(train_run([drawn_patches], tmp_path / "whole", settings))
    assert any(isinstance(e, Warned) and "pixel masks" in e.message for e in whole)
    _, card = load_model(RunFolder(tmp_path / "whole").model_path(0))
    assert "fully supervised" in card.trained_on
    assert "image-level" not in card.trained_on
    bags = read_patches(drawn_patches, settings.tiles)
    train, held = split_groups(bags, settings.tiles.validation_share, settings.seed)
    assert bags.labels[held].any()

    patches = shutil.copytree(drawn_patches, tmp_path / "patches")  # of the same source name
    for row in held:
        if bags.labels[row]:
            (patches / "gt" / Path(bags.names[row]).name).write_text("whoever opens this fails")
    events = list(train_run([patches], tmp_path / "run", settings))
    hashes = {weights_hash(load_model(RunFolder(tmp_path / name).model_path(0))[0]) for name in ("whole", "run")}
    assert isinstance(events[-1], RunDone)
    assert len(hashes) == 1
    labels_only = list(train_run([patches], tmp_path / "mil", config))
    assert [e.loss for e in labels_only if isinstance(e, EpochDone)] != [e.loss for e in events if isinstance(e, EpochDone)]
    (patches / "gt" / Path(bags.names[next(row for row in train if bags.labels[row])]).name).unlink()
    with pytest.raises(BagError, match="has no mask"):
        list(train_run([patches], tmp_path / "missing", settings))


def test_resumed_activation_maps_are_bit_equal(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"stage1.method": "oaa", "stage1.cam.snapshots": 3})
    list(train_run([drawn_patches], tmp_path / "whole", settings))
    stopped_after(2, drawn_patches, tmp_path / "parts", settings)
    list(resume_run(tmp_path / "parts"))
    hashes = {weights_hash(load_model(RunFolder(tmp_path / name).model_path(0))[0]) for name in ("whole", "parts")}
    assert len(hashes) == 1
