"""How fast the bare networks answer, as ratios to float32 NCHW in the same run.

The ways are timed in turns, so that a machine that slows down slows all of them; each figure is the best of its turns.
The table goes to stderr, the ratios as one line of JSON to stdout.
Run: ``python benchmarks/forward.py [--networks vgg-mil] [--widths 0.5 1] [--tile 256] [--seconds 1]``.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from measured import tell
from rich.console import Console
from rich.table import Table

from napari_ifkd.config import NetworkConfig, NetworkName
from napari_ifkd.inference.predictor import fold_batch_norms
from napari_ifkd.models import MILModel, autocast, build_model, describe_device, pick_device, seed_everything

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Way:
    """A way to run a forward pass."""

    name: str
    batch: int
    channels_last: bool = True
    bf16: bool = True
    folded: bool = True


@dataclass(frozen=True)
class Figure:
    """What one way reached."""

    network: str
    width: float
    way: str
    batch: int
    tiles_per_second: float
    ratio: float  # to the first way


def ways(batch: int, small: int) -> list[Way]:
    """Each step of the way from float32 NCHW to what `predict` does."""
    return [
        Way("float32, NCHW", batch, channels_last=False, bf16=False, folded=False),
        Way("float32, channels last", batch, bf16=False, folded=False),
        Way("bf16, channels last", batch, folded=False),
        Way("+ batch norm folded", batch),
        Way("+ small batch", small),
    ]


def measure(model: MILModel, way: Way, tile: int, device: torch.device, seconds: float) -> float:
    """Return tiles/s over at least ``seconds``."""
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    x = torch.randn(way.batch, 3, tile, tile, device=device).contiguous(memory_format=layout)
    done, start = -1, 0.0  # the first pass warms up
    with torch.inference_mode(), autocast(device, "bf16" if way.bf16 else "float32"):
        while done < 1 or time.perf_counter() - start < seconds:
            float(model(x).fused[0, 0, 0, 0])  # waits for the device
            done += 1
            if done == 0:
                start = time.perf_counter()
        return done * way.batch / (time.perf_counter() - start)


def ready(model: MILModel, way: Way, device: torch.device) -> MILModel:
    """Return a copy of the network made ready for a way."""
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    if way.folded:
        fold_batch_norms(twin)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    return twin.to(device, memory_format=layout)  # type: ignore[call-overload,no-any-return]


def compare(name: NetworkName, width: float, plan: list[Way], tile: int, device: torch.device, seconds: float, turns: int) -> list[Figure]:
    """Time all ways of one network, in turns."""
    model = build_model(NetworkConfig(name=name, width=width), seed=0)
    twins = [ready(model, way, device) for way in plan]
    best = [0.0] * len(plan)
    for _ in range(turns):
        for index, (way, twin) in enumerate(zip(plan, twins, strict=True)):
            best[index] = max(best[index], measure(twin, way, tile, device, seconds))
    return [Figure(name, width, way.name, way.batch, rate, rate / best[0]) for way, rate in zip(plan, best, strict=True)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["vgg-mil"], choices=get_args(NetworkName))
    parser.add_argument("--widths", nargs="+", type=float, default=[0.5, 1.0], help="of VGG and SA; the others have one width")
    parser.add_argument("--tile", type=int, default=256, help="px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--small", type=int, default=2, help="the small batch")
    parser.add_argument("--seconds", type=float, default=1.0, help="of every measurement")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    seed_everything(0)
    device = pick_device(args.device)
    plan = ways(args.batch, args.small)
    figures: list[Figure] = []
    for name in args.networks:
        for width in args.widths if name in ("vgg-mil", "sa-mil") else [1.0]:
            figures += compare(name, width, plan, args.tile, device, args.seconds, args.turns)
    table = Table(
        "network", "width", "way", "batch", "tiles/s", "ratio", title=f"Forward pass, tiles of {args.tile} px, {describe_device(device)}"
    )
    for f in figures:
        table.add_row(f.network, f"{f.width:g}", f.way, str(f.batch), f"{f.tiles_per_second:.1f}", f"{f.ratio:.2f}")
    Console(stderr=True).print(table)
    tell(**{f"{f.network} x{f.width:g}, {f.way}, batch {f.batch}: ratio": f.ratio for f in figures})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
