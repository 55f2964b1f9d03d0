"""Maps are kept where they fit, and read back the same from everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ifkd.distill import map_store
from napari_ifkd.distill.map_store import MapStore

CPU = torch.device("cpu")
ROWS = np.array([1, 2, 5, 6])
BYTES = 4 * 3 * 8 * 6 * 2  # of the four maps below


def filled() -> tuple[MapStore, torch.Tensor]:
    maps = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(0)).half()
    store = MapStore(ROWS, 8, (3, 8, 6), CPU)
    store.put(ROWS[2:], maps[2:])
    store.put(ROWS[:2], maps[:2].float())
    return store, maps


def limits(monkeypatch: pytest.MonkeyPatch, *, free: int, memory: int) -> None:
    monkeypatch.setattr(map_store, "free_bytes", lambda device: free)
    monkeypatch.setattr("napari_ifkd.bags.bags.MEMORY_LIMIT", memory)


@pytest.mark.parametrize(
    ("free", "memory", "place"),
    [
        (4 * BYTES, 0, "device"),
        (4 * BYTES - 1, BYTES, "memory"),  # a quarter of it does not hold them
        (0, BYTES, "memory"),
        (0, BYTES - 1, "disk"),
    ],
)
def test_maps_are_kept_where_they_fit(monkeypatch: pytest.MonkeyPatch, free: int, memory: int, place: str) -> None:
    limits(monkeypatch, free=free, memory=memory)
    store, maps = filled()
    assert store.place == place
    assert torch.equal(store.get(ROWS), maps.float())
    mixed = store.get(np.array([5, 0, 1, 1, 7]))
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed[[0, 2, 3]], maps[[2, 0, 0]].float())
    assert not mixed[[1, 4]].any(), "bags without a map have zeros"
    mixed.zero_()
    assert torch.equal(store.get(ROWS), maps.float()), "what is handed out is a copy"


def test_what_is_nearly_1_does_not_become_1() -> None:
    """A teacher that is sure of itself says 0.9999, which half precision rounds to 1, and mode `released` truncates to 0."""
    store = MapStore(np.array([0]), 1, (4,), CPU)
    store.put(np.array([0]), torch.tensor([[0.0, 0.5, 0.9999, 1.0]]))
    kept = store.get(np.array([0]))[0]
    assert kept.long().tolist() == [0, 0, 0, 1]
    assert kept.tolist() == pytest.approx([0.0, 0.5, 0.9999, 1.0], abs=5e-4)


def test_a_processor_has_no_memory_of_its_own() -> None:
    assert map_store.free_bytes(CPU) == 0
    assert MapStore(ROWS, 8, (8, 6), CPU).place == "memory"


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_bags_nobody_was_asked_about_take_no_room(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    limits(monkeypatch, free=0, memory=memory)
    store = MapStore(np.array([], np.intp), 8, (8, 6), CPU)
    assert not store.get(np.arange(8)).any()
    assert store.get(np.arange(8)).shape == (8, 8, 6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_keeps_what_fits() -> None:
    device = torch.device("cuda")
    store = MapStore(ROWS, 8, (8, 6), device)
    assert store.place == "device"
    store.put(ROWS, torch.ones(4, 8, 6))
    assert store.get(np.array([0, 1])).device.type == "cuda"
