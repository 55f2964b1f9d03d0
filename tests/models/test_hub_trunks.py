"""Trunks by hub id: timm's own code, with the download replaced by a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import ModelCard, build_model, cam_network_config, load_model, save_model

OPTIONS = {"depth": 3, "embed_dim": 48, "num_heads": 3, "reg_tokens": 2, "init_values": 0.1}
HUB = NetworkConfig(name="encoder-mil", trunk="hf-hub:lab/encoder@v2")


@dataclass
class Repository:
    folder: Path
    net: torch.nn.Module
    told: dict
    asked: list = field(default_factory=list)

    def write(self, **changes) -> None:
        (self.folder / "config.json").write_text(json.dumps({**self.told, **changes}))


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    """A small ViT with register tokens, as pathology encoders are published."""
    folder = tmp_path / "repository"
    folder.mkdir()
    torch.manual_seed(3)
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, **OPTIONS)
    safetensors.torch.save_file(net.state_dict(), folder / "model.safetensors")
    facts = {
        "mean": [0.7, 0.57, 0.7],
        "std": [0.21, 0.25, 0.2],
        "num_classes": 0,
        "input_size": [3, 224, 224],
        "license": "cc-by-nc-nd-4.0",
    }
    told = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "pretrained_cfg": {**facts, "first_conv": "patch_embed.proj", "classifier": "head"},
        "model_args": {**OPTIONS, "num_classes": 0, "img_size": [224, 224], "global_pool": "token"},
    }
    repository = Repository(folder, net, told)
    repository.write()

    def download(repo_id, filename, revision=None, **_):
        repository.asked.append((repo_id, filename, revision))
        if not (folder / filename).is_file():
            raise LocalEntryNotFoundError("no connection")
        return str(folder / filename)

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    return repository


def inner(model) -> torch.nn.Module:
    return model.trunk.net.model


def test_weights_options_and_normalisation_come_from_the_repository(repository):
    model = build_model(HUB, seed=0)
    theirs, ours = repository.net.state_dict(), inner(model).state_dict()
    assert len(ours) > 40
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert model.normalisation.mean == (0.7, 0.57, 0.7)
    assert model.trunk_source == "hf-hub:lab/encoder@v2 (cc-by-nc-nd-4.0)"
    assert {asked[::2] for asked in repository.asked} == {("lab/encoder", "v2")}
    assert model.strides == (16, 16, 16)


def test_the_maps_are_those_of_the_repositorys_own_network(repository):
    model = build_model(HUB, seed=0).eval()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = repository.net.eval().forward_intermediates(x, indices=[2], intermediates_only=True)[0]
        ours = model.trunk.net(x)[-1]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_saved_network_needs_the_hub_no_more(repository, tmp_path, monkeypatch):
    network = HUB.model_copy(update={"frozen": True})
    model = build_model(network, seed=0)
    save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=network, mpp=1, tile_px=64))

    def none(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", none)
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert card.network.trunk == "vit_tiny_patch16_224"
    assert card.network.trunk_options == {**OPTIONS, "img_size": 224}
    assert card.trunk_source == loaded.trunk_source == "hf-hub:lab/encoder@v2 (cc-by-nc-nd-4.0)"
    assert loaded.normalisation.mean == (0.7, 0.57, 0.7)
    x = torch.randn(1, 3, 50, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(x).fused, model.eval()(x).fused)


def test_a_file_of_weights_wins_over_the_repositorys(repository, tmp_path):
    torch.manual_seed(9)
    other = timm.create_model("vit_tiny_patch16_224", pretrained=False, **OPTIONS).state_dict()
    safetensors.torch.save_file(other, tmp_path / "mine.safetensors")
    model = build_model(HUB.model_copy(update={"trunk_weights": str(tmp_path / "mine.safetensors")}), seed=0)
    assert all(torch.equal(value, other[key]) for key, value in inner(model).state_dict().items())
    assert [name for _, name, _ in repository.asked] == ["config.json"]
    assert model.normalisation.mean == (0.7, 0.57, 0.7)


def test_the_users_options_stand_above_the_repositorys(repository):
    torch.manual_seed(9)
    swiglu = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}  # some repositories say in their text only what their config should
    net = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU, **OPTIONS
    )
    safetensors.torch.save_file(net.state_dict(), repository.folder / "model.safetensors")
    model = build_model(HUB.model_copy(update={"trunk_options": swiglu}), seed=0)
    assert model.config.trunk_options == {**OPTIONS, "img_size": 224, **swiglu}
    assert torch.equal(inner(model).blocks[2].mlp.fc1.weight, net.blocks[2].mlp.fc1.weight)


def test_the_other_networks_and_activation_maps_take_hub_ids_too(repository, monkeypatch):
    torch.manual_seed(1)
    net = timm.create_model("resnet18", pretrained=False, num_classes=0)
    safetensors.torch.save_file(net.state_dict(), repository.folder / "model.safetensors")
    facts = {**repository.told["pretrained_cfg"], "first_conv": "conv1", "classifier": "fc"}
    repository.write(architecture="resnet18", model_args={}, pretrained_cfg=facts)
    network = cam_network_config(NetworkConfig(name="resnet-mil", trunk="hf-hub:lab/resnet"))
    model = build_model(network, seed=0)
    assert model.strides == (16,)
    assert torch.equal(model.trunk.model.layer3[1].conv2.weight, net.layer3[1].conv2.weight)
    assert model.config.trunk == "resnet18"
    with pytest.raises(ModelError, match=r"vgg-mil stands on a VGG, and this is a resnet18. Set network.name to encoder-mil"):
        build_model(NetworkConfig(name="vgg-mil", width=1, trunk="hf-hub:lab/resnet"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "vit_of_next_year"}, "does not know its architecture vit_of_next_year. Update timm"),
        ({"architecture": None}, "no timm model|does not know"),
        ({"model_args": {"patch_size": [16, 8]}}, r"its option patch_size = \[16, 8\]"),
        ({"model_args": {**OPTIONS, "depth": 4}}, "blocks.3.norm1.weight is missing"),
        ({"model_args": {**OPTIONS, "init_values": None}}, r"blocks.0.ls1.gamma has no place in this trunk.*network.trunk_options"),
    ],
)
def test_repositories_that_cannot_be_used(repository, changes, told):
    repository.write(**changes)
    with pytest.raises(ModelError, match=told) as caught:
        build_model(HUB)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LocalEntryNotFoundError("no connection"), "could not be reached.*or give a file as network.trunk_weights"),
        (ConnectionError("refused"), "could not be reached"),
        (RepositoryNotFoundError("404", response=Mock(headers={})), "does not let you in.*hf auth login"),
        (EntryNotFoundError("404"), "no config.json"),
    ],
)
def test_the_hubs_errors_are_told(monkeypatch, error, told):
    def download(*_, **__):
        raise error

    monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
    with pytest.raises(ModelError, match=told) as caught:
        build_model(HUB)
    assert caught.value.what == "trunk hf-hub:lab/encoder@v2"


def test_a_repository_whose_config_tells_too_little_is_mended_by_options(repository):
    repository.write(model_args={key: value for key, value in OPTIONS.items() if key != "init_values"})
    model = build_model(HUB.model_copy(update={"trunk_options": {"init_values": 1e-5}}), seed=0)
    assert inner(model).blocks[0].ls1.gamma.eq(0.1).all()  # the repository's, not the option's


def test_a_repository_without_weights(repository):
    (repository.folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="could not be fetched"):
        build_model(HUB)


def test_a_repository_of_another_library(repository):
    (repository.folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_size": 1024}))
    with pytest.raises(ModelError, match="holds no timm model"):
        build_model(HUB)
