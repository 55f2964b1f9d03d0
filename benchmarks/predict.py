"""The whole of a prediction, file to finished map, as the command line does it: slide area a second, in tiles of 256 px, and memory."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measured import network, peak_mib, phantom, tell

from napari_ifkd.config import Config
from napari_ifkd.inference import predict_map
from napari_ifkd.runs.allocator import keep_freed_memory
from napari_ifkd.slides import open_slide

keep_freed_memory()
model, card = network()
with open_slide(phantom()) as slide, tempfile.TemporaryDirectory() as folder:
    config = Config().replaced(**{"inference.tissue_only": False})
    height, width = slide.working_shape(card.mpp)
    tiles = height * width / 256**2  # of the map, whatever is fed to the network at a time
    start = time.perf_counter()
    for _ in predict_map(slide, model, card, Path(folder) / "map.zarr", config):
        pass
    seconds = time.perf_counter() - start
tell(tiles=tiles, seconds=seconds, tiles_per_s=tiles / seconds, peak_mib=peak_mib())
