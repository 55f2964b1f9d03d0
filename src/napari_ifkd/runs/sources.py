"""Pseudo-masks in place of a teacher network: a file for a slide, or a folder of files for slides or patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from napari_ifkd.errors import InputError, RunError
from napari_ifkd.inference import sha256_of

from .folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["map", "image", "regions", "folder"]

_KINDS: dict[str, Kind] = {
    ".zarr": "map",
    **dict.fromkeys((".tif", ".tiff", ".png", ".bmp", ".jpg", ".jpeg", ".npy"), "image"),
    **dict.fromkeys((".geojson", ".json", ".xml"), "regions"),
}


class Named(Protocol):
    """What is needed of a slide."""

    @property
    def name(self) -> str:
        """File name."""
        ...


@dataclass(frozen=True, slots=True)
class PseudoMasks:
    """Pseudo-masks on disk that a run starts from.

    Parameters
    ----------
    path : of the file or folder
    kind : map, a probability map of ours; image, of labels or probability; regions, outlines; folder, of any of these
    sha256 : of the file, or of the folder's files with their names
    """

    path: Path
    kind: Kind
    sha256: str

    @property
    def label(self) -> str:
        """What to call it: its name, without the folder it lies in."""
        return self.path.name

    def facts(self) -> dict[str, str]:
        """Return what run.yaml and rounds/00/teacher.json say of it."""
        return {"name": self.label, "kind": self.kind, "sha256": self.sha256}

    def of_slide(self, slide: Named) -> Path:
        """Return the file for a slide: the one there is, or that of the slide's name in the folder.

        Raises
        ------
        InputError
            If it is gone, or the folder holds none, or several.
        """
        if not self.path.exists():
            raise InputError(self.path, "is gone, and the run learns from it", "Put it back, or choose another folder (--out)")
        if self.kind != "folder":
            return self.path
        stem = _stem(Path(slide.name))
        found = [path for path in sorted(self.path.iterdir()) if path.suffix.lower() in _KINDS and _stem(path) == stem]
        if len(found) != 1:
            told = f"has {len(found)} files ({', '.join(path.name for path in found)})" if found else "has no file"
            raise InputError(self.path, f"{told} for the slide {slide.name}", f"Give one {stem}.tif, .png, .geojson, .xml or .zarr")
        return found[0]

    def check(self, slides: Sequence[Named], patches: int) -> None:
        """Refuse data to which these pseudo-masks cannot belong.

        Parameters
        ----------
        slides : of the run
        patches : number of its patch folders

        Raises
        ------
        InputError
            If there are slides and patches, several patch folders, or anything but one slide for a single file.
        """
        if slides and patches:
            raise InputError(self.path, "pseudo-masks are of slides or of patches, and both were given", "Distil them in two runs")
        if self.kind != "folder" and len(slides) != 1:
            given = f"{len(slides)} were given" if slides else "patches were given"
            raise InputError(self.path, f"is of one slide, and {given}", "Give a folder of files with the names of the slides or patches")
        if patches > 1:
            raise InputError(self.path, f"is of one patch folder, and {patches} were given", "Give one patch folder a run")
        for slide in slides if self.path.exists() else ():
            self.of_slide(slide)


def find_pseudo_masks(out: str | Path, ref: str | Path) -> PseudoMasks | None:
    """Find the pseudo-masks that a run starts from, or began with.

    Parameters
    ----------
    out : folder of the run, which may not exist yet
    ref : what was given as the teacher

    Returns
    -------
    PseudoMasks, or None where `ref` means a network (a run, a weights file, a name) or nothing at all

    Raises
    ------
    RunError
        If the run began with pseudo-masks that have changed since. That they are gone is no matter where it has made maps of them.
    """
    path = Path(ref).expanduser()
    kind = _kind_of(path)
    run = RunFolder(out)
    began = run.file_teacher if run.exists else None
    if kind is None:
        return None if began is None else PseudoMasks(path, began["kind"], began["sha256"])
    found = PseudoMasks(path.resolve(), kind, sha256_of(path))
    if began is not None and began.get("sha256") != found.sha256:
        raise RunError(
            out, f"began with another {found.label} (its contents changed)", "Put the old file back, or choose another folder (--out)"
        )
    return found


def _kind_of(path: Path) -> Kind | None:
    kind = _KINDS.get(path.suffix.lower())
    if path.is_file():
        return kind if kind != "map" else None
    if not path.is_dir() or (path / "run.yaml").is_file():
        return None
    if (path / "zarr.json").is_file():
        return "map"
    held = (path, path / "pos", path / "images")
    return "folder" if any(p.suffix.lower() in _KINDS for place in held if place.is_dir() for p in place.iterdir()) else None


def _stem(path: Path) -> str:
    return path.stem.removesuffix(".ome")
