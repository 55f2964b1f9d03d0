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
    from napari_ifkd.console import flat, say_json, say_table
    from napari_ifkd.export.told import provenance_in

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
