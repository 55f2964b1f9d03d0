"""What teaches the first round of a run: a network, or pseudo-masks from a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_ifkd.bags.bags import array_store
from napari_ifkd.distill.evaluate_patches import check_resolution
from napari_ifkd.distill.fixed import FixedTeacher
from napari_ifkd.distill.pair import same_kind
from napari_ifkd.distill.rounds import check_networks
from napari_ifkd.inference import maps_of_tiles, open_map, read_patch_maps, write_file_map
from napari_ifkd.models import CamModel, ModelCard, build_model, load_model
from napari_ifkd.models.network import TrunkModel

from . import traps
from .predicting import keep_map, keep_teacher, map_slide, model_facts
from .regions import exclusions_of
from .resolve import resolve_start
from .sources import find_pseudo_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config, NetworkConfig, TileConfig
    from napari_ifkd.events import Event
    from napari_ifkd.models import MILModel
    from napari_ifkd.slides import Slide

    from .folder import RunFolder
    from .resolve import Resolved
    from .sources import PseudoMasks


class Teacher(Protocol):
    """What a run asks of its teacher, of whatever kind."""

    def facts(self) -> dict[str, str]:
        """Return what run.yaml says of it."""
        ...

    def settings(self, config: Config, slides: Sequence[Slide]) -> Config:
        """Return the settings that suit it."""
        ...

    def check(self, slides: Sequence[Slide], patches: Sequence[Bags]) -> None:
        """Raise InputError for data it cannot teach on."""
        ...

    def card(self, folder: RunFolder, config: Config, slides: Sequence[Slide], patches: Sequence[Bags]) -> ModelCard:
        """Return what the cards of its students say of it, their tiles and their resolution."""
        ...

    def student(self, config: Config) -> tuple[MILModel, list[str]]:
        """Return its first student, as it was drawn, and what to know of it; raise InputError for settings that do not suit the two."""
        ...

    def keep(self, folder: RunFolder) -> None:
        """Keep in round 0 what the run needs of it."""
        ...

    def map_slide(
        self, folder: RunFolder, slide: Slide, config: Config, should_stop: Callable[[], bool], made: Sequence[Path] = ()
    ) -> Generator[Event, None, None]:
        """Make its map of a slide, unless it is there, or copy the one of those `made` before that is the same; say so when it is."""
        ...

    def ready(self, folder: RunFolder, train: Bags, held: Bags, config: Config) -> MILModel | FixedTeacher:
        """Return it for the engine. The folder must have its maps of slides."""
        ...


def find_teacher(out: str | Path, ref: str | Path) -> Teacher:
    """Find what a run learns from, or began to learn from.

    Parameters
    ----------
    out : folder of the run, which may not exist yet
    ref : run, weights file, name, or pseudo-masks

    Raises
    ------
    InputError
        If it is none of these, or not what the run began with.
    """
    masks = find_pseudo_masks(out, ref)
    return NetworkTeacher(resolve_start(out, ref)) if masks is None else FileTeacher(masks)


class NetworkTeacher:
    """A teacher that is a network; the run keeps a copy."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved

    def facts(self) -> dict[str, str]:
        """Return name and hash of the weights."""
        return model_facts(self.resolved)

    def settings(self, config: Config, slides: Sequence[Slide]) -> Config:
        """Take the tile size and resolution it was trained at for slides: elsewhere its maps mean little."""
        card = self.resolved.card
        return config.replaced(**{"tiles.size_px": card.tile_px, "tiles.mpp": card.mpp}) if slides else config

    def check(self, slides: Sequence[Slide], patches: Sequence[Bags]) -> None:
        """Refuse patches of another resolution than it was trained at."""
        for part in patches:
            check_resolution(part.source, part.mpp, self.resolved.card)

    def card(self, folder: RunFolder, config: Config, slides: Sequence[Slide], patches: Sequence[Bags]) -> ModelCard:
        """Return its own card."""
        return self.resolved.card

    def student(self, config: Config) -> tuple[MILModel, list[str]]:
        """Build what the settings name; where they name nothing, a network of its own kind."""
        teacher, card = load_model(self.resolved.path)
        student = build_model(config.student or _kind_of(card), config.seed)
        if config.student is None:
            _share_frozen_trunk(teacher, student)
        if config.student is None or same_kind(teacher, student):
            student.normalisation = teacher.normalisation  # it may start from the teacher's weights
        check_networks(teacher, student, config.rounds)
        return student, list(traps.of_network(student))

    def keep(self, folder: RunFolder) -> None:
        """Copy it into the run."""
        keep_teacher(folder, self.resolved)

    def map_slide(
        self, folder: RunFolder, slide: Slide, config: Config, should_stop: Callable[[], bool], made: Sequence[Path] = ()
    ) -> Generator[Event, None, None]:
        """Predict the slide."""
        model, card = load_model(folder.model_path(0))
        yield from map_slide(folder, 0, slide, model, card, config, should_stop, stage="teacher map", made=made)

    def ready(self, folder: RunFolder, train: Bags, held: Bags, config: Config) -> MILModel:
        """Load the run's copy."""
        return load_model(folder.model_path(0))[0]


class FileTeacher:
    """A teacher that is pseudo-masks on disk; round 0 of the run has their maps and no network."""

    def __init__(self, masks: PseudoMasks) -> None:
        self.masks = masks
        self._maps: NDArray[np.float16] = np.zeros((0, 0, 0), np.float16)  # of the one patch folder
        self._rows: dict[str, int] = {}

    def facts(self) -> dict[str, str]:
        """Return name, kind and hash."""
        return self.masks.facts()

    def settings(self, config: Config, slides: Sequence[Slide]) -> Config:
        """Leave the settings as they are: any tile will do."""
        return config

    def check(self, slides: Sequence[Slide], patches: Sequence[Bags]) -> None:
        """Refuse data the masks cannot belong to."""
        self.masks.check(slides, len(patches))
        for part in patches:
            self._maps = read_patch_maps(self.masks.path, part.names, part.images.shape[1:3])
            self._rows = {name: row for row, name in enumerate(part.names)}

    def card(self, folder: RunFolder, config: Config, slides: Sequence[Slide], patches: Sequence[Bags]) -> ModelCard:
        """Return a card with the tiles of the run, and the masks' name and hash as what is behind the students."""
        return ModelCard(
            name=self.masks.label,
            network=config.student or config.network,
            mpp=patches[0].mpp if patches else config.tiles.mpp,
            tile_px=int(patches[0].images.shape[1]) if patches else config.tiles.size_px,
            trained_on=f"pseudo-masks from a file, sha256 {self.masks.sha256[:16]}",
            domain="phantom" if self._of_phantoms(folder, slides) else "",
        )

    def _of_phantoms(self, folder: RunFolder, slides: Sequence[Slide]) -> bool:
        """Tell whether no real tissue is behind the masks: drawn slides alone, or a map by a network that knows nothing else."""
        paths = [*folder.maps(0).values(), *(self.masks.of_slide(slide) for slide in slides if self.masks.path.exists())]
        foreign = any(open_map(path).domain_warning for path in paths if path.suffix == ".zarr")
        return foreign or bool(slides and all(slide.is_phantom for slide in slides))

    def student(self, config: Config) -> tuple[MILModel, list[str]]:
        """Build what the settings name: ``student``, else ``network``."""
        student = build_model(config.student or config.network, config.seed)
        check_networks(None, student, config.rounds)
        return student, list(traps.of_network(student))

    def keep(self, folder: RunFolder) -> None:
        """Write rounds/00/teacher.json."""
        folder.write_file_teacher(self.facts())

    def map_slide(
        self, folder: RunFolder, slide: Slide, config: Config, should_stop: Callable[[], bool], made: Sequence[Path] = ()
    ) -> Generator[Event, None, None]:
        """Bring the masks of the slide to the working resolution, as a map."""
        source, exclusion = self.masks.of_slide(slide), exclusions_of(folder, [slide]).get(slide.name)
        yield from keep_map(
            folder, 0, slide, lambda path: write_file_map(source, slide, path, config, exclusion=exclusion, should_stop=should_stop)
        )

    def ready(self, folder: RunFolder, train: Bags, held: Bags, config: Config) -> FixedTeacher:
        """Read its maps of the bags."""
        of_bags = self._of_patches if self._rows else partial(_of_tiles, folder, config.tiles)
        return FixedTeacher(of_bags(train), of_bags(held), self.masks.label, of_bags)

    def _of_patches(self, bags: Bags) -> NDArray[np.float16]:
        return self._maps[[self._rows[name] for name in bags.names]]


def _of_tiles(folder: RunFolder, tiles: TileConfig, bags: Bags) -> NDArray[np.float16]:
    """Return what the maps of round 0 say of tiles of slides, ``(N, H, W)``."""
    found = array_store(bags.images.shape[:3], np.float16)
    places = [name.rpartition("@") for name in bags.names]  # SLIDE@y,x
    slides = np.array([slide for slide, _, _ in places], np.str_)
    origins = np.array([place.split(",") for _, _, place in places], np.int64).reshape(-1, 2)
    for name, path in folder.maps(0).items():
        rows = np.flatnonzero(slides == name)
        found[rows] = maps_of_tiles(open_map(path), origins[rows], tiles)
    return found


def _kind_of(card: ModelCard) -> NetworkConfig:
    """Return the settings of a fresh student of a teacher's kind."""
    plain = {"pretrained": False, "trunk_weights": None}
    if card.readout == "cam":  # its networks have one side output; a student has those of its kind
        plain |= {"stages": None, "fusion_weights": None}
    return card.network.model_copy(update=plain)


def _share_frozen_trunk(teacher: MILModel, student: MILModel) -> None:
    """Give a student whose trunk will not learn that of the teacher: drawn weights would stay drawn."""
    source = teacher.networks[0] if isinstance(teacher, CamModel) else teacher
    if isinstance(source, TrunkModel) and isinstance(student, TrunkModel) and student.frozen:
        student.trunk.load_state_dict(source.trunk.state_dict())
        student.trunk_source = teacher.trunk_source
