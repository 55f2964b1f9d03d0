"""What a distillation run keeps of each round: network, maps, metrics."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from napari_ifkd import pace
from napari_ifkd.distill.fixed import FixedTeacher
from napari_ifkd.distill.kd import structure_of
from napari_ifkd.distill.rounds import rounds_of
from napari_ifkd.events import Decision, Event, MapReady, Progress, RoundDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import ModelCard, load_model, save_model

from .predicting import map_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel
    from napari_ifkd.slides import Slide

    from .folder import RunFolder
    from .reference_f1 import ReferenceF1
    from .teachers import Teacher
    from .truth import Truth


def stage_of(index: int, config: Config, stage: str) -> str:
    """Return what a stage of a round is called, such as "round 1 of 3: training"."""
    return f"round {index} of {rounds_of(config.rounds)}: {stage}"


class RoundClock:
    """Tells how long a run still takes: each round as long as those before.

    Of the first, once it is being trained, as long as that takes and as the teacher's maps took, if they were made in this run.

    Parameters
    ----------
    rounds : of the run
    at : the round at work, 0 for what comes before the first
    whole : whether the run sees it from its beginning
    """

    def __init__(self, rounds: int, at: int, *, whole: bool) -> None:
        self._rounds, self._at, self._began, self._whole = rounds, at, pace.now(), whole
        self._took: list[float] = []  # s, of each round
        self._mapping: float | None = None  # when the teacher's maps were begun
        self._maps = self._guess = 0.0  # s that they took; that the first round takes, 0 while nobody knows

    def begin(self, at: int) -> None:
        """Take note that another round begins."""
        if self._at and self._whole:
            self._took.append(pace.now() - self._began)
        self._at, self._began, self._whole = at, pace.now(), True

    def told(self, event: Progress) -> Progress:
        """Return an event of the round at work with what is left of the run."""
        so_far, step = pace.now() - self._began, event.seconds_left or 0.0
        if not self._at and event.stage.endswith("map"):
            self._mapping = pace.now() if self._mapping is None else self._mapping
            self._maps = pace.now() - self._mapping + step
        elif self._at and self._maps and step and self._whole and event.stage.endswith("training"):
            self._guess = so_far + step + self._maps
        each = sum(self._took) / len(self._took) if self._took else self._guess
        if not each:
            return event
        here = max(each - so_far, step)
        return dataclasses.replace(event, run_left=here + max(0, self._rounds - self._at) * each)


class Rounds:
    """Keeps rounds in their folders.

    Parameters
    ----------
    folder : the run
    slides : of which each round gets a map
    config : the run's settings
    teacher : of the first round
    card : what the students' cards say of it
    truth : scores the maps of the one slide, after all is decided; None where there is none
    reference : tells how far a round agrees with the reference masks, after it was decided about; None where there are none
    former : other runs, which may have made the teacher's maps already
    should_stop : asked at least once a second
    """

    def __init__(
        self,
        folder: RunFolder,
        slides: list[Slide],
        config: Config,
        teacher: Teacher,
        card: ModelCard,
        truth: Truth | None,
        reference: ReferenceF1 | None,
        former: Sequence[RunFolder],
        should_stop: Callable[[], bool],
    ) -> None:
        self.folder, self.slides, self.config, self.teacher, self.card = folder, slides, config, teacher, card
        self.truth, self.reference, self.former, self.should_stop = truth, reference, former, should_stop
        events = folder.events()
        self._told = {event.index for event in events if isinstance(event, RoundDone)}
        self._told_maps = {(event.round, event.slide) for event in events if isinstance(event, MapReady)}

    def keep(self, index: int, model: MILModel | FixedTeacher, scores: dict[str, float], decision: Decision | None) -> None:
        """Write network and scores of a round; called by the engine at its end, and perhaps once more after a resume."""
        if index in self._told:  # it stands as it was told: with its maps, and scored
            return
        # metrics first: a round counts as there once its network is
        self.folder.write_metrics(index, {**scores, "decision": None if decision is None else dataclasses.asdict(decision)})
        if not isinstance(model, FixedTeacher) and index:  # the first teacher is there already
            save_model(self.folder.model_path(index), model, self._card_of(index, model))

    def _card_of(self, index: int, model: MILModel) -> ModelCard:
        run = self.folder.path.resolve().name
        rounds, card = self.config.rounds, self.card
        network = model.config or card.network
        return ModelCard(
            name=f"{run}-round{index}",
            network=network,
            trunk_source=card.trunk_source_of(network),
            mpp=card.mpp,
            tile_px=card.tile_px,
            normalisation=model.normalisation,
            classes=card.classes,
            trained_on=f"distilled from {card.name} ({card.trained_on})",
            learned_from=tuple(dict.fromkeys((*card.learned_from, *(s.quick_hash for s in self.slides)))) if card.learned_from else (),
            told_apart=card.told_apart,
            domain=card.domain,  # what a phantom teacher taught is no better founded than the teacher
            licence=card.licence,
            notes=f"round {index} of {run}: mode {rounds.mode}, {structure_of(rounds)}, {rounds.epochs} epochs, seed {self.config.seed}",
        )

    def maps(self, index: int) -> Generator[Event, None, None]:
        """Make the maps of a round that are not there, and tell those that were never told."""
        there = self.folder.maps(index)
        wanted = [slide for slide in self.slides if slide.name not in there or (index, slide.name) not in self._told_maps]
        if not wanted:
            return
        make = self._teacher_map if index == 0 else self._student_maps(index)
        for slide in wanted:
            yield from make(slide)
            self._told_maps.add((index, slide.name))

    def _teacher_map(self, slide: Slide) -> Generator[Event, None, None]:
        made = [path for run in self.former for index in run.rounds() if (path := run.maps(index).get(slide.name)) is not None]
        return self.teacher.map_slide(self.folder, slide, self.config, self.should_stop, made)

    def _student_maps(self, index: int) -> Callable[[Slide], Generator[Event, None, None]]:
        model, card = load_model(self.folder.model_path(index))

        def make(slide: Slide) -> Generator[Event, None, None]:
            return map_slide(
                self.folder, index, slide, model, card, self.config, self.should_stop, stage=stage_of(index, self.config, "map")
            )

        return make

    def finish(self, event: RoundDone) -> Generator[Event, None, None]:
        """Make the maps of a round, score them where there is truth, and tell the round; once only, also after a resume."""
        if event.index in self._told:
            return
        yield from self.maps(event.index)
        scores = dict(event.scores)
        # both for the eye only: the engine has decided about this round before
        if self.reference is not None:
            scores.update(self.reference.scores(self.folder.maps(event.index)))
        if self.truth is not None:
            path = self.folder.maps(event.index)[self.truth.slide_name]
            scores.update(self.truth.scores(open_map(path), self.config))
        metrics: dict[str, Any] = {**self.folder.metrics(event.index), **scores}
        metrics["decision"] = None if event.decision is None else dataclasses.asdict(event.decision)
        self.folder.write_metrics(event.index, metrics)
        self._told.add(event.index)
        yield dataclasses.replace(event, scores=scores)

    def finish_open(self) -> Generator[Event, None, None]:
        """Finish rounds whose network is there but which were never told: the run was stopped while it made their maps.

        Maps of earlier rounds that are gone are made anew; a network that is gone is told.
        """
        rounds = self.folder.rounds()
        for index in sorted(self._told - {0}):
            if index in rounds:
                yield from self.maps(index)
            else:
                yield Warned(f"The network of round {index} is gone ({self.folder.model_path(index)}): the round cannot be chosen.")
        for index in rounds:
            metrics = self.folder.metrics(index)
            if index == 0 or index in self._told or "decision" not in metrics:
                continue
            decision = metrics.pop("decision")
            yield from self.finish(RoundDone(index, None if decision is None else Decision(**decision), metrics))
