"""What points are worth: simulated answers on candidates whose truth is known. ``python benchmarks/points.py WORK``.

Makes the candidates in WORK where there are none (minutes), simulates the draws, and writes docs/results/points.md with its figure.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from points_draws import Outcome, draw
from points_page import write_page
from points_populations import Population, drawn, of_maps

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NAPARI_IFKD_DATA") or ROOT.parent / "shared" / "data") / "patches" / "luad128"


def main() -> int:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", type=Path, help="folder of the candidates' maps")
    parser.add_argument("--source", type=Path, default=DATA, help="patch folder with masks (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=300, help="of the real candidates (default: %(default)s)")
    parser.add_argument("--other-draws", type=int, default=100, help="of each drawn population (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1_000_000, help="of the first draw; the method was made with others (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results", help="where the page goes (default: %(default)s)")
    args = parser.parse_args()
    for name in ("apart", "near"):
        if not (args.work / name / "truth.npz").is_file():
            from points_candidates import NOISE, make_candidates  # here: it brings torch

            make_candidates(args.source, args.work / name, NOISE[name])
    apart, near = of_maps(args.work / "apart", "luad128"), of_maps(args.work / "near", "near")
    found = [(apart, _draws(apart, args.draws, args.seed))]
    found += [(population, _draws(population, args.other_draws, args.seed)) for population in (near, *drawn())]
    args.out.mkdir(parents=True, exist_ok=True)
    write_page(found, args.out, args.seed)
    return 0


def _draws(population: Population, count: int, seed: int) -> list[dict[int, Outcome]]:
    begun, outcomes = time.monotonic(), []
    for number in range(count):
        outcomes.append(draw(population, seed + number))
        if (number + 1) % 50 == 0:
            print(f"{population.name}: {number + 1} of {count} draws, {time.monotonic() - begun:.0f} s", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
