"""A slide through a network: one seamless probability map, whatever the slide's size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_ifkd import __version__
from napari_ifkd.errors import Cancelled, InputError, SlideError
from napari_ifkd.events import Event, Warned
from napari_ifkd.files import durable_folder
from napari_ifkd.models import pick_device
from napari_ifkd.pace import Pace
from napari_ifkd.slides import find_tissue, tile_grid

from .blend import BandBlender
from .coverage import Coverage
from .domain import domain_warning, warnings_of
from .map_writer import MapWriter, map_facts
from .predictor import Predictor
from .probability_map import open_map
from .reader import TileReader
from .standing import Keeper, Standing, forget_standing, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, ModelCard
    from napari_ifkd.slides import Slide, Tissue

    from .probability_map import ProbabilityMap

_CONVOLUTIONAL = {"vgg-mil", "resnet-mil"}
_GPU_TIMES = 16  # more tiles at once than on a processor, where small batches are faster
Tile = tuple[int, int, NDArray[np.uint8]]


def predict_map(
    slide: Slide,
    model: MILModel,
    card: ModelCard,
    out: Path,
    config: Config,
    *,
    region: BaseGeometry | None = None,
    exclusion: BaseGeometry | None = None,
    tissue: Tissue | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    stage: str = "predict",
    keep: bool = False,
    made: Sequence[Path] = (),
) -> Generator[Event, None, ProbabilityMap]:
    """Predict a whole slide.

    Parameters
    ----------
    slide : open; a thread of its own reads it meanwhile
    model, card : the network and what is known of it; tiles are of :func:`working_tile` px at `card.mpp`
    out : folder of the map, such as ``maps/slide.zarr``; it appears when complete, and replaces an older one
    config : `inference`, `device` and `precision` are used
    region, exclusion : as (x, y) in level-0 px; look only here, not here
    tissue : found before; None finds it if `config.inference.tissue_only`
    should_stop : asked at every batch
    stage : name of the work in Progress events
    keep : keep an unfinished map aside, and go on with the one that an earlier call kept; the result is that of an uninterrupted one, to
        the bit on the CPU, and rows of tiles that were complete are not predicted again. One process at a time may do so
    made : maps that were made before: one that follows from all the same is copied, and nothing is predicted

    Yields
    ------
    Warned, Progress

    Returns
    -------
    ProbabilityMap

    Raises
    ------
    SlideError
        If the slide has no resolution or no tissue, or cannot be read, or the region lies beside it.
    EngineError
        If the network or the disk fails.
    Cancelled
        If `should_stop` said so; no half map is left, except aside where it shall be kept.
    """
    settings = config.inference
    slide.require_mpp()
    foreign, warnings = domain_warning(card, slide), warnings_of(card, slide)
    shape = slide.working_shape(card.mpp)
    scale_yx = slide.working_scale(card.mpp)
    if settings.tissue_only:
        tissue, note = _tissue_of(slide, tissue, region is not None)
        warnings += [note] if note else []
    else:
        tissue = None
    coverage = Coverage(shape, scale_yx, tissue, region, exclusion)
    size = working_tile(card)
    # every tile that touches tissue: fewer would leave borders of tissue without the tiles they are blended from
    grid = tile_grid(slide, card.mpp, size, settings.overlap * card.tile_px / size, tissue, 0.0, region)
    origins = grid.origins
    if len(origins) == 0:
        raise SlideError(
            slide.name, _nothing(region, exclusion), "Regions are in pixels of the finest level, (0, 0) at the top left of the slide"
        )
    for text in warnings:
        yield Warned(text)

    def check() -> None:
        if should_stop():
            raise Cancelled

    identity = _identity(slide, card, config, coverage, origins)
    for former in made:
        if not Path(out).exists() and _copy_same(former, Path(out), identity):
            return open_map(out)
    device = pick_device(config.device)
    predictor = Predictor(model, device, config.precision)
    together = max(1, settings.batch * card.tile_px**2 // size**2) * (_GPU_TIMES if device.type == "cuda" else 1)
    blender = BandBlender(shape, size, size - grid.stride_px)
    keeper, standing, done = None, None, 0
    if keep:
        keeper = Keeper(Path(out), identity)
        standing = keeper.kept()
    if standing is not None:
        blender.top, blender.sums, blender.weights, done = standing.top, standing.sums, standing.weights, standing.tiles
    pace = Pace(stage, len(origins), done=done)
    with (
        MapWriter(Path(out), shape, keep=keep, standing=standing) as writer,
        TileReader(slide, origins[done:], size, card.mpp) as reader,
    ):

        def finish(until: int) -> None:
            for rows in blender.finish(until):
                keep = coverage.rows(writer.row, len(rows)) if rows.any() else None
                writer.append(rows if keep is None else rows * keep)

        for batch in _batches(reader, together, check):
            answers = predictor(np.stack([pixels for _, _, pixels in batch]))
            yield from predictor.portion.told()
            for (y, x, _), answer in zip(batch, answers, strict=True):
                if y > blender.top:
                    finish(y)
                blender.add(y, x, answer)
            done, row = done + len(batch), origins[done, 0]
            # after a whole batch, so that what follows comes in the batches of an uninterrupted run: another size rounds otherwise
            if keeper is not None and (done == len(origins) or origins[done, 0] > row) and keeper.due:  # a row of tiles is complete
                keeper.keep(Standing(done, blender.top, blender.sums, blender.weights, writer.written(), writer.waiting))
            if (event := pace.at(done)) is not None:
                yield event
        finish(shape[0])
        facts = map_facts(slide, card.mpp, config, coverage) | {
            "tile_px": working_tile(card),
            "identity": identity,
            "model": {"name": card.name, "weights_sha256": card.weights_sha256, "domain": card.domain},
        }
        found = writer.complete({**facts, "warnings": warnings, "domain_warning": foreign}, check)
    forget_standing(Path(out))
    return found


def _copy_same(former: Path, out: Path, identity: str) -> bool:
    """Copy a map if it follows from all that an identity is of; tell whether it did and could be copied."""
    try:
        if open_map(former).identity != identity:
            return False
        with durable_folder(out) as aside:
            shutil.copytree(former, aside, dirs_exist_ok=True)
    except (InputError, OSError):  # gone or damaged; where nothing can be written, the prediction will tell
        return False
    return True


def working_tile(card: ModelCard) -> int:
    """Return the side of the tiles a network is fed, px.

    Purely convolutional networks get tiles of twice the side they learnt from: the same answer, with less overlap computed twice.
    Attention looks at the whole tile, so its networks get what they learnt from.
    """
    return card.tile_px * 2 if card.network.name in _CONVOLUTIONAL else card.tile_px


def _identity(slide: Slide, card: ModelCard, config: Config, coverage: Coverage, origins: NDArray[np.integer]) -> str:
    """Return a hash of all that the map follows from."""
    facts = {
        "version": __version__,
        "slide": slide.identity(),
        "weights_sha256": card.weights_sha256,
        "mpp": card.mpp,
        "size_px": working_tile(card),
        "settings": config.inference.model_dump(mode="json"),
        "precision": config.precision,
        "shape": coverage.shape,
    }
    limits = [b"" if geometry is None else geometry.wkb for geometry in (coverage.region, coverage.exclusion)]
    return identity_of(facts, origins.tobytes(), *limits)


def _batches(reader: TileReader, size: int, check: Callable[[], None]) -> Iterator[list[Tile]]:
    """Collect tiles, across rows; the last batch may be smaller."""
    batch: list[Tile] = []
    for tile in reader.tiles():
        check()
        if tile is None:
            continue
        batch.append(tile)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _tissue_of(slide: Slide, tissue: Tissue | None, has_region: bool) -> tuple[Tissue | None, str | None]:
    """Return the tissue to keep to; where none was found a region alone may do, with a note."""
    if tissue is None:
        tissue = find_tissue(slide)
    if tissue.found:
        return tissue, None
    if has_region:
        return None, f"No tissue was found on this slide ({tissue.reason}); the whole region was predicted"
    cause = tissue.reason if tissue.reason.startswith("no tissue") else f"no tissue found ({tissue.reason})"
    raise SlideError(slide.name, cause, "Give a --region to predict, or settings with `inference: {tissue_only: false}` by --config")


def _nothing(region: BaseGeometry | None, exclusion: BaseGeometry | None) -> str:
    limits = " and ".join(name for name, given in (("the region", region), ("the exclusion", exclusion)) if given is not None)
    return f"nothing is left to predict: {limits or 'the tissue'} leaves no tile of tissue"
