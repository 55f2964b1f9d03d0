"""Progress: when it is told, and what it says."""

from __future__ import annotations

import pytest
import torch

from napari_ifkd import pace
from napari_ifkd.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_leave_out_what_was_done_before(clock):
    told = Pace("training", 30, "images", done=10)
    clock[0] += 2
    event = told.add(4)
    assert (event.stage, event.done, event.total, event.unit) == ("training", 14, 30, "images")
    assert event.per_second == pytest.approx(2)
    assert event.seconds_left == pytest.approx(8)


def test_the_first_and_the_last_are_told_and_few_between(clock):
    told = Pace("predict", 1000)
    events = []
    for _ in range(1000):
        clock[0] += 0.01
        events.append(told.add(1))
    assert events[0] is not None
    assert events[-1].seconds_left == 0
    assert 38 <= sum(event is not None for event in events) <= 42  # ten seconds, four a second


def test_no_rate_is_made_up_before_time_has_passed(clock):
    event = Pace("predict", 10).add(1)
    assert event.per_second is None
    assert event.seconds_left is None


def test_what_is_left_out_took_no_stage_any_time(clock):
    told = Pace("training", 30, "images")
    clock[0] += 1
    told.add(5)
    clock[0] += 600
    pace.leave_out(600)
    clock[0] += 1
    assert told.add(5).per_second == pytest.approx(5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_no_gpu_memory(clock):
    clock[0] += 1
    assert Pace("predict", 10).add(1).device_mb is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_memory_is_the_most_that_was_taken(clock):
    block = torch.empty(256, 2**20, dtype=torch.uint8, device="cuda")
    del block
    clock[0] += 1
    assert Pace("predict", 10).add(1).device_mb >= 256
