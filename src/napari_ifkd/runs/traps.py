"""What a network just built lacks for the settings: not wrong, but seldom meant, so it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.config import RoundConfig
from napari_ifkd.models.network import TrunkModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ifkd.models import MILModel


def of_network(model: MILModel) -> Iterator[str]:
    """Yield what to know of a network that is to learn."""
    if isinstance(model, TrunkModel) and model.frozen and not model.trunk_source:
        yield "The trunk is frozen and its weights were drawn at random, so it never learns what to see. Set pretrained or trunk_weights."


def of_student(student: MILModel, teacher: MILModel | None, settings: RoundConfig) -> Iterator[str]:
    """Yield what to know of a student.

    Parameters
    ----------
    student : as it was drawn
    teacher : None where it is pseudo-masks
    settings : of the rounds
    """
    yield from of_network(student)
    warm = settings.mode == "robust" and settings.robust.warm_start and teacher is not None and _shapes(teacher) == _shapes(student)
    if not warm and settings.learning_rate <= RoundConfig.model_fields["learning_rate"].default:
        yield (
            f"The student does not start from its teacher's weights, and rounds.learning_rate {settings.learning_rate:g} suits one that "
            "does: try 0.001."
        )


def _shapes(model: MILModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
