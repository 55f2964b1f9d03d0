"""`napari-ifkd evaluate --json` against another program's scores, for random and degenerate masks, of patches and of slides."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd import cli
from napari_ifkd.inference.map_writer import MapWriter

PROGRAM = Path(__file__).with_name("independent_scores.py")
SCORES = ("f1", "iou", "average_precision", "mean_f1_positive", "hd95_um")
KINDS = ("random", "empty", "full", "one px")
PATCH, SLIDE = (40, 52), (2100, 90)  # a slide of two blocks


def truth_of(kind, shape, rng):
    truth = np.zeros(shape, np.uint8)
    if kind == "random":
        coarse = rng.random((shape[0] // 10 + 1, shape[1] // 10 + 1)) > 0.6
        truth[:] = coarse.repeat(10, 0).repeat(10, 1)[: shape[0], : shape[1]]
    elif kind == "one px":
        truth[shape[0] // 3, shape[1] // 2] = 1
    else:
        truth[:] = kind == "full"
    return truth


def map_of(kind, shape, truth, rng):
    if kind == "random":
        return np.rint(255 * np.clip(0.3 * truth + 0.7 * rng.random(shape), 0, 1)).astype(np.uint8)
    return truth_of(kind, shape, rng) * np.uint8(255)


def evaluated(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", *map(str, words), "--json"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    return json.loads(said.out)


class Judge:
    """Collects cases, then compares what we say with what the other program says."""

    def __init__(self, program, folder):
        self.program, self.folder, self.cases, self.ours = program, folder, [], []

    def add(self, ours, images, sigma, spacing, zero_is_unseen=False):
        files = []
        for number, pair in enumerate(images):
            files.append([str(self.folder / f"{len(self.cases)}_{number}_{part}.npy") for part in ("map", "truth")])
            for path, values in zip(files[-1], pair, strict=True):
                np.save(path, values)
        self.cases.append({"images": files, "sigma": sigma, "spacing": spacing, "zero_is_unseen": zero_is_unseen})
        self.ours.append(ours)

    def compare(self):
        self.program.stdin.write(json.dumps(self.cases) + "\n")
        self.program.stdin.flush()
        theirs = json.loads(self.program.stdout.readline())
        assert len(theirs) == len(self.cases) > 0
        for case, ours, other in zip(self.cases, self.ours, theirs, strict=True):
            assert {k: ours[k] for k in SCORES if k in ours} == pytest.approx(other, abs=1e-6), case


@pytest.fixture(scope="module")
def program():
    """Start it once: it takes seconds to import torchmetrics."""
    words = [sys.executable, str(PROGRAM)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture
def judge(program, tmp_path):
    return Judge(program, tmp_path)


def settings(tmp_path, sigma):
    path = tmp_path / f"sigma{sigma}.yaml"
    path.write_text(f"inference: {{sigma_px: {sigma}}}\ntiles: {{mpp: 0.7}}\n")
    return path


def test_it_knows_nothing_of_the_package():
    assert "napari" not in PROGRAM.read_text()


def test_patches(tmp_path, judge, capsys):
    rng = np.random.default_rng(0)
    for number, (of_truth, of_map) in enumerate(product(KINDS, KINDS)):
        patches, maps = tmp_path / f"patches{number}", tmp_path / f"maps{number}"
        for folder in (patches / "pos", patches / "neg", patches / "gt", maps / "pos", maps / "neg"):
            folder.mkdir(parents=True)
        images = []
        for name, kind in (("pos/a_1", of_truth), ("pos/b_2", "random"), ("neg/c_3", "empty")):
            truth = truth_of(kind, PATCH, rng)
            found = map_of(of_map, PATCH, truth, rng)
            Image.fromarray(np.zeros((*PATCH, 3), np.uint8)).save(patches / f"{name}.png")
            if name.startswith("pos"):
                Image.fromarray(truth * np.uint8(255)).save(patches / "gt" / f"{name[4:]}.png")
            if number % 2:
                Image.fromarray(found).save(maps / f"{name}.png")
            else:
                found = (found / 255).astype(np.float32)
                np.save(maps / f"{name}.npy", found)
            images.append((found, truth))
        for sigma in (0, (3, 1.1)[(number + number // 4) % 2]):  # each kind of map and of truth with both
            ours = evaluated(capsys, "--model", maps, "--patches", patches, "--config", settings(tmp_path, sigma))
            assert ours["n"] == 3
            judge.add(ours, images, sigma, (0.7, 0.7))
    judge.compare()


def write_map(path, values, spacing):
    """Write a map whose px are not square: 2 x 3 px of a slide at half of `spacing`'s first."""
    mpp = spacing[0] / 2
    scale = [2.0, spacing[1] / mpp]
    slide = {"name": "s.tif", "mpp": mpp, "shape_level0": [round(n * k) for n, k in zip(values.shape, scale, strict=True)]}
    with MapWriter(path, values.shape) as writer:
        writer.append(values)
        writer.complete({"mpp": spacing[0], "scale_yx": scale, "pixel_size_um_yx": list(spacing), "slide": slide}, lambda: None)


def test_slides(tmp_path, judge, capsys):
    rng = np.random.default_rng(1)
    spacing = (1.2, 1.8)
    for number, (of_truth, of_map) in enumerate(product(KINDS, KINDS)):
        truth = truth_of(of_truth, SLIDE, rng)
        values = map_of(of_map, SLIDE, truth, rng)
        values[rng.random(SLIDE) < 0.02] = 0  # not looked at
        values[:, :7] = 0
        write_map(tmp_path / f"{number}.zarr", values, spacing)
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, truth.repeat(2, 0).repeat(3, 1), tile=(256, 256), compression="zlib")
        for sigma in (0, 2):
            ours = evaluated(capsys, "--map", tmp_path / f"{number}.zarr", "--truth", path, "--config", settings(tmp_path, sigma))
            judge.add(ours, [(values, truth)], sigma, spacing, zero_is_unseen=True)
    judge.compare()


def test_images_as_maps(tmp_path, judge, capsys):
    rng = np.random.default_rng(2)
    truth = truth_of("random", SLIDE, rng)
    tifffile.imwrite(tmp_path / "t.tif", truth, tile=(256, 256))
    options = {"tile": (256, 256), "resolution": (1e4 / 0.7, 1e4 / 0.7), "resolutionunit": "CENTIMETER"}
    words = map_of("random", SLIDE, truth, rng).astype(np.uint16) * np.uint16(257) + rng.integers(0, 2, SLIDE).astype(np.uint16) // 2
    for name, stored, meant in [
        ("labels", truth_of("random", SLIDE, rng), None),
        ("bytes", map_of("random", SLIDE, truth, rng), None),
        ("words", words, words / 65535),
        ("floats", rng.random(SLIDE).astype(np.float32), None),
    ]:
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, **options)
        if meant is None:
            meant = stored.astype(float) if name == "labels" else stored
        for sigma in (0, 2):
            ours = evaluated(
                capsys, "--map", tmp_path / f"{name}.tif", "--truth", tmp_path / "t.tif", "--config", settings(tmp_path, sigma)
            )
            judge.add(ours, [(meant, truth)], sigma, (0.7, 0.7))
    judge.compare()
