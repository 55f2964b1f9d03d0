"""The whole path on real lung tissue, from image-level labels to scores: WSSS4LUAD patches and the slide made of their regions.

Two questions, kept apart. *Fit*: a teacher trained on all patches, distilled on the mosaic slide, scored on that slide; its regions are
those of the patches. *Held out*: a teacher trained without a quarter of the regions, distilled on the patches it was trained on, scored
on the regions left out. Masks are read by `evaluate` alone.

Needs a folder with ``patches/luad128`` (labels.csv, images/, masks/), ``slides/luad_mosaic.tif`` and ``slides/luad_mosaic_mask.tif``:
``NAPARI_IFKD_DATA`` or ``--data``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("f1", "iou", "mean_f1_positive", "average_precision", "best_threshold", "best_f1", "foreground_share", "n")


def main() -> int:
    """Run every step through the command line and write ``real_tissue.json`` and ``real_tissue.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NAPARI_IFKD_DATA", ROOT / "../shared/data")))
    parser.add_argument("--out", type=Path, required=True, help="new folder for runs and tables")
    parser.add_argument("--epochs", type=int, help="epochs of the teacher; default of the settings")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    patches, slide, mask = (asked.data / name for name in ("patches/luad128", "slides/luad_mosaic.tif", "slides/luad_mosaic_mask.tif"))
    for needed in (patches, slide, mask):
        if not needed.exists():
            parser.error(f"{needed} is missing; name the folder of the data with --data or NAPARI_IFKD_DATA")
    out = asked.out.resolve()
    out.mkdir(parents=True)
    train = ["--seed", asked.seed, *(["--epochs", asked.epochs] if asked.epochs else [])]
    distil = ["--seed", asked.seed, "--rounds", asked.rounds]
    began = time.monotonic()

    act("train", patches, "--out", out / "fit-teacher", *train)
    act("predict", slide, "--model", out / "fit-teacher", "--out", out / "fit-predict")
    act("distill", slide, "--teacher", out / "fit-teacher", "--out", out / "fit-distill", *distil)
    rows = {"fit: teacher": scores("--map", out / "fit-predict", "--truth", mask)}
    for index in range(1, asked.rounds + 1):
        found = next((out / "fit-distill" / "rounds" / f"{index:02d}" / "maps").glob("*.zarr"))
        rows[f"fit: round {index}"] = scores("--map", found, "--truth", mask)
    rows["fit: accepted"] = scores("--map", out / "fit-distill", "--truth", mask)

    kept, left_out = divide(patches, out / "divided", asked.seed)
    act("train", kept, "--out", out / "held-teacher", *train)
    act("distill", kept, "--teacher", out / "held-teacher", "--out", out / "held-distill", *distil)
    rows["held out: teacher"] = scores("--model", out / "held-teacher", "--patches", left_out)
    for index in range(1, asked.rounds + 1):
        found = out / "held-distill" / "rounds" / f"{index:02d}" / "student.safetensors"
        rows[f"held out: round {index}"] = scores("--model", found, "--patches", left_out)
    rows["held out: accepted"] = scores("--model", out / "held-distill", "--patches", left_out)

    table = [f"| | {' | '.join(SHOWN)} |", "|---" * (len(SHOWN) + 1) + "|"]
    table += [f"| {name} | {' | '.join(told(row.get(key)) for key in SHOWN)} |" for name, row in rows.items()]
    text = "\n".join(table)
    (out / "real_tissue.md").write_text(text + "\n", encoding="utf-8")
    (out / "real_tissue.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"{text}\n{time.monotonic() - began:.0f} s; everything is in {out}")
    return 0


def told(value: object) -> str:
    """Format a score."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def act(*words: object) -> str:
    """Run one command of the command line; its progress is shown, its stdout returned."""
    command = [sys.executable, "-m", "napari_ifkd", *map(str, words)]
    print("$ napari-ifkd", " ".join(command[3:]), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def scores(*words: object) -> dict[str, float]:
    """Evaluate, as JSON."""
    found: dict[str, float] = json.loads(act("evaluate", *words, "--json"))
    return found


def divide(patches: Path, out: Path, seed: int) -> tuple[Path, Path]:
    """Copy patches into two folders that share no region: three quarters without masks, one quarter with them."""
    with (patches / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [{"file": row["file"], "label": row["label"], "group": row["source_image"]} for row in csv.DictReader(file)]
    groups = sorted({row["group"] for row in rows})
    random.Random(seed).shuffle(groups)
    left_out = set(groups[: len(groups) // 4])
    folders = out / "kept", out / "left-out"
    for folder, wanted in zip(folders, (False, True), strict=True):
        chosen = [row for row in rows if (row["group"] in left_out) == wanted]
        (folder / "images").mkdir(parents=True)
        for row in chosen:
            shutil.copy(patches / "images" / row["file"], folder / "images")
        if wanted:
            (folder / "masks").mkdir()
            for row in chosen:
                if (truth := patches / "masks" / row["file"]).exists():
                    shutil.copy(truth, folder / "masks")
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["file", "label", "group"])
            writer.writeheader()
            writer.writerows(chosen)
        print(f"{folder.name}: {len(chosen)} patches of {len({row['group'] for row in chosen})} regions")
    return folders


if __name__ == "__main__":
    sys.exit(main())
