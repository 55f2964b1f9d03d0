"""The model zoo: what can be named instead of giving a file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urldefrag, urlsplit

import platformdirs

from napari_ifkd.errors import ModelError
from napari_ifkd.files import fetched

from .card_file import read_card

Source = Literal["built-in", "local", "hub"]

BUILT_IN = {"phantom-teacher": "VGG-MIL trained on phantom slides from image-level labels; knows phantom slides only"}
HUB_TABLE = "hub.json"  # in the models folder: {"NAME": {"ref": "hf-hub:ORG/REPO@REVISION", "description": "..."}}
HUB_FILE = "model.safetensors"
ENVIRONMENT = "NAPARI_IFKD_MODELS"

_HUB_ID = re.compile(r"hf-hub:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(#(?P<file>[\w./-]+\.safetensors))?")


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """A model that has a name."""

    name: str
    source: Source
    reference: str  # path of the file, hf-hub: id or https address
    description: str
    available: bool  # here and readable; hub models are fetched when first used


def models_folder() -> Path:
    """Return the user's folder of models: ``NAPARI_IFKD_MODELS``, else the place the system has for a program's data."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("napari-ifkd", appauthor=False)) / "models"


def list_models() -> list[ZooEntry]:
    """Return the models that can be named: built in, ``*.safetensors`` of the models folder, and those of its ``hub.json``.

    A name that occurs twice means the first in this order. What is broken is listed as not available, with the reason.
    """
    found: dict[str, ZooEntry] = {}
    for entry in [*_built_in(), *_local(), *_hub()]:
        found.setdefault(entry.name, entry)
    return list(found.values())


def find_model(ref: str | Path) -> Path:
    """Return the weights file a reference means, fetching it where needed.

    Parameters
    ----------
    ref : a file; a name of :func:`list_models`; ``hf-hub:ORG/REPO[@REVISION][#FILE.safetensors]`` (file: ``model.safetensors``);
        or ``https://...#sha256=HEX``

    Returns
    -------
    Path of an existing ``.safetensors`` file

    Raises
    ------
    ModelError
        If nothing has this name, or it cannot be fetched.
    """
    text = str(ref)
    if text.startswith("hf-hub:") or re.match(r"[a-z]+://", text):
        return _fetched(text)
    path = Path(ref).expanduser()
    if path.is_file():
        return path
    entries = {entry.name: entry for entry in list_models()}
    if text not in entries:
        raise _unknown(text, list(entries))
    entry = entries[text]
    if not entry.available:
        raise ModelError(text, f"this {entry.source} model cannot be used: {entry.description}", "Name another one, or give a file")
    return _fetched(entry.reference) if entry.source == "hub" else Path(entry.reference)


def _fetched(reference: str) -> Path:
    return _from_hub(reference) if reference.startswith("hf-hub:") else _from_url(reference)


def _unknown(text: str, names: list[str]) -> ModelError:
    if Path(text).is_dir():
        return ModelError(text, "is a folder, and neither a weights file nor a run with a model in it", "Give a run, a file or a name")
    looks_like_a_path = Path(text).suffix != "" or len(Path(text).parts) > 1
    cause = "there is no such file" if looks_like_a_path else "there is no model of this name and no such file"
    near = get_close_matches(text, names, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return ModelError(text, cause, f"{hint}Known names: {', '.join(names)}")


def _built_in() -> list[ZooEntry]:
    entries = []
    for name, description in BUILT_IN.items():
        with as_file(files(__package__) / "weights" / f"{name}.safetensors") as path:
            here = path.is_file()
            told = description if here else "its weights file is missing from this installation; install the package again"
            entries.append(ZooEntry(name, "built-in", str(path), told, here))
    return entries


def _local() -> list[ZooEntry]:
    entries = []
    for path in sorted(models_folder().glob("*.safetensors")):
        try:
            card = read_card(path)
            told = card.trained_on or f"{card.network.name}, {card.mpp:g} um/px"
            entries.append(ZooEntry(path.stem, "local", str(path), told, True))
        except ModelError as error:
            entries.append(ZooEntry(path.stem, "local", str(path), error.cause, False))
    return entries


def _hub() -> list[ZooEntry]:
    path = models_folder() / HUB_TABLE
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return [ZooEntry(name, "hub", str(row["ref"]), str(row.get("description", "")), True) for name, row in table.items()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        cause = f'is no table {{"NAME": {{"ref": "hf-hub:ORG/REPO", "description": "..."}}}} ({type(error).__name__}: {error})'
        return [ZooEntry(HUB_TABLE, "hub", str(path), cause, False)]


def _from_hub(text: str) -> Path:
    match = _HUB_ID.fullmatch(text)
    if match is None:
        raise ModelError(text, "is no hub id", "Write hf-hub:ORG/REPO, with @REVISION and #FILE.safetensors where needed")
    import huggingface_hub  # takes a while to import
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    file = match["file"] or HUB_FILE
    try:
        return Path(huggingface_hub.hf_hub_download(match["repo"], file, revision=match["revision"]))
    except RepositoryNotFoundError as error:
        raise ModelError(
            text, "the hub has no such repository, or it is private", "Check the id, or log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(text, f"the repository has no revision {match['revision']}", "Check what follows the @") from error
    except LocalEntryNotFoundError as error:  # before its parent class: this one means no connection
        raise _offline(text, error) from error
    except EntryNotFoundError as error:
        raise ModelError(text, f"the repository has no file {file}", "Name its file: hf-hub:ORG/REPO#FILE.safetensors") from error
    except OSError as error:  # the hub's and its HTTP client's errors
        raise _offline(text, error) from error


def _from_url(text: str) -> Path:
    url, fragment = urldefrag(text)
    known_hash = fragment.removeprefix("sha256=").lower()
    if urlsplit(url).scheme != "https":
        raise ModelError(text, "only https addresses are fetched", "Download the file and give its path")
    if not re.fullmatch(r"[0-9a-f]{64}", known_hash):
        raise ModelError(text, "an address needs the hash of its file", "Append #sha256= and the 64 digits its publisher tells")
    folder = platformdirs.user_cache_path("napari-ifkd", appauthor=False) / "models"
    try:
        return fetched(url, known_hash, folder / f"{known_hash[:16]}.safetensors")
    except ValueError as error:
        raise ModelError(text, "the file fetched has another hash than told", "Ask its publisher which is right") from error
    except OSError as error:
        raise _offline(text, error) from error


def _offline(text: str, error: Exception) -> ModelError:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    remedy = "Check the connection (behind a proxy: HTTPS_PROXY), or give a file that is already here"
    return ModelError(text, f"cannot be fetched, the server could not be reached or refused ({first[:90]})", remedy)
