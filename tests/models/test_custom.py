"""Networks of somebody else's making: what they lack is found, what does not fit is told, and no file brings code in."""

import copy
import json
import sys

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.inference.predictor import Predictor
from napari_ifkd.models import (
    MILModel,
    ModelCard,
    Normalisation,
    SideOutputs,
    autocast,
    build_model,
    dress,
    load_model,
    register_network,
    save_model,
    weights_hash,
)
from napari_ifkd.models import custom as custom_module
from napari_ifkd.models.weights import CARD_KEY

MINE = NetworkConfig(name="custom", custom="mine")


class Plain(nn.Module):
    """Tells nothing of itself; takes multiples of 4 px."""

    def __init__(self, sides: int = 2) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4))
        self.out = nn.Conv2d(8, sides, 1)

    def forward(self, x):
        logits = nn.functional.interpolate(self.out(self.down(x)), scale_factor=4)
        sides = tuple(logits[:, i : i + 1] for i in range(logits.shape[1]))
        return SideOutputs(sides, torch.stack([side.sigmoid() for side in sides]).mean(0))


class Told(Plain):
    """Tells all of itself."""

    weights, strides, input_multiple = (0.5, 0.5), (4, 4), 8
    normalisation = Normalisation(mean=(0.1, 0.2, 0.3))

    def param_groups(self, lr, side_rates=(1.0,)):
        return [{"params": list(self.parameters()), "lr": lr * 7}]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(custom_module, "_registered", {})


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_what_a_module_lacks_is_found():
    module = Plain(3)
    model = dress(module, MINE)
    assert isinstance(model, MILModel)
    assert (model.input_multiple, model.strides, model.config) == (4, (4, 4, 4), MINE)
    assert model.weights == pytest.approx((1 / 3,) * 3)
    assert model.normalisation == Normalisation()
    assert module.training  # as it was
    assert module.down[1].num_batches_tracked == 0  # and its running statistics too
    x = noise(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(model.eval()(x).fused, module.eval()(x).fused)


def test_what_a_module_tells_stands():
    model = dress(Told(), MINE)
    assert (model.weights, model.strides, model.input_multiple) == ((0.5, 0.5), (4, 4), 8)
    assert model.normalisation.mean == (0.1, 0.2, 0.3)
    assert [group["lr"] for group in model.param_groups(1.0)] == [7.0]


def test_a_mil_model_is_given_back_as_it_is():
    model = build_model(NetworkConfig(width=0.125), seed=0)
    assert dress(model, MINE) is model
    assert model.config == MINE


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (61, 37)])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_any_size_and_precision(size, precision):
    model = dress(Plain()).eval()
    with torch.no_grad(), autocast(torch.device("cpu"), precision):
        out = model(noise(2, 3, *size))
    for map_ in (*out.side_logits, out.fused):
        assert (tuple(map_.shape), map_.dtype) == ((2, 1, *size), torch.float32)
    assert 0 <= out.fused.min() <= out.fused.max() <= 1


def test_it_predicts_as_any_network_does():
    images = np.random.default_rng(0).integers(0, 256, (2, 37, 41, 3), dtype=np.uint8)
    assert Predictor(dress(Plain()), precision="float32")(images, averaged_views=True).shape == (2, 37, 41)


def test_a_copy_learns_by_its_own_parameters():
    model = dress(Plain())
    twin = copy.deepcopy(model)
    ours = {id(p) for p in twin.parameters()}
    assert {id(p) for group in twin.param_groups(1.0) for p in group["params"]} == ours
    assert ours.isdisjoint(id(p) for p in model.parameters())


def test_heads_of_its_own_take_side_rates():
    module = Plain(2)
    module.heads = nn.ModuleList([nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 1)])
    groups = dress(module).param_groups(1e-2, (2.0, 3.0))
    assert [group["lr"] for group in groups] == pytest.approx([1e-2, 2e-2, 3e-2])
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in module.parameters())
    with pytest.raises(ModelError, match="2 side outputs, not 3"):
        dress(module).param_groups(1e-2, (1.0, 1.0, 1.0))


def test_frozen_parameters_do_not_learn_and_heads_unknown_take_no_rates():
    module = Plain()
    module.down.requires_grad_(False)
    model = dress(module)
    assert [id(p) for group in model.param_groups(1.0) for p in group["params"]] == [id(p) for p in module.out.parameters()]
    with pytest.raises(ModelError, match="does not tell which of its parameters are side heads"):
        model.param_groups(1.0, (2.0,))


def module_that(returns):
    class That(nn.Module):
        def forward(self, x):
            return returns(x)

    return That()


def of(x, fused=0.5, side=0.0):
    return SideOutputs((torch.full_like(x[:, :1], side),), torch.full_like(x[:, :1], fused))


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        (lambda x: x[:, :1], "returns a Tensor, not SideOutputs"),
        (lambda x: (x, x), "returns a tuple, not SideOutputs"),
        (lambda x: SideOutputs((), x[:, :1]), "no side output"),
        (lambda x: SideOutputs((x[:, :1, ::2, ::2],), x[:, :1].sigmoid()), r"its side_logits\[0\] is \(1, 1, 33, 34\)"),
        (lambda x: SideOutputs((x[:, :1],), x), r"its fused is \(1, 3, 65, 67\) for an image of 65 x 67 px"),
        (lambda x: SideOutputs((x[:, :1],), None), "its fused is NoneType"),
        (lambda x: of(x, fused=1.5), "no probability"),
        (lambda x: of(x, side=float("nan")), r"side_logits\[0\] holds values that are no numbers"),
        (lambda x: x @ x, "fails on an image of 65 x 67 px"),
    ],
)
def test_what_does_not_fit_is_told(returns, told):
    with pytest.raises(ModelError, match=told) as caught:
        dress(module_that(returns), MINE)
    assert caught.value.what == "network mine"
    assert "SideOutputs" in caught.value.remedy


@pytest.mark.parametrize(("attribute", "value", "told"), [("weights", (0.5, 0.6), "sum to 1.1"), ("strides", (4,), "tells 1 strides")])
def test_what_a_module_tells_wrongly_is_told(attribute, value, told):
    module = Plain()
    setattr(module, attribute, value)
    with pytest.raises(ModelError, match=told):
        dress(module)


def test_a_registered_network_is_built_saved_and_loaded(tmp_path):
    asked = []

    def factory(config):
        asked.append(config)
        return Plain(3)

    register_network("mine", factory)
    model = build_model(MINE, seed=4)
    assert weights_hash(model) == weights_hash(build_model(MINE, seed=4)) != weights_hash(build_model(MINE, seed=5))
    assert asked[0] == MINE
    model.normalisation = Normalisation(std=(0.1, 0.2, 0.3))
    save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=MINE, mpp=1, tile_px=64))
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert weights_hash(loaded) == weights_hash(model)
    assert (card.network.name, card.network.custom) == ("custom", "mine")
    assert loaded.normalisation == model.normalisation
    with torch.no_grad():
        assert torch.equal(loaded(noise(1, 3, 37, 37)).fused, model.eval()(noise(1, 3, 37, 37)).fused)
    custom_module._registered.clear()
    with pytest.raises(ModelError, match=r"cannot be built.*network mine: no installed package") as caught:
        load_model(tmp_path / "m.safetensors")
    assert "Install the package" in caught.value.remedy


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that names three networks."""
    (tmp_path / "lab_networks.py").write_text(
        "import torch\n"
        "from napari_ifkd.models import SideOutputs\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, config):\n"
        "        super().__init__()\n"
        "        self.out = torch.nn.Conv2d(3, 1, 1)\n"
        "    def forward(self, x):\n"
        "        logit = self.out(x)\n"
        "        return SideOutputs((logit,), logit.sigmoid())\n"
        "def broken(config):\n"
        "    raise RuntimeError('no luck')\n"
        "def no_module(config):\n"
        "    return 3\n"
    )
    info = tmp_path / "lab_networks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-networks\nVersion: 1.0\n")
    names = "net = lab_networks:Net\nbroken = lab_networks:broken\nthree = lab_networks:no_module\ngone = lab_networks:gone\n"
    (info / "entry_points.txt").write_text(f"[napari_ifkd.networks]\n{names}")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("lab_networks", None)


def test_a_network_of_an_installed_package(package, tmp_path):
    network = NetworkConfig(name="custom", custom="net")
    model = build_model(network, seed=0)
    assert (len(model.weights), model.input_multiple) == (1, 1)
    save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=network, mpp=1, tile_px=64))
    assert weights_hash(load_model(tmp_path / "m.safetensors")[0]) == weights_hash(model)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "building it failed \\(RuntimeError: no luck\\)"),
        ("three", "gave a int, not a torch.nn.Module"),
        ("gone", "lab_networks:gone cannot be imported"),
        ("nets", "Did you mean net\\?.*known: broken, gone, net, three"),
        (None, r"Set network.custom \(of a student, student.custom\) to broken or gone or net or three"),
    ],
)
def test_networks_of_packages_that_cannot_be_built(package, name, told):
    with pytest.raises(ModelError, match=told):
        build_model(NetworkConfig(name="custom", custom=name))


def test_without_any_network_of_a_package_none_is_named(monkeypatch):
    monkeypatch.setattr(custom_module, "_names", list)
    with pytest.raises(ModelError, match=r"Install a package that has one \(entry points napari_ifkd.networks\)"):
        build_model(NetworkConfig(name="custom"))


def test_a_file_brings_no_code_in_that_no_package_registered(package, tmp_path):
    register_network("mine", lambda _: Plain())
    path = tmp_path / "m.safetensors"
    save_model(path, build_model(MINE, seed=0), ModelCard(name="m", network=MINE, mpp=1, tile_px=64))
    assert "lab_networks" not in sys.modules  # nor did looking for "mine"
    with safetensors.safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()[CARD_KEY])
    for name in ("lab_networks:Net", "lab_networks", "os:system", "torch.nn:Identity"):
        card["network"]["custom"] = name
        path.write_bytes(safetensors.torch.save(safetensors.torch.load_file(path), metadata={CARD_KEY: json.dumps(card)}))
        with pytest.raises(ModelError, match="no installed package"):
            load_model(path)
    assert "lab_networks" not in sys.modules
