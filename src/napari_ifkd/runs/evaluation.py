"""``evaluate``: a network or maps on patches, or a map of a slide, against pixel truth."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations import read_mask
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.distill import Evaluation
from napari_ifkd.distill.evaluate import evaluate_map
from napari_ifkd.distill.evaluate_patches import evaluate_patch_maps, evaluate_patches
from napari_ifkd.errors import RunError
from napari_ifkd.inference import FileMap, open_file_map
from napari_ifkd.models import load_model
from napari_ifkd.slides import open_slide

from .folder import RunFolder
from .resolve import chosen_round, resolve_model

if TYPE_CHECKING:
    from napari_ifkd.config import Config

_BLOCK = 4096  # px


def evaluate_model(ref: str | Path, patches: str | Path, config: Config) -> dict[str, float]:
    """Score a network, or maps that anything made, on patches with masks.

    Parameters
    ----------
    ref : run, weights file or name; or a folder with a map of each patch, see :func:`napari_ifkd.inference.read_patch_maps`
    patches : patch folder with masks
    config : ``inference``, ``tiles``, device and precision matter

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`

    Raises
    ------
    InputError
        If the network, the maps or the patches will not do.
    """
    if Path(ref).is_dir() and not _is_run(Path(ref)):
        return evaluate_patch_maps(ref, patches, config)
    model, card = load_model(resolve_model(ref).path)
    return evaluate_patches(model, card, patches, config)


def evaluate_map_of(
    source: str | Path, truth: str | Path, config: Config, slide: str | Path | None = None, mpp: float | None = None
) -> dict[str, float]:
    """Score a map against the mask of its slide, at threshold 0.5.

    Parameters
    ----------
    source : a run with one slide: then the map of the accepted round, else of the last switched in, else of the teacher; or any map,
        see :func:`napari_ifkd.inference.open_file_map`
    truth : label image
    config : ``inference.sigma_px`` matters; for drawn regions also ``tiles.mpp``, the resolution at which they are scored
    slide : the slide the map is of: regions need it, and it tells an image's resolution
    mpp : um/px of the slide's finest level, where the slide does not say it

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`

    Raises
    ------
    InputError
        If map, mask or slide cannot be read or do not fit.
    """
    path = Path(source)
    if _is_run(path):
        path = _map_of_run(path)
    with ExitStack() as stack:
        opened = None if slide is None else stack.enter_context(open_slide(slide, mpp))
        found = open_file_map(path, opened, config.tiles.mpp)
        if isinstance(found, FileMap):
            stack.enter_context(found)
        if opened is not None:
            check_slide(truth, opened)
        mask = stack.enter_context(read_mask(truth))
        return evaluate_map(found, mask, 0.5, config.inference.sigma_px)


def flattering(source: str | Path, truth: str | Path) -> str | None:
    """Return a warning where the masks to score with are those that chose a run's round and threshold.

    Parameters
    ----------
    source : what is scored
    truth : mask or patch folder it is scored with
    """
    if not _is_run(Path(source)):
        return None
    chose = RunFolder.open(source).about["data"].get("reference", [])
    if str(Path(truth).expanduser().resolve()) not in chose:
        return None
    return f"{Path(truth).name} chose round and threshold of this run (--reference), so these figures flatter it. Score with other masks."


def _is_run(path: Path) -> bool:
    return (path / "run.yaml").is_file()


def _map_of_run(path: Path) -> Path:
    run = RunFolder.open(path)
    index = chosen_round(run)
    maps = run.maps(index)
    if len(maps) != 1:
        found = ", ".join(str(m.relative_to(path)) for m in maps.values()) or "none"
        raise RunError(path, f"has {len(maps)} maps in round {index} ({found})", "Give one map, such as RUN/rounds/00/maps/SLIDE.zarr")
    return next(iter(maps.values()))


def evaluate_all_foreground(truth: str | Path) -> dict[str, float]:
    """Score the answer "everything is tumour", over the whole slide: what any map must beat.

    Parameters
    ----------
    truth : label image

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`
    """
    evaluation = Evaluation(0.5)
    with read_mask(truth) as mask:
        height, width = mask.shape
        corners = [(y, x) for y in range(0, height, _BLOCK) for x in range(0, width, _BLOCK)]
        for y, x in corners:
            block = mask.read(y, x, min(_BLOCK, height - y), min(_BLOCK, width - x))
            evaluation.add(np.full(block.shape, 255, np.uint8), block, last=(y, x) == corners[-1])
    return evaluation.result()
