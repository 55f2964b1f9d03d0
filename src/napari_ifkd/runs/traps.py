"""What a network just built lacks for the settings: not wrong, but seldom meant, so it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.models.network import TrunkModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ifkd.models import MILModel


def of_network(model: MILModel) -> Iterator[str]:
    """Yield what to know of a network that is to learn."""
    if isinstance(model, TrunkModel) and model.frozen and not model.trunk_source:
        yield "The trunk is frozen and its weights were drawn at random, so it never learns what to see. Set pretrained or trunk_weights."
