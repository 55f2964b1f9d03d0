"""What a command was given, opened and checked before a run folder is made of it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.annotations import read_regions
from napari_ifkd.errors import InputError, RunError, SlideError
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_ifkd.annotations import Regions
    from napari_ifkd.slides import Slide

    from .folder import RunFolder


@contextmanager
def opened_slides(paths: Sequence[str | Path], mpp: float | None) -> Iterator[list[Slide]]:
    """Open slides for the length of a ``with`` block; all must have a resolution, and names of their own.

    Parameters
    ----------
    paths : of the slides
    mpp : um/px of the finest level of all of them, in place of what the files say; None believes the files

    Raises
    ------
    SlideError
        If one cannot be opened or has no resolution, or two would share the name of their map.
    """
    stems: dict[str, Path] = {}
    with ExitStack() as stack:
        slides = []
        for path in map(Path, paths):
            if path.stem in stems:
                raise SlideError(
                    path, f"would overwrite the map of {stems[path.stem]} (same name)", "Rename one, or give them to separate runs"
                )
            stems[path.stem] = path
            slide = stack.enter_context(open_slide(path, mpp))
            slide.require_mpp()
            slides.append(slide)
        yield slides


def one_slide_regions(path: Path | None, slides: Sequence[Slide], option: str) -> Regions | None:
    """Read regions that belong to the one slide of a run.

    Raises
    ------
    InputError
        If there are more slides, or none, to which they could belong.
    AnnotationError
        If the file cannot be read.
    """
    if path is None:
        return None
    if len(slides) != 1:
        raise InputError(option, f"belongs to one slide, and {len(slides)} were given", "Give one slide a run")
    return read_regions(path, slides[0])


def absolute(path: str | Path | None) -> str | None:
    """Return a path that means the same from anywhere, for run.yaml."""
    return None if path is None else str(Path(path).expanduser().resolve())


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
                folder.path, f"began with another {slide.name} (its contents changed)", "Put the old file back, or choose another --out"
            )
