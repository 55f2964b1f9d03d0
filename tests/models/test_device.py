"""Devices, precision and seeds."""

import random

import numpy as np
import pytest
import torch

from napari_ifkd.errors import ConfigError
from napari_ifkd.models import autocast, describe_device, pick_device, seed_everything, uses_bf16
from napari_ifkd.models import device as device_module

CPU = torch.device("cpu")


def test_auto_finds_a_device_and_cpu_is_always_there():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xpu", "mps", ""])
def test_a_device_that_is_not_there_is_told_with_those_that_are(name):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has an Apple GPU")
    with pytest.raises(ConfigError, match="Use auto or one of cpu"):
        pick_device(name)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_precision_is_what_was_asked_for(precision, dtype):
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("processor: 0\nflags\t\t: fpu sse2 amx_bf16 amx_tile\n", True),
        ("processor: 0\nflags\t\t: fpu avx512_bf16\n", True),
        ("processor: 0\nflags\t\t: fpu avx2 avx512f amx_tile\n", False),
        ("processor: 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor: 0\n", "torch"),
        (None, "torch"),
    ],
)
def test_bf16_follows_the_processors_flags(monkeypatch, tmp_path, cpuinfo, has):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(device_module, "_CPUINFO", file)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    device_module.cpu_has_bf16.cache_clear()
    try:
        assert uses_bf16(CPU, "auto") is (True if has == "torch" else has)
        assert ("bf16" in describe_device(CPU)) is uses_bf16(CPU)
    finally:
        device_module.cpu_has_bf16.cache_clear()


def test_the_same_seed_gives_the_same_draws():
    def draws() -> tuple[float, float, float, float]:
        generator = seed_everything(7)
        return random.random(), float(np.random.rand()), float(torch.rand(1)), float(generator.random())  # noqa: NPY002

    assert draws() == draws()
