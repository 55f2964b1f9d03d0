"""Names of models, and what they lead to."""

import hashlib
import json

import huggingface_hub
import pooch
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError
from napari_ifkd.models import ModelCard, build_model, find_model, list_models, models_folder, save_model

NETWORK = NetworkConfig(width=0.125)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("NAPARI_IFKD_MODELS", str(folder))
    return folder


@pytest.fixture
def mine(folder):
    card = ModelCard(name="mine", network=NETWORK, mpp=1.0, tile_px=128, trained_on="my slides")
    save_model(folder / "mine.safetensors", build_model(NETWORK, seed=0), card)
    return folder / "mine.safetensors"


def test_all_three_sources_are_listed(folder, mine):
    (folder / "broken.safetensors").write_bytes(b"nothing")
    (folder / "hub.json").write_text(json.dumps({"far": {"ref": "hf-hub:lab/far", "description": "a far one"}}))
    entries = {entry.name: entry for entry in list_models()}
    assert entries["phantom-teacher"].source == "built-in"
    assert (entries["mine"].source, entries["mine"].description, entries["mine"].available) == ("local", "my slides", True)
    assert not entries["broken"].available
    assert "safetensors" in entries["broken"].description
    assert (entries["far"].source, entries["far"].reference) == ("hub", "hf-hub:lab/far")


def test_no_folder_is_no_problem(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_IFKD_MODELS", str(tmp_path / "none"))
    assert [entry.source for entry in list_models()] == ["built-in"]
    monkeypatch.delenv("NAPARI_IFKD_MODELS")
    assert models_folder().parts[-2:] == ("napari-ifkd", "models")


def test_files_and_names_lead_to_files(mine):
    assert find_model("mine") == mine
    assert find_model(mine) == find_model(str(mine)) == mine


def test_the_built_in_teacher():
    entry = next(entry for entry in list_models() if entry.name == "phantom-teacher")
    if entry.available:
        assert find_model("phantom-teacher").stat().st_size < 4e6
    else:
        with pytest.raises(ModelError, match="missing from this installation"):
            find_model("phantom-teacher")


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("phantom-techer", "no model of this name.*Did you mean phantom-teacher"),
        ("nowhere/to/be/found.safetensors", "no such file.*Known names: phantom-teacher"),
        ("hf-hub:justaname", "is no hub id"),
        ("hf-hub:a/b@main#../../x.pt", "is no hub id"),
        ("http://example.org/m.safetensors#sha256=" + "0" * 64, "only https"),
        ("ftp://example.org/m.safetensors", "only https"),
        ("https://example.org/m.safetensors", "needs the hash"),
        ("https://example.org/m.safetensors#sha256=123", "needs the hash"),
    ],
)
def test_references_that_lead_nowhere(ref, told):
    with pytest.raises(ModelError, match=told) as caught:
        find_model(ref)
    assert caught.value.remedy


def test_a_folder_and_a_broken_model_are_told(tmp_path, folder):
    with pytest.raises(ModelError, match="is a folder"):
        find_model(tmp_path)
    (folder / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be used: is no weights file in safetensors"):
        find_model("broken")


@pytest.mark.parametrize("text", ["[", "[]", '{"far": 3}', '{"far": {}}'])
def test_a_broken_hub_table_is_listed_as_such(folder, text):
    (folder / "hub.json").write_text(text)
    entry = list_models()[-1]
    assert (entry.name, entry.available) == ("hub.json", False)


def test_hub_ids_ask_the_hub(monkeypatch, mine, folder):
    asked = []

    def download(repo, file, revision=None):
        asked.append((repo, file, revision))
        return str(mine)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    (folder / "hub.json").write_text(json.dumps({"far": {"ref": "hf-hub:lab/far@v1"}}))
    assert find_model("far") == find_model("hf-hub:lab/far#sub/w.safetensors") == mine
    assert asked == [("lab/far", "model.safetensors", "v1"), ("lab/far", "sub/w.safetensors", None)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LocalEntryNotFoundError("no connection"), "could not be reached"),
        (ConnectionError("refused"), "could not be reached"),
        (EntryNotFoundError("404"), "has no file model.safetensors"),
    ],
)
def test_the_hubs_errors_are_told(monkeypatch, error, told):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelError, match=told):
        find_model("hf-hub:lab/far")


def test_addresses_are_fetched_and_checked(monkeypatch, mine, tmp_path):
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    real = pooch.retrieve

    def from_disk(url, known_hash, fname, path):
        assert url == "https://example.org/m.safetensors"

        def copy(url, output_file, pooch):
            with open(output_file, "wb") as out:  # noqa: PTH123 - pooch gives a name
                out.write(mine.read_bytes())

        return real(url, known_hash, fname=fname, path=tmp_path / "cache", downloader=copy)

    monkeypatch.setattr(pooch, "retrieve", from_disk)
    found = find_model(f"https://example.org/m.safetensors#sha256={digest}")
    assert found.read_bytes() == mine.read_bytes()
    with pytest.raises(ModelError, match="another hash than told"):
        find_model(f"https://example.org/m.safetensors#sha256={'0' * 64}")


def test_an_address_that_cannot_be_reached():
    with pytest.raises(ModelError, match="could not be reached"):
        find_model(f"https://localhost:9/m.safetensors#sha256={'0' * 64}")
