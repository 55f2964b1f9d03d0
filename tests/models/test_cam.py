"""Activation maps against a reference written down independently, in float64 numpy."""

import numpy as np
import pytest
import torch

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.inference.predictor import Predictor
from napari_ifkd.models import (
    CamModel,
    ModelCard,
    autocast,
    build_model,
    cam_network_config,
    fuse,
    load_model,
    read_card,
    save_model,
    weights_hash,
)

CLASSIFIER = cam_network_config(NetworkConfig(name="vgg-mil", width=0.125))
SCALES = (0.5, 1.0, 1.5)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classifier(seed: int):
    model = build_model(CLASSIFIER, seed=seed).eval()
    with torch.no_grad():
        model.heads[0].bias.fill_(0.3 * (seed + 1))  # a reader that forgets it differs
        model.heads[0].weight.mul_(3).add_(0.1)  # features are at least 0: something speaks for tumour
    return model


@pytest.fixture(scope="module")
def cam() -> CamModel:
    return CamModel([classifier(0), classifier(1)], SCALES).eval()


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the last two axes with a triangle as wide as a pixel of the coarser grid: bilinear when enlarging, averaging when not."""

    def matrix(old: int, new: int) -> np.ndarray:
        scale = old / new
        centres, pixels = (np.arange(new) + 0.5) * scale, np.arange(old) + 0.5
        weights = np.maximum(1 - np.abs(pixels - centres[:, None]) / max(scale, 1), 0)
        return weights / weights.sum(1, keepdims=True)

    return matrix(image.shape[-2], height) @ image @ matrix(image.shape[-1], width).T


def by_hand(network, x: torch.Tensor, scale: float) -> np.ndarray:
    """The map (H, W) of one image ``x`` (1, 3, H, W), whose scaled sides are multiples of the stride."""
    seen = resized(x[0].double().numpy(), round(x.shape[-2] * scale), round(x.shape[-1] * scale))
    features = network.trunk(torch.from_numpy(seen[None]).float())[-1][0].double().numpy()  # (C, h / 8, w / 8)
    weight, bias = network.heads[0].weight.double().flatten().numpy(), float(network.heads[0].bias)
    evidence = resized(np.tensordot(weight, features, axes=1), *seen.shape[-2:])
    probability = 1 / (1 + np.exp(-(evidence.mean() + bias)))
    map_ = resized(np.maximum(evidence, 0), *x.shape[-2:])
    return map_ / map_.max() * probability


@pytest.mark.parametrize(("side", "scale"), list(enumerate(SCALES)))
def test_the_map_of_each_scale_agrees_with_the_reference(cam, side, scale):
    x = noise(1, 3, 48, 32)
    with torch.no_grad():
        wanted = np.maximum(*(by_hand(network, x, scale) for network in cam.networks))
        given = cam(x).side_logits[side].sigmoid()
    assert wanted.max() - wanted.min() > 0.1
    np.testing.assert_allclose(given[0, 0].double().numpy(), wanted, atol=5e-6)


def test_fused_is_the_mean_over_scales_and_what_fuse_gives(cam):
    with torch.no_grad():
        out = cam(noise(3, 3, 40, 56))
    assert cam.weights == pytest.approx((1 / 3,) * 3)
    assert torch.equal(out.fused, fuse([logit.sigmoid() for logit in out.side_logits], cam.weights))
    torch.testing.assert_close(out.fused, torch.stack([logit.sigmoid() for logit in out.side_logits]).mean(0))
    assert all(torch.isfinite(logit).all() for logit in out.side_logits)


def test_several_snapshots_give_the_maximum_at_each_scale(cam):
    x = noise(2, 3, 40, 40)
    with torch.no_grad():
        alone = [CamModel([network], SCALES).eval()(x).side_logits for network in cam.networks]
        for side, logit in enumerate(cam(x).side_logits):
            assert torch.equal(logit, torch.maximum(alone[0][side], alone[1][side]))


def test_an_image_answers_alike_alone_and_in_a_batch(cam):
    x = noise(3, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(cam(x).fused[1:2], cam(x[1:2]).fused, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (61, 37)])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_any_size_and_precision(cam, size, precision):
    with torch.no_grad(), autocast(torch.device("cpu"), precision):
        out = cam(noise(2, 3, *size))
    for map_ in (*out.side_logits, out.fused):
        assert map_.shape == (2, 1, *size)
        assert map_.dtype == torch.float32
        assert torch.isfinite(map_).all()
    assert 0 <= out.fused.min() <= out.fused.max() <= 1


def test_where_nothing_speaks_for_tumour_there_is_none():
    network = build_model(CLASSIFIER, seed=0).eval()
    with torch.no_grad():
        network.heads[0].weight.copy_(-network.heads[0].weight.abs())  # features are at least 0
        out = CamModel([network], (1.0,))(noise(1, 3, 32, 32))
    assert out.fused.max() < 1e-5
    assert torch.isfinite(out.side_logits[0]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_save_and_load(tmp_path, cam, count):
    model = CamModel(list(cam.networks)[:count], SCALES).eval()
    written = save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=NetworkConfig(), mpp=1, tile_px=64))
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert card == written == read_card(tmp_path / "m.safetensors")
    assert (card.readout, card.cam_scales, card.cam_networks) == ("cam", SCALES, count)
    assert card.network == CLASSIFIER
    assert isinstance(loaded, CamModel)
    assert weights_hash(loaded) == weights_hash(model)
    with torch.no_grad():
        assert torch.equal(loaded(noise(1, 3, 40, 40)).fused, model(noise(1, 3, 40, 40)).fused)


def test_a_card_that_told_of_activation_maps_tells_of_the_network_saved(tmp_path):
    card = ModelCard(name="m", network=CLASSIFIER, mpp=1, tile_px=64, readout="cam", cam_scales=SCALES, cam_networks=4)
    save_model(tmp_path / "m.safetensors", build_model(NetworkConfig(width=0.125), seed=0), card)
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert (card.readout, card.cam_scales, card.cam_networks, len(loaded.weights)) == ("mil", (), 1, 3)


def test_it_predicts_as_any_network_does(cam):
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), dtype=np.uint8)
    predictor = Predictor(cam, precision="float32")
    answer = predictor(images, averaged_views=True)
    assert answer.shape == (2, 40, 48)
    assert answer.std() > 0


@pytest.mark.parametrize(
    ("network", "stage", "stride"),
    [
        (NetworkConfig(name="sa-mil", width=0.125), 2, 8),
        (NetworkConfig(name="vgg-mil", width=0.125, stages=(0, 1)), 1, 4),
        (NetworkConfig(name="resnet-mil", fusion_weights=(0.2, 0.2, 0.6)), 3, 16),
        (NetworkConfig(name="swin-mil"), 2, 16),
        (NetworkConfig(name="encoder-mil", trunk="vit_tiny_patch16_224", trunk_options={"depth": 4}), 3, 16),
    ],
)
def test_the_classifier_keeps_the_deepest_stage_only(network, stage, stride):
    config = cam_network_config(network)
    assert config == network.model_copy(update={"stages": (stage,), "fusion_weights": (1.0,)})
    assert build_model(config, seed=0).strides == (stride,)


def test_what_cannot_be_read_is_told():
    with pytest.raises(ModelError, match="tells no trunk"):
        cam_network_config(NetworkConfig(name="custom", custom="mine"))
    with pytest.raises(ModelError, match="one side head"):
        CamModel([build_model(NetworkConfig(width=0.125), seed=0)], (1.0,))
    for networks, scales in (([], (1.0,)), ([classifier(0)], ()), ([classifier(0)], (0.0,))):
        with pytest.raises(ModelError, match=r"Set stage1\.cam\.scales"):
            CamModel(networks, scales)
    with pytest.raises(ModelError, match="cannot learn"):
        CamModel([classifier(0)], (1.0,)).param_groups(1e-3)
