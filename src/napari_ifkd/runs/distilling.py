"""``distill``: rounds of fusion-knowledge distillation on slides and patch folders, as a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_ifkd.bags import Bags, join_bags, read_patches, slide_bags, split_groups
from napari_ifkd.config import NetworkConfig
from napari_ifkd.distill import distill
from napari_ifkd.distill.evaluate_patches import check_resolution
from napari_ifkd.errors import BagError, InputError
from napari_ifkd.events import Event, RoundDone, RunDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import build_model, load_model, pick_device, seed_everything
from napari_ifkd.slides import find_tissue

from .drive import drive
from .folder import RunFolder
from .inputs import absolute, absolute_ref, check_same_slides, one_slide_regions, opened_slides
from .predicting import keep_teacher, model_facts
from .resolve import resolve_start
from .rounds import Rounds
from .stop import never
from .threads import use_threads
from .truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_ifkd.annotations import Regions
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, ModelCard
    from napari_ifkd.slides import Slide


def distill_run(
    data: Sequence[str | Path],
    teacher: str | Path,
    out: str | Path,
    config: Config,
    *,
    truth: str | Path | None = None,
    regions: str | Path | None = None,
    mpp: float | None = None,
    should_stop: Callable[[], bool] = never,
) -> Generator[Event, None, None]:
    """Improve a teacher on slides and patch folders, in a run folder; the same call again goes on where it stopped.

    Parameters
    ----------
    data : patch folders and slides, in any mixture
    teacher : run, weights file or name; its tile size and resolution are taken for the tiles of slides
    out : new or empty folder, or that of the same run
    config : settings; ``rounds``, ``acceptance`` and ``tiles`` matter
    truth : mask of the one slide. It scores each round and is shown; nothing that trains or chooses sees it
    regions : GeoJSON of weak regions on the one slide: their tiles get their label, those in an exclusion are left out
    mpp : um/px of the finest level, for slides that do not say it
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
    folders, files = _sorted_out(data)
    with opened_slides(files, mpp) as slides:
        resolved = resolve_start(out, teacher)
        pick_device(config.device)
        weak = one_slide_regions(None if regions is None else Path(regions), slides, "--regions")
        if truth is not None and len(slides) != 1:
            raise InputError("--truth", f"is the mask of one slide, and {len(slides)} were given", "Give one slide a run, or leave it out")
        mask = None if truth is None else Truth(Path(truth), slides[0])
        resolved_config = fit_to_teacher(config, resolved.card) if slides else config
        patches = [read_patches(folder, resolved_config.tiles) for folder in folders]
        for part in patches:
            check_resolution(part.source, part.mpp, resolved.card)
        folder = RunFolder.create(
            out,
            "distill",
            resolved_config,
            {
                "data": [absolute(d) for d in data],
                "teacher": absolute_ref(teacher),
                "truth": absolute(truth),
                "regions": absolute(regions),
                "mpp": mpp,
            },
            slides=[slide.identity() for slide in slides],
            model=model_facts(resolved),
        )
        check_same_slides(folder, slides)

        def work(stop: Callable[[], bool]) -> Generator[Event, None, None]:
            if resolved_config != config:
                tiles = resolved_config.tiles
                yield Warned(
                    f"Tiles are {tiles.size_px} px at {tiles.mpp:g} um/px, as the teacher was trained; the settings said otherwise."
                )
            keep_teacher(folder, resolved)
            yield from _distill(folder, slides, patches, resolved_config, weak, mask, stop)

        yield from drive(folder, "distill", work, should_stop)


def fit_to_teacher(config: Config, card: ModelCard) -> Config:
    """Return the settings with the tile size and resolution the teacher was trained at: elsewhere its maps mean little."""
    return config.replaced(**{"tiles.size_px": card.tile_px, "tiles.mpp": card.mpp})


def _sorted_out(data: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    paths = [Path(item).expanduser() for item in data]
    if not paths:
        raise BagError("DATA", "nothing was given", "Give patch folders and/or slides")
    for path in paths:
        if not path.exists():
            raise BagError(path, "does not exist", "Give patch folders and/or slides")
    return [p for p in paths if p.is_dir()], [p for p in paths if not p.is_dir()]


def _distill(
    folder: RunFolder,
    slides: list[Slide],
    patches: list[Bags],
    config: Config,
    weak: Regions | None,
    truth: Truth | None,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, None]:
    use_threads(config.threads)
    seed_everything(config.seed)
    teacher, card = load_model(folder.model_path(0))
    rounds = Rounds(folder, slides, config, card, truth, should_stop)
    yield from rounds.maps(0)

    parts = list(patches)
    for slide in slides:
        part, notes = yield from slide_bags(
            slide,
            find_tissue(slide),
            open_map(folder.maps(0)[slide.name]),
            config.tiles,
            config.seed,
            weak,
            None if weak is None else weak.exclusion,
        )
        for note in notes:
            yield Warned(note)
        parts.append(part)
    bags = join_bags(parts)
    train_index, held_index = split_groups(bags, config.tiles.validation_share, config.seed)
    train, held = bags.subset(train_index), bags.subset(held_index)
    yield from rounds.finish_open()

    events = distill(
        teacher,
        _student(teacher, card, config),
        train,
        held,
        config,
        should_stop=should_stop,
        state=folder.load_checkpoint(),
        on_epoch=folder.save_checkpoint,
        on_round=rounds.keep,
    )
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            outcome = end.value
            break
        if isinstance(event, RoundDone):
            yield from rounds.finish(event)
        else:
            yield event
    yield RunDone(outcome.accepted_round, outcome.reason)


def _student(teacher: MILModel, card: ModelCard, config: Config) -> MILModel:
    """Build the student: of the teacher's kind, unless the settings describe another network."""
    wanted = config.student
    if wanted is None or wanted == NetworkConfig(name=card.network.name):  # named like the teacher, and no more said
        student = build_model(card.network.model_copy(update={"pretrained": False, "trunk_weights": None}), config.seed)
        student.normalisation = teacher.normalisation  # it may start from the teacher's weights
        return student
    return build_model(wanted, config.seed)
