"""encoder-mil: any timm encoder, plain ViTs included; stages of one's choice; frozen trunks."""

import copy

import pytest
import torch
import torch.nn.functional as F
import yaml

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import ModelCard, autocast, build_model, load_model, read_card, save_model, weights_hash
from napari_ifkd.models.trunks import stage_indices

SMALL = {"depth": 6, "embed_dim": 48, "num_heads": 3}
VIT16 = NetworkConfig(name="encoder-mil", trunk="vit_tiny_patch16_224", trunk_options=SMALL)
VIT14 = NetworkConfig(name="encoder-mil", trunk="vit_small_patch14_dinov2", trunk_options=SMALL)
CONVOLUTIONAL = NetworkConfig(name="encoder-mil", trunk="convnext_atto")
FROZEN = VIT16.model_copy(update={"frozen": True})


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("network", "strides", "stages"),
    [
        (NetworkConfig(name="encoder-mil", trunk="vit_tiny_patch16_224"), (16, 16, 16), (3, 7, 11)),
        (VIT14, (14, 14, 14), (1, 3, 5)),
        (CONVOLUTIONAL, (4, 8, 16), (0, 1, 2)),
        (NetworkConfig(name="encoder-mil", trunk="efficientnet_b0"), (4, 8, 16), (1, 2, 3)),
        (NetworkConfig(name="encoder-mil", trunk="vgg11_bn"), (4, 8, 16), (2, 3, 4)),
        (VIT16.model_copy(update={"trunk_options": {**SMALL, "depth": 2}}), (16, 16), (0, 1)),
    ],
)
def test_any_encoder_gives_a_map_of_the_inputs_size(network, strides, stages):
    model = build_model(network, seed=0)
    assert stage_indices(network) == stages
    assert (model.strides, model.input_multiple) == (strides, strides[-1])
    assert sum(model.weights) == pytest.approx(1)
    out = model(noise(2, 3, 50, 37))
    assert [tuple(logit.shape) for logit in out.side_logits] == [(2, 1, 50, 37)] * len(strides)
    assert 0 <= out.fused.min() < out.fused.max() <= 1
    (out.fused * noise(2, 1, 50, 37, seed=1)).sum().backward()
    silent = {key for key, p in model.named_parameters() if p.grad is None}
    assert {key for key in silent if not key.endswith(("reg_token", "mask_token"))} == set()


@pytest.mark.parametrize("network", [VIT16, VIT14, CONVOLUTIONAL, FROZEN])
def test_save_and_load_without_a_hub(tmp_path, network):
    model = build_model(network, seed=0)
    save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=network, mpp=1, tile_px=64))
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert weights_hash(loaded) == weights_hash(model)
    assert card.network == network.model_copy(update={"fusion_weights": (0.3, 0.3, 0.4)})
    assert loaded.normalisation == model.normalisation
    assert loaded.frozen == network.frozen
    with torch.no_grad():
        assert torch.equal(loaded(noise(1, 3, 40, 50)).fused, model.eval()(noise(1, 3, 40, 50)).fused)


def test_blocks_of_a_vit_are_normalised_over_their_channels():
    model = build_model(VIT16, seed=0).eval()
    inner = model.trunk.net.model
    x = noise(1, 3, 32, 48)
    with torch.no_grad():
        seen = {}
        for i, block in enumerate(inner.blocks):
            block.register_forward_hook(lambda _, __, out, i=i: seen.__setitem__(i, out))
        out = model(x)
        for side, (head, block) in enumerate(zip(model.heads, (1, 3, 5), strict=True)):
            tokens = seen[block][:, 1:].double()  # without the class token
            tokens = (tokens - tokens.mean(-1, keepdim=True)) / (tokens.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            logit = (tokens @ head.weight.double().flatten() + head.bias.double()).view(1, 1, 2, 3)  # (B, 1, h, w)
            wanted = F.interpolate(logit, size=(32, 48), mode="bilinear", align_corners=False)
            torch.testing.assert_close(out.side_logits[side].double(), wanted, atol=1e-5, rtol=1e-4)


def test_a_vit_stays_close_under_bf16_and_channels_last():
    model = build_model(VIT16, seed=0).eval()
    with torch.no_grad():
        plain = model(noise(1, 3, 32, 32)).fused
        with autocast(torch.device("cpu"), "bf16"):
            half = model(noise(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)).fused
    assert half.dtype == torch.float32
    assert (half - plain).abs().max() < 0.03


def test_options_reach_the_constructor_layers_by_name():
    options = {**SMALL, "reg_tokens": 2, "init_values": 0.1, "mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
    model = build_model(VIT16.model_copy(update={"trunk_options": options}), seed=0)
    inner = model.trunk.net.model
    assert inner.reg_token.shape == (1, 2, 48)
    assert type(inner.blocks[0].mlp).__name__ == "GluMlp"
    assert inner.blocks[0].ls1.gamma.eq(0.1).all()


def test_a_number_yaml_takes_for_a_word_is_one():
    options = {**yaml.safe_load("init_values: 1e-5"), **SMALL}
    assert isinstance(options["init_values"], str)
    inner = build_model(VIT16.model_copy(update={"trunk_options": options}), seed=0).trunk.net.model
    assert inner.blocks[0].ls1.gamma.eq(1e-5).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mlp_layer": "Sequence"}, "cannot give its stages"),
        ({"num_heads": 5}, "divisible"),
        ({"dephts": 3}, "has no such option"),
    ],
)
def test_options_that_do_not_fit_are_told(options, told):
    with pytest.raises(ModelError, match=told) as caught:
        build_model(NetworkConfig(name="encoder-mil", trunk="vit_tiny_patch16_224", trunk_options=options))
    assert "trunk_options" in str(caught.value)


def test_a_tag_timm_does_not_have_is_told_with_those_it_has():
    with pytest.raises(ModelError, match=r"no weights of this name.*resnet18\.\w+"):
        build_model(NetworkConfig(name="encoder-mil", trunk="resnet18.nonesuch"))


@pytest.mark.parametrize(
    ("network", "strides"),
    [
        (NetworkConfig(name="vgg-mil", width=0.125, stages=(1,)), (4,)),
        (NetworkConfig(name="sa-mil", width=0.125, stages=(0, 2)), (2, 8)),
        (NetworkConfig(name="resnet-mil", stages=(1, 2)), (4, 8)),
        (VIT16.model_copy(update={"stages": (0, 1, 2, 4)}), (16,) * 4),
    ],
)
def test_stages_of_ones_choice(network, strides):
    model = build_model(network, seed=0)
    assert model.strides == strides
    assert model.weights == pytest.approx((1 / len(strides),) * len(strides))
    model(noise(2, 3, 33, 40)).fused.sum().backward()
    # a stage behind the last one chosen would be there without learning
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_a_chosen_stage_is_the_one_it_was_among_all():
    whole, part = (
        build_model(NetworkConfig(width=0.125), seed=0).eval(),
        build_model(NetworkConfig(width=0.125, stages=(1,)), seed=1).eval(),
    )
    tensors = whole.state_dict()
    part.load_state_dict({key: tensors[key.replace("heads.0", "heads.1")] for key in part.state_dict()})
    with torch.no_grad():
        assert torch.equal(part(noise(1, 3, 32, 32)).side_logits[0], whole(noise(1, 3, 32, 32)).side_logits[1])


@pytest.mark.parametrize("network", [FROZEN, NetworkConfig(name="vgg-mil", width=0.125, frozen=True)])
def test_a_frozen_trunk_stays_as_it_is_while_the_heads_learn(network):
    model = build_model(network, seed=0)
    trunk, heads = copy.deepcopy(model.trunk.state_dict()), copy.deepcopy(model.heads.state_dict())
    model.train()
    assert model.heads.training
    assert not any(part.training for part in model.trunk.modules())
    groups = model.param_groups(0.1, (1.0, 2.0, 3.0))
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.2, 0.3])
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in model.heads.parameters())
    optimiser = torch.optim.Adam(groups, weight_decay=0.1)
    for _ in range(2):
        model.train()
        out = model(noise(2, 3, 32, 32))
        optimiser.zero_grad()
        out.fused.mean().backward()
        optimiser.step()
    after = model.trunk.state_dict()
    assert all(torch.equal(trunk[key], after[key]) for key in trunk)  # running statistics of batch norm too
    assert not any(torch.equal(heads[key], model.heads.state_dict()[key]) for key in heads)
    assert all(p.grad is None and not p.requires_grad for p in model.trunk.parameters())


def test_a_copy_of_a_frozen_network_is_frozen():
    twin = copy.deepcopy(build_model(FROZEN, seed=0)).train()
    assert not any(part.training for part in twin.trunk.modules())
    assert not any(p.requires_grad for p in twin.trunk.parameters())


def test_where_a_trunk_comes_from_stands_in_the_card(tmp_path):
    model = build_model(VIT16, seed=0)
    card = ModelCard(name="m", network=VIT16, mpp=1, tile_px=64, trunk_source="hf-hub:lab/encoder (mit)")
    save_model(tmp_path / "student.safetensors", model, card)  # of the teacher's kind: its weights may be the teacher's
    assert read_card(tmp_path / "student.safetensors").trunk_source == "hf-hub:lab/encoder (mit)"
    save_model(tmp_path / "other.safetensors", build_model(NetworkConfig(width=0.125), seed=0), card)
    assert read_card(tmp_path / "other.safetensors").trunk_source == ""
    full, half = NetworkConfig(width=1), NetworkConfig(width=0.5)
    of_vgg = ModelCard(name="m", network=full, mpp=1, tile_px=64, trunk_source="timm vgg16_bn")
    assert of_vgg.trunk_source_of(full.model_copy(update={"fusion_weights": (0.2, 0.3, 0.5)})) == "timm vgg16_bn"
    assert of_vgg.trunk_source_of(half) == ""  # nobody publishes weights of that width
