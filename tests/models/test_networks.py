"""The four networks: shapes, gradients, sizes, seeds, precision."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import MILModel, Normalisation, SideOutputs, autocast, build_model, fuse, prepare
from napari_ifkd.models.vgg import vgg_features

NETWORKS = {
    "vgg-mil": ((2, 4, 8), (64, 128, 256), (0.3, 0.3, 0.4)),
    "sa-mil": ((2, 4, 8), (64, 128, 256), (0.2, 0.35, 0.45)),
    "resnet-mil": ((4, 8, 16), (64, 128, 256), (0.3, 0.3, 0.4)),
    "swin-mil": ((4, 8, 16), (96, 192, 384), (0.3, 0.4, 0.3)),
}


@pytest.fixture(scope="module")
def built() -> dict[str, MILModel]:
    return {name: build_model(NetworkConfig(name=name, width=1), seed=3) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_the_papers_stages(built, name):
    model, (strides, channels, weights) = built[name], NETWORKS[name]
    assert model.strides == strides
    assert model.input_multiple == max(strides)
    assert model.weights == weights
    assert tuple(head.in_channels for head in model.heads) == channels
    features = model.eval().trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (61, 37), (5, 3), (1, 1)])
def test_outputs_have_the_size_of_the_input(built, name, size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = built[name].eval()(x)
    assert isinstance(out, SideOutputs)
    assert len(out.side_logits) == 3
    for map_ in (*out.side_logits, out.fused):
        assert map_.shape == (2, 1, *size)
        assert map_.dtype == torch.float32
        assert torch.isfinite(map_).all()
    assert 0 <= out.fused.min() <= out.fused.max() <= 1
    expected = sum(w * logit.double().sigmoid() for w, logit in zip(built[name].weights, out.side_logits, strict=True))
    torch.testing.assert_close(out.fused.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_reaches_every_parameter(built, name):
    model = built[name].eval()  # batch norm in training mode takes any bias before it away
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.fill_(0.5)  # attention's gamma and the last norm of a ResNet block start at 0, and so mute what is before
    model.zero_grad()
    # the mean of a map would hide what acts on its shape only
    out = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    (out.fused * torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(2))).sum().backward()
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # a bias that shifts all keys of a softmax alike changes nothing: by its nature silent (up to rounding)
    silent = [key for key in silent if not key.endswith("key.bias")]
    assert silent == []


@pytest.mark.parametrize("name", NETWORKS)
def test_no_classifier_and_no_deeper_stage_is_kept(built, name):
    keys = built[name].state_dict().keys()
    assert not [key for key in keys if "fc" in key.split(".") or "pre_logits" in key or ".head." in key or "layer4" in key]
    assert sum(p.numel() for p in built[name].parameters()) < 13e6


def test_a_stage_before_padding_keeps_the_top_left(built):
    """Padding is by reflection at the bottom and right, so it equals a larger image that was mirrored by hand."""
    model = built["vgg-mil"].eval()
    x = torch.randn(1, 3, 61, 37, generator=torch.Generator().manual_seed(0))
    mirrored = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (0, 3), (0, 3)), mode="reflect"))
    with torch.no_grad():
        torch.testing.assert_close(model(x).fused, model(mirrored).fused[..., :61, :37])


def test_vgg_is_the_papers_vgg16(built):
    wanted, before = 0, 3
    for width, count in ((64, 2), (128, 2), (256, 3)):
        for _ in range(count):
            wanted += before * width * 9 + width + 2 * width  # convolution, its bias, batch norm
            before = width
        wanted += width + 1  # side head
    assert sum(p.numel() for p in built["vgg-mil"].parameters()) == wanted


@pytest.mark.parametrize("name", [f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")])
def test_a_vgg_is_that_of_timm(name):
    """Which is torchvision's too: weights published for either fit, and give the same."""
    ours, channels, strides = vgg_features(name, 1)
    theirs = timm.create_model(name, num_classes=0, mlp_ratio=0.001).features[: len(ours)]
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        given = ours.eval()(x)
        torch.testing.assert_close(given, theirs.eval()(x))
    assert (channels, strides) == ((64, 128, 256), (2, 4, 8))
    assert given.shape == (2, 256, 4, 6)


def test_a_vgg_begins_as_timm_lets_it_begin():
    torch.manual_seed(0)
    theirs = timm.create_model("vgg16_bn", num_classes=0, mlp_ratio=0.001).features.state_dict()
    for key, value in vgg_features("vgg16_bn", 1)[0].state_dict().items():
        if value.dim() == 4:
            assert value.mean().abs() < 0.02 * value.std() + 1e-3
            assert float(value.std()) == pytest.approx(float(theirs[key].std()), rel=0.08)
        else:
            torch.testing.assert_close(value, theirs[key])


def test_the_papers_networks_on_a_vgg_need_no_timm():
    """It brings torchvision and torch's compiler, which take as long to import as torch."""
    code = (
        "import sys; from napari_ifkd.config import NetworkConfig; from napari_ifkd.models import build_model\n"
        "for name in ('vgg-mil', 'sa-mil'): build_model(NetworkConfig(name=name, width=0.125), seed=0)\n"
        "assert not {'timm', 'torchvision', 'torch._dynamo'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("width", "channels"), [(0.25, (16, 32, 64)), (0.5, (32, 64, 128)), (0.01, (8, 8, 8)), (2, (128, 256, 512))])
def test_width_scales_the_channels(width, channels):
    model = build_model(NetworkConfig(name="vgg-mil", width=width), seed=0)
    assert tuple(head.in_channels for head in model.heads) == channels


def test_half_width_is_a_quarter_of_the_parameters(built):
    half = build_model(NetworkConfig(name="vgg-mil", width=0.5), seed=0)
    count = [sum(p.numel() for p in m.parameters()) for m in (half, built["vgg-mil"])]
    assert count[0] == pytest.approx(count[1] / 4, rel=0.02)


def test_the_seed_decides_the_weights_and_leaves_torchs_state_alone():
    torch.manual_seed(11)
    state = torch.get_rng_state()
    one, same, other = (build_model(NetworkConfig(width=0.25), seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    first = build_model(NetworkConfig(width=0.25)).state_dict()  # no seed: torch's state decides
    torch.manual_seed(11)
    again = build_model(NetworkConfig(width=0.25)).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_and_bf16_stay_close_to_float32(built, name):
    model = built[name].eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        plain = model.to(memory_format=torch.contiguous_format)(x).fused
        fast = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last)).fused
        with autocast(torch.device("cpu"), "bf16"):
            half = model(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)
    assert half.fused.dtype == half.side_logits[0].dtype == torch.float32
    assert (half.fused - plain).abs().max() < 0.03


@pytest.mark.parametrize(("rates", "told"), [((1.0,), [1e-3]), ((10.0,), [1e-2]), ((1.0, 2.0, 0.0), [1e-3, 2e-3, 0.0])])
def test_the_optimiser_gets_every_parameter_once(built, rates, told):
    model = built["vgg-mil"]
    groups = model.param_groups(1e-3, rates)
    assert [group["lr"] for group in groups] == [1e-3, *told]
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in model.trunk.parameters()}
    if len(rates) == 3:
        assert [id(p) for p in groups[3]["params"]] == [id(p) for p in model.heads[2].parameters()]


@pytest.mark.parametrize(("rates", "told"), [((1.0, 2.0), "3 side outputs, not 2"), ((), "not 0"), ((-1.0,), "at least 0")])
def test_rates_that_fit_no_side_heads_are_told(built, rates, told):
    with pytest.raises(ModelError, match=told) as caught:
        built["vgg-mil"].param_groups(1e-3, rates)
    assert "side_rates" in caught.value.what


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trunk": "resnet81"}, "timm has no model of this name. Did you mean"),
        ({"trunk": "someone/something"}, "Write hf-hub:ORG/REPO"),
        ({"name": "vgg-mil", "trunk": "resnet18"}, "stands on a VGG"),
        ({"name": "swin-mil", "trunk": "resnet18"}, "stands on a Swin"),
        ({"name": "resnet-mil", "trunk": "vit_tiny_patch16_224"}, "stands on a ResNet. Set network.name to encoder-mil"),
        ({"name": "resnet-mil", "trunk_options": {"stem_width": 16}}, "resnet-mil takes no options (stem_width)"),
        ({"name": "encoder-mil"}, "told its trunk"),
        ({"name": "encoder-mil", "trunk": "mixer_s32_224"}, "any size"),
        ({"name": "encoder-mil", "trunk": "resnet18", "trunk_options": {"stem_widht": 16}}, "resnet18 has no such option"),
        ({"name": "encoder-mil", "trunk": "vit_tiny_patch16_224", "stages": (3, 12)}, "stages 0 to 11"),
        ({"stages": (0, 3)}, "stages 0 to 2"),
        ({"stages": (2, 1)}, "rising order"),
        ({"stages": ()}, "stages 0 to 2"),
        ({"pretrained": True, "width": 0.5}, "width 1 only"),
        ({"fusion_weights": (0.5, 0.5)}, "3 side outputs, not 2"),
        ({"fusion_weights": (0.5, 0.5, 0.5)}, "sum to 1.5"),
        ({"fusion_weights": (1.5, -1.0, 0.5)}, "at least 0"),
        ({"fusion_weights": (float("nan"), 0.5, 0.5)}, "finite"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, told):
    with pytest.raises(ModelError) as caught:
        build_model(NetworkConfig(**settings))
    assert told in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("name", NETWORKS)
def test_without_the_hub_pretrained_says_so(name, monkeypatch):
    import timm
    from huggingface_hub.errors import LocalEntryNotFoundError

    real = timm.create_model

    def offline(*args, pretrained=False, **kwargs):
        if pretrained:
            raise LocalEntryNotFoundError("cannot reach the server")
        return real(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match="the hub could not be reached"):
        build_model(NetworkConfig(name=name, width=1, pretrained=True))


@pytest.mark.parametrize("name", ["vgg-mil", "sa-mil"])
def test_pretrained_weights_arrive_in_the_trunk(name, monkeypatch):
    import timm

    torch.manual_seed(0)
    whole = timm.create_model("vgg11_bn", pretrained=False, mlp_ratio=0.001)
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: whole)
    model = build_model(NetworkConfig(name=name, trunk="vgg11_bn", width=1, pretrained=True), seed=1)
    ours = [p for key, p in model.trunk.named_parameters() if "gamma" not in key and not any(n in key for n in ("query", "key", "value"))]
    for mine, theirs in zip(ours, whole.features.parameters(), strict=False):
        assert torch.equal(mine, theirs)
    assert len(ours) == 4 * 4  # vgg11: four convolutions in three stages, each with a bias and batch norm


def test_fuse_is_the_weighted_sum_and_checks_the_count():
    sides = torch.rand(3, 2, 1, 4, 5)
    torch.testing.assert_close(fuse(sides, (0.2, 0.35, 0.45)), torch.tensordot(torch.tensor([0.2, 0.35, 0.45]), sides, dims=1))
    assert fuse(torch.ones(3, 1, 1, 2, 2), (0.3, 0.3, 0.4)).max() <= 1
    with pytest.raises(ValueError, match="3 side outputs but 2"):
        fuse(sides, (0.5, 0.5))


def test_prepare_normalises_and_is_channels_last():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8))
    norm = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    ready = prepare(images, norm)
    expected = (images.double() / 255 - torch.tensor(norm.mean).double()) / torch.tensor(norm.std).double()
    torch.testing.assert_close(ready.double(), expected.permute(0, 3, 1, 2), atol=1e-5, rtol=0)
    assert ready.dtype == torch.float32
    assert ready.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="uint8"):
        prepare(images.float(), norm)
