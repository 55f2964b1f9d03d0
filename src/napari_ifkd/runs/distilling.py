"""``distill``: rounds of fusion-knowledge distillation on slides and patch folders, as a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.annotations.points import write_points
from napari_ifkd.bags import Bags, join_bags, read_patches, slide_bags, split_groups
from napari_ifkd.distill import distill
from napari_ifkd.distill.rounds import rounds_of
from napari_ifkd.errors import InputError
from napari_ifkd.events import Event, Progress, RoundDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import pick_device, seed_everything
from napari_ifkd.slides import find_tissue

from .drive import drive
from .folder import RunFolder
from .hints import RoundHints, inherit
from .inputs import absolute, absolute_ref, check_same_slides, opened_slides, sorted_data, told_mpp, told_paths
from .points import points_of
from .recommending import recommend
from .reference import References
from .reference_f1 import ReferenceF1
from .regions import keep_exclusions, read_run_regions
from .rounds import RoundClock, Rounds, stage_of
from .stop import never
from .teachers import FileTeacher, find_teacher
from .threads import use_threads
from .told import epoch_of
from .truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_ifkd.config import Config
    from napari_ifkd.distill.rounds import Outcome
    from napari_ifkd.models import MILModel
    from napari_ifkd.slides import Slide

    from .inputs import MppGiven
    from .regions import RunRegions
    from .teachers import Teacher


def distill_run(
    data: Sequence[str | Path],
    teacher: str | Path,
    out: str | Path,
    config: Config,
    *,
    truth: str | Path | None = None,
    regions: Sequence[str | Path] = (),
    exclude: Sequence[str | Path] = (),
    points: str | Path | None = None,
    reference: Sequence[str | Path] = (),
    judged: Sequence[str | Path] = (),
    mpp: MppGiven = None,
    should_stop: Callable[[], bool] = never,
) -> Generator[Event, None, None]:
    """Improve a teacher on slides and patch folders, in a run folder; the same call again goes on where it stopped.

    Parameters
    ----------
    data : patch folders and slides, in any mixture
    teacher : run, weights file or name, whose tile size and resolution are taken for the tiles of slides; or pseudo-masks: of a slide a
        probability map, an image of labels or probability, or regions; or a folder of such files, named as the slides or the patches
    out : new or empty folder, or that of the same run
    config : settings; ``rounds``, ``student``, ``acceptance`` and ``tiles`` matter; ``network`` where the teacher is none
    truth : mask of the one slide. It scores each round and is shown; nothing that trains or chooses sees it
    regions : GeoJSON or ASAP XML of weak regions, called like their slide: their tiles get their label, exclusions are not looked at
    exclude : files called like their slide, or folders of such, of which all regions are left out; see :mod:`napari_ifkd.runs.regions`
    points : table of answered points on the slides, copied into a new run; see ``rounds.points_as_labels``
    reference : masks that choose round and threshold at the end, see :class:`~napari_ifkd.runs.reference.References`; nothing learns from
        them
    judged : other runs, whose corrections and answered points of these slides go on in this one, as those of a run given as `teacher` do;
        of a slide those of the first that has any. A map that one of them made is taken over where the teacher's would come out the same
    mpp : um/px of the finest level, for slides that do not say it; of all, or by file name
    should_stop : asked at least once a second

    Yields
    ------
    Event
        The last is RunDone, or RunCancelled.

    Raises
    ------
    InputError
        If anything given will not do.
    EngineError
        If the work fails.
    """
    folders, files = sorted_data(data)
    with opened_slides(files, mpp) as slides:
        first = find_teacher(out, teacher)
        pick_device(config.device)
        if truth is not None and len(slides) != 1:
            raise InputError("--truth", f"is the mask of one slide, and {len(slides)} were given", "Give one slide a run, or leave it out")
        mask = None if truth is None else Truth(Path(truth), slides[0])
        run = RunFolder(out)
        drawn = read_run_regions(run, slides, regions, exclude)
        if points is not None and run.points.exists() and not run.exists:
            raise InputError("--points", f"{run.points} is there already, for this run", "Leave --points out, or choose another --out")
        answered = None if points is None or run.points.exists() else points_of(Path(points), slides)
        resolved_config = first.settings(config, slides)
        patches = [read_patches(folder, resolved_config.tiles) for folder in folders]
        first.check(slides, patches)
        references = References(reference, slides, resolved_config.tiles) if reference else None
        if references is not None and references.of_patches and isinstance(first, FileTeacher):
            remedy = "Give masks of the slides, or a network as teacher"
            raise InputError("--reference", "is of patches, and pseudo-masks from a file cannot be asked about other images", remedy)
        begun = run.exists and run.journal.size() > 0
        former = [
            RunFolder.open(other)
            for other, must in (*((each, not begun) for each in judged), (teacher, False))
            if must or (Path(other) / "run.yaml").is_file()
        ]
        student, notes = first.student(resolved_config)
        folder = RunFolder.create(
            out,
            "distill",
            resolved_config,
            {
                "data": [absolute(d) for d in data],
                "teacher": absolute_ref(teacher),
                "truth": absolute(truth),
                "mpp": told_mpp(mpp, data),
                **({} if points is None else {"points": absolute(points)}),
                **told_paths(regions=regions, exclude=exclude, reference=reference),
            },
            slides=[slide.identity() for slide in slides],
            model=first.facts(),
        )
        check_same_slides(folder, slides)
        if not begun:  # from here on these are the user's to change
            keep_exclusions(folder, slides, drawn.exclusions)
            if answered is not None:
                write_points(folder.points, answered)
            inherit(former, folder)

        def work(stop: Callable[[], bool]) -> Generator[Event, None, None]:
            if resolved_config != config:
                tiles = resolved_config.tiles
                yield Warned(
                    f"Tiles are {tiles.size_px} px at {tiles.mpp:g} um/px, as the teacher was trained; the settings said otherwise."
                )
            if points is not None and not resolved_config.rounds.points_as_labels:
                yield Warned("The points teach nothing: they are kept with the run, and judge its rounds. See rounds.points_as_labels.")
            for note in notes:
                yield Warned(note)
            first.keep(folder)
            card = first.card(folder, resolved_config, slides, patches)
            if patches:  # of more than slides, and nobody knows how many
                card = card.model_copy(update={"learned_from": ()})
            seen = None if references is None else ReferenceF1(references, slides, resolved_config, drawn.exclusions, stop)
            rounds = Rounds(folder, slides, resolved_config, first, card, mask, seen, former, stop)
            outcome = yield from _distill(folder, slides, patches, resolved_config, first, student, rounds, drawn, stop)
            yield from recommend(
                folder,
                slides,
                resolved_config,
                outcome,
                references=references,
                truth=None if truth is None else Path(truth),
                exclusions=drawn.exclusions,
                should_stop=stop,
            )

        yield from drive(folder, "distill", work, should_stop)


def _distill(
    folder: RunFolder,
    slides: list[Slide],
    patches: list[Bags],
    config: Config,
    first: Teacher,
    student: MILModel,
    rounds: Rounds,
    drawn: RunRegions,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, Outcome]:
    use_threads(config.threads)
    seed_everything(config.seed)
    state = folder.load_checkpoint()
    yield from epoch_of(state, config.rounds.epochs)
    hints = RoundHints(folder, slides, config, exclusions=drawn.exclusions, should_stop=should_stop)
    at = 0 if state is None else int(state["round"])
    clock = RoundClock(rounds_of(config.rounds), at, whole=state is None)
    for event in rounds.maps(0):
        yield clock.told(event) if isinstance(event, Progress) else event

    parts = list(patches)
    for slide in slides:
        part, notes = yield from slide_bags(
            slide,
            find_tissue(slide),
            open_map(folder.maps(0)[slide.name]),
            config.tiles,
            config.seed,
            drawn.weak.get(slide.name),
            drawn.exclusions.get(slide.name),
        )
        for note in notes:
            yield Warned(note)
        parts.append(part)
    bags = join_bags(parts)
    train_index, held_index = split_groups(bags, config.tiles.validation_share, config.seed)
    train, held = bags.subset(train_index), bags.subset(held_index)
    yield from rounds.finish_open()

    events = distill(
        first.ready(folder, train, held, config),
        student,
        train,
        held,
        config,
        should_stop=should_stop,
        state=state,
        on_epoch=folder.save_checkpoint,
        on_round=rounds.keep,
        hints=hints,
    )
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            outcome: Outcome = end.value
            break
        while hints.notes:
            yield Warned(hints.notes.pop(0))
        if isinstance(event, RoundDone):
            for told in rounds.finish(event):
                yield clock.told(told) if isinstance(told, Progress) else told
            at = event.index + 1
            clock.begin(at)
        elif isinstance(event, Progress) and at:
            yield clock.told(replace(event, stage=stage_of(at, config, event.stage)))
        else:
            yield event
    return outcome
