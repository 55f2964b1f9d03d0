"""Which annotation belongs to which slide, and which mask to which picture."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.errors import BagError

from .patches import SUFFIXES
from .problems import raise_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLAIN = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
_SLIDES = frozenset({".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".btf"})
_DRAWN = frozenset({".geojson", ".json", ".xml"})
_MASK_FOLDERS = ("masks", "mask", "gt")
_NEGATIVE_FOLDER = re.compile(r"(^|[-_ ])(neg|negative|normal)$", re.IGNORECASE)
_REMEDY = (
    "Give each slide one annotation of the same name (SLIDE.xml, SLIDE.geojson, SLIDE_mask.tif), or name it by --normal if it has no tumour"
)
_FOLDERS = "Give pictures NAME.jpg with NAME_mask.jpg beside them, or images/ and masks/, or pos/, neg/ and gt/; slides are given as files"


@dataclass(frozen=True, slots=True)
class Pair:
    """A slide or picture and what is known of its tumour.

    Attributes
    ----------
    image : the file
    annotation : regions or a label image; None where there is no tumour
    plain : whether it is a plain picture rather than a slide
    group : of its tiles: patient, slide
    key : a name that no other pair has, of letters that any file system knows
    """

    image: Path
    annotation: Path | None
    plain: bool
    group: str
    key: str = ""


def find_pairs(
    sources: Sequence[str | Path],
    annotations: Sequence[str | Path] = (),
    normal: Sequence[str | Path] = (),
    group_by: str | None = None,
) -> list[Pair]:
    """Bring together what belongs together, without opening anything.

    Parameters
    ----------
    sources : slides, whose annotations are among `annotations`; and folders of pictures with masks, in the layout ``NAME.jpg`` with
        ``NAME_mask.jpg`` beside it, ``images/`` with ``masks/``, or ``pos/``, ``neg/`` with ``gt/``. In folders called neg, negative or
        normal (or ``...-neg``) a picture without a mask has no tumour
    annotations : files, each called like its slide, with ``_mask`` after it or not (one file for one slide may be called anything); or
        folders in which such files lie, beside others
    normal : slides without tumour, or folders of such slides and pictures
    group_by : regular expression; what it finds in a file's name without its ending (its first bracket, where it has one) is the group.
        None: the slide; and of pictures in folders, the name up to the first ``_``

    Returns
    -------
    list of Pair
        In the order given, folders sorted.

    Raises
    ------
    BagError
        Listing every file without its counterpart, and every other problem.
    """
    pattern = _compiled(group_by)
    problems: list[str] = []
    files, pairs = [], []
    for source in dict.fromkeys(map(Path, sources)):
        if source.is_dir():
            pairs += _of_folder(source, problems)
        elif source.is_file():
            files.append(source)
        else:
            problems.append(f"{source} does not exist")
    without = [path for source in dict.fromkeys(map(Path, normal)) for path in _all_in(source, problems)]
    also = {path.resolve() for path in without}  # a slide may be named twice: among all, and by --normal
    files = [path for path in files if path.resolve() not in also]
    pairs = _of_slides(files, annotations, problems) + pairs + [_single(path, None) for path in without]
    raise_all("patches", problems, _REMEDY if files or not any(Path(s).is_dir() for s in sources) else _FOLDERS)
    if not pairs:
        raise BagError("patches", "no slide or picture was given", "Give slides with --annotations, or folders of pictures with masks")
    if pattern is not None:
        pairs = [replace(pair, group=_found(pattern, pair.image, problems)) for pair in pairs]
        raise_all("--group-by", problems, "Give a regular expression that finds the patient, or the slide, in every name")
    return _keyed(pairs)


def _compiled(group_by: str | None) -> re.Pattern[str] | None:
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise BagError("--group-by", f"'{group_by}' is no regular expression ({error})", "Correct it, such as '^[^-]+'") from error


def _found(pattern: re.Pattern[str], image: Path, problems: list[str]) -> str:
    found = pattern.search(image.stem)
    group = (found.group(1 if pattern.groups else 0) or "").strip() if found else ""
    if not group:
        problems.append(f"finds nothing in {image.stem}")
    return group


def _single(path: Path, annotation: Path | None) -> Pair:
    return Pair(path, annotation, path.suffix.lower() in _PLAIN, path.stem)


def _all_in(source: Path, problems: list[str]) -> list[Path]:
    """Return the slides and pictures of a folder without tumour, or the file itself."""
    if source.is_file():
        return [source]
    found = [path for path in _images(source) if not _is_mask(path)] if source.is_dir() else []
    if not found:
        problems.append(f"{source} {'holds no slide or picture' if source.is_dir() else 'does not exist'}")
    return found


def _images(folder: Path) -> list[Path]:
    kinds = _SLIDES | SUFFIXES
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds and path.is_file() and not path.name.startswith("."))


def _stem(path: Path) -> str:
    """Return what an annotation is called: without its endings."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem


def _base(stem: str) -> str:
    return stem[:-5] if stem.lower().endswith("_mask") else stem


def _of_slides(slides: Sequence[Path], annotations: Sequence[str | Path], problems: list[str]) -> list[Pair]:
    given = list(dict.fromkeys(map(Path, annotations)))
    problems += [f"{path} does not exist" for path in given if not path.exists()]
    named = [path for path in given if path.is_file()]
    if len(slides) == len(named) == len(given) == 1:
        return [_single(slides[0], named[0])]
    kinds = _DRAWN | _SLIDES | SUFFIXES | {".gz"}
    inside = [path for folder in given if folder.is_dir() for path in sorted(folder.iterdir()) if path.suffix.lower() in kinds]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in dict.fromkeys([*named, *inside]):
        for name in {_stem(path), _base(_stem(path))}:
            by_name[name].append(path)
    pairs, used = [], set[Path]()
    for slide in slides:
        fitting = [path for path in by_name[slide.stem] if path.resolve() != slide.resolve()]
        if used.intersection(fitting):
            problems.append(f"{fitting[0].name} belongs to two slides")
        used.update(fitting)
        if len(fitting) == 1:
            pairs.append(_single(slide, fitting[0]))
        else:
            told = f" ({', '.join(path.name for path in fitting)})" if fitting else ""
            problems.append(f"{slide.name} has {len(fitting) or 'no'} annotation{'s' * (len(fitting) > 1)}{told}")
    problems += [f"{path.name} belongs to no slide given" for path in named if path not in used]
    return pairs


def _is_mask(path: Path) -> bool:
    return path.stem.lower().endswith("_mask") or path.parent.name.lower() in _MASK_FOLDERS


def _of_folder(folder: Path, problems: list[str]) -> list[Pair]:
    if (folder / "labels.csv").is_file():
        problems.append(f"{folder} is a folder of patches already (it holds labels.csv)")
        return []
    found = _images(folder)
    pictures = [path for path in found if not _is_mask(path)]
    if not pictures:
        problems.append(f"{folder} holds no pictures")
        return []
    seen: dict[Path, dict[str, list[Path]]] = {}
    pairs, used = [], set[Path]()
    for path in pictures:
        parent = path.resolve().parent  # its name counts, also where the folder was given as "."
        beside = [parent, *(where / name for where in (parent, parent.parent) for name in _MASK_FOLDERS)]
        masks = [mask for where in beside for mask in _masks_in(where, seen).get(path.stem, ())]
        used.update(masks)
        if len(masks) > 1:
            problems.append(f"{path} has {len(masks)} masks ({', '.join(mask.name for mask in masks)})")
        elif not masks and not _NEGATIVE_FOLDER.search(parent.name):
            problems.append(f"{path} has no mask")
        else:
            pairs.append(Pair(path, masks[0] if masks else None, True, path.stem.split("_", 1)[0]))
    problems += [f"{path} is the mask of no picture" for path in found if _is_mask(path) and path.parent.resolve() / path.name not in used]
    return pairs


def _masks_in(folder: Path, seen: dict[Path, dict[str, list[Path]]]) -> dict[str, list[Path]]:
    """Return the masks that lie directly in a folder, by the name of their picture."""
    if folder not in seen:
        seen[folder] = defaultdict(list)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and _is_mask(path):
                seen[folder][_base(path.stem)].append(path)
    return seen[folder]


def _keyed(pairs: Iterable[Pair]) -> list[Pair]:
    """Give each pair a key of its own: its file's name, with its folder's before it where names are the same."""
    pairs = list(pairs)
    keys = [_safe(pair.image.stem) for pair in pairs]
    often = Counter(key.lower() for key in keys)
    keys = [
        _safe(f"{pair.image.resolve().parent.name}-{key}") if often[key.lower()] > 1 else key for pair, key in zip(pairs, keys, strict=True)
    ]
    often = Counter(key.lower() for key in keys)
    twice = [str(pair.image) for pair, key in zip(pairs, keys, strict=True) if often[key.lower()] > 1]
    raise_all("patches", [f"{path} shares its name with another file" for path in twice], "Rename one, or give it once only")
    return [replace(pair, key=key) for pair, key in zip(pairs, keys, strict=True)]


def _safe(name: str) -> str:
    return re.sub(r"[^\w.()+=@-]", "_", name)
