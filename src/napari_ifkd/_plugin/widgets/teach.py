"""Teach it yourself: rough regions on slides, or a patch folder, become a small teacher."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ifkd._plugin.drawn import USES
from napari_ifkd.annotations import Region, Regions
from napari_ifkd.bags import count_patches, count_region_tiles
from napari_ifkd.config import Config
from napari_ifkd.slides import Slide, Tissue, find_tissue

from .dock import at_work
from .job_bar import JobBar
from .parts import Fold, allow, button, chosen_path, form, in_line, keep_room, patch_folder, row, setting, settings_of, text
from .pen import PEN_HELP, Pen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ifkd._plugin.drawn import Use

    from .teacher import TeacherDock

_HELP = "Draw a rough line around tumour, and around tissue without: on this slide, and on others. A few dozen tiles of each are a start."
_FEW = 24  # tiles of a kind
_SMALL = 0.5  # width of the network: a few regions teach no large one


class Teach(QWidget):
    """Draw, train, and take the teacher that comes of it.

    Parameters
    ----------
    dock : it is part of
    """

    def __init__(self, dock: TeacherDock) -> None:
        super().__init__()
        self._dock, self._drawings, self._session = dock, dock.bench.drawings, dock.session
        self._taken: Path | None = None
        self._tiles: tuple[int, int] | None = None  # with and without tumour; None while they are counted
        self._patches: tuple[int, int, float | None] | str = ""  # with and without tumour, and um/px; in words while they are not known
        self._unfit = False  # whether nothing can be learned from the folder
        self._at_work, self._stale = False, False  # one count at a time; whether what is being counted changed meanwhile
        self._tissues: WeakKeyDictionary[Slide, Tissue] = WeakKeyDictionary()
        self.what = text("How to teach")
        self.draw: dict[Use, Pen] = {
            "tumour": Pen(dock, "tumour", USES["tumour"][0], "Draw polygons in which most places hold some tumour"),
            "normal": Pen(dock, "normal", USES["normal"][0], "Draw polygons in which there is no tumour at all"),
        }
        self.patches = patch_folder("Folder of labelled patches to learn from, instead of regions or besides", "or a patch folder")
        self.epochs = form(setting("stage1.epochs", "Epochs"))
        self.form = form(
            setting("network.name", "Network", leave_out=("encoder-mil", "custom")),  # these need more than a name
            setting("network.width", "Width"),
            setting("tiles.size_px", "Tile, px"),
            setting("tiles.mpp", "µm/px"),
        )
        self.form["network.width"].value = _SMALL
        in_line(self.epochs, self.form)
        self.fold = Fold("Advanced", "The network and its tiles; the defaults are sensible", self.form.native)
        self.train = button("Train", "Learn a teacher from these image-level labels, in a process of its own", self._train, main=True)
        self.progress = JobBar(dock.bench, "train", steady=True)
        self.told = text("What there is to learn from", lines=4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        for part in (
            self.what,
            row(self.draw["tumour"], self.draw["normal"], stretch=(1, 1)),
            self.patches.native,
            self.told,
            self.epochs.native,
            self.fold,
            self.train,
            self.progress,
            self.progress.warned,
        ):
            layout.addWidget(part)
        self.patches.changed.connect(lambda _: self._look_into_folder())
        self.patches.line_edit.native.returnPressed.connect(self.look_again)
        dock.listen("job", to=self._show)
        dock.listen("kept_threshold", "teacher", to=self.progress.update_job)
        dock.listen("slide", "slides", to=self._drawn)
        self.form["tiles.size_px"].changed.connect(lambda _: self._drawn())
        self.form["tiles.mpp"].changed.connect(lambda _: self._drawn())
        dock.hear(self._drawings.changed, self._drawn)
        dock.hear(self._drawings.pen, self._help)
        self._help()

    def resizeEvent(self, event: Any) -> None:
        """Keep room for both helps: the pens stay under the mouse when one is pressed."""
        super().resizeEvent(event)
        keep_room(self.what, (_HELP, PEN_HELP))

    def _help(self) -> None:
        self.what.setText(PEN_HELP if self._drawings.drawing in self.draw else _HELP)

    def _train(self) -> None:
        self._drawings.put_down()
        self._dock.bench.train(self._asked(), chosen_path(self.patches))
        QTimer.singleShot(0, lambda: self._dock.ensureWidgetVisible(self.progress, 0, 0))  # Pause and Cancel too, on a low screen

    def _asked(self) -> Config:
        return Config().replaced(**settings_of(self.epochs, self.form))

    def look_again(self) -> None:
        """Look whether a folder that would not do does by now."""
        if self._unfit:
            self._look_into_folder()

    def _look_into_folder(self) -> None:
        """Tell what a patch folder holds, by its table."""
        folder = chosen_path(self.patches)
        self._patches, self._unfit = "" if folder is None else "Looking into the folder …", False
        self._show()

        def found(patches: tuple[int, int, float | None] | Exception) -> None:
            if folder == chosen_path(self.patches):
                self._unfit = isinstance(patches, Exception)
                self._patches = escape(str(patches)) if isinstance(patches, Exception) else patches
                self._show()

        if folder is not None:
            self._dock.in_thread(lambda: count_patches(folder, Config().tiles.group_column), found, found)

    def _patches_told(self) -> str:
        folder, held = chosen_path(self.patches), self._patches
        if folder is None or isinstance(held, str):
            return "" if folder is None else str(held)
        told = f"Patches of {escape(folder.name)}: {held[0]:,} with and {held[1]:,} without tumour."
        mpp = float(self.form["tiles.mpp"].value)
        return told if held[2] is not None else f"{told} They do not tell their resolution: taken as {mpp:g} µm/px (Advanced)."

    def _one_kind_is_missing(self) -> bool:
        """Return whether it is known that there would be nothing to learn from of tumour, or of normal tissue."""
        folder, drawn, held = chosen_path(self.patches), self._tiles, self._patches
        if folder is not None and isinstance(held, str):
            return False
        if drawn is None and any(self._drawings.count(use, slide) for use in self.draw for slide in self._session.slides):
            return False
        of_folder = (0, 0) if folder is None or isinstance(held, str) else held[:2]
        return not all(one + other for one, other in zip(drawn or (0, 0), of_folder, strict=True))

    def _drawn(self) -> None:
        """Count the tiles anew, after the count that is at work if there is one."""
        self._tiles = None
        if self._at_work:
            self._stale = True
        else:
            self._count()
        self._show()

    def _count(self) -> None:
        counts = [count for slide in self._session.slides if (count := self._counter(slide)) is not None]
        self._stale, self._at_work = False, bool(counts)
        if counts:
            self._dock.in_thread(
                lambda: [count() for count in counts],
                lambda found: self._counted((sum(one for one, _ in found), sum(other for _, other in found))),
                lambda _: self._counted(None),  # a slide that went meanwhile; what else is wrong, training tells
            )

    def _counter(self, slide: Slide) -> Callable[[], tuple[int, int]] | None:
        """Return what counts the tiles of a slide, for a thread; None where nothing is drawn."""
        drawn = [
            Region(shape, classification=USES[use][1]) for use in self.draw if (shape := self._drawings.geometry(use, slide)) is not None
        ]
        if not drawn or slide.mpp is None:
            return None
        session, tiles, exclusion = self._session, self._asked().tiles, self._drawings.geometry("exclusion", slide)
        if slide is session.slide and session.tissue is not None:
            self._tissues[slide] = session.tissue

        def count() -> tuple[int, int]:
            if slide not in self._tissues:
                self._tissues[slide] = find_tissue(slide)
            return count_region_tiles(slide, self._tissues[slide], tiles, Regions(tuple(drawn)), exclusion)

        return count

    def _counted(self, tiles: tuple[int, int] | None) -> None:
        self._at_work = False
        if self._stale:
            self._count()
        else:
            self._tiles = tiles
        self._show()

    def _show(self) -> None:
        session, job, folder = self._session, self._session.job, chosen_path(self.patches)
        counts = {use: sum(self._drawings.count(use, slide) for slide in session.slides) for use in self.draw}
        slides = sum(any(self._drawings.count(use, slide) > 0 for use in self.draw) for slide in session.slides)
        both = all(counts.values()) or folder is not None
        for made in self.draw.values():
            made.setEnabled(session.slide is not None)
        lacking = "" if both else "regions of both kinds are needed, or a patch folder"
        if both and self._one_kind_is_missing():
            lacking = "tiles of one kind are missing"
            lacking += ": draw larger and on tissue, or take smaller tiles" if all(counts.values()) else " in the patch folder: draw some"
        lacking = lacking or ("nothing can be learned from the patch folder, as told above" if self._unfit else "")
        allow(self.train, lacking or at_work(job))
        if any(counts.values()):
            names = [f"{count} with" if use == "tumour" else f"{count} without" for use, count in counts.items()]
            elsewhere = slides and session.slide is not None and not any(self._drawings.count(use, session.slide) for use in self.draw)
            on = f" on {slides} slides" if slides > 1 else ", none of them on this slide" if elsewhere else ""
            missing = "" if both else "<br>Both kinds are needed."
            tiles = "" if self._tiles is None else f"<br>Tiles inside: {self._tiles[0]} with and {self._tiles[1]} without."
            if self._tiles is not None and any(count and not held for count, held in zip(counts.values(), self._tiles, strict=True)):
                tiles += " <b>Draw larger and on tissue, or take smaller tiles.</b>"
            elif self._tiles is not None and min(self._tiles) < _FEW:
                with_fewer = "with" if self._tiles[0] <= self._tiles[1] else "without"
                tiles += f" Few {with_fewer if max(self._tiles) >= _FEW else 'of both'}: draw more."
            both_of = "" if isinstance(self._patches, str) else " Both are learned from."
            patches = "" if folder is None else f"<br>{self._patches_told()}{both_of}"
            self.told.setText(f"Regions: {' and '.join(names)} tumour{on}.{tiles}{missing}{patches}")
        else:
            self.told.setText(self._patches_told() if folder is not None else "Nothing is drawn yet.")
        self.progress.update_job()
        if job is not None and job.act == "train" and job.state == "done" and job.out != self._taken:
            self._taken = job.out
            if session.shown is None:  # else what is seen would change
                session.look(threshold=Config().inference.threshold)  # another one was set for another network
            self._dock.choose(job.out, news=f"<b>{escape(job.out.name)}</b> is trained, and the model from now on.")
