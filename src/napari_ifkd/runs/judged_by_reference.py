"""The rounds of a run held against reference masks, pixel by pixel."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations import Corrections
from napari_ifkd.distill.evaluate_patches import check_resolution
from napari_ifkd.errors import Cancelled
from napari_ifkd.evidence import BlockCounts, estimate_on_masks
from napari_ifkd.evidence.masks import LEAST_BLOCKS
from napari_ifkd.inference import open_map, predict_patches, smooth
from napari_ifkd.models import load_model, pick_device
from napari_ifkd.pace import Pace

from .judgement import judge, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.events import Event
    from napari_ifkd.slides import Slide

    from .folder import RunFolder
    from .judgement import Judgement
    from .reference import References

_WINDOW_PX = 2048  # of a map, read at once
_MOST_BLOCKS = 2000  # bounds memory and time; fewer are larger, and less alike their neighbours
_CHUNK = 256  # patches whose maps are in memory at once


class ReferenceEvidence:
    """Reference masks against the rounds of a run.

    Parameters
    ----------
    references : the masks
    folder : the run, with the maps of its rounds
    slides : of the run
    config : smoothing, threshold, tile size, device and precision count
    exclusions : (x, y) in level-0 px, by the slide's name: not looked at
    should_stop : asked several times a second

    Attributes
    ----------
    notes : what the user should know
    """

    def __init__(
        self,
        references: References,
        folder: RunFolder,
        slides: Sequence[Slide],
        config: Config,
        exclusions: Mapping[str, BaseGeometry],
        should_stop: Callable[[], bool],
    ) -> None:
        self.references, self.folder, self.config, self.exclusions = references, folder, config, exclusions
        self.slides = [slide for slide in slides if slide.name in references.of_slides]
        self._without = len(slides) - len(self.slides)  # slides that have none
        self.should_stop = should_stop
        self.notes: list[str] = []
        self.rounds = [index for index in folder.rounds() if all(slide.name in folder.maps(index) for slide in self.slides)]
        self._names = tuple(name_of(index) for index in self.rounds)
        self._area_um2 = 0.0

    def judgement(self) -> Generator[Event, None, Judgement | None]:
        """Judge the teacher and the rounds. The mask of one slide alone does not decide over others.

        Returns
        -------
        None where the masks hold no tumour, or tell of no tissue that was looked at

        Raises
        ------
        AnnotationError, BagError
            If a mask is damaged.
        Cancelled
            If the run shall stop.
        """
        parts: list[BlockCounts] = []
        side = self._block_px()
        for slide in self.slides:
            parts += yield from self._slide(slide, side)
        for patches in self.references.of_patches:
            parts += yield from self._patches(patches)
        counts = BlockCounts.joined(parts) if parts else None
        if counts is None or not counts.tumour.sum():
            self.notes.append("The reference masks hold no tumour that can judge on what the rounds looked at: they do not decide.")
            return None
        alone = ""
        if len(self.slides) == 1 and not self.references.of_patches and self._without:
            others = f"{self._without} other slide{'s' * (self._without > 1)}"
            alone = f"The reference mask is of {self.slides[0].name} alone: it judges that one, and does not decide over {others}."
        elif len(self.slides) + len(self.references.of_patches) == 1 and self.slides:
            self.notes.append("The reference mask is of one slide: its intervals are for more tissue of this slide, not for other slides.")
        held = ((self.slides, "slides"), (self.references.of_patches, "patch folders"))
        where = [each[0].name if len(each) == 1 else f"{len(each)} {kind}" for each, kind in held if each]
        told = f"reference masks of {' and '.join(where)}, {self._area_um2 / 1e6:.3g} mm² in {len(counts)} blocks"
        found, threshold = estimate_on_masks(counts, told), self.config.inference.threshold
        return judge("reference", self.rounds, counts, found, threshold, self._area_um2, alone)

    def _block_px(self) -> int:
        """Return the side of a block: a tile, or larger where there are too many."""
        pixels = sum(float(np.prod(open_map(self.folder.maps(0)[slide.name]).shape)) for slide in self.slides)
        return max(self.config.tiles.size_px, ceil(sqrt(pixels / _MOST_BLOCKS)))

    def _slide(self, slide: Slide, side: int) -> Generator[Event, None, list[BlockCounts]]:
        maps = [open_map(self.folder.maps(index)[slide.name]) for index in self.rounds]
        (height, width), scale = maps[0].shape, maps[0].scale_yx
        window = side * max(1, _WINDOW_PX // side)
        corners = [(y, x) for y in range(0, height, window) for x in range(0, width, window)]
        pace = Pace("reference masks", len(corners), "blocks")
        parts, taught_px = [], 0
        path = self.folder.corrections_path(slide.name)
        corrections = Corrections.open(path) if path.is_dir() else None
        if corrections is not None:
            corrections.check(slide)
        with self.references.of_slide(slide) as reference:
            grid = reference.on_grid(scale, self.exclusions.get(slide.name))
            for y, x in corners:
                if self.should_stop():
                    raise Cancelled
                h, w = min(window, height - y), min(window, width - x)
                tumour, known = grid.read(y, x, h, w)
                if corrections is not None:  # what taught the rounds says nothing of how well they learned
                    taught = known & corrections.painted_on(maps[0].shape, y, x, h, w)
                    known &= ~taught
                    tumour &= known
                    taught_px += int(taught.sum())
                if known.any() and (tumour.any() or maps[0].read(y, x, h, w).any()):
                    said = np.stack([pmap.smoothed(y, x, h, w, self.config.inference.sigma_px) for pmap in maps])  # (C, h, w)
                    pick = known & (tumour | (said > 0).all(axis=0))
                    across = ceil(w / side)
                    block = (np.arange(h) // side)[:, None] * across + np.arange(w) // side
                    parts.append(BlockCounts.of(self._names, said[:, pick], tumour[pick], block[pick], across * ceil(h / side)))
                if (event := pace.add(1)) is not None:
                    yield event
        pixel_um2 = float(np.prod(maps[0].pixel_size_um_yx))
        if taught_px:
            mm2 = taught_px * pixel_um2 / 1e6
            self.notes.append(
                f"{slide.name}: {mm2:.3g} mm² of the reference mask do not count, for that was corrected too: the rounds learned it."
            )
        self._area_um2 += pixel_um2 * sum(float(part.size.sum()) for part in parts)
        return parts

    def _patches(self, folder: Path) -> Generator[Event, None, list[BlockCounts]]:
        bags, masks = self.references.patches(folder)
        networks = [load_model(self.folder.model_path(index)) for index in self.rounds]
        _, group = np.unique(bags.groups, return_inverse=True)
        if (groups := int(group.max()) + 1) < LEAST_BLOCKS:
            told = f"{groups} group{'s' * (groups > 1)}"
            self.notes.append(f"The reference patches are of {told}: the intervals are for more patches of these, not for other groups.")
            group, groups = np.arange(len(bags)), len(bags)
        pace = Pace("reference masks", len(bags) * len(networks), "patches")
        device, parts = pick_device(self.config.device), list[BlockCounts]()
        for start in range(0, len(bags), _CHUNK):
            images, names = bags.images[start : start + _CHUNK], bags.names[start : start + _CHUNK]
            said = []
            for model, card in networks:
                check_resolution(bags.source, bags.mpp, card)
                maps = predict_patches(
                    model,
                    images,
                    device=device,
                    precision=self.config.precision,
                    batch=self.config.inference.batch,
                    should_stop=self.should_stop,
                )
                said.append(smooth(maps, self.config.inference.sigma_px).ravel())
                if (event := pace.add(len(images))) is not None:
                    yield event
            tumour = np.stack([masks[name] for name in names])
            block = np.broadcast_to(group[start : start + _CHUNK, None, None], tumour.shape)
            parts.append(BlockCounts.of(self._names, np.stack(said), tumour.ravel(), block.ravel(), groups))
        self._area_um2 += bags.mpp**2 * float(bags.images[..., 0].size)
        return [BlockCounts.summed(parts)]
