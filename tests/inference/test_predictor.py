"""Patches through a network: the same answers as the plain model, faster."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import Cancelled
from napari_ifkd.inference import predict_patches
from napari_ifkd.inference.predictor import fold_batch_norms
from napari_ifkd.models import build_model, prepare


@pytest.fixture(scope="module")
def model():
    model = build_model(NetworkConfig(width=0.125), seed=1)
    with torch.no_grad():  # batch norms that do something
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3), np.uint8)


def plain(model, images):
    training = model.training
    with torch.inference_mode():
        answer = model.eval()(prepare(torch.from_numpy(images), model.normalisation)).fused[:, 0].numpy()
    model.train(training)
    return answer


def test_equals_the_plain_model_and_leaves_it_alone(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    maps = predict_patches(model, images, precision="float32", batch=2)
    assert maps.dtype == np.float16
    assert maps.shape == (5, 40, 48)
    np.testing.assert_allclose(maps, plain(model, images), atol=2e-3)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_bf16_is_close(model, images):
    np.testing.assert_allclose(predict_patches(model, images, precision="bf16"), plain(model, images), atol=0.05)


def test_averaged_views_follow_the_image(model):
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    upright = predict_patches(model, images, precision="float32", averaged_views=True)
    turned = predict_patches(model, np.rot90(images, 1, (1, 2)).copy(), precision="float32", averaged_views=True)
    flipped = predict_patches(model, images[:, :, ::-1].copy(), precision="float32", averaged_views=True)
    np.testing.assert_allclose(np.rot90(upright, 1, (1, 2)), turned, atol=2e-3)
    np.testing.assert_allclose(upright[:, :, ::-1], flipped, atol=2e-3)
    views = [np.rot90(plain(model, np.rot90(images, k, (1, 2)).copy()), -k, (1, 2)) for k in range(4)]
    mirrored = images[:, :, ::-1]
    views += [np.rot90(plain(model, np.rot90(mirrored, k, (1, 2)).copy()), -k, (1, 2))[:, :, ::-1] for k in range(4)]
    np.testing.assert_allclose(upright, np.mean(views, 0), atol=2e-3)


def test_views_of_images_that_are_not_square(model, images):
    assert predict_patches(model, images, averaged_views=True).shape == (5, 40, 48)


def test_stops_when_asked(model, images):
    with pytest.raises(Cancelled):
        predict_patches(model, images, should_stop=lambda: True)


def test_no_images(model):
    assert predict_patches(model, np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 32, 32)


@pytest.mark.parametrize("name", ["vgg-mil", "resnet-mil", "sa-mil"])
def test_folding_changes_no_answer(name):
    model = build_model(NetworkConfig(name=name, width=0.125 if name != "resnet-mil" else 1), seed=0).eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(x).fused
        count = fold_batch_norms(model)
        np.testing.assert_allclose(model(x).fused, before, atol=1e-4)
    assert count > 0 or name == "resnet-mil"
