"""Check that phantoms cannot be told by colour: the best threshold on any colour or stain channel against a supervised network.

Trains the built-in teacher's network on phantom patches **with** their masks (this check only), scores it on whole phantoms of other
seeds, and scores the best threshold on every channel, raw and smoothed, on the same pixels. Fails (exit status 1) if the margin is
below 0.15 or the built-in teacher scores above 0.90 on any phantom.
Run: ``python scripts/check_phantom.py [--steps 200] [--seeds 9001 9002]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_ifkd.config import NetworkConfig
from napari_ifkd.models import MILModel, autocast, build_model, pick_device, prepare
from napari_ifkd.slides.phantom import compressed, phantom_field, write_phantom_patches

Image = NDArray[np.uint8]
MARGIN, TEACHER_LIMIT, SIGMA, BINS = 0.15, 0.90, 3.0, 2048
HED = np.linalg.inv(np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]))


def test_slide(seed: int, height: int = 6144, width: int = 8192) -> tuple[Image, NDArray[np.bool_]]:
    """A whole phantom at 1.0 um/px, compressed as in a file, and its truth."""
    rgb, truth = phantom_field(seed, (0, 0), (height, width))
    size = (width // 2, height // 2)
    return cv2.resize(compressed(rgb), size, interpolation=cv2.INTER_AREA), cv2.resize(
        truth * np.uint8(255), size, interpolation=cv2.INTER_AREA
    ) >= 128


def channels(rgb: Image) -> dict[str, NDArray[np.float32]]:
    """Every channel a threshold may be put on, (h, w) float32."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV_FULL)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    stains = -np.log(np.maximum(rgb, 1).astype(np.float32) / 255) @ HED.astype(np.float32)
    planes = {"R": rgb[..., 0], "G": rgb[..., 1], "B": rgb[..., 2], "hue": hsv[..., 0], "saturation": hsv[..., 1], "value": hsv[..., 2]}
    planes |= {"L": lab[..., 0], "a": lab[..., 1], "b": lab[..., 2], "haematoxylin": stains[..., 0], "eosin": stains[..., 1]}
    return {name: np.asarray(plane, np.float32) for name, plane in planes.items()}


def best_threshold_f1(values: list[NDArray[np.float32]], truths: list[NDArray[np.bool_]]) -> float:
    """F1 of the best single threshold, in either direction, chosen with the truth in hand."""
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    counts = np.zeros((2, BINS), np.int64)
    for v, t in zip(values, truths, strict=True):
        bins = ((v - low) * np.float32((BINS - 1) / max(high - low, 1e-6))).astype(np.int32)
        counts += np.bincount((bins + BINS * t).ravel(), minlength=2 * BINS).reshape(2, BINS)
    other, tumour = counts
    best = 0.0
    for hits, misses in ((tumour, other), (tumour[::-1], other[::-1])):
        tp, fp = np.cumsum(hits), np.cumsum(misses)
        best = max(best, float((2 * tp / np.maximum(tp + fp + tumour.sum(), 1)).max()))
    return best


def train_supervised(folder: Path, device: torch.device, steps: int, seed: int = 0) -> MILModel:
    """Train the teacher's network with masks: pixel cross-entropy on all outputs, Adam 1e-3 with a cosine schedule."""
    names = sorted(p.name for p in (folder / "images").iterdir())
    images = torch.from_numpy(np.stack([cv2.imread(str(folder / "images" / n))[..., ::-1] for n in names]))
    masks = torch.from_numpy(np.stack([cv2.imread(str(folder / "masks" / n), 0) > 0 for n in names])).float()[:, None]
    model = build_model(NetworkConfig(), seed=seed).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        pick = torch.randint(len(names), (32,), generator=generator)
        x, y = prepare(images[pick], model.normalisation, device), masks[pick].to(device)
        turns, mirrored = int(torch.randint(4, (), generator=generator)), bool(torch.randint(2, (), generator=generator))
        x, y = torch.rot90(x, turns, (2, 3)), torch.rot90(y, turns, (2, 3))
        x, y = (x.flip(3), y.flip(3)) if mirrored else (x, y)
        with autocast(device):
            out = model(x)
        loss = sum(
            (F.binary_cross_entropy_with_logits(s, y) for s in out.side_logits), F.binary_cross_entropy(out.fused.clamp(1e-6, 1 - 1e-6), y)
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[union-attr]
        optimiser.step()
        schedule.step()
    return model


@torch.inference_mode()
def predict(model: MILModel, rgb: Image, device: torch.device, tile: int = 512, margin: int = 32) -> NDArray[np.float32]:
    """Probability map (h, w) of a whole image, from overlapping tiles of which the inner part is kept."""
    model.eval()
    out = np.zeros(rgb.shape[:2], np.float32)
    padded = cv2.copyMakeBorder(rgb, margin, margin + tile, margin, margin + tile, cv2.BORDER_REFLECT_101)
    for y in range(0, rgb.shape[0], tile):
        for x in range(0, rgb.shape[1], tile):
            view = np.ascontiguousarray(padded[y : y + tile + 2 * margin, x : x + tile + 2 * margin])
            with autocast(device):
                fused = model(prepare(torch.from_numpy(view)[None], model.normalisation, device)).fused[0, 0].float().cpu().numpy()
            part = out[y : y + tile, x : x + tile]
            part[:] = fused[margin : margin + part.shape[0], margin : margin + part.shape[1]]
    return out


def score(maps: list[NDArray[np.float32]], truths: list[NDArray[np.bool_]]) -> tuple[float, float, float]:
    """F1 at 0.5 after smoothing, F1 at the best threshold (diagnostic), and the share called tumour."""
    smooth = [cv2.GaussianBlur(m, (0, 0), SIGMA) for m in maps]
    tp = sum(int(((m > 0.5) & t).sum()) for m, t in zip(smooth, truths, strict=True))
    called = sum(int((m > 0.5).sum()) for m in smooth)
    f1 = 2 * tp / max(called + sum(int(t.sum()) for t in truths), 1)
    return f1, best_threshold_f1(smooth, truths), called / sum(m.size for m in smooth)


def main() -> int:
    """Run the check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="training steps of the supervised network")
    parser.add_argument("--patches", type=int, default=400, help="training patches of each class")
    parser.add_argument("--seeds", type=int, nargs="+", default=[9001, 9002], help="phantoms to score on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--colour-only", action="store_true", help="print the channels and stop")
    options = parser.parse_args()
    device = pick_device(options.device)

    pairs = [test_slide(seed) for seed in options.seeds]
    rgbs, truths = [p[0] for p in pairs], [p[1] for p in pairs]
    everything = float(np.mean([t.mean() for t in truths]))
    print(
        f"{len(rgbs)} phantoms of 4096 x 3072 px at 1.0 um/px, "
        f"tumour {everything:.3f} of all pixels; all-foreground F1 {2 * everything / (1 + everything):.3f}"
    )
    planes = [channels(rgb) for rgb in rgbs]
    colour = 0.0
    print(f"{'channel':14s} {'raw':>6s} {'smoothed':>9s}   F1 at its best threshold", flush=True)
    for name in planes[0]:
        raw = best_threshold_f1([p[name] for p in planes], truths)
        smooth = best_threshold_f1([cv2.GaussianBlur(p[name], (0, 0), SIGMA) for p in planes], truths)
        colour = max(colour, raw, smooth)
        print(f"{name:14s} {raw:6.3f} {smooth:9.3f}", flush=True)
    if options.colour_only:
        return 0

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_phantom_patches(Path(scratch) / "patches", options.patches, options.patches, seed=1)
        made = time.perf_counter() - started
        model = train_supervised(folder, device, options.steps)
    supervised, best, share = score([predict(model, rgb, device) for rgb in rgbs], truths)
    print(
        f"supervised     F1 {supervised:.3f} (best threshold {best:.3f}, foreground {share:.3f}); "
        f"patches {made:.0f} s, training {time.perf_counter() - started - made:.0f} s"
    )
    print(f"margin over colour {supervised - colour:.3f} (at least {MARGIN:.2f} wanted)", flush=True)
    failed = supervised - colour < MARGIN

    teacher = built_in_teacher(device)
    if teacher is None:
        print("built-in teacher: none yet", flush=True)
    else:
        maps = [predict(teacher, rgb, device) for rgb in rgbs]
        f1, best, share = score(maps, truths)
        each = [score([m], [t])[0] for m, t in zip(maps, truths, strict=True)]
        alone = ", ".join(f"{value:.3f}" for value in each)
        print(f"built-in teacher F1 {f1:.3f} (best threshold {best:.3f}, foreground {share:.3f}); each phantom {alone}; ", end="")
        print(f"at most {TEACHER_LIMIT:.2f} wanted on each", flush=True)
        failed |= max(each) > TEACHER_LIMIT
    print("FAILED" if failed else "passed", flush=True)
    return int(failed)


def built_in_teacher(device: torch.device) -> MILModel | None:
    """Load the weights that come with the package, if they do."""
    from napari_ifkd.errors import ModelError
    from napari_ifkd.models import find_model, load_model

    try:
        model, _ = load_model(find_model("phantom-teacher"))
    except ModelError:
        return None
    return model.to(device)


if __name__ == "__main__":
    sys.exit(main())
