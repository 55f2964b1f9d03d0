"""Where and in which precision the work runs, and the seeds."""

from __future__ import annotations

import contextlib
import functools
import platform
import random
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from napari_ifkd.errors import ConfigError

_CPUINFO = Path("/proc/cpuinfo")

Precision = Literal["auto", "float32", "bf16"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device to work on.

    Parameters
    ----------
    name : auto (CUDA, else Apple's MPS, else the CPU), cpu, cuda, cuda:N or mps

    Raises
    ------
    ConfigError
        If the name is unknown or this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    remedy = f"Use auto or one of {', '.join(available_devices())}"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device {name}", "there is no such kind of device", remedy) from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device {name}", "torch sees no CUDA GPU (none there, no driver, or torch built without CUDA)", remedy)
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ConfigError(f"device {name}", f"torch sees {torch.cuda.device_count()} CUDA GPU(s)", remedy)
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(f"device {name}", "torch sees no Apple GPU", remedy)
    elif device.type != "cpu":
        raise ConfigError(f"device {name}", "this kind of device is not supported", remedy)
    return device


def available_devices() -> list[str]:
    """Return the names of the devices this machine has, such as ``["cpu", "cuda:0"]``."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def uses_bf16(device: torch.device, precision: Precision = "auto") -> bool:
    """Tell whether convolutions and products run in bfloat16; ``auto`` says yes where the processor multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_bf16()


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """Return the context in which a network's forward pass runs; losses and sigmoids stay in float32.

    Parameters
    ----------
    device : where the work runs
    precision : auto, float32 or bf16
    """
    if uses_bf16(device, precision):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


@functools.cache
def cpu_has_bf16() -> bool:
    """Tell whether the processor multiplies bfloat16 natively (AMX-BF16 or AVX512-BF16; BF16 on Arm)."""
    try:
        info = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        info = ""
    for line in info.splitlines():
        if line.lower().startswith(("flags", "features")):
            return not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(line.split())
    # no such file outside Linux: torch's own checks, private and so asked for with care
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(check()) for check in checks if callable(check))


def describe_device(device: torch.device, precision: Precision = "auto") -> str:
    """Return one line for a person, such as ``cpu (Intel Xeon, 2 threads), bf16``."""
    kind = "bf16" if uses_bf16(device, precision) else "float32"
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB), {kind}"
    if device.type == "cpu":
        return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads), {kind}"
    return f"{device}, {kind}"


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python, numpy and torch (all devices), and return a numpy generator of the same seed for our own draws."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries we call may draw from it
    torch.manual_seed(seed)
    return np.random.default_rng(seed)
