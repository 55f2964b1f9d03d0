"""How long a preview of a field takes, against the whole slide: ``python benchmarks/preview.py SLIDE``.

The process that answers is started first; starting it and loading the network is told apart, and so is the first answer of a large field.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from napari_ifkd.runs.preview import Request, answers, send
from napari_ifkd.runs.resolve import resolve_model
from napari_ifkd.slides import open_slide

REPEATS = 5


def main() -> None:
    """Ask for a small field and for the whole slide, again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--model", default="phantom-teacher")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    teacher = resolve_model(arguments.model)
    with open_slide(arguments.slide) as slide:
        height, width = slide.shape_level0
        side = 1000 * teacher.card.mpp / slide.require_mpp()  # of 1 Mpx at the network's resolution, level-0 px
    left, top = max(0.0, (width - side) / 2), max(0.0, (height - side) / 2)
    small, whole = (left, top, min(left + side, width), min(top + side, height)), (0.0, 0.0, float(width), float(height))
    child = subprocess.Popen([sys.executable, "-m", "napari_ifkd.runs.preview"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    come, number = answers(child.stdout), 0

    def ask(box: tuple[float, float, float, float]) -> tuple[float, float]:
        nonlocal number
        number += 1
        begun, first = time.perf_counter(), 0.0
        send(child.stdin, Request(number, str(arguments.slide), str(teacher.path), box, device=arguments.device))
        for _, said in come:
            if isinstance(said, str):
                raise SystemExit(said)
            first = first or time.perf_counter() - begun
            if said is None:
                break
        return first, time.perf_counter() - begun

    start = ask(small)[1]
    once = median(ask(small)[1] for _ in range(REPEATS))
    first, all_ = (median(times) for times in zip(*(ask(whole) for _ in range(REPEATS)), strict=True))
    child.stdin.close()
    megapixels = [(b[2] - b[0]) * (b[3] - b[1]) * (1000 / side) ** 2 / 1e6 for b in (small, whole)]
    print(f"start and first field {start:.1f} s")
    print(f"{megapixels[0]:.2f} Mpx: {once:.2f} s")
    print(f"{megapixels[1]:.2f} Mpx: coarse after {first:.2f} s, whole after {all_:.2f} s (ratio to the small field {all_ / once:.1f})")


if __name__ == "__main__":
    main()
