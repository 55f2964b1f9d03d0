"""Students that learn from a teacher of another kind: another network, a frozen encoder, activation maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from napari_ifkd.bags import read_patches
from napari_ifkd.config import Config, load_config
from napari_ifkd.distill.pair import same_kind
from napari_ifkd.events import RunDone, Warned
from napari_ifkd.inference import predict_patches
from napari_ifkd.models import CamModel, SideOutputs, build_model, load_model, register_network, weights_hash
from napari_ifkd.models.network import TrunkModel
from napari_ifkd.runs.acts import distill_run, train_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.resolve import resolve_model
from napari_ifkd.runs.teachers import NetworkTeacher

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.models import MILModel

SHALLOW: dict[str, Any] = {"depth": 3}
VIT: dict[str, Any] = {"name": "encoder-mil", "trunk": "vit_tiny_patch16_224", "trunk_options": SHALLOW, "frozen": True}
SHORT = {"stage1.epochs": 1, "rounds.rounds": 1, "rounds.epochs": 1}


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config)


def maps_of(model: MILModel, patches: Path, config: Config) -> NDArray[np.float32]:
    """Return the maps of a network on the positive patches."""
    bags = read_patches(patches, config.tiles)
    images = bags.images[bags.labels > 0]
    return np.stack(list(predict_patches(model.eval(), images, device=torch.device("cpu"), precision="float32", batch=8)))


def learned(student: MILModel, teacher: MILModel, patches: Path, config: Config) -> tuple[float, float]:
    """Return the mean distance of a student's maps from its teacher's, and that of the student as it was drawn or the best constant."""
    assert config.student is not None
    wanted = maps_of(teacher, patches, config)
    drawn = maps_of(build_model(config.student, config.seed), patches, config)
    ignorant = min(np.abs(drawn - wanted).mean(), np.abs(np.median(wanted) - wanted).mean())
    return float(np.abs(maps_of(student, patches, config) - wanted).mean()), float(ignorant)


def test_resnet_student_learns_from_a_vgg_teacher(drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 20, "rounds.learning_rate": 6e-3, "student.name": "resnet-mil"})
    list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", settings))
    teacher, _ = load_model(drawn_teacher)
    student, card = load_model(RunFolder(tmp_path / "run").model_path(1))
    assert card.network.name == "resnet-mil"
    distance, ignorant = learned(student, teacher, drawn_patches, settings)
    assert distance < 0.7 * ignorant  # 0.47 to 0.57 with three seeds; each processor rounds bf16 its own way


def test_vgg_student_learns_from_a_frozen_vit_teacher(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(
        **{
            "network": VIT,
            "stage1.epochs": 12,
            "stage1.learning_rate": 1e-2,
            "student": {"name": "vgg-mil", "width": 0.125},
            "rounds.rounds": 1,
            "rounds.epochs": 24,
            "rounds.batch": 8,
            "rounds.learning_rate": 5e-3,
            "rounds.robust.augment": False,
            "rounds.robust.label_loss": 0.0,
        }
    )
    list(train_run([drawn_patches], tmp_path / "teacher", settings))
    teacher, card = load_model(RunFolder(tmp_path / "teacher").model_path(0))
    assert card.network.frozen
    assert isinstance(teacher, TrunkModel)
    drawn = build_model(settings.network, settings.seed)
    assert isinstance(drawn, TrunkModel)
    assert weights_hash(teacher.trunk) == weights_hash(drawn.trunk), "a frozen trunk stays as it was"
    assert weights_hash(teacher.heads) != weights_hash(drawn.heads)

    list(distill_run([drawn_patches], tmp_path / "teacher", tmp_path / "run", settings))
    student, card = load_model(RunFolder(tmp_path / "run").model_path(1))
    assert card.network.name == "vgg-mil"
    distance, ignorant = learned(student, teacher, drawn_patches, settings)
    assert distance < 0.7 * ignorant


def test_a_student_is_what_the_settings_name(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    """Also where only its width tells it from the teacher, and half width is the default."""
    wide = config.replaced(**SHORT, **{"network.width": 0.25})
    list(train_run([drawn_patches], tmp_path / "teacher", wide))
    find = NetworkTeacher(resolve_model(tmp_path / "teacher")).student
    teacher, _ = load_model(RunFolder(tmp_path / "teacher").model_path(0))
    named, _ = find(wide.replaced(**{"student.name": "vgg-mil"}))
    assert named.config is not None
    assert named.config.width == 0.5
    assert not same_kind(teacher, named)
    own, _ = find(wide)
    assert own.config == teacher.config
    assert same_kind(teacher, own)


@pytest.mark.parametrize("method", ["cam", "oaa"])
def test_activation_maps_teach_a_network_with_all_its_sides(method: str, drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**{"stage1.method": method, "stage1.epochs": 4, "stage1.cam.snapshots": 2, "rounds.mode": "paper"})
    list(train_run([drawn_patches], tmp_path / "teacher", settings))
    teacher, card = load_model(RunFolder(tmp_path / "teacher").model_path(0))
    assert isinstance(teacher, CamModel)
    assert (card.readout, card.cam_networks, len(teacher.weights)) == ("cam", 2 if method == "oaa" else 1, 3)
    events = list(distill_run([drawn_patches], tmp_path / "teacher", tmp_path / "run", settings))
    assert isinstance(events[-1], RunDone)
    assert events[-1].accepted_round == 2  # mode paper always switches, though activation maps cannot learn
    for index in (1, 2):
        student, card = load_model(RunFolder(tmp_path / "run").model_path(index))
        assert isinstance(student, TrunkModel)
        assert (card.readout, len(student.heads), card.network.stages) == ("mil", 3, None)


def test_frozen_student_of_the_teachers_kind_has_its_trunk(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    """Without a warm start a trunk that cannot learn would otherwise keep weights drawn at random."""
    settings = config.replaced(**SHORT, network=VIT, **{"rounds.mode": "paper"})
    list(train_run([drawn_patches], tmp_path / "teacher", settings.replaced(seed=5)))
    list(distill_run([drawn_patches], tmp_path / "teacher", tmp_path / "run", settings))
    models = [load_model(RunFolder(tmp_path / "run").model_path(index))[0] for index in (0, 1)]
    assert all(isinstance(model, TrunkModel) for model in models)
    assert weights_hash(models[0].trunk) == weights_hash(models[1].trunk)  # type: ignore[arg-type]
    assert weights_hash(models[0]) != weights_hash(models[1])


def test_frozen_trunk_that_never_learned_is_told(drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    settings = config.replaced(**SHORT, network=VIT)
    events = list(train_run([drawn_patches], tmp_path / "teacher", settings))
    assert any(isinstance(e, Warned) and "frozen" in e.message for e in events)
    weights = tmp_path / "trunk.safetensors"
    save_file(timm.create_model(VIT["trunk"], **SHALLOW).state_dict(), weights)
    settings = settings.replaced(**{"network.trunk_weights": str(weights)})
    events = list(train_run([drawn_patches], tmp_path / "taught", settings))
    assert not any(isinstance(e, Warned) for e in events)
    weights.unlink()
    events = list(distill_run([drawn_patches], tmp_path / "taught", tmp_path / "run", settings))
    assert not any(isinstance(e, Warned) and "frozen" in e.message for e in events)
    _, card = load_model(RunFolder(tmp_path / "run").model_path(1))
    assert "trunk.safetensors" in card.trunk_source
    assert str(tmp_path) not in card.model_dump_json()


class Mine(nn.Module):
    """A network of a user's own: three lines, one side output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 5, padding=2)

    def forward(self, x: torch.Tensor) -> SideOutputs:
        logit = self.conv(x)
        return SideOutputs((logit,), logit.sigmoid())


def test_network_of_a_users_own_learns_and_teaches(drawn_patches: Path, drawn_teacher: Path, tmp_path: Path, config: Config) -> None:
    register_network("mine", lambda _: Mine())
    own = config.replaced(**{"student": {"name": "custom", "custom": "mine"}, "rounds.mode": "paper"})
    list(distill_run([drawn_patches], drawn_teacher, tmp_path / "first", own))
    learned, card = load_model(RunFolder(tmp_path / "first").model_path(1))
    assert (card.network.custom, len(learned.weights)) == ("mine", 1)
    other = own.replaced(student={"name": "vgg-mil", "width": 0.125})
    events = list(distill_run([drawn_patches], RunFolder(tmp_path / "first").model_path(1), tmp_path / "second", other))
    assert isinstance(events[-1], RunDone)
    assert load_model(RunFolder(tmp_path / "second").model_path(1))[1].network.name == "vgg-mil"
    assert load_model(RunFolder(tmp_path / "second").model_path(2))[1].network.name == "custom"  # the roles changed hands
