"""The evidence: methods x data sets x seeds, with whole groups held out. ``python benchmarks/quality.py --help``.

Each cell is a run of its own in a child process; a call with the same --work goes on where the last one stopped. ``--table`` writes
docs/results from whatever is complete, and runs nothing; it keeps the small facts of those cells too, from which a new --work goes on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from quality_cells import Cell, Plan, fold_of, queue
from quality_rows import wanted

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NAPARI_IFKD_DATA") or ROOT.parent / "shared" / "data") / "patches"
KEPT = ROOT / "docs" / "results" / "cells"


def main() -> int:
    """Run the cells that are missing, or write the table; return 1 if a cell failed."""
    args = _arguments()
    if args.cell:
        from quality_run import run_cell  # here: it brings torch, which the queue needs not

        run_cell(Cell.named(args.work, args.cell), args.source)
        return 0
    from quality_kept import keep, restore  # here: they bring torch too
    from quality_run import hardware

    rows = wanted(args.rows)
    cells = [Cell(args.work, data, seed, row) for data in args.data for seed in args.seeds for row in rows]
    if args.table:
        from quality_table import write_results  # here: it brings matplotlib, which no cell needs

        restore(cells, args.kept, args.work)
        keep(cells, args.kept)  # before the page: it refuses another budget
        write_results(cells, Plan.read(args.work), args.out)
        return 0
    args.work.mkdir(parents=True, exist_ok=True)
    shrink = {name: int(side) for name, _, side in (text.partition("=") for text in args.shrink)}
    round_steps = args.round_steps or max(1, args.steps // 2)
    Plan(args.width, args.steps, round_steps, args.batch, args.learning_rate, args.threads, shrink).save(args.work)
    if found := restore(cells, args.kept, args.work, hardware()):
        print(f"{found} cells are complete in {args.kept}", flush=True)
    return _run_all(cells, args)


def _run_all(cells: list[Cell], args: argparse.Namespace) -> int:
    """Keep `jobs` children at work; a cell waits for its teacher's."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are stopped too
    waiting = list(queue(cells, args.data))
    total, begun = sum(_cost(c) for c in waiting), time.monotonic()
    running: dict[subprocess.Popen[bytes], Cell] = {}
    finished, failed = 0.0, 0
    try:
        while waiting or running:
            while waiting and len(running) < args.jobs:
                cell = next((c for c in waiting if c.teacher is None or c.teacher.trained or c.twin is not None), None)
                if cell is None:
                    break
                waiting.remove(cell)
                running[_child(cell, args)] = cell
            if not running:  # what is left waits for a teacher that failed
                break
            time.sleep(0.2)
            for child in [c for c in running if c.poll() is not None]:
                cell = running.pop(child)
                finished += _cost(cell)
                spent = time.monotonic() - begun
                left = f"about {spent / finished * (total - finished) / 60:.0f} min" if finished >= 1 else "time not yet known"
                ok = child.returncode == 0
                failed += not ok
                print(f"{time.strftime('%H:%M:%S')} {cell.name}: {'done' if ok else f'FAILED, see {cell.path}/log.txt'}", end="; ")
                print(f"{len(waiting) + len(running)} cells to go, {left}", flush=True)
    finally:
        for child in running:
            child.terminate()
    return int(failed > 0 or bool(waiting))


def _cost(cell: Cell) -> float:
    """Return about how long a cell takes, teachers being 1: what the time left is told from."""
    return {"everything": 0.05, "views": 0.15, "train": 1.0, "distill": 1.9}[cell.row.kind]


def _child(cell: Cell, args: argparse.Namespace) -> subprocess.Popen[bytes]:
    fold_of(cell, args.source, Plan.read(args.work))  # here, so that two children do not make it at once
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "cell.json").unlink(missing_ok=True)  # a kept teacher that is trained again is complete once its weights are there
    command = [sys.executable, __file__, "--work", str(args.work), "--source", str(args.source), "--cell", cell.name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    with (cell.path / "log.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the cells")
    parser.add_argument("--source", type=Path, default=DATA, help="folder of the patch folders (default: %(default)s)")
    parser.add_argument("--data", nargs="+", default=["luad128", "ebhi"], help="patch folders, in order")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="each has folds of its own")
    parser.add_argument("--rows", nargs="+", default=[], help="names or patterns of rows (default: all)")
    parser.add_argument("--width", type=float, default=0.25, help="of the network")
    parser.add_argument("--steps", type=int, default=240, help="of a teacher")
    parser.add_argument("--round-steps", type=int, help="of a round (default: half a teacher's)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of stage 1")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--shrink", nargs="+", default=[], metavar="DATA=N", help="average N x N px of a data set into one")
    parser.add_argument("--table", action="store_true", help="write the table from what is complete")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results", help="where the table goes (default: %(default)s)")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the small facts of complete cells (default: %(default)s)")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
