"""The work of one cell: its run, and the counts of each of its rounds."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from quality_cells import Cell, Plan, fold_of
from quality_counts import count_patches, read_counts

import napari_ifkd
from napari_ifkd.config import Config
from napari_ifkd.models import load_model
from napari_ifkd.runs.acts import distill_run, train_run
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Generator

    from quality_folds import Fold

    from napari_ifkd.events import Event
    from napari_ifkd.models import MILModel


def settings_of(cell: Cell, plan: Plan, fold: Fold) -> Config:
    """Return the settings of a cell's run: the defaults, the budget in whole epochs, and what the row says."""
    row, of_epoch = cell.row, fold.steps_of_epoch(plan.batch)
    settings: dict[str, Any] = {"network.width": plan.width, "seed": cell.seed, "threads": plan.threads}
    settings |= {
        "stage1.epochs": max(1, round((plan.steps + row.rounds * plan.round_steps) / of_epoch)),
        "stage1.batch": plan.batch,
        "stage1.learning_rate": plan.learning_rate,
    }
    if row.kind == "distill":
        del settings["stage1.epochs"]
        epochs = max(1, round(plan.round_steps / of_epoch))
        settings |= {"rounds.rounds": row.rounds, "rounds.epochs": epochs * (3 if row.rounds == 1 else 1), "rounds.batch": plan.batch}
    if "student.name" in row.settings:
        settings["student.width"] = plan.width
    return Config().replaced(**{**settings, **row.settings})


def run_cell(cell: Cell, source: Path) -> None:
    """Do the work of a cell that is not complete: its run goes on where it stopped."""
    plan = Plan.read(cell.work)
    if (twin := cell.twin) is not None:
        _adopt(cell, twin)
        return
    fold = fold_of(cell, source, plan)
    config = settings_of(cell, plan, fold)
    torch.set_num_threads(plan.threads)
    test, teacher = fold.path / "test", cell.teacher
    cell.path.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"row": cell.row.name, "kind": cell.row.kind, "test_groups": fold.test_groups, "test_images": fold.test_images}
    facts |= {"train_groups": fold.train_groups, "train_images": fold.train_images - fold.validation_images}
    facts |= {"validation_images": fold.validation_images, "size_px": fold.size_px}
    if cell.row.kind == "everything":
        count_patches(None, test, config, cell.counts(0))
    elif cell.row.kind == "views":
        assert teacher is not None
        model, _ = load_model(RunFolder(teacher.path / "run").model_path(0))
        count_patches(model, test, config, cell.counts(0), averaged_views=True)
    else:
        out = cell.path / "run"
        train = fold.path / ("supervised" if config.stage1.method == "supervised" else "train")
        _work_off(train_run([train], out, config) if teacher is None else distill_run([train], teacher.path / "run", out, config))
        folder = RunFolder.open(out)
        for index in folder.rounds():
            if index == 0 and teacher is None:
                _count_teacher(cell, load_model(folder.model_path(0))[0], test, config)
            elif index and not cell.counts(index).is_file():
                count_patches(load_model(folder.model_path(index))[0], test, config, cell.counts(index))
        epochs = config.stage1.epochs if teacher is None else config.rounds.epochs
        decisions = [folder.metrics(index)["decision"] for index in folder.rounds() if index]
        facts |= {"epochs": epochs, "steps": epochs * fold.steps_of_epoch(plan.batch), "decisions": decisions}
        facts |= {"accepted": folder.recommended_round(), "seconds": _seconds(folder), "rate": _rate(config, cell)}
    facts |= {"hardware": hardware(), "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None, "commit": commit()}
    _write(cell, facts)


def _count_teacher(cell: Cell, model: MILModel, test: Path, config: Config) -> None:
    """Count what a teacher does; one that was trained again because its weights were not kept must do what it did."""
    again = cell.path / "again.npz"
    found = count_patches(model, test, config, again)
    if cell.counts(0).is_file() and not np.array_equal(read_counts(cell.counts(0)).hist, found.hist):
        raise SystemExit(
            f"{cell.name}, trained again, marks other pixels than the kept one: with an empty folder as --kept, all is run anew."
        )
    again.replace(cell.counts(0))


def _adopt(cell: Cell, twin: Cell) -> None:
    """Take over what another cell found: the same run, step by step."""
    assert twin.facts is not None
    for index in range(1, len(twin.facts["decisions"]) + 1):
        shutil.copyfile(twin.counts(index), cell.counts(index))
    _write(cell, {**twin.facts, "row": cell.row.name, "same_run_as": twin.row.name})


def _write(cell: Cell, facts: dict[str, Any]) -> None:
    part = cell.path / "cell.part"
    part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    part.replace(cell.path / "cell.json")


def _work_off(events: Generator[Event, None, None]) -> None:
    with closing(events):
        for _ in events:
            pass


def _rate(config: Config, cell: Cell) -> float:
    if cell.row.kind == "train":
        return config.stage1.learning_rate
    return config.rounds.learning_rate


def _seconds(folder: RunFolder) -> float:
    """Return the wall time of a run over all its sessions, from the times in its journal."""
    total, start, last = 0.0, None, None
    for record, _ in folder.journal.records():
        time = datetime.fromisoformat(record["time"])
        if record["event"] == "RunStarted":
            total, start = total + _between(start, last), time
        last = time
    return total + _between(start, last)


def _between(start: datetime | None, end: datetime | None) -> float:
    return 0.0 if start is None or end is None else (end - start).total_seconds()


def hardware() -> dict[str, Any]:
    """Return what the figures were measured on."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"processor": processor, "cores": os.cpu_count(), "torch": torch.__version__, "device": device}


def commit() -> str:
    """Return the commit of the package that runs; its version where it is in no repository."""
    where = Path(napari_ifkd.__file__).parent
    found = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=where, capture_output=True, text=True, check=False)
    return found.stdout.strip() or napari_ifkd.__version__
