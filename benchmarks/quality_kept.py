"""Cells that outlive their work folder: what the table needs of each, small enough for the repository. Runs and weights are not kept."""

from __future__ import annotations

import io
import json
import lzma
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from quality_cells import Plan
from quality_counts import read_counts
from quality_stats import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from quality_cells import Cell


def keep(cells: Sequence[Cell], kept: Path) -> int:
    """Copy the small facts of complete cells.

    The round a run ends with keeps its counts by group, which the bootstrap draws from; other rounds keep their sums.

    Parameters
    ----------
    cells : all that were asked for, of one work folder
    kept : folder; it takes one budget

    Returns
    -------
    int
        Cells it now holds of those asked for.

    Raises
    ------
    SystemExit
        If it holds cells of another budget.
    """
    complete = [cell for cell in cells if cell.facts is not None]
    if not complete:
        return 0
    kept.mkdir(parents=True, exist_ok=True)
    Plan.read(complete[0].work).save(kept)
    for cell in sorted(complete, key=lambda c: c.teacher is not None):
        target = kept / cell.name
        if cell.teacher is None and (target / "cell.json").is_file() and not _same(cell, kept):
            for row in target.parent.glob(f"{cell.row.name}+*"):  # they began from other weights; those complete here are written below
                shutil.rmtree(row)
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(cell.path.glob("round-*.npz")):
            counts = read_counts(source)
            (target / source.name).write_bytes(_packed(counts if source == cell.counts(cell.ends_with) else _summed(counts)))
        shutil.copyfile(cell.path / "cell.json", target / "cell.json")
    return len(complete)


def restore(cells: Sequence[Cell], kept: Path, work: Path, machine: dict[str, Any] | None = None) -> int:
    """Bring kept cells back into a work folder that lacks them.

    Nothing is brought into a work folder of another budget; one without a budget takes that of the kept cells. A row comes back only beside
    the teacher it began from, so that the two are paired.

    Parameters
    ----------
    cells : all that were asked for
    kept : folder
    work : their work folder
    machine : where rows are going to be run: a teacher of another machine comes out a little differently when it is trained again, so that
        it is left out, with its rows, if some of them are missing; None if nothing is run

    Returns
    -------
    int
        Cells brought back.
    """
    if not (kept / "plan.json").is_file():
        return 0
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "plan.json").is_file():
        Plan.read(kept).save(work)
    if Plan.read(work) != Plan.read(kept):
        print(f"{kept} holds cells of another budget, which are left there")
        return 0
    lacking = [c for c in cells if c.facts is None and not (c.path / "run").exists()]
    known = [c for c in lacking if (kept / c.name / "cell.json").is_file()]
    wanting = {c.teacher for c in lacking if c.teacher is not None and c not in known}
    count = 0
    for cell in sorted(known, key=lambda c: c.teacher is not None):
        facts = json.loads((kept / cell.name / "cell.json").read_text(encoding="utf-8"))
        elsewhere = machine is not None and facts.get("hardware") != machine
        if (cell in wanting and elsewhere) or (cell.teacher is not None and (cell.teacher.facts is None or not _same(cell.teacher, kept))):
            continue
        cell.path.mkdir(parents=True, exist_ok=True)
        for source in sorted((kept / cell.name).iterdir(), key=lambda path: path.suffix == ".json"):  # cell.json last: it says complete
            shutil.copyfile(source, cell.path / source.name)
        count += 1
    return count


def _same(teacher: Cell, kept: Path) -> bool:
    """Whether a complete teacher did what the kept one did."""
    path = kept / teacher.name / teacher.counts(0).name
    return path.is_file() and np.array_equal(read_counts(path).hist, read_counts(teacher.counts(0)).hist)


def _summed(counts: Counts) -> Counts:
    if len(counts.groups) == 1:
        return counts
    return Counts(
        np.array(["all"]), counts.hist.sum(0, keepdims=True), counts.marked.sum(keepdims=True), counts.positive.sum(keepdims=True)
    )


def _packed(counts: Counts) -> bytes:
    """Return an .npz that :func:`quality_counts.read_counts` reads, less than half as large as zlib makes it."""
    planes = counts.hist.astype("<u4").view(np.uint8).reshape(-1, 4).T  # a byte of all numbers, then the next: high bytes are mostly 0
    packed: NDArray[np.uint8] = np.frombuffer(lzma.compress(np.ascontiguousarray(planes).tobytes(), preset=9), np.uint8)
    file = io.BytesIO()
    np.savez(file, groups=counts.groups, packed=packed, marked=counts.marked, positive=counts.positive)
    return file.getvalue()
