"""Whether a network knows the kind of slide it is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ifkd.models import ModelCard
    from napari_ifkd.slides import Slide


def domain_warning(card: ModelCard, slide: Slide) -> str | None:
    """Return a warning if the network was made for phantom slides and this is none, else None."""
    if card.domain != "phantom" or slide.is_phantom:
        return None
    return (
        "The built-in teacher knows phantom slides only: on this slide its map shows how the program works, not where tumour is. "
        "Train or choose a teacher for this tissue."
    )
