"""Time and memory of an export against the size of the mask: ``python benchmarks/export.py [--out PAGE] [--sides PX ...]``.

Draws maps of up to 50,000 px a side with ragged lesions, most with holes, at one density, and writes the mask of each as GeoJSON in a
process of its own, with the default smoothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured import peak_mib

SIDES = (6250, 12500, 25000, 50000)
EACH_SIDE = 25000  # of the map that is written in each format
CELL_PX = 480  # a lesion in each: over 10,000 in 50,000 px a side
FORMATS = ("geojson", "geojson.gz", "asap", "csv", "parquet", "ome-tiff", "ome-zarr", "prob-ome-tiff", "png")


def main() -> int:
    """Measure all sizes and formats, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="page to write; default: print it")
    parser.add_argument("--work", type=Path, help="file of lines that were measured; what stands there is not measured again")
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="px")
    parser.add_argument("--one", nargs=2, metavar=("MAP", "FORMAT"), help=argparse.SUPPRESS)  # in this process
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(Path(arguments.one[0]), arguments.one[1])))
        return 0
    wanted = [(side, "geojson") for side in sorted(arguments.sides)] + [(EACH_SIDE, name) for name in FORMATS[1:]]
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    if arguments.work is not None and arguments.work.exists():
        rows = {(row["side"], row["format"]): row for row in map(json.loads, arguments.work.read_text().splitlines())}
    for side in dict.fromkeys(side for side, _ in wanted):
        missing = [name for own, name in wanted if own == side and (side, name) not in rows]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder) / "map.zarr", side)
            for name in missing:
                words = [sys.executable, __file__, "--one", str(Path(folder) / "map.zarr"), name]
                told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                rows[side, name] = {"side": side, "format": name, **told}
                print(json.dumps(rows[side, name]), file=sys.stderr)
                if arguments.work is not None:
                    with arguments.work.open("a") as file:
                        file.write(json.dumps(rows[side, name]) + "\n")
    sizes = [rows[key] for key in wanted if key[1] == "geojson"]
    each = [rows[key] for key in rows if key[0] == EACH_SIDE and key[1] in FORMATS]
    text = page(sizes, sorted(each, key=lambda row: FORMATS.index(row["format"])))
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return 0


def draw(path: Path, side: int) -> None:
    """Write a map of `side` px a side: tissue everywhere, a lesion in every cell."""
    from napari_ifkd.inference.map_writer import MapWriter

    rng = np.random.default_rng(side)
    stamps = [_lesion(rng) for _ in range(48)]
    count = side // CELL_PX
    facts: dict[str, Any] = {
        "mpp": 1.0,
        "scale_yx": [2.0, 2.0],
        "pixel_size_um_yx": [1.0, 1.0],
        "slide": {"name": f"phantom-{side}.tif", "quick_hash": str(side), "shape_level0": [2 * side, 2 * side], "mpp": 0.5},
        "model": {"name": "drawn"},
        "warnings": [],
    }
    with MapWriter(path, (side, side)) as writer:
        for _ in range(count):
            band = np.full((CELL_PX, side), 20, np.uint8)
            for column in range(count):
                stamp = stamps[rng.integers(len(stamps))]
                y, x = rng.integers(0, CELL_PX - stamp.shape[0], 2)
                band[y : y + stamp.shape[0], column * CELL_PX + x : column * CELL_PX + x + stamp.shape[1]] = stamp
            writer.append(band)
        writer.append(np.full((side - count * CELL_PX, side), 20, np.uint8))
        writer.complete(facts, lambda: None)


def _lesion(rng: np.random.Generator) -> np.ndarray:
    """Draw probability times 255 of a lesion with a wavy border, most with a hole."""
    size = int(rng.integers(80, 440))
    wave = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), size / 24)
    wave *= 0.12 / wave.std()
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(y - size / 2, x - size / 2) / (size / 2)
    inside = radius + wave < 0.75
    if rng.random() < 0.7:
        inside &= radius + wave > 0.25
    values: np.ndarray = np.where(inside, rng.integers(190, 250, (size, size)), 20).astype(np.uint8)
    return values


def measure(path: Path, name: str) -> dict[str, float]:
    """Export a map in this process; return seconds, MiB at most and before, MiB written, and of GeoJSON lesions and corners."""
    from napari_ifkd.config import Config
    from napari_ifkd.export import export_map
    from napari_ifkd.inference import open_map

    settings = Config().inference
    source = open_map(path)
    _forget_peak()
    before = _memory_mib("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        written, *_ = export_map(source, folder, [name], threshold=settings.threshold, sigma_px=settings.sigma_px)
        seconds, peak = time.perf_counter() - start, _memory_mib("VmHWM")
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file() and not file.name.endswith("provenance.json"))
        told = {"seconds": seconds, "peak_mib": peak, "before_mib": before, "file_mib": size / 2**20}
        if name != "geojson":
            return told
        lesions = corners = 0
        with written.open(encoding="utf-8") as file:
            for line in file:
                if line.startswith('{"type": "Feature"'):
                    lesions, corners = lesions + 1, corners + line.count("],[") + 1
    return {**told, "lesions": lesions, "corners": corners}


def page(rows: list[dict[str, Any]], each: list[dict[str, Any]]) -> str:
    """Return the page of the documentation."""
    lines = [
        "# Export of large masks",
        "",
        f"A map with one ragged lesion in every {CELL_PX} x {CELL_PX} px, exported as GeoJSON at the defaults (smoothed, not simplified),",
        "each size in a process of its own. Written by `python benchmarks/export.py --out docs/results/export.md`.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()};",
        "other work ran beside it, so times are upper bounds.",
        "",
        "| side, px | lesions | corners | seconds | s per gigapixel | MiB at most | MiB before | file, MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = (
            *(f"{row[name]:,}" for name in ("side", "lesions", "corners")),
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / (row['side'] ** 2 / 1e9):.1f}",
            *(f"{row[name]:.0f}" for name in ("peak_mib", "before_mib", "file_mib")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    first, last = rows[0], rows[-1]
    area = 2 * math.log(last["side"] / first["side"])
    of_time = math.log(last["seconds"] / first["seconds"]) / area
    of_memory = math.log((last["peak_mib"] - last["before_mib"]) / (first["peak_mib"] - first["before_mib"])) / area
    said = "no worse than linear" if max(of_time, of_memory) <= 1.05 else "**worse than linear**"
    lines += [
        "",
        f"From the smallest to the largest, time grows as area to the power of {of_time:.2f}, and what it adds to memory as area to",
        f"the power of {of_memory:.2f}: {said}. Memory holds bands of 512 rows, and the corners of all outlines; the mask is never in",
        "memory as a whole.",
        "",
        f"The map of {EACH_SIDE:,} px a side in each format:",
        "",
        "| format | seconds | MiB at most | MiB before | written, MiB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in each:
        cells = (f"`{row['format']}`", f"{row['seconds']:.1f}", *(f"{row[name]:.0f}" for name in ("peak_mib", "before_mib", "file_mib")))
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    return "\n".join(lines)


def _memory_mib(what: str) -> float:
    """Return memory of this process: VmRSS now, or VmHWM the most since :func:`_forget_peak`; where Linux is not, the most ever."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_mib()
    return int(next(line for line in status.read_text().splitlines() if line.startswith(what)).split()[1]) / 1024


def _forget_peak() -> None:
    """Let the peak begin anew: imports take more than they keep."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.exit(main())
