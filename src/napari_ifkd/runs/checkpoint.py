"""The engine's state after the last complete epoch, on disk whole or not at all."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import RunError
from napari_ifkd.files import write_aside

if TYPE_CHECKING:
    from pathlib import Path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain containers, whole or not at all.

    The one before is not kept: it stands until the new one is on disk, and a rename leaves no moment without either.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import torch  # here: the window reads run folders too, and keeps torch out of its process where it can

    whole = io.BytesIO()  # torch tells nobody that a disk is full: it would say that "unexpected pos" came about
    torch.save(state, whole)
    write_aside(path, whole.getbuffer())


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
