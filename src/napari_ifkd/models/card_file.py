"""The card inside a weights file, read without torch: whoever only asks what a network is need not load what runs it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors
from pydantic import ValidationError

from napari_ifkd.errors import ModelError

from .card import ModelCard

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD_KEY = "napari_ifkd"  # in the safetensors metadata; its value is the card as JSON
_REMEDY = "Give a weights file written by this program, or a name listed by `napari-ifkd models`"


def read_card(path: str | Path) -> ModelCard:
    """Read the card of a weights file, not its tensors.

    Raises
    ------
    ModelError
        If the file is missing, is no safetensors file or holds no card.
    """
    path = Path(path)
    with whole_safetensors(path), safetensors.safe_open(path, framework="np") as file:
        metadata: dict[str, str] = file.metadata() or {}
    if CARD_KEY not in metadata:
        cause = "is a safetensors file without the model card that tells its network, resolution and normalisation"
        raise ModelError(path, cause, "Build the network with build_model, load the tensors into it and write it with save_model")
    try:
        return ModelCard.model_validate(json.loads(metadata[CARD_KEY]))
    except (json.JSONDecodeError, ValidationError) as error:
        if isinstance(error, ValidationError):
            told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()[:3])
        else:
            told = str(error)
        raise ModelError(
            path, f"its model card cannot be understood ({told})", "A newer version may have written it: update, or train again"
        ) from error


@contextmanager
def whole_safetensors(path: Path) -> Iterator[None]:
    """Refuse what is no safetensors file, and say so if it turns out damaged inside the block.

    Raises
    ------
    ModelError
        In both cases.
    """
    _refuse_what_is_no_safetensors(path)
    try:
        yield
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        cause = f"is no weights file in safetensors, or not a whole one ({str(error).splitlines()[0][:200]})"
        raise ModelError(path, cause, "Fetch or train the file again") from error


def _refuse_what_is_no_safetensors(path: Path) -> None:
    if path.is_dir():
        raise ModelError(path, "is a folder, not a weights file", _REMEDY)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise ModelError(path, "there is no such file", _REMEDY) from error
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror or error})", "Check its permissions") from error
    pickled = head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")
    if pickled and head[8:9] != b"{":  # safetensors: eight bytes of length, which may be anything, then JSON
        cause = "is a pickled checkpoint (.pt, .pth), which could run any code when opened, so it is not"
        remedy = "Load it yourself with torch.load(..., weights_only=True) into a network of build_model and write that with save_model"
        raise ModelError(path, cause, remedy)
