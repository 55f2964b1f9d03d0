"""Labelled patches from slides and pictures of which the tumour was drawn: the recipe of Camelyon16 and DigestPath."""

from __future__ import annotations

import csv
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_ifkd.errors import BagError, Cancelled, InputError
from napari_ifkd.events import Event, Warned
from napari_ifkd.files import cannot_write, durable_folder
from napari_ifkd.pace import Pace
from napari_ifkd.slides import find_tissue, open_picture, open_slide, tile_grid

from .annotated import EXCLUDED, TUMOUR, open_annotated
from .pairs import Pair, find_pairs
from .problems import raise_all
from .reading import runs
from .slide_bags import draw_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_ifkd.config import Config, TileConfig
    from napari_ifkd.slides import Picture, Slide

    from .annotated import Annotated

COLUMNS = ("file", "label", "group", "mpp", "slide", "y", "x")


@dataclass(frozen=True)
class _Plan:
    """The tiles of one slide or picture that become patches."""

    pair: Pair
    origins: NDArray[np.int64]  # (N, 2): y, x of the corner, working px, row by row
    labels: NDArray[np.int8]  # (N,) in {0, 1}
    little: int  # tiles left out since they hold tumour, but too little
    excluded: int  # tiles left out since they touch an exclusion
    undrawn: int  # labelled tiles beyond tiles.max_tiles
    why_none: str = ""


def make_patches(
    sources: Sequence[str | Path],
    out: str | Path,
    config: Config,
    *,
    annotations: Sequence[str | Path] = (),
    normal: Sequence[str | Path] = (),
    mpp: float | None = None,
    group_by: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Cut slides and pictures into patches with image-level labels, which :func:`~napari_ifkd.bags.read_patches` reads.

    A tile of the regular grid that lies wholly inside, on tissue (``tiles.min_tissue``), and outside exclusions is positive where at least
    ``tiles.min_tumour`` of its pixels (by their centres) are annotated tumour, negative where none is, and left out between the two.

    Parameters
    ----------
    sources, annotations, normal, group_by : see :func:`~napari_ifkd.bags.pairs.find_pairs`
    out : folder to make: ``labels.csv`` (file, label, group, mpp; and where a patch comes from: slide, y and x of its corner in px of the
        patch's resolution), ``images/`` and, of positive patches, ``masks/``, which are for evaluation only. It appears when it is complete
    config : ``tiles`` and ``seed``
    mpp : um/px of the finest level of all sources, in place of what slides say; pictures say nothing, and without it are cut as they are
    should_stop : asked between runs of tiles

    Yields
    ------
    Progress, and Warned about what was left out

    Raises
    ------
    InputError
        Telling all sources that cannot be used, or that nothing is left to label.
    Cancelled
        If `should_stop` said so; nothing is left behind.
    """
    out = Path(out)
    _check_free(out)
    pairs = find_pairs(sources, annotations, normal, group_by)
    if mpp is None and len({pair.plain for pair in pairs}) > 1:
        cause = "slides tell their resolution and plain pictures do not, so their patches may differ in it"
        raise BagError("patches", cause, "Give --mpp where it is the same for all, or make a folder of each kind")
    plans, problems = [], []
    pace = Pace("labelling", len(pairs), "images")
    for pair in pairs:
        try:
            plans.append((yield from _planned(pair, config, mpp, should_stop, tell=len(pairs) == 1)))
        except InputError as error:
            problems.append(error)
        if len(pairs) > 1 and (event := pace.add(1)) is not None:
            yield event
    if len(problems) == 1:
        raise problems[0]
    raise_all("patches", [f"{error.what} {error.cause}" for error in problems], "Mend these, or leave them out")
    for note in _notes(plans, config.tiles, mpp):
        yield Warned(note)
    with _complete_or_nothing(out) as folder:
        yield from _write(folder, plans, config.tiles, mpp, should_stop)


def patch_counts(folder: str | Path) -> dict[str, tuple[int, int]]:
    """Count the positive and negative patches of each group in a folder that :func:`make_patches` made, in its order."""
    counts: dict[str, tuple[int, int]] = {}
    with (Path(folder) / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            positive, negative = counts.get(row["group"], (0, 0))
            counts[row["group"]] = (positive + (row["label"] == "1"), negative + (row["label"] == "0"))
    return counts


@contextmanager
def _opened(pair: Pair, tiles: TileConfig, mpp: float | None) -> Iterator[tuple[Slide | Picture, Annotated]]:
    with ExitStack() as stack:
        scene: Slide | Picture
        if pair.plain:
            scene = open_picture(pair.image, mpp or tiles.mpp)
        else:
            scene = stack.enter_context(open_slide(pair.image, mpp))
            scene.require_mpp()
        yield scene, stack.enter_context(open_annotated(pair.annotation, scene, tiles.mpp))


def _planned(pair: Pair, config: Config, mpp: float | None, should_stop: Callable[[], bool], tell: bool) -> Generator[Event, None, _Plan]:
    """Label the tiles of a slide or picture and draw among them; `tell` how far that is."""
    tiles, size = config.tiles, config.tiles.size_px
    with _opened(pair, tiles, mpp) as (scene, annotated):
        # a picture whose stain nobody knows can be cut whole; of a slide that would be mostly glass
        tissue = None if pair.plain and tiles.min_tissue == 0 else find_tissue(scene)
        grid = tile_grid(scene, tiles.mpp, size, tissue=tissue, min_tissue=tiles.min_tissue)
        origins = grid.origins[(grid.origins + size <= np.asarray(grid.working_shape)).all(axis=1)]  # beyond the border is nothing to label
        labels = np.full(len(origins), -1, np.int8)
        little = excluded = 0
        pace = Pace("labelling", len(origins))
        for rows in runs(origins, size):
            _stop_if(should_stop)
            for row, window in zip(rows, _windows(annotated.read, origins[rows], size), strict=True):
                tumour = int(np.count_nonzero(window == TUMOUR))
                if (window == EXCLUDED).any():
                    excluded += 1
                elif tumour >= tiles.min_tumour * size**2:
                    labels[row] = 1
                elif tumour:
                    little += 1
                else:
                    labels[row] = 0
            if tell and (event := pace.add(len(rows))) is not None:
                yield event
    # the draw of a slide does not depend on which others were given
    chosen = draw_tiles(labels, tiles.max_tiles, np.random.default_rng([config.seed, 17, zlib.crc32(pair.key.encode())]))
    why = "" if len(origins) else _why_none(grid.working_shape, size, tissue.reason if tissue else "")
    return _Plan(pair, origins[chosen], labels[chosen], little, excluded, int((labels >= 0).sum()) - len(chosen), why)


def _why_none(shape: tuple[int, int], size: int, reason: str) -> str:
    return f"{shape[1]} x {shape[0]} px, less than a tile of {size} px" if min(shape) < size else reason or "no tissue"


def _pixels(scene: Slide | Picture, mpp: float, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
    return scene.read_working(y0, x0, height, width, mpp)


def _windows(read: Callable[[int, int, int, int], NDArray[np.uint8]], origins: NDArray[np.int64], size: int) -> Iterator[NDArray[np.uint8]]:
    """Read the windows of neighbouring tiles at once."""
    y, x = (int(v) for v in origins[0])
    strip = read(y, x, size, int(origins[-1][1]) - x + size)
    for origin in origins:
        left = int(origin[1]) - x
        yield strip[:, left : left + size]


def _write(
    folder: Path, plans: Sequence[_Plan], tiles: TileConfig, mpp: float | None, should_stop: Callable[[], bool]
) -> Generator[Event, None, None]:
    size = tiles.size_px
    pace = Pace("writing patches", sum(len(plan.origins) for plan in plans), "patches")
    images, masks = folder / "images", folder / "masks"
    images.mkdir()
    masks.mkdir()
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for plan in plans:
            if not len(plan.origins):
                continue
            known = f"{tiles.mpp:g}" if mpp or not plan.pair.plain else ""
            with _opened(plan.pair, tiles, mpp) as (scene, annotated):
                for rows in runs(plan.origins, size):
                    _stop_if(should_stop)
                    places, labels = plan.origins[rows], plan.labels[rows]
                    pixels = _windows(partial(_pixels, scene, tiles.mpp), places, size)
                    truths = _windows(annotated.read, places, size) if labels.any() else iter(())
                    for (y, x), label, image in zip(places.tolist(), labels.tolist(), pixels, strict=True):
                        name = f"{plan.pair.key}_{y}_{x}.png"
                        Image.fromarray(image).save(images / name)
                        truth = next(truths, None)
                        if label and truth is not None:
                            Image.fromarray((truth == TUMOUR).astype(np.uint8) * np.uint8(255)).save(masks / name)
                        table.writerow((name, label, plan.pair.group, known, plan.pair.image.name, y, x))
                    if (event := pace.add(len(rows))) is not None:
                        yield event


def _notes(plans: Sequence[_Plan], tiles: TileConfig, mpp: float | None) -> Iterator[str]:
    """Tell what was left out, and what the patches will lack.

    Raises
    ------
    BagError
        If there is no positive patch.
    """
    positive, negative = (sum(int((plan.labels == label).sum()) for plan in plans) for label in (1, 0))
    empty = [f"{plan.pair.image.name} ({plan.why_none})" for plan in plans if plan.why_none]
    told = f"{len(empty)} of {len(plans)} slides and pictures give no tile of {tiles.size_px} px with {tiles.min_tissue:.0%} tissue: "
    told += ", ".join(empty[:4]) + (" ..." if len(empty) > 4 else "")
    if not positive:
        cause = f"no tile is positive, with {tiles.min_tumour:.0%} tumour or more ({negative} are negative)"
        raise BagError("patches", f"{cause}; {told}" if empty else cause, "Lower tiles.min_tumour, tiles.min_tissue or --size")
    if empty:
        yield told
    for count, what in (
        (sum(plan.little for plan in plans), f"hold tumour, but less than {tiles.min_tumour:.0%} (tiles.min_tumour), and are left out"),
        (sum(plan.excluded for plan in plans), "touch an excluded region and are left out"),
        (sum(plan.undrawn for plan in plans), f"are not drawn: {tiles.max_tiles} a slide are enough (tiles.max_tiles)"),
    ):
        if count:
            yield f"{count} tiles {what}"
    if not negative:
        yield "there are no negative patches: nothing will hold the marked area down. Add a slide without tumour by --normal"
    used = [plan.pair for plan in plans if len(plan.labels)]
    if len(used) == 1:
        yield "all patches are of one slide, so `train` can hold out a part of it only: its validation figures will flatter"
    elif len({pair.group for pair in used}) == 1:
        yield f"all patches are of one group ({used[0].group}), so `train` can hold none out. Tell patients or slides apart by --group-by"
    if mpp is None and any(plan.pair.plain for plan in plans):
        yield f"pictures do not tell their resolution and are cut as they are, as if at {tiles.mpp:g} um/px; --mpp tells it"


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Cancelled


def _check_free(out: Path) -> None:
    if not out.name:
        raise BagError(out, "names no folder to make", "Give one, such as patches")
    if out.exists() and (not out.is_dir() or next(out.iterdir(), None) is not None):
        raise BagError(out, "is not empty" if out.is_dir() else "is a file", "Choose another folder, or empty this one")


@contextmanager
def _complete_or_nothing(out: Path) -> Iterator[Path]:
    """Give a folder aside that takes its name when all went well, and vanishes otherwise."""
    try:
        with durable_folder(out) as aside:
            yield aside
    except OSError as error:
        raise cannot_write(BagError, out, error) from error
