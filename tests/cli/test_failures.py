"""What can go wrong in the middle of a run ends in one sentence, or in a warning and a result; and the run can be resumed."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from napari_ifkd.events import EpochDone, RoundDone, RunDone, RunFailed, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model
from napari_ifkd.models.vgg import VGGTrunk
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator


def sentence(said: Any, status: int) -> str:
    """Return the one line in which a command failed."""
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.status == status, said.err
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    return lines[0].removeprefix("error: ")


def warnings(run: RunFolder) -> list[str]:
    return [event.message for event in run.events() if isinstance(event, Warned)]


@contextmanager
def memory_for(images: int) -> Iterator[list[int]]:
    """Let networks run out of memory above so many images; yields how many they were asked about."""
    asked: list[int] = []

    def look(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, VGGTrunk):
            asked.append(len(given[0]))
            if len(given[0]) > images:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8 GiB")

    handle = register_module_forward_pre_hook(look)
    try:
        yield asked
    finally:
        handle.remove()


@contextmanager
def broken_after(steps: int) -> Iterator[None]:
    """Let training diverge: after so many steps the weights are no numbers."""
    done = 0

    def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal done
        done += 1
        if done == steps:
            optimiser.param_groups[0]["params"][0].data.fill_(float("nan"))

    handle = register_optimizer_step_post_hook(look)
    try:
        yield
    finally:
        handle.remove()


@pytest.fixture
def finite() -> Any:
    """Return a function that tells whether all weights of a round are numbers."""
    return lambda run, index: all(v.isfinite().all() for v in load_model(run.model_path(index))[0].state_dict().values())


# --- memory


def test_a_batch_that_does_not_fit_is_halved_and_told(run, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with memory_for(3) as asked:
        said = run("train", drawn_patches, "--out", folder.path, "--config", drawn_config)
    assert said.status == 0
    assert asked[:3] == [8, 4, 2]
    assert asked.count(8) == 1  # never again in the whole run
    (training, looking) = [message for message in warnings(folder) if "Memory" in message]
    assert "training goes on with 2 at once" in training
    assert "looking at images goes on with 2 at once" in looking
    assert said.err.count("Memory does not suffice") == 2
    assert folder.status == "done"


def test_a_map_that_does_not_fit_is_made_in_parts(run, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path) -> None:
    for name, images in (("whole", 99), ("parts", 1)):
        with memory_for(images):
            assert run("predict", drawn_slide, "--model", drawn_teacher, "--out", tmp_path / name, "--config", drawn_config).status == 0
    whole, parts = (open_map(RunFolder(tmp_path / name).maps(0)["tiny.tif"]).read(0, 0, 256, 320) for name in ("whole", "parts"))
    np.testing.assert_allclose(whole.astype(int), parts, atol=1)
    assert len([message for message in warnings(RunFolder(tmp_path / "parts")) if "Memory" in message]) == 1
    assert whole.any()


def test_a_single_image_that_does_not_fit_is_an_error(run, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    with memory_for(0):
        said = run("train", drawn_patches, "--out", tmp_path / "run", "--config", drawn_config)
    told = sentence(said, 1)
    assert "not even for one image" in told
    assert "tiles.size_px" in told
    assert isinstance(RunFolder(tmp_path / "run").events()[-1], RunFailed)
    assert run("resume", tmp_path / "run").status == 0  # there is memory now


# --- losses that are no numbers


def test_divergence_keeps_the_last_good_teacher(run, finite, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with broken_after(4):  # three steps an epoch
        said = run("train", drawn_patches, "--out", folder.path, "--config", drawn_config)
    assert said.status == 0
    assert "diverged in epoch 2" in said.err
    assert [e.epoch for e in folder.events() if isinstance(e, EpochDone)] == [1]
    assert finite(folder, 0)


def test_divergence_at_once_is_an_error(run, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    with broken_after(1):
        said = run("train", drawn_patches, "--out", tmp_path / "run", "--config", drawn_config)
    assert "stage1.learning_rate" in sentence(said, 1)
    assert RunFolder(tmp_path / "run").status == "failed"


def test_divergence_ends_a_round_with_its_last_good_student(
    run, finite, drawn_patches: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(drawn_config.read_text())
    settings |= {"acceptance": {"rule": "always"}}
    settings["rounds"] |= {"batch": 8}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(settings))
    folder = RunFolder(tmp_path / "run")
    with broken_after(4):  # in the second epoch of the first round
        said = run("distill", drawn_patches, "--teacher", drawn_teacher, "--out", folder.path, "--config", config)
    assert said.status == 0
    assert "Round 1: training diverged in epoch 2, the student of epoch 1 stands for the round" in said.err
    assert [(e.round, e.epoch) for e in folder.events() if isinstance(e, EpochDone)] == [(1, 1), (2, 1), (2, 2)]
    assert [e.index for e in folder.events() if isinstance(e, RoundDone)] == [0, 1, 2]
    assert finite(folder, 1)
    assert finite(folder, 2)


# --- slides and networks that go


@pytest.fixture
def large_slide(tmp_path: Path) -> Path:
    """A slide of which one can damage the middle, of 256 x 256 px at the working resolution."""
    pixels = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), np.uint8)
    path = tmp_path / "large.tif"
    options = {"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", compression="deflate", **options)
    return path


def test_a_slide_that_cannot_be_read_in_the_middle(run, large_slide: Path, drawn_teacher: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("inference: {tissue_only: false, batch: 8}\ndevice: cpu\nprecision: float32\nthreads: 1\n")
    words = ["predict", large_slide, "--model", drawn_teacher, "--config", config]
    assert run(*words, "--out", tmp_path / "whole").status == 0

    kept = large_slide.read_bytes()
    middle = len(kept) // 2
    large_slide.write_bytes(kept[: middle - 150_000] + bytes(300_000) + kept[middle + 150_000 :])  # where its hash does not look
    folder = RunFolder(tmp_path / "run")
    said = run(*words, "--out", folder.path)
    told = sentence(said, 2)
    assert "large.tif" in told
    assert folder.events()[-1] == RunFailed(told)
    assert folder.maps(0) == {}

    large_slide.unlink()
    assert str(large_slide) in sentence(run("resume", folder.path), 2)

    large_slide.write_bytes(kept)
    assert run("resume", folder.path).status == 0
    whole, resumed = (open_map(RunFolder(tmp_path / name).maps(0)["large.tif"]).read(0, 0, 256, 256) for name in ("whole", "run"))
    np.testing.assert_array_equal(whole, resumed)


def test_weights_that_are_gone(run, drawn_patches: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path) -> None:
    teacher = Path(shutil.copy(drawn_teacher, tmp_path / "teacher.safetensors"))
    folder = RunFolder(tmp_path / "run")
    with memory_for(0):  # ends early
        run("distill", drawn_patches, "--teacher", teacher, "--out", folder.path, "--config", drawn_config)
    teacher.unlink()
    copy = folder.model_path(0).rename(tmp_path / "copy.safetensors")
    told = sentence(run("resume", folder.path), 2)
    assert str(teacher) in told
    copy.rename(folder.model_path(0))
    assert run("resume", folder.path).status == 0  # of the run's own copy
    assert isinstance(folder.events()[-1], RunDone)


def test_a_network_of_a_round_that_is_gone_is_told(run, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert run("distill", drawn_slide, "--teacher", drawn_teacher, "--out", folder.path, "--config", drawn_config).status == 0
    folder.model_path(1).unlink()
    shutil.rmtree(folder.maps(2)["tiny.tif"])
    said = run("resume", folder.path)
    assert said.status == 0
    assert "network of round 1 is gone" in said.err
    assert list(folder.maps(2)) == ["tiny.tif"]


# --- folders that are resumed


def test_resume_of_a_finished_run_says_so_and_needs_nothing_else(
    run, drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path
) -> None:
    slide = Path(shutil.copy(drawn_slide, tmp_path / "s.tif"))
    folder = RunFolder(tmp_path / "run")
    assert run("predict", slide, "--model", drawn_teacher, "--out", folder.path, "--config", drawn_config).status == 0
    slide.unlink()
    said = run("resume", folder.path)
    assert said.status == 0
    assert "done: 1 map" in said.err
    assert folder.status == "done"


def test_resume_of_a_run_at_work_is_refused(run, drawn_patches: Path, drawn_config: Path, tmp_path: Path) -> None:
    with memory_for(0):
        run("train", drawn_patches, "--out", tmp_path / "run", "--config", drawn_config)
    with RunFolder(tmp_path / "run").lock():
        assert "is working on this run" in sentence(run("resume", tmp_path / "run"), 2)


def test_resume_of_what_is_no_run(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    for name in ("nothing", "empty", "foreign"):
        told = sentence(run("resume", tmp_path / name), 2)
        assert str(tmp_path / name) in told
        assert "is no run folder" in told
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"format": 2}, "format 2"), ({"act": "segment"}, r"act this version does not know \(segment\)"), ({"data": {}}, "lacks 'data'")],
)
def test_resume_of_a_run_of_a_newer_version(
    run, change: dict[str, Any], told: str, drawn_patches: Path, drawn_config: Path, tmp_path: Path
) -> None:
    with memory_for(0):
        run("train", drawn_patches, "--out", tmp_path / "run", "--config", drawn_config)
    path = tmp_path / "run" / "run.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    assert re.search(told, sentence(run("resume", tmp_path / "run"), 2))
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before
