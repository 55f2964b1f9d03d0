"""The whole of a prediction, file to finished map, as the command line does it: tiles of 256 px a second, and memory."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measured import network, peak_mib, phantom, tell

from napari_ifkd.config import Config
from napari_ifkd.events import Progress
from napari_ifkd.inference import predict_map
from napari_ifkd.runs.allocator import keep_freed_memory
from napari_ifkd.slides import open_slide

keep_freed_memory()
model, card = network()
with open_slide(phantom()) as slide, tempfile.TemporaryDirectory() as folder:
    config = Config().replaced(**{"inference.tissue_only": False})
    start, tiles = time.perf_counter(), 0
    for event in predict_map(slide, model, card, Path(folder) / "map.zarr", config):
        if isinstance(event, Progress):
            tiles = max(tiles, event.done)
    seconds = time.perf_counter() - start
tell(tiles=tiles, seconds=seconds, tiles_per_s=tiles / seconds, peak_mib=peak_mib())
