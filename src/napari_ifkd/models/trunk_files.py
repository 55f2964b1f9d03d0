"""Trunk weights from a file of somebody else's making: which of its tensors are the trunk's, and whether they fit."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor, nn

from napari_ifkd.errors import ModelError

from .card_file import whole_safetensors
from .normalisation import Normalisation
from .trunk_names import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# what training programs put their weights under; a teacher's or a moving average's come first where there are several
_SHELLS = ("teacher", "state_dict_ema", "model_ema", "state_dict", "model", "module", "backbone", "encoder")


def load_trunk_weights(module: nn.Module, path: str | Path) -> str:
    """Fill a trunk from a file; see :func:`fill_trunk`.

    Parameters
    ----------
    module : the trunk, as timm names its parts; filled in place
    path : ``.safetensors``, or what ``torch.save`` wrote of tensors in plain containers (nothing else in it is ever executed)

    Returns
    -------
    str, name and hash of the file

    Raises
    ------
    ModelError
        If the file cannot be read, or does not fit.
    """
    path = Path(path).expanduser()
    fill_trunk(module, read_tensors(path), path)
    return f"{path.name} (sha256 {_hash(path)[:16]})"


def fill_trunk(module: nn.Module, tensors: dict[str, Tensor], what: str | Path) -> None:
    """Fill a trunk with tensors of somebody else's making.

    Names may stand under any prefix (``module.``, ``teacher.backbone.``), and other parts of a network (a head, deeper stages) may stand
    beside them. Position embeddings of another grid are resampled as timm does.

    Parameters
    ----------
    module : the trunk, as timm names its parts; filled in place
    tensors : by name
    what : where they come from, for errors

    Raises
    ------
    ModelError
        If tensors of the trunk are missing or of another shape, or some have no place in the part of the trunk that is kept.
    """
    wanted = module.state_dict()
    given, failure = _converted(_without_prefix(tensors, wanted), module)
    problems = _problems(wanted, given, module)
    if failure and not problems:
        problems = [failure]
    if problems:
        told = "; ".join(problems[:6]) + ("" if len(problems) <= 6 else f"; and {len(problems) - 6} more")
        remedy = "Name the trunk they were made for, with its network.trunk_options (such as init_values or reg_tokens of a ViT)"
        raise ModelError(what, f"its tensors do not fit the trunk: {told}", remedy)
    module.load_state_dict({name: given[name] for name in wanted if name in given}, strict=False)


def _problems(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], module: nn.Module) -> list[str]:
    if not wanted.keys() & tensors.keys():
        return [f"none of the {len(tensors)} in it has a name of the trunk's, such as {next(iter(wanted))}"]
    problems = []
    for name, tensor in wanted.items():
        if name in tensors and tensors[name].shape != tensor.shape:
            problems.append(f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}")
        elif name not in tensors and not name.endswith("num_batches_tracked"):  # old files lack these counts, and nothing uses them
            problems.append(f"{name} is missing")
    return problems + [f"{name} has no place in this trunk" for name in tensors if name not in wanted and _inside(module, name)]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, from under the names training programs put them.

    Raises
    ------
    ModelError
        If it cannot be read, or only by running code of its own.
    """
    if not path.is_file():
        cause = "is a folder, not a file of weights" if path.is_dir() else "there is no such file"
        raise ModelError(path, cause, "Give a .safetensors, .pt, .pth or .bin file as network.trunk_weights")
    if path.suffix == ".safetensors":
        with whole_safetensors(path):
            return safetensors.torch.load_file(path)
    try:
        # training programs like to keep their command line, a bare holder of values, beside the weights
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        thing = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"a {thing[1]}" if thing is not None else "objects"
        cause = f"holds {what} beside tensors, and opening that could run any code, so it is not opened"
        remedy = "Save its tensors alone, with safetensors.torch.save_file(network.state_dict(), ...)"
        raise ModelError(path, cause, remedy) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            path, f"cannot be read as weights ({type(error).__name__}: {first_line(error)})", "Fetch the file again"
        ) from error
    tensors = _unpacked(content)
    if not tensors:
        raise ModelError(path, "holds no tensors by name", "Give a file of a network's state_dict")
    return tensors


def normalisation_beside(path: str | Path) -> Normalisation | None:
    """Return the normalisation a ``config.json`` in the folder of the weights tells, as repositories of the hub have it."""
    try:
        told = json.loads(Path(path).expanduser().with_name("config.json").read_text(encoding="utf-8"))["pretrained_cfg"]
        return Normalisation(mean=told["mean"], std=told["std"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unpacked(content: Any) -> dict[str, Tensor]:
    while isinstance(content, dict):
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[key] for key in _SHELLS if isinstance(content.get(key), dict)), None)
        if inner is None or len(tensors) > len(inner):
            return tensors
        content = inner
    return {}


def _without_prefix(tensors: dict[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Take away the prefix under which most of the wanted names are found, and what does not stand under it."""
    names, found = set(wanted), Counter[str]()
    for key in tensors:
        parts = key.split(".")
        found.update(".".join([*parts[:i], ""]) if i else "" for i in range(len(parts)) if ".".join(parts[i:]) in names)
    most = max(found.values(), default=0)
    best = [prefix for prefix, count in found.items() if count == most] or [""]
    prefix = min(best, key=lambda p: (not p.startswith(_SHELLS[:3]), "ema" not in p, len(p)))
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _converted(tensors: dict[str, Tensor], module: nn.Module) -> tuple[dict[str, Tensor], str]:
    """Let timm bring older or foreign layouts and position embeddings of other grids into the shape its module has.

    Returns the tensors as they are, and why, where it cannot.
    """
    convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return tensors, ""
    try:
        return convert(dict(tensors), module), ""
    except (RuntimeError, KeyError, AttributeError, AssertionError, ValueError, IndexError, TypeError) as error:
        return tensors, first_line(error)


def _inside(module: nn.Module, name: str) -> bool:
    """Tell whether a tensor belongs to a part of the trunk that is kept: left out, it would make another network of it."""
    parts = name.split(".")
    if len(parts) == 1:
        return "token" in name and "mask" not in name
    kept = dict(module.named_modules())
    for end in range(len(parts) - 1, 0, -1):
        part = kept.get(".".join(parts[:end]))
        if part is not None and any(True for _ in part.parameters()):
            return not isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict)  # a whole block of these may be left out
    return False


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
