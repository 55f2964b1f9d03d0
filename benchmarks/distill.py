"""Distillation on bags of 256 px: seconds for 64 images in one epoch, and to make their teacher maps."""

from __future__ import annotations

import copy
import time

import numpy as np
from measured import network, peak_mib, tell

from napari_ifkd.bags import Bags
from napari_ifkd.config import Config
from napari_ifkd.distill import distill
from napari_ifkd.events import EpochDone
from napari_ifkd.runs.allocator import keep_freed_memory

keep_freed_memory()
COUNT, EPOCHS = 64, 3
rng = np.random.default_rng(0)


def bags(count: int, name: str) -> Bags:
    """Return noise with labels: speed does not depend on what is seen."""
    images = rng.integers(0, 256, (count, 256, 256, 3), dtype=np.uint8)
    labels = (np.arange(count) % 2).astype(np.int8)
    return Bags(images, labels, np.array([name] * count), [f"{name}{i}" for i in range(count)], 1.0, name)


teacher, _ = network()
config = Config().replaced(**{"rounds.rounds": 1, "rounds.epochs": EPOCHS})
times = [time.perf_counter()]
for event in distill(teacher, copy.deepcopy(teacher), bags(COUNT, "train"), bags(8, "held"), config):
    if isinstance(event, EpochDone):
        times.append(time.perf_counter())
epochs = np.diff(times)
tell(epoch_s=float(np.median(epochs[1:])), teacher_maps_and_first_epoch_s=float(epochs[0]), peak_mib=peak_mib())
