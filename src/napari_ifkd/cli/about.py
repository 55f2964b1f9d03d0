"""The commands that tell what there is: info, models, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_ifkd.errors import InputError

from .options import AsJson, Mpp

_MASKS = (".geojson", ".json", ".gz", ".xml", ".csv", ".parquet", ".png", ".zarr", ".dcm.d")


def info(
    file: Annotated[Path, typer.Argument(metavar="SLIDE|FILE", help="a slide, or a mask or map that this program wrote")],
    mpp: Mpp = None,
    as_json: AsJson = False,
) -> None:
    """Tell size, levels, resolution and tissue of a slide; or where a mask or map comes from."""
    from napari_ifkd.annotations.told import provenance_in
    from napari_ifkd.console import flat, say_json, say_table

    facts = provenance_in(file)
    if facts is None:
        facts = _of_slide(file, mpp)
    if as_json:
        say_json(facts)
    else:
        say_table(("fact", "value"), flat(facts))


def _of_slide(file: Path, mpp: float | None) -> dict[str, Any]:
    if file.name.lower().endswith(_MASKS):
        cause = "is no slide, and neither it nor a .provenance.json beside it tells where it comes from"
        raise InputError(file, cause, "Give a slide, or a file that this program wrote")
    from napari_ifkd.slides import open_slide, slide_info

    with open_slide(file, mpp) as opened:
        return slide_info(opened)


def check(
    slide: Annotated[Path, typer.Argument(metavar="SLIDE")],
    out: Annotated[Path | None, typer.Option("--out", help="GeoJSON to write the suggestions to, for --exclude", metavar="FILE")] = None,
    mpp: Mpp = None,
) -> None:
    """Look for pen, folds and blur on a slide, and suggest what to exclude."""
    import shapely

    from napari_ifkd.console import note, say, say_table
    from napari_ifkd.errors import AnnotationError
    from napari_ifkd.files import cannot_write
    from napari_ifkd.runs.regions import write_regions
    from napari_ifkd.slides import open_slide
    from napari_ifkd.slides.artefacts import KINDS, find_artefacts

    with open_slide(slide, mpp) as opened:
        found = find_artefacts(opened)
        unit = opened.require_mpp() ** 2 / 1e6
        of_kind = {kind: [one.geometry for one in found if one.kind == kind] for kind in KINDS}
        rows = ((kind, len(places), f"{sum(place.area for place in places) * unit:.3g}") for kind, places in of_kind.items())
        say_table(("kind", "places", "mm2"), rows)
        if out is None:
            return
        if not found:
            note("Nothing to exclude was found, so no file was written.")
            return
        try:
            write_regions(out, {kind: shapely.union_all(places) for kind, places in of_kind.items() if places}, opened)
        except OSError as error:
            raise cannot_write(AnnotationError, out, error, "choose another --out") from error
        say(str(out))


def models() -> None:
    """List the networks that --model and --teacher know by name."""
    from napari_ifkd.console import say_table
    from napari_ifkd.models import list_models

    say_table(("name", "where", "what"), ((m.name, m.source, m.description) for m in list_models()))


def doctor(as_json: AsJson = False) -> None:
    """Tell what this installation has: versions, device, memory, disk, napari."""
    from napari_ifkd.console import say_json, say_table
    from napari_ifkd.doctor import examine

    facts = examine()
    if as_json:
        say_json(facts)
    else:
        say_table(("what", "found"), facts.items())
