"""The end of a distill run: which round is recommended, by which criterion, on what evidence, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.errors import Cancelled
from napari_ifkd.events import Event, RunDone, Warned

from .judged_by_reference import ReferenceEvidence
from .judgement import TOLD_BY, put_down
from .points import PointEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.distill.rounds import Outcome
    from napari_ifkd.slides import Slide

    from .folder import RunFolder
    from .judgement import Judgement
    from .reference import References


def recommend(
    folder: RunFolder,
    slides: Sequence[Slide],
    config: Config,
    outcome: Outcome,
    *,
    references: References | None,
    truth: Path | None,
    exclusions: Mapping[str, BaseGeometry],
    should_stop: Callable[[], bool],
) -> Generator[Event, None, None]:
    """End a run: by reference masks where they were given, else by points where there are enough, else by what the rounds decided.

    What evidence chooses is noted in ``accepted.json``; the user's own word there stands, and so does that they took the same mask back.

    Parameters
    ----------
    folder : the run, with all its rounds and maps
    slides : of the run
    config : its settings
    outcome : what the rounds decided
    references : masks given for choosing
    truth : mask given for scoring; only its name is looked at
    exclusions : (x, y) in level-0 px, by the slide's name: no evidence from there
    should_stop : asked several times a second

    Yields
    ------
    Event
        The last is RunDone.
    """
    judgements: list[Judgement] = []
    if references is not None:
        masks = ReferenceEvidence(references, folder, slides, config, exclusions, should_stop)
        found = yield from masks.judgement()
        if found is not None and found.decides:
            judgements.append(found)
            yield Warned(_flattering(references, truth))
        elif found is not None:
            yield Warned(found.reason)
        for note in masks.notes:
            yield Warned(note)
    points = PointEvidence(folder, slides, config)
    if points.answered():
        for event in points.look():
            if should_stop():
                raise Cancelled
            yield event
    if (found := points.judgement()) is not None:
        if found.decides:
            judgements.append(found)
        else:
            yield Warned(found.reason)
    for note in points.notes:
        yield Warned(note)
    if not judgements:
        yield RunDone(outcome.accepted_round, f"{_criterion(config)}: {outcome.reason}")
        return
    first, *others = judgements
    refused = folder.was_taken_back(first.chosen.round, first.chosen.threshold.value, config.inference.sigma_px)
    if not refused:
        put_down(folder, first)
    told = " ".join([first.told(), *["That was taken back before, so it is not accepted."] * refused])
    told = " ".join([told, *(f"For comparison, {other.told()}" for other in others)])
    yield RunDone(first.chosen.round, f"{told} Had there been no {_kinds(judgements)}: {outcome.reason}")


def _criterion(config: Config) -> str:
    if config.rounds.mode != "robust" or config.acceptance.rule == "always":
        return "By the rule to switch always"
    return "By the cautious rule" + (" and the known tumour share" if config.acceptance.area_prior is not None else "")


def _kinds(judgements: Sequence[Judgement]) -> str:
    return " and ".join(TOLD_BY[judgement.by] for judgement in judgements)


def _flattering(references: References, truth: Path | None) -> str:
    """Say that masks which chose do not score: on them the chosen round looks better than it is."""
    if truth is not None and any(path.resolve() == truth.resolve() for path in references.files()):
        return (
            f"{truth.name} is both --reference and --truth: it chooses round and threshold, so the figures on it flatter what it chose. "
            "Score with masks of other tissue."
        )
    return "The reference masks choose round and threshold, so figures on them flatter what they chose: score with masks of other tissue."
