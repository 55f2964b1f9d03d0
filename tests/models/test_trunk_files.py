"""Trunk weights from files of somebody else's making."""

import argparse
import hashlib
import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.layers import resample_abs_pos_embed

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import ModelCard, build_model, load_model, save_model

SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 3}
VIT = NetworkConfig(name="encoder-mil", trunk="vit_tiny_patch16_224", trunk_options=SMALL)


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    """A whole ViT, head and all."""
    torch.manual_seed(5)
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=7, **SMALL).state_dict()


def built(path: Path, network: NetworkConfig = VIT):
    return build_model(network.model_copy(update={"trunk_weights": str(path)}), seed=0)


def inner(model) -> dict[str, torch.Tensor]:
    return model.trunk.net.model.state_dict()


def same(model, tensors: dict[str, torch.Tensor]) -> bool:
    ours = inner(model)
    return bool(ours) and all(torch.equal(ours[key], tensors[key]) for key in ours)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "backbone.", "encoder.", "teacher.backbone.", "visual.trunk.", "trunk.net.model."]
)
def test_safetensors_under_any_prefix_with_a_head_beside(tmp_path, theirs, prefix):
    path = tmp_path / "w.safetensors"
    content = {prefix + key: value for key, value in theirs.items()}
    if prefix:
        content |= {"projector.weight": torch.zeros(3, 3), "queue": torch.zeros(2)}
    safetensors.torch.save_file(content, path)
    model = built(path)
    assert same(model, theirs)
    assert model.trunk_source == f"w.safetensors (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]})"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize(
    "shell",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 3},
        lambda tensors: {"model": {key: torch.zeros_like(value) for key, value in tensors.items()}, "model_ema": tensors},
        lambda tensors: {
            "student": {key: torch.zeros_like(value) for key, value in tensors.items()},
            "teacher": {f"module.backbone.{key}": value for key, value in tensors.items()},
        },
        lambda tensors: {"model": {"state_dict": tensors}, "scheduler": [1, 2]},
        lambda tensors: {  # both in one, told apart by prefix only
            **{f"student.{key}": torch.zeros_like(value) for key, value in tensors.items()},
            **{f"teacher.{key}": value for key, value in tensors.items()},
        },
    ],
)
def test_what_training_programs_leave(tmp_path, theirs, shell, suffix):
    torch.save(shell(theirs), tmp_path / f"w{suffix}")
    assert same(built(tmp_path / f"w{suffix}"), theirs)


def test_position_embeddings_of_another_grid_are_resampled(tmp_path):
    torch.manual_seed(1)
    large = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=320, **SMALL).state_dict()
    safetensors.torch.save_file(large, tmp_path / "w.safetensors")
    ours = inner(built(tmp_path / "w.safetensors"))
    wanted = resample_abs_pos_embed(large["pos_embed"], new_size=[14, 14], old_size=[20, 20], num_prefix_tokens=1)
    torch.testing.assert_close(ours["pos_embed"], wanted)
    assert torch.equal(ours["blocks.2.mlp.fc2.weight"], large["blocks.2.mlp.fc2.weight"])


def test_vgg_and_resnet_too(tmp_path):
    for name, make in (("vgg-mil", "vgg11_bn"), ("sa-mil", "vgg11_bn"), ("resnet-mil", "resnet18")):
        torch.manual_seed(2)
        whole = timm.create_model(make, pretrained=False, num_classes=2, **({"mlp_ratio": 0.001} if "vgg" in make else {}))
        torch.save({f"module.{key}": value for key, value in whole.state_dict().items()}, tmp_path / "w.pth")
        model = built(tmp_path / "w.pth", NetworkConfig(name=name, trunk=make, width=1))
        ours = [p for key, p in model.trunk.named_parameters() if not any(part in key for part in ("gamma", "query", "key", "value"))]
        given = whole.features if "vgg" in make else whole
        assert len(ours) > 12
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(ours, given.parameters(), strict=False))


def test_the_file_may_be_gone_once_the_network_is_saved(tmp_path, theirs):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(theirs, path)
    network = VIT.model_copy(update={"trunk_weights": str(path), "frozen": True})
    save_model(tmp_path / "m.safetensors", build_model(network, seed=0), ModelCard(name="m", network=network, mpp=1, tile_px=64))
    path.unlink()
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert same(loaded, theirs)
    assert card.network.trunk_weights is None  # a path of this machine
    assert loaded.trunk_source == card.trunk_source
    assert card.trunk_source.startswith("w.safetensors (sha256 ")


def test_the_settings_beside_a_file_tell_its_normalisation(tmp_path, theirs):
    safetensors.torch.save_file(theirs, tmp_path / "model.safetensors")
    assert built(tmp_path / "model.safetensors").normalisation.mean == (0.5, 0.5, 0.5)  # what timm knows of this architecture
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.7, 0.5, 0.7], "std": [0.2, 0.25, 0.2]}}))
    assert built(tmp_path / "model.safetensors").normalisation.mean == (0.7, 0.5, 0.7)
    (tmp_path / "config.json").write_text("{}")
    assert built(tmp_path / "model.safetensors").normalisation.mean == (0.5, 0.5, 0.5)


def told(path: Path, network: NetworkConfig = VIT) -> str:
    with pytest.raises(ModelError) as caught:
        built(path, network)
    assert caught.value.remedy
    assert caught.value.what == str(path)
    return str(caught.value)


def test_what_is_missing_is_listed(tmp_path, theirs):
    gone = ["blocks.0.attn.qkv.weight", "pos_embed"]
    safetensors.torch.save_file({key: value for key, value in theirs.items() if key not in gone}, tmp_path / "w.safetensors")
    line = told(tmp_path / "w.safetensors")
    assert "pos_embed is missing; blocks.0.attn.qkv.weight is missing." in line


@pytest.mark.parametrize(("option", "part"), [({"init_values": 0.1}, "blocks.0.ls1.gamma"), ({"reg_tokens": 2}, "reg_token")])
def test_a_part_the_trunk_has_no_place_for_is_no_mere_extra(tmp_path, option, part):
    other = timm.create_model("vit_tiny_patch16_224", pretrained=False, **SMALL, **option).state_dict()
    safetensors.torch.save_file(other, tmp_path / "w.safetensors")
    line = told(tmp_path / "w.safetensors")
    assert f"{part} has no place in this trunk" in line
    assert "trunk_options" in line
    assert same(built(tmp_path / "w.safetensors", VIT.model_copy(update={"trunk_options": {**SMALL, **option}})), other)


def test_deeper_blocks_than_the_last_chosen_may_be_left_out(tmp_path, theirs):
    safetensors.torch.save_file(theirs, tmp_path / "w.safetensors")
    model = built(tmp_path / "w.safetensors", VIT.model_copy(update={"stages": (0, 1)}))
    assert same(model, theirs)
    assert not [key for key in inner(model) if key.startswith("blocks.2")]


def test_tensors_of_another_size_are_told(tmp_path, theirs):
    safetensors.torch.save_file(theirs, tmp_path / "w.safetensors")
    line = told(tmp_path / "w.safetensors", VIT.model_copy(update={"trunk_options": {**SMALL, "embed_dim": 96}}))
    assert "cls_token is (1, 1, 48), not (1, 1, 96)" in line


def test_files_that_are_none(tmp_path):
    assert "no such file" in told(tmp_path / "none.safetensors")
    assert "is a folder" in told(tmp_path)
    for name in ("w.safetensors", "w.pt"):
        (tmp_path / name).write_bytes(b"hello, I am no weights file at all")
        assert re.search("is no weights file in safetensors|cannot be read|is not opened", told(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pt")
    assert "no tensors by name" in told(tmp_path / "list.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    assert "none of the 1 in it has a name of the trunk's" in told(tmp_path / "other.pt")


@pytest.mark.parametrize("old_format", [True, False])
def test_no_code_of_a_file_is_run(tmp_path, old_format, theirs):
    class Boom:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "boom",))

    torch.save({"model": theirs, "weights": Boom()}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old_format)
    line = told(tmp_path / "w.pt")
    assert "not opened" in line
    assert "safetensors.torch.save_file" in line
    assert not (tmp_path / "boom").exists()


def test_the_command_line_of_a_training_program_may_lie_beside_the_weights(tmp_path, theirs):
    torch.save({"model": theirs, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pt")
    assert same(built(tmp_path / "w.pt"), theirs)


def test_what_else_lies_beside_the_weights_is_named(tmp_path, theirs):
    torch.save({"model": theirs, "date": Path("today")}, tmp_path / "w.pt")
    assert re.search(r"holds a pathlib\S* beside tensors", told(tmp_path / "w.pt"))
