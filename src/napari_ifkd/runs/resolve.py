"""What ``--model`` and ``--teacher`` mean: a run, a weights file, or a name of the zoo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.errors import RunError
from napari_ifkd.models import find_model, read_card

from .folder import RunFolder

if TYPE_CHECKING:
    from napari_ifkd.models import ModelCard


@dataclass(frozen=True, slots=True)
class Resolved:
    """A network found."""

    path: Path  # of the weights
    card: ModelCard
    label: str  # for a person: "phantom-teacher", "round 2 of my-run"; a file is called by its name


def resolve_model(ref: str | Path) -> Resolved:
    """Find a network by run, file or name.

    Parameters
    ----------
    ref : a run folder (its accepted round, else the last that was switched in, else the teacher), a weights file, or a name that
        :func:`napari_ifkd.models.find_model` knows

    Raises
    ------
    RunError
        If the folder is no run, or has no network yet, or stands for a round that is a file of pseudo-masks.
    ModelError
        If nothing is found, or the file is no network of ours.
    """
    path = Path(ref)
    if path.is_dir():
        run = RunFolder.open(path)
        index = chosen_round(run)
        facts = run.file_teacher
        if index == 0 and facts is not None:
            cause = f"stands for its round 0, and that is no network but the pseudo-masks of {facts.get('name')}"
            raise RunError(run.path, cause, "Accept one of its rounds, or give another model")
        return Resolved(run.model_path(index), read_card(run.model_path(index)), _label(run, index))
    found = find_model(ref)
    card = read_card(found)
    return Resolved(found, card, _label_of_file(found.resolve()) or (found.stem if path.is_file() else card.name))


def _label_of_file(path: Path) -> str:
    """Return what a file of weights is called by the run it lies in, "" if it lies in none: all are called alike there."""
    run, number = RunFolder(path.parent.parent.parent), path.parent.name
    inside = run.exists and number.isdigit() and run.model_path(int(number)).resolve() == path
    return _label(run, int(number)) if inside else ""


def _label(run: RunFolder, index: int) -> str:
    name = run.path.resolve().name
    if index == 0 and run.act == "train":
        return name  # as the user called it
    return f"{'teacher' if index == 0 else f'round {index}'} of {name}"


def resolve_start(out: str | Path, ref: str | Path) -> Resolved:
    """Find the network a run starts from: its own copy where it has one (the original may be gone), else what `ref` means.

    Raises
    ------
    RunError, ModelError
        As :func:`resolve_model`.
    """
    run = RunFolder(out)
    if run.exists and run.model_path(0).is_file():
        card = read_card(run.model_path(0))
        return Resolved(run.model_path(0), card, str((run.about.get("model") or {}).get("name") or card.name))
    return resolve_model(ref)


def chosen_round(run: RunFolder) -> int:
    """Return the round a run stands for: the accepted one, else the last switched in, else 0 (the teacher).

    Raises
    ------
    RunError
        If it has no network at all yet.
    """
    rounds = run.rounds()
    if not rounds:
        raise RunError(run.path, "has no network yet", "Let it run (napari-ifkd resume), or give another model")
    accepted = run.accepted
    if accepted is not None and accepted.round in rounds:
        return accepted.round
    recommended = run.recommended_round()
    return recommended if recommended in rounds else 0
