"""What a command was given, opened and checked before a run folder is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_ifkd.errors import BagError, InputError, RunError, SlideError
from napari_ifkd.slides import Slide, open_slide
from napari_ifkd.slides.dicom import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_ifkd.annotations.regions import Frame

    from .folder import RunFolder


MppGiven: TypeAlias = float | Mapping[str, float] | None
"""um/px of the finest level in place of what the files say: of all slides, or of each by its file name; None believes the files."""


def told_mpp(mpp: MppGiven, paths: Sequence[str | Path]) -> MppGiven:
    """Return what was given for run.yaml, where slides are called as they are, and not as a link to them is."""
    if not isinstance(mpp, Mapping):
        return mpp
    return {Path(str(absolute(path))).name: mpp[name] for path in paths if (name := Path(path).name) in mpp}


def mpp_of(mpp: MppGiven, name: str) -> float | None:
    """Return what was given for the slide of this file name, um/px; None if nothing."""
    return mpp.get(name) if isinstance(mpp, Mapping) else mpp


@contextmanager
def opened_slides(paths: Sequence[str | Path], mpp: MppGiven) -> Iterator[list[Slide]]:
    """Open slides for the length of a ``with`` block; all must have a resolution, and names of their own.

    Parameters
    ----------
    paths : of the slides
    mpp : see :data:`MppGiven`

    Raises
    ------
    SlideError
        If one cannot be opened or has no resolution, two would share the name of their map, or a resolution is of none of them.
    """
    if isinstance(mpp, Mapping) and (strange := set(mpp) - {Path(path).name for path in paths}):
        raise SlideError("--mpp", f"names {min(strange)}, which is none of the slides", "Call it like the file of a slide")
    stems: dict[str, Path] = {}
    with ExitStack() as stack:
        slides = []
        for path in map(Path, paths):
            if path.stem in stems:
                raise SlideError(
                    path, f"would overwrite the map of {stems[path.stem]} (same name)", "Rename one, or give them to separate runs"
                )
            stems[path.stem] = path
            slide = stack.enter_context(open_slide(path, mpp_of(mpp, path.name)))
            slide.require_mpp()
            slides.append(slide)
        yield slides


def sorted_data(data: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Tell patch folders and slides apart.

    Raises
    ------
    BagError
        If nothing was given, or something is not there.
    """
    paths = [Path(item).expanduser() for item in data]
    if not paths:
        raise BagError("DATA", "nothing was given", "Give patch folders and/or slides")
    for path in paths:
        if not path.exists():
            raise BagError(path, "does not exist", "Look for another name, or put it back where it was")
    slides = [p for p in paths if not p.is_dir() or is_dicom(p)]
    return [p for p in paths if p not in slides], slides


def files_of_slides(given: Sequence[Path], slides: Sequence[Frame], option: str, kinds: frozenset[str], remedy: str) -> dict[str, Path]:
    """Match files with slides by their names.

    Parameters
    ----------
    given : files called like their slide (its name or stem, with ``_mask``, ``_reference`` or ``_regions`` after it or not), and folders in
        which such files lie, beside others; the one file for the one slide may be called anything
    slides : to match with
    option : that gave them, for messages
    kinds : endings that are looked for in folders
    remedy : for what belongs to no slide

    Returns
    -------
    file of each slide that has one, by the slide's name

    Raises
    ------
    InputError
        If one is not there or belongs to no slide, or two to the same.
    """
    for path in given:
        if not path.exists():
            raise InputError(option, f"{path} does not exist", remedy)
    if len(given) == len(slides) == 1 and given[0].is_file():
        return {slides[0].name: given[0]}
    matched: dict[str, Path] = {}
    for path in given:
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in kinds) if path.is_dir() else [path]
        found = {file: name for file in inside if (name := _slide_of(file, slides)) is not None}
        if not found:
            raise InputError(option, f"{path} belongs to no slide of this run", remedy)
        for file, name in found.items():
            if name in matched:
                raise InputError(option, f"{name} has two files ({matched[name]} and {file})", "Give one of a slide")
            matched[name] = file
    return matched


def _slide_of(file: Path, slides: Sequence[Frame]) -> str | None:
    """Return the name of the slide that a file is called like; a slide is not called like itself."""
    name = file.name[:-3] if file.name.lower().endswith(".gz") else file.name
    called = _stems(name)
    called |= {stem.removesuffix(ending) for stem in called for ending in ("_mask", "_reference", "_regions", "_exclusions")}
    own = {slide.path.resolve() for slide in slides if isinstance(slide, Slide)}
    return next((s.name for s in slides if {s.name, *_stems(s.name)} & called and file.resolve() not in own), None)


def _stems(name: str) -> set[str]:
    """Return a file's name without its ending, as it is and without the ``.ome`` of another."""
    return {Path(name).stem, Path(name).stem.removesuffix(".ome")}


def absolute(path: str | Path | None) -> str | None:
    """Return a path that means the same from anywhere, for run.yaml."""
    return None if path is None else str(Path(path).expanduser().resolve())


def told_paths(**given: Sequence[str | Path]) -> dict[str, list[str]]:
    """Return files that an option was given for run.yaml; an option that was left out is not in there."""
    return {option: [str(absolute(path)) for path in paths] for option, paths in given.items() if paths}


def absolute_ref(ref: str | Path) -> str:
    """Return a model reference that means the same from anywhere: a path where it is one, else the name as it is."""
    return str(Path(ref).expanduser().resolve()) if Path(ref).expanduser().exists() else str(ref)


def check_same_slides(folder: RunFolder, slides: Sequence[Slide]) -> None:
    """Refuse to go on with slides that are not those the run began with.

    Raises
    ------
    RunError
        If a slide changed on disk.
    """
    began: list[dict[str, Any]] = folder.about.get("slides", [])
    known = {identity["name"]: identity.get("quick_hash") for identity in began}
    for slide in slides:
        if known.get(slide.name, slide.quick_hash) != slide.quick_hash:
            raise RunError(
                folder.path,
                f"began with another {slide.name} (its contents changed)",
                "Put the old file back, or choose another folder (--out)",
            )
