"""The commands that tell what there is: info, models, doctor."""

from __future__ import annotations

from pathlib import Path

from .options import AsJson, Mpp


def info(slide: Path, mpp: Mpp = None, as_json: AsJson = False) -> None:
    """Tell size, levels, resolution and tissue of a slide."""
    from napari_ifkd.console import flat, say_json, say_table
    from napari_ifkd.slides import open_slide, slide_info

    with open_slide(slide, mpp) as opened:
        facts = slide_info(opened)
    if as_json:
        say_json(facts)
    else:
        say_table(("fact", "value"), flat(facts))


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
