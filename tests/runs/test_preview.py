"""The process that previews fields: it answers, gives up what is out of date, and ends with whoever asks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_ifkd.inference.field_part import FieldPart
from napari_ifkd.runs.preview import Request, answers, send

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "napari_ifkd.runs.preview"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_it_answers_one_after_the_other_and_survives_errors(
    child: subprocess.Popen[bytes], drawn_slide: Path, drawn_teacher: Path, tmp_path: Path
) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    come = answers(child.stdout)
    field = (0.0, 0.0, 320.0, 256.0)
    send(child.stdin, Request(1, str(tmp_path / "none.tif"), str(drawn_teacher), field))
    number, said = next(come)
    assert number == 1
    assert "none.tif" in str(said)
    send(child.stdin, Request(2, str(drawn_slide), str(drawn_teacher), field, device="cpu"))
    number, part = next(come)
    assert number == 2
    assert isinstance(part, FieldPart)
    y, x = part.origin_yx
    assert part.values[48 - y : 208 - y, 176 - x : 272 - x].mean() > part.values[48 - y : 208 - y, 48 - x : 144 - x].mean() + 60
    assert next(come) == (2, None)
    for number in range(3, 30):  # whoever scrolls asks often: the last one counts
        send(child.stdin, Request(number, str(drawn_slide), str(drawn_teacher), (float(number), 0.0, 320.0, 256.0), device="cpu"))
    told = []
    for number, said in come:
        told.append(number)
        if number == 29 and said is None:
            break
    assert told == sorted(told)

    alike = []  # a request is what comes back, and the same one the same again
    for number in (30, 31):
        send(child.stdin, Request(number, str(drawn_slide), str(drawn_teacher), (100.0, 60.0, 220.0, 190.0), device="cpu"))
        parts = [next(come), next(come)]
        assert [said is None for _, said in parts] == [False, True]
        assert isinstance(parts[0][1], FieldPart)
        alike.append(parts[0][1].values)
    assert np.array_equal(*alike)
    child.stdin.close()
    assert child.wait(30) == 0
