"""The engine's state after the last complete epoch, on disk whole or not at all."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain containers aside, then rename it into place."""
    import torch  # here: the window reads run folders too, and keeps torch out of its process where it can

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the state, on the CPU; None where there is none. Nothing but data is ever unpickled.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise RunError(path, "cannot be read", "Delete it, and resume starts the training of this run anew") from error
    return state
