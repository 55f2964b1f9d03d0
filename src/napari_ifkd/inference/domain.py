"""Whether a network knows the kind of slide it is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ifkd.models import ModelCard
    from napari_ifkd.slides import Slide

_COARSER = 1.25
"""From so many times the um/px of a network's tiles on a slide is too coarse for it."""

_COIN = 0.5

FEW_SLIDES = 3
"""A network that learnt from so few slides, or fewer, is not believed on another without a look."""


def few_slides_warning(card: ModelCard, slide: Slide) -> str | None:
    """Return a warning if the network learnt from few slides, and this is none of them, else None."""
    count = len(card.learned_from)
    if not 0 < count <= FEW_SLIDES or slide.quick_hash in card.learned_from:
        return None
    of = "one slide" if count == 1 else f"{count} slides"
    return f"This teacher learned from {of}, and not from {slide.name}: look at a preview before you believe it there."


def domain_warning(card: ModelCard, slide: Slide) -> str | None:
    """Return a warning if the network was made for phantom slides and this is none, else None."""
    if card.domain != "phantom" or slide.is_phantom:
        return None
    return (
        "The built-in teacher knows phantom slides only: on this slide its map shows how the program works, not where tumour is. "
        "Train or choose a teacher for this tissue."
    )


def chance_warning(card: ModelCard) -> str | None:
    """Return a warning if a coin would rank, or call, the images that were kept aside as well as the network does, else None."""
    if card.told_apart is not None and card.told_apart <= _COIN:
        return (
            "This teacher tells images with tumour from images without no better than chance: of pairs of those that were kept aside "
            f"it puts {card.told_apart:.0%} in order. Train it longer, or on more."
        )
    if card.called_rightly is not None and round(card.called_rightly, 2) < _COIN:
        return (
            f"This teacher calls {card.called_rightly:.0%} of the images that were kept aside rightly, fewer than a coin would: "
            "it learnt too little, or marks far too much or too little. Train it longer, or on more of both kinds."
        )
    return None


def resolution_warning(card: ModelCard, slide: Slide) -> str | None:
    """Return a warning if the slide is coarser than the tiles that the network learnt from, else None."""
    if slide.mpp is None or slide.mpp <= card.mpp * _COARSER:
        return None
    return (
        f"The slide's finest level ({slide.mpp:.3g} um/px) is coarser than the network's tiles ({card.mpp:.3g} um/px): "
        "details that the network learnt from are missing."
    )


def warnings_of(card: ModelCard, slide: Slide) -> list[str]:
    """Return why a network should not be believed on a slide, what matters most first; empty where nothing speaks against it."""
    found = domain_warning(card, slide), chance_warning(card), few_slides_warning(card, slide), resolution_warning(card, slide)
    return [warning for warning in found if warning]
