"""A trap: a trunk that is frozen before it ever learned anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.models.network import TrunkModel

if TYPE_CHECKING:
    from napari_ifkd.models import MILModel

NEVER_LEARNS = (
    "The trunk is frozen and its weights were drawn at random, so it never learns what to look for. Set pretrained or trunk_weights."
)


def never_learns(model: MILModel) -> bool:
    """Tell whether a network just built has a frozen trunk without weights from anywhere."""
    return isinstance(model, TrunkModel) and model.frozen and not model.trunk_source
