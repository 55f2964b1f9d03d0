"""Weights files: what goes in comes out, and nothing else gets in."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_ifkd import __version__
from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import MILModel, ModelCard, Normalisation, build_model, load_model, read_card, save_model, weights_hash
from napari_ifkd.models.weights import CARD_KEY

NETWORK = NetworkConfig(name="vgg-mil", width=0.125)


@pytest.fixture
def model() -> MILModel:
    model = build_model(NETWORK, seed=1)
    model(torch.randn(2, 3, 32, 32))  # moves the running statistics of batch norm off their start
    return model


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="small",
        network=NETWORK,
        mpp=1.0,
        tile_px=128,
        trained_on="phantom slides, image-level labels",
        domain="phantom",
        licence="BSD-3-Clause",
        notes="first line\nsecond line: é",
    )


@pytest.fixture
def saved(tmp_path, model, card) -> Path:
    save_model(tmp_path / "small.safetensors", model, card)
    return tmp_path / "small.safetensors"


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, metadata: dict[str, str] | None = None) -> None:
    """Write the file anew with other tensors or other metadata."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() if metadata is None else metadata
    path.write_bytes(safetensors.torch.save(tensors or safetensors.torch.load_file(path), metadata=metadata))


def test_round_trip_is_bit_equal(saved, model):
    loaded, _ = load_model(saved)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert weights_hash(loaded) == weights_hash(model)
    x = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(loaded(x).fused, model.eval()(x).fused)
    assert not loaded.training
    assert loaded.config == NETWORK.model_copy(update={"fusion_weights": (0.3, 0.3, 0.4)})


@pytest.mark.parametrize("name", ["sa-mil", "resnet-mil", "swin-mil"])
def test_the_other_networks_too(tmp_path, name):
    network = NetworkConfig(name=name, width=0.125)
    model = build_model(network, seed=1)
    save_model(tmp_path / "m.safetensors", model, ModelCard(name="m", network=network, mpp=0.5, tile_px=256))
    loaded, _ = load_model(tmp_path / "m.safetensors")
    assert weights_hash(loaded) == weights_hash(model)
    assert type(loaded.trunk) is type(model.trunk)


def test_card_round_trip(saved, model, card):
    _, read = load_model(saved)
    assert read == read_card(saved)
    filled = {"weights_sha256": weights_hash(model), "network": read.network}
    assert read == card.model_copy(update=filled)
    assert read.network.fusion_weights == (0.3, 0.3, 0.4)  # pinned, should the paper's defaults ever change
    assert (read.package_version, read.classes) == (__version__, ("normal", "tumour"))


def test_the_models_own_settings_win_over_a_wrong_card(tmp_path, card):
    network = NetworkConfig(name="vgg-mil", width=0.25, fusion_weights=(0.0, 0.5, 0.5))
    model = build_model(network, seed=0)
    model.normalisation = Normalisation(mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    written = save_model(tmp_path / "m.safetensors", model, card)
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert written == read
    assert loaded.weights == (0.0, 0.5, 0.5)
    assert loaded.normalisation == read.normalisation == model.normalisation


def test_memory_format_does_not_change_the_hash(model):
    before = weights_hash(model)
    assert weights_hash(model.to(memory_format=torch.contiguous_format)) == before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert weights_hash(model) != before


def test_a_card_of_a_newer_version_is_read(saved):
    with safetensors.safe_open(saved, framework="pt") as file:
        card = json.loads(file.metadata()[CARD_KEY])
    rewritten(saved, metadata={CARD_KEY: json.dumps({**card, "colour": "blue"})})
    assert read_card(saved).name == "small"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved, model, card, monkeypatch):
    old = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ModelError, match="no space left on the device"):
        save_model(saved, model, card)
    assert saved.read_bytes() == old
    assert list(saved.parent.iterdir()) == [saved]


def test_the_folder_cannot_be_made(tmp_path, model, card):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(tmp_path / "file" / "m.safetensors", model, card)


def told(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.remedy
    assert caught.value.what == str(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path):
    assert "no such file" in told(tmp_path / "none.safetensors")


def test_a_folder(tmp_path):
    assert "is a folder" in told(tmp_path)


@pytest.mark.parametrize("old_format", [True, False])
def test_a_pickle_is_refused_unread(tmp_path, old_format):
    class Boom:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "boom",))

    path = tmp_path / "model.pt"
    torch.save({"weights": Boom()}, path, _use_new_zipfile_serialization=not old_format)
    line = told(path)
    assert "pickled" in line
    assert "weights_only=True" in line
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"hello, I am no weights file at all", b"\xff" * 64])
def test_not_safetensors(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    assert "no weights file in safetensors, or not a whole one" in told(path)


def test_cut_short(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    assert "no weights file in safetensors, or not a whole one" in told(saved)


def test_flipped_bit(saved):
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(bytes(data))
    assert "damaged" in told(saved)


def test_no_card(saved):
    rewritten(saved, metadata={"format": "pt"})
    assert "without the model card" in told(saved)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"name": "x", "network": {"name": "unet"}, "mpp": -1, "tile_px": 3}'])
def test_a_card_that_is_none(saved, text):
    rewritten(saved, metadata={CARD_KEY: text})
    assert "card cannot be understood" in told(saved)


def test_a_card_of_another_network(saved, model, card):
    tensors = safetensors.torch.load_file(saved)
    tensors["heads.0.weight"] = torch.zeros(1, 7, 1, 1)
    tensors["extra"] = tensors.pop("heads.1.bias")
    wrong = card.model_copy(update={"weights_sha256": weights_hash(tensors)})
    rewritten(saved, tensors, {CARD_KEY: wrong.model_dump_json()})
    line = told(saved)
    assert "extra is unknown" in line
    assert "heads.1.bias is missing" in line
    assert "heads.0.weight is (1, 7, 1, 1)" in line


def test_a_card_of_a_network_that_cannot_be_built(saved, card):
    tensors = safetensors.torch.load_file(saved)
    network = card.network.model_copy(update={"trunk": "nonesuch"})
    wrong = card.model_copy(update={"weights_sha256": weights_hash(tensors), "network": network})
    rewritten(saved, tensors, {CARD_KEY: wrong.model_dump_json()})
    assert "cannot be built (trunk nonesuch" in told(saved)


def test_the_hash_is_over_names_types_shapes_and_bytes_in_order_of_name():
    tensors = {"b": torch.tensor(3), "a": torch.tensor([[1.0, 2.0]])}
    told = b"a torch.float32 (1, 2);" + struct.pack("<2f", 1, 2) + b"b torch.int64 ();" + struct.pack("<q", 3)
    assert weights_hash(tensors) == hashlib.sha256(told).hexdigest()


def test_a_header_whose_length_looks_like_a_pickle_is_none(saved):
    """Bytes 0x80 0x02 to 0x80 0x05 open a pickle, and a safetensors file with a header of 640 to 1,408 bytes and so on."""
    data = saved.read_bytes()
    length = int.from_bytes(data[:8], "little")
    wanted = next(n for n in range(length, length + 2**17) if n & 0xFF == 0x80 and (n >> 8) & 0xFF == 2)
    saved.write_bytes(wanted.to_bytes(8, "little") + data[8 : 8 + length] + b" " * (wanted - length) + data[8 + length :])
    assert load_model(saved)[1].name == "small"
