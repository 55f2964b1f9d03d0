"""Patch folders, in both layouts, to bags; and, apart from them and for evaluation only, their reference masks."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_ifkd.annotations.masks import LOSSY_FOREGROUND
from napari_ifkd.errors import BagError

from .bags import Bags, image_store
from .problems import raise_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_ifkd.config import TileConfig

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
GROUP_COLUMNS = ("group", "patient_group", "slide", "source_image")
LAYOUTS = "Give a folder with pos/ and neg/, or with labels.csv and images/"
_SIZES = 8  # told one by one
_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "1"})


@dataclass(frozen=True, slots=True)
class _Item:
    name: str  # labels.csv: its `file`; else pos/NAME or neg/NAME
    path: Path
    label: int
    group: str
    slide: str = ""
    origin: tuple[int, int] | None = None  # y, x on that slide, px of the patch


def read_patches(folder: str | Path, tiles: TileConfig) -> Bags:
    """Read a folder of patches with image-level labels.

    Parameters
    ----------
    folder : Path
        Either ``pos/`` and ``neg/`` (the group is the file name up to the first ``_``), or ``labels.csv`` and ``images/``. Of the table
        only the columns ``file``, ``label``, the group's, ``mpp``, and of patches of a single slide ``slide``, ``y`` and ``x`` are used:
        others may hold pixel truth. So do ``gt/`` and ``masks/``, which are not opened here.
    tiles : TileConfig
        Its ``group_column`` and its ``mpp``, the resolution of patches that do not tell their own.

    Returns
    -------
    Bags

    Raises
    ------
    BagError
        Listing every problem: a missing folder or file, bad labels, images that cannot be read or differ in size, no positive one.
    """
    folder = Path(folder)
    items, mpp = _list_items(folder, tiles.group_column)
    if not any(item.label for item in items):
        raise BagError(folder, "there are no positive patches", "Add images that contain tumour, under pos/ or with label 1")
    images = _read_images(folder, items)
    return Bags(
        images,
        np.array([item.label for item in items], np.int8),
        np.array([item.group for item in items], np.str_),
        [item.name for item in items],
        mpp or tiles.mpp,
        folder.resolve().name,
        _origins(items, images.shape[1]),
    )


def count_patches(folder: str | Path, group_column: str | None = None) -> tuple[int, int, float | None]:
    """Return how many patches of a folder hold tumour, how many none, and their um/px if they tell; images are not opened.

    Raises
    ------
    BagError
        Listing every problem of its table or folders.
    """
    items, mpp = _list_items(Path(folder), group_column)
    positive = sum(bool(item.label) for item in items)
    return positive, len(items) - positive, mpp


def read_patch_masks(folder: str | Path, only: Collection[str] | None = None) -> dict[str, NDArray[np.bool_]]:
    """Read the reference masks of a patch folder.

    For evaluation, and for the fully supervised network it is compared with: nothing else that trains or chooses may call this.

    Parameters
    ----------
    folder : Path
        As for :func:`read_patches`, with ``gt/`` beside ``pos/`` or ``masks/`` beside ``images/``; file names as the images', endings may
        differ. Negative patches need none.
    only : names of the patches wanted, as in ``Bags.names``; masks of others are not opened. None is all

    Returns
    -------
    dict
        Name of the patch, as in ``Bags.names``, to its mask ``(H, W)``, True on tumour.

    Raises
    ------
    BagError
        If there are no masks, a positive patch lacks its own, or one cannot be read or has another size than its image.
    """
    folder = Path(folder)
    items, _ = _list_items(folder, None, need_group=False)
    items = items if only is None else [item for item in items if item.name in only]
    where = folder / ("masks" if (folder / "labels.csv").is_file() else "gt")
    if not where.is_dir():
        remedy = f"Put a mask for each positive patch into {where.name}/"
        raise BagError(where, "there is no such folder, so these patches cannot be scored by pixels", remedy)
    masks: dict[str, NDArray[np.bool_]] = {}
    problems: list[str] = []
    for item in items:
        with _opened(item.path, problems) as image:
            size = image.size if image is not None else None
        if size is None:
            continue
        path = _mask_path(where, item)
        if path is None or item.path.parent.name == "neg":
            if item.label:
                problems.append(f"{item.name} has no mask in {where.name}/")
            masks[item.name] = np.zeros(size[::-1], np.bool_)
            continue
        with _opened(path, problems) as mask:
            if mask is None:
                continue
            if mask.size != size:
                problems.append(f"{where.name}/{path.name} is {mask.size[0]} x {mask.size[1]} px, its image {size[0]} x {size[1]}")
            values = np.asarray(mask)
            values = values >= LOSSY_FOREGROUND if mask.format in {"JPEG", "MPO"} else values != 0
            masks[item.name] = np.asarray(values[..., :3].any(-1) if values.ndim == 3 else values, np.bool_)
    raise_all(where, problems, "Give every positive patch one readable mask of its own size")
    return masks


def _list_items(folder: Path, column: str | None, need_group: bool = True) -> tuple[list[_Item], float | None]:
    if not folder.is_dir():
        raise BagError(folder, "there is no such folder" if not folder.exists() else "it is no folder", LAYOUTS)
    if (folder / "labels.csv").is_file():
        return _from_table(folder, column, need_group)
    if not (folder / "pos").is_dir() and not (folder / "neg").is_dir():
        raise BagError(folder, "it holds neither labels.csv nor pos/ and neg/", LAYOUTS)
    items = []
    for label, name in ((1, "pos"), (0, "neg")):
        for path in sorted((folder / name).iterdir()) if (folder / name).is_dir() else []:
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                items.append(_Item(f"{name}/{path.name}", path, label, path.stem.split("_", 1)[0]))
    if not items:
        raise BagError(folder, f"pos/ and neg/ hold no images ({', '.join(sorted(SUFFIXES))})", LAYOUTS)
    return items, None


def _from_table(folder: Path, column: str | None, need_group: bool) -> tuple[list[_Item], float | None]:
    table = folder / "labels.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BagError(table, f"cannot be read as a table ({error})", "Give a UTF-8 CSV file with file, label and group") from error
    wanted = (column,) if column else GROUP_COLUMNS
    group = next((name for name in wanted if name in columns), None)
    problems = [f"the column {name} is missing" for name in ("file", "label") if name not in columns]
    if group is None and need_group:
        problems.append(f"no column names the group ({' or '.join(wanted)}); it has {', '.join(columns) or 'none'}")
    if not rows and not problems:
        problems.append("it has no rows")
    raise_all(table, problems, "Give the columns file, label (0 or 1) and group (patient, slide or region)")

    items: list[_Item] = []
    resolutions: set[str] = set()
    for line, row in enumerate(rows, 2):
        name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
        told = (row[group] or "").strip() if group else "-"
        pure = PurePosixPath(name.replace("\\", "/"))
        if not name or pure.is_absolute() or ".." in pure.parts:
            problems.append(f"line {line}: file '{name}' is no name of a file in images/")
            continue
        if label not in {"0", "1"}:
            problems.append(f"line {line}: label '{label}' of {name} is neither 0 nor 1")
        if not told:
            problems.append(f"line {line}: {name} has no {group}")
        path = folder / "images" / pure
        if not path.is_file():
            problems.append(f"line {line}: images/{name} is missing")
        resolutions.add((row.get("mpp") or "").strip())
        items.append(_Item(name, path, int(label == "1"), told, (row.get("slide") or "").strip(), _origin(row)))
    problems += [f"{name} stands in {count} lines" for name, count in Counter(item.name for item in items).items() if count > 1]
    mpp = _resolution(resolutions, problems)
    raise_all(table, problems, "Correct these lines")
    return items, mpp


def _origin(row: dict[str, str]) -> tuple[int, int] | None:
    try:
        return int(row["y"]), int(row["x"])
    except (KeyError, TypeError, ValueError):
        return None


def _origins(items: Sequence[_Item], size: int) -> NDArray[np.int64] | None:
    """Return where the patches of one slide lie, ``(N, 2)``, so that parts of it can be held out; None where that is not sure."""
    if len({(item.group, item.slide) for item in items}) != 1 or not items[0].slide:
        return None
    places = [item.origin for item in items if item.origin is not None]
    origins = np.array(places, np.int64).reshape(-1, 2)
    # off the grid of the patches, as the tables of other programs may be, the unit is not known
    return origins if len(origins) == len(items) and not (origins % size).any() else None


def _resolution(told: set[str], problems: list[str]) -> float | None:
    """Return the one resolution that the table tells, None where it tells none."""
    if told <= {""}:
        return None
    try:
        values = {float(text) for text in told}
    except ValueError:
        values = {-1.0}
    if len(values) == 1 and 0.05 < (mpp := values.pop()) < 20:
        return mpp
    held = ", ".join(sorted(told)[:4])
    problems.append(f"the column mpp must hold one resolution in um/px throughout, between 0.05 and 20 (it holds {held})")
    return None


def _read_images(folder: Path, items: Sequence[_Item]) -> NDArray[np.uint8]:
    problems: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    store: NDArray[np.uint8] | None = None
    odd: list[tuple[_Item, tuple[int, int]]] = []
    for index, item in enumerate(items):
        with _opened(item.path, problems) as image:
            if image is None:
                continue
            sizes[image.size] += 1
            if image.mode not in _MODES:
                problems.append(f"{item.name} is no 8-bit colour or grey image (mode {image.mode})")
                continue
            if store is None:
                store = image_store((len(items), image.height, image.width, 3))
            if (image.height, image.width) != store.shape[1:3]:
                odd.append((item, image.size))
                continue
            store[index] = np.asarray(image.convert("RGB"))
    if odd:
        told = ", ".join(f"{count} of {w} x {h} px" for (w, h), count in sizes.most_common(_SIZES))
        example = odd[0][0].name if sizes[odd[0][1]] <= sizes.most_common(1)[0][1] else items[0].name
        problems.append(f"patches differ in size ({told}; such as {example})")
    raise_all(folder, problems, "Give readable 8-bit RGB images, all of one size")
    if store is None:
        raise BagError(folder, "no image could be read", LAYOUTS)
    return store


@contextmanager
def _opened(path: Path, problems: list[str]) -> Iterator[Image.Image | None]:
    """Open and decode an image; on failure note the problem and give None."""
    image: Image.Image | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of odd metadata, which does not matter here
            image = Image.open(path)
            image.load()
    except Exception as error:  # noqa: BLE001 - decoders raise anything, SyntaxError included
        reason = str(error).replace(str(path), path.name).splitlines()[0] if str(error) else type(error).__name__
        problems.append(f"{path.parent.name}/{path.name} cannot be read ({reason})")
        image = None
    try:
        yield image
    finally:
        if image is not None:
            image.close()


def _mask_path(where: Path, item: _Item) -> Path | None:
    inside = PurePosixPath(item.name.split("/", 1)[-1] if where.name == "gt" else item.name)
    exact = where / inside
    if exact.is_file():
        return exact
    others = (exact.with_suffix(suffix) for suffix in sorted(SUFFIXES))
    return next((path for path in others if path.is_file()), None)
