"""Kill runs (-9) at random moments, resume them, and compare with the run that nobody disturbed. ``python scripts/soak.py --kills 20``.

Prints a line a kill; exits with 1 on any difference. With --page it writes docs/results/soak.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from soak_compare import differences, unreadable
from soak_session import Moment, Session, run_session

from napari_ifkd import __version__
from napari_ifkd.errors import InputError
from napari_ifkd.events import EpochDone
from napari_ifkd.runs.folder import RunFolder

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "soak.md"
ACTS = ("train", "predict", "distill")
SLIDE = (700, 200)  # px: more rows than one chunk of a map, so that some are on disk before it is complete


@dataclass(frozen=True)
class Trial:
    """One kill, and what followed.

    Parameters
    ----------
    act : of the run
    moment : when it was killed
    stood : where the run stood then
    again : what was computed a second time
    problems : what differs from the undisturbed run, or could not be read; none is as it should be
    """

    act: str
    moment: Moment
    stood: str
    again: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Tell it in a line."""
        end = "equal" if not self.problems else "DIFFERS: " + "; ".join(self.problems)
        return f"{self.act:8} killed {self.moment!s:36} {self.stood:34} {self.again:24} {end}"


class Soak:
    """An act, its undisturbed run, and the trials it is put to.

    Parameters
    ----------
    act : train, predict or distill
    folder : for everything it makes
    teacher : run that predict and distill start from
    """

    def __init__(self, act: str, folder: Path, teacher: Path | None = None) -> None:
        self.act, self.folder = act, folder
        self.whole = folder / "whole" / "run"
        self._words = _words(act, folder, teacher)
        self.undisturbed = self._session(self.whole)
        self.seconds = self.undisturbed.seconds
        if self.undisturbed.code:
            raise RuntimeError(f"{act} fails undisturbed: {self.undisturbed.said}")

    def _session(self, run: Path, moment: Moment | None = None, resume: bool = False) -> Session:
        run.parent.mkdir(parents=True, exist_ok=True)
        words = ["resume", str(run)] if resume else [*self._words, "--out", str(run)]
        return run_session(words, run, run.parent / "notes.jsonl", moment)

    def draw(self, numbers: random.Random, timed: bool) -> Moment:
        """Draw a moment: of the time it takes, or else of the changes it makes to files."""
        if timed:
            return Moment(seconds=numbers.uniform(0, self.seconds))
        return Moment(event=numbers.randint(1, self.undisturbed.changes))

    def trial(self, moment: Moment) -> Trial | None:
        """Kill a new run at a moment, and resume it to its end; None if it was over before."""
        home = self.folder / "trial"
        shutil.rmtree(home, ignore_errors=True)
        run = home / "run"
        killed = self._session(run, moment)
        if killed.code != -9:
            self.seconds = min(self.seconds, killed.seconds)  # the machine was busier when nobody disturbed it
            return None
        problems = list(unreadable(run))
        folder = RunFolder(run)
        told = {(event.round, event.epoch) for event in folder.events() if isinstance(event, EpochDone)}
        stood = _where(folder, killed)
        rest = self._session(run, resume=folder.exists)
        if rest.code:
            problems.append(f"resume ends with {rest.code}: {rest.said}")
        problems += [f"epoch {epoch} of round {index} was told, and trained again" for index, epoch in sorted(told & {*rest.epochs})]
        try:
            problems += differences(self.whole, run)
        except (InputError, OSError, ValueError, IndexError) as error:
            problems.append(f"cannot be compared: {error}")
        epochs = len(killed.epochs) + len(rest.epochs) - len(self.undisturbed.epochs)
        tiles = killed.tiles + rest.tiles - self.undisturbed.tiles
        if epochs > 1:
            problems.append(f"{epochs} epochs were trained twice")
        parts = [f"{n} {name}{'s' * (n != 1)}" for n, name in ((epochs, "epoch"), (tiles, "tile")) if n]
        return Trial(self.act, moment, stood, f"{' and '.join(parts) or 'nothing'} again", tuple(problems))


def _where(run: RunFolder, killed: Session) -> str:
    """Tell where a killed run stands."""
    epochs = [event for event in run.events() if isinstance(event, EpochDone)] if run.exists else []
    maps = sum(len(run.maps(index)) for index in run.rounds()) if run.exists else 0
    if not run.exists:
        return "before it began"
    parts = [f"round {epochs[-1].round} epoch {epochs[-1].epoch}"] if epochs else []
    parts += [f"{maps} map{'s' * (maps != 1)}"] if maps else []
    parts += [f"{killed.tiles} tiles seen"] if killed.tiles else []
    return ", ".join(parts) or "begun"


def soak(acts: list[str], kills: int, seed: int, folder: Path) -> list[Trial]:
    """Kill each act so many times; prints a line a kill."""
    draw_material(folder)
    trials = []
    teacher = None
    for act in ACTS:
        if act not in acts and act != "train":
            continue
        subject = Soak(act, folder / act, teacher)
        teacher = teacher or subject.whole
        numbers = random.Random(f"{seed} {act}")
        done = 0
        while act in acts and done < kills:
            trial = subject.trial(subject.draw(numbers, timed=done % 2 == 0))
            if trial is not None:
                trials.append(trial)
                done += 1
                print(trial, flush=True)
    return trials


def draw_material(folder: Path) -> None:
    """Draw patches and a slide with something like tumour, and write settings with which everything takes seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(24):
        kind = ("neg", "pos")[index % 2]
        path = folder / "patches" / kind / f"g{index // 4}_{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_tissue((32, 32), index, kind == "pos")).save(path)
    pixels = np.full((*SLIDE, 3), 243, np.uint8)
    pixels[40:-40, 20:-20] = _tissue((SLIDE[0] - 80, SLIDE[1] - 40), 100, False)
    pixels[40:-40, 100:-20] = _tissue((SLIDE[0] - 80, SLIDE[1] - 120), 101, True)
    options = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(folder / "slide.tif", pixels, tile=(128, 128), photometric="rgb", **options)
    (folder / "settings.yaml").write_text(
        "network: {width: 0.125}\ntiles: {size_px: 32, max_tiles: 60}\nstage1: {epochs: 4, batch: 8}\nthreads: 1\n"
        "rounds: {rounds: 2, epochs: 2, batch: 16, robust: {averaged_views: false}}\nacceptance: {rule: always}\n"
        "inference: {batch: 12, sigma_px: 1}\ndevice: cpu\nprecision: float32\n"
    )


def _tissue(shape: tuple[int, int], seed: int, tumour: bool) -> np.ndarray:
    """Draw pink, with purple grain where there is tumour; ``(*shape, 3)`` uint8."""
    numbers = np.random.default_rng(seed)
    image = np.array([222, 160, 196]) + numbers.normal(0, 12, (*shape, 3))
    if tumour:
        grain = numbers.random((shape[0] // 4 + 1, shape[1] // 4 + 1)).repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]] > 0.6
        image[grain] = np.array([92, 58, 130]) + numbers.normal(0, 10, (int(grain.sum()), 3))
    return image.clip(0, 255).astype(np.uint8)


def _words(act: str, folder: Path, teacher: Path | None) -> list[str]:
    """Return the command of an act, without its --out."""
    material = folder.parent
    config = ["--config", str(material / "settings.yaml")]
    slide = str(material / "slide.tif")
    match act:
        case "train":
            return ["train", str(material / "patches"), *config]
        case "predict":
            return ["predict", slide, "--model", str(teacher), *config]
        case _:
            return ["distill", slide, "--teacher", str(teacher), *config]


def write_page(trials: list[Trial], seed: int, seconds: float) -> None:
    """Write the page of results."""
    lines = [
        "<!-- written by scripts/soak.py; do not edit -->",
        "",
        "# Runs that are killed",
        "",
        f"{len(trials)} runs of tiny networks were killed (`kill -9`) at a random moment of their time, or just before a random change",
        "of a file, and resumed. The result is compared with that of the run nobody disturbed: weights and maps bit by bit, metrics, and",
        "what the journal tells. *Again* is what was computed a second time.",
        "",
        "| act | kills | by time | by file change | an epoch again | most tiles again | different |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for act in dict.fromkeys(trial.act for trial in trials):
        ours = [trial for trial in trials if trial.act == act]
        timed = sum(trial.moment.seconds is not None for trial in ours)
        tiles = [int(trial.again.split(" tile")[0].split()[-1]) for trial in ours if " tile" in trial.again]
        epochs, different = sum("epoch" in trial.again for trial in ours), sum(bool(trial.problems) for trial in ours)
        lines.append(f"| {act} | {len(ours)} | {timed} | {len(ours) - timed} | {epochs} | {max(tiles, default=0)} | {different} |")
    machine = f"napari-ifkd {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors"
    lines += ["", f"{machine}; seed {seed}; {seconds / 60:.0f} minutes; {datetime.now(UTC).date()}.", "", "```", *map(str, trials), "```"]
    PAGE.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--act", choices=ACTS, action="append", help="default all; again for more")
    parser.add_argument("--kills", type=int, default=20, help="of each act (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the runs, kept (default: a temporary one)")
    parser.add_argument("--page", action="store_true", help="write docs/results/soak.md")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        trials = soak(asked.act or list(ACTS), asked.kills, asked.seed, asked.keep or Path(scratch))
    if asked.page:
        write_page(trials, asked.seed, time.monotonic() - began)
    different = sum(bool(trial.problems) for trial in trials)
    print(f"{len(trials)} kills, {different} with a difference, in {time.monotonic() - began:.0f} s")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
