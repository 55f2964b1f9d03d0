"""Work in parts where memory does not suffice for all at once."""

from __future__ import annotations

import pytest
import torch

from napari_ifkd.errors import EngineError
from napari_ifkd.models.memory import Portion, out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_lack_of_memory_is_known_in_all_its_words(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shape '[2, 3]' is invalid"), ValueError("out of memory")])
def test_other_errors_are_not_lack_of_memory(error: Exception) -> None:
    assert not out_of_memory(error)
    with pytest.raises(type(error)):
        Portion("work").run(4, lambda part: (_ for _ in ()).throw(error))


def test_parts_cover_everything_once_with_the_mixture_of_the_whole() -> None:
    asked: list[list[int]] = []
    undone: list[int] = []
    count = 10

    def do(part: slice) -> list[int]:
        asked.append(list(range(count))[part])
        if len(asked[-1]) > 3:
            raise torch.OutOfMemoryError
        return asked[-1]

    portion = Portion("training")
    parts = portion.run(count, do, lambda: undone.append(len(asked)))
    assert undone == [1, 2]  # once before each new attempt
    assert [answer for _, answer in parts] == [list(range(10))[part] for part, _ in parts] == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]
    (note,) = portion.told()  # one, of the last halving
    assert "training" in note.message
    assert "3 at once" in note.message
    assert not list(portion.told())
    asked.clear()
    count = 6
    portion.run(count, do)
    assert asked == [[0, 2, 4], [1, 3, 5]]  # no attempt with more than what fits


def test_a_single_image_that_does_not_fit_is_told_with_a_remedy() -> None:
    def do(part: slice) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(EngineError, match=r"prediction, not even for one image.*tiles\.size_px"):
        Portion("prediction").run(4, do)
