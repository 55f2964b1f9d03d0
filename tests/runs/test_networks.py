"""Every network as teacher and student, through runs: trained, saved, loaded, predicting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm

from napari_ifkd.config import Config, load_config
from napari_ifkd.events import EpochDone, RoundDone, RunDone
from napari_ifkd.inference import open_map
from napari_ifkd.models import build_model, load_model, weights_hash
from napari_ifkd.runs.acts import distill_run, predict_run, train_run
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS: dict[str, dict[str, Any]] = {
    "vgg-mil": {"name": "vgg-mil", "width": 0.125},
    "resnet-mil": {"name": "resnet-mil"},
    "swin-mil": {"name": "swin-mil", "trunk": "narrow_swin"},
    "sa-mil": {"name": "sa-mil", "width": 0.125},
    "vit": {"name": "encoder-mil", "trunk": "vit_tiny_patch16_224", "trunk_options": {"embed_dim": 48, "num_heads": 2, "depth": 3}},
}


@timm.models.register_model
def narrow_swin(pretrained: bool = False, **kwargs: Any) -> Any:
    """The usual Swin, of an eighth of its width and half its depth: that one takes half a minute to learn anything here."""
    small = {"patch_size": 4, "window_size": 7, "embed_dim": 12, "depths": (1, 1, 3, 1), "num_heads": (1, 2, 4, 8)}
    return timm.models.swin_transformer._create_swin_transformer("swin_tiny_patch4_window7_224", pretrained=pretrained, **small, **kwargs)


SHORT = {"stage1.epochs": 1, "rounds.rounds": 1, "rounds.epochs": 1}


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_teaches_and_learns(name: str, drawn_patches: Path, drawn_slide: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**SHORT, network=NETWORKS[name])
    events = list(train_run([drawn_patches], tmp_path / "teacher", settings))
    assert np.isfinite(next(e.loss for e in events if isinstance(e, EpochDone)))
    events = list(distill_run([drawn_patches], tmp_path / "teacher", tmp_path / "run", settings))
    assert isinstance(events[-1], RunDone)
    assert [e.index for e in events if isinstance(e, RoundDone)] == [0, 1]

    run = RunFolder(tmp_path / "run")
    teacher, _ = load_model(run.model_path(0))
    student, card = load_model(run.model_path(1))
    assert card.network.name == NETWORKS[name]["name"]
    assert len(student.weights) == 3
    assert weights_hash(student) != weights_hash(teacher)
    initial = build_model(settings.network, settings.seed)
    assert weights_hash(teacher) != weights_hash(initial)

    list(predict_run([drawn_slide], run.model_path(1), tmp_path / "maps", settings))
    pmap = open_map(RunFolder(tmp_path / "maps").maps(0)["tiny.tif"])
    values = pmap.read(0, 0, *pmap.shape)
    assert (values[64:192, 64:256] > 0).all()  # all of the tissue was looked at
    assert len(np.unique(values)) > 2
    assert pmap.model["weights_sha256"] == card.weights_sha256
