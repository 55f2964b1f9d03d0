"""The Export dock: write the mask that is shown for other programs."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from platformdirs import user_documents_path
from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QProgressBar

from napari_ifkd._plugin.settings import cache_folder
from napari_ifkd._plugin.words import LOOKING, accepted_mask, area, lapsed, points_undecided
from napari_ifkd.errors import Cancelled, ExportError, InputError
from napari_ifkd.export import ExportOptions
from napari_ifkd.files import read_json
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.hints import is_corrected
from napari_ifkd.runs.judgement import name_of

from .bring_in import BringIn
from .dock import Dock
from .export_options import FormatChoice, OptionsForm
from .parts import Fold, Notice, allow, button, heading, row, text

if TYPE_CHECKING:
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide

_TOLD_MS = 150  # between two looks at how far an export is


class ExportDock(Dock):
    """Write the mask of the prediction looked at."""

    holds = True

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.what = text("The mask that will be written: choose it in the Review or Distill dock, its threshold in the Teacher dock")
        self.warning = Notice()
        self.formats, self.options = FormatChoice(), OptionsForm()
        self.fold = Fold("Options", "Threshold, smallest lesion, simplification, resolution, version of OME-Zarr", self.options)
        self.folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            tooltip="Where the files go; it is made if need be, and files of the same name in it are replaced",
        )
        self.where = text("The folder in full")
        self.folder.choose_btn.text = "…"
        self.folder.choose_btn.tooltip = "Choose another folder"
        self.export = button(
            "Export mask", "Write the mask in the chosen formats, with a file that tells where it comes from", self._export, main=True
        )
        self.bar = QProgressBar()
        self.bar.setToolTip("How far the export is")
        self.cancel = button("Cancel", "Stop writing; no half file is left", self._cancel)
        self.at_work = row(self.bar, self.cancel, stretch=(1, 0))
        self.result = text("What was written")
        self.open_folder = button("Open folder", "Show the files in the system's file manager", self._open_folder)
        self.add(self.what, self.warning, heading("Formats"), self.formats, self.fold)
        asked = row(self.export, self.open_folder, stretch=(1, 0))  # where the second comes, nothing below moves
        self.add(heading("Folder"), self.folder.native, asked, self.where, self.at_work, self.result)
        self.bring_in = BringIn(self)
        self.bring_fold = Fold("Bring in", "Use what another program drew on this slide", self.bring_in)
        self.add(self.bring_fold)
        self.at_work.hide()
        self.open_folder.hide()
        self._busy = False
        self._stop = threading.Event()
        self._corrected = False  # whether what is shown was
        self._told = (0, 1)  # written by the thread, shown by the timer
        self._timer = QTimer(self)
        self._timer.setInterval(_TOLD_MS)
        self._timer.timeout.connect(self._show_progress)
        self._written: dict[Path, tuple[Path, str]] = {}  # of each prediction: into which folder, and what is told of it
        self._own: Path | None = None  # the folder that was proposed
        self.folder.changed.connect(self._show)
        self.formats.changed.connect(self._show)
        self.options.changed.connect(self._show)
        self.destroyed.connect(self._stop.set)
        self._usual = self.formats.value, self.options.value
        self.hear(self.bench.memory.recalled, self._recall)
        self._recall()
        self.listen("slide", "shown", "threshold", "sigma_px", "accepted", "a", "b", "compare", to=self._show)
        self.listen("slide", "shown", to=self._show_written)
        self.hear(self.bench.verdicts.settled_down, self._show)
        self.hear(self.bench.drawings.changed, self._show)
        self.hear(self.bench.judging.changed, self._show)
        self.listen("slide", "shown", to=self._look_for_corrections)
        self.hear(self.bench.corrected, self._look_for_corrections)
        self.listen("slide", to=lambda: self.formats.suit(self.session.slide))
        self.column.addStretch(1)

    def _recall(self) -> None:
        """Begin with the formats and options of the last export; what was set meanwhile stays."""
        asked = self.bench.memory.asked.get("export")
        if asked is not None and (self.formats.value, self.options.value) == self._usual:
            with suppress(KeyError, TypeError, ExportError):  # of another version
                self.formats.value, self.options.value = asked["formats"], ExportOptions(**asked["options"])

    def _look_for_corrections(self) -> None:
        shown = self.session.shown
        self._corrected = False

        def found(corrected: bool) -> None:
            if self.session.shown == shown and corrected:
                self._corrected = True
                self._show()

        if shown is not None:
            self.in_thread(lambda: is_corrected(RunFolder(shown.run), shown.slide), found, lambda _: None)

    def _show_written(self) -> None:
        """Tell what was written of the prediction that is looked at, if anything was."""
        shown = self.session.shown
        written = None if shown is None or self._busy else self._written.get(shown.path)
        self.result.setText("" if written is None else written[1])
        self.open_folder.setVisible(written is not None)

    def _show(self) -> None:
        session, shown = self.session, self.session.shown
        lacking = "there is no prediction on this slide yet" if shown is None else "" if self.formats.value else "no format is ticked"
        allow(self.export, "an export is at work" if self._busy else lacking)
        if shown is None:
            self.what.setText("No prediction on this slide yet." if session.slide is not None else "Open a slide first.")
            self.warning.say(None)
            if str(self.folder.value) == str(self._own):  # of another slide
                with self.folder.changed.blocked():
                    self.folder.line_edit.value = ""
            self._tell_folder()
            return
        threshold, part = self.options.threshold_or(session.threshold), ", a region of it" if shown.of_region else ""
        run = f", {shown.run.name}" if shown.act == "distill" else ""
        told = f"<b>{shown.label}</b>{escape(run)}, of {shown.slide}{part}<br>threshold {threshold:.3g}, smoothing {session.sigma_px:g} px"
        if session.alone not in (None, shown):
            told += f"<br><b>{escape(session.alone.label)} is what is seen, alone: it is not what is written.</b>"
        accepted, judging, of_it = session.accepted_of(shown), self.bench.judging, shown.run == session.run
        advice, under_way = judging.advice() if of_it else "", of_it and judging.under_way
        told += "<br>Judging the rounds by the answers …" if under_way else ""
        told += f"<br><b>{advice}.</b>" if advice and not judging.is_advised(shown.round, threshold, session.sigma_px) else ""
        if accepted is not None and not session.is_accepted(shown, threshold):
            told += f"<br>Accepted is another: {accepted_mask(accepted, session.sigma_px)}."
        elif accepted is not None:
            told += "<br>This is what was accepted."
        else:
            best = None if advice or under_way else session.recommended(shown)
            other = best is not None and shown.act == "distill" and best != shown.round
            said = f"The run recommends another: {name_of(best or 0)}."
            if of_it and judging.judgement is not None and judging.advised is None:
                told += f"<br>{said} {points_undecided(judging.judgement, best or 0)}" if other else ""
            else:
                told += f"<br><b>{said}</b>" if other else ""
            before = session.accepted_before()
            of_that = f"; of {escape(before[0].run.name)} {name_of(before[1].round)} is, at {before[1].threshold:.3g}" if before else ""
            told += f"<br>Nothing is accepted of it yet{of_that}."
        rejected = self.bench.verdicts.rejected(shown)
        told += f"<br>Without {rejected} rejected lesion{'s' * (rejected > 1)}." if rejected else ""
        unused = self.bench.verdicts.unused(shown)
        told += f"<br>{lapsed(unused)}" if unused else ""
        told += f"<br>{LOOKING}" if self.bench.verdicts.pending(shown) else ""
        told += "<br>As corrected." if self._corrected else ""
        left = 0 if session.slide is None else self.bench.drawings.count("exclusion", session.slide)
        told += f"<br>Without {left} excluded region{'s' * (left > 1)}." if left else ""
        self.what.setText(told)
        carried = [told for told in (session.outdated(shown), *shown.warnings[:1]) if told]
        self.warning.say(*carried, f"The files carry {'these warnings' if len(carried) > 1 else 'this warning'}." if carried else None)
        if str(self.folder.value) in ("", ".", str(self._own)) and session.slide is not None:
            self._own = _home_of(session.slide) / "masks" / shown.run.name  # so that no run writes over another's files
            with self.folder.changed.blocked():
                self.folder.value = self._own
        self._tell_folder()

    def _tell_folder(self) -> None:
        """Tell the folder in full: the line has room for its end only."""
        path = str(self.folder.value)
        self.folder.line_edit.native.setToolTip(f"{self.folder.tooltip}\n\n{path}")
        own, slide = path == str(self._own), self.session.slide
        where = "" if not own or slide is None else "Beside the slide: " if _is_beside(slide) else "Among your documents: "
        self.where.setText(f"{where}{escape(str(Path(path).absolute()))}" if path not in ("", ".") else "")

    def _export(self) -> None:
        from napari_ifkd.export import export_run

        session, shown, folder = self.session, self.session.shown, Path(str(self.folder.value))
        if shown is None:
            return
        try:
            self.bench.require_written()
        except InputError as error:
            self.say_error(error)
            return
        if not self._may_replace(shown, folder):
            return
        formats, options, threshold = self.formats.value, self.options.value, self.options.threshold_or(session.threshold)
        sigma_px, places = session.sigma_px, [slide.path for slide in session.slides]
        keep = (lambda: None) if session.slide is None else self.bench.drawings.keeper(session.slide)
        stop, old = self._stop, session.outdated(shown)

        def tell(done: int, total: int) -> None:
            self._told = (done, total)

        self.bench.memory.note_asked({"export": {"formats": formats, "options": asdict(options)}})
        self._written.pop(shown.path, None)
        self._begin()

        def done(written: list[Path]) -> None:
            folder = written[0].parent
            lines = [f"Written to {escape(str(folder))} at {datetime.now():%H:%M:%S}:", *(f"• {path.name}" for path in written)]
            self._written[shown.path] = folder, "<br>".join([*lines, *_of_person(written)])
            self._end()

        def failed(error: Exception) -> None:
            self._end()
            if not isinstance(error, Cancelled):
                self.say_error(error)
            elif self.session.shown == shown:
                self.result.setText("Cancelled; nothing half is left.")

        self.in_thread(
            lambda: export_run(
                shown.path,
                formats,
                folder,
                round=shown.round,
                threshold=threshold,
                sigma_px=sigma_px,
                options=options,
                slides=places,
                exclude=[path for path in (keep(),) if path is not None],
                warnings=[old] if old else [],
                should_stop=stop.is_set,
                progress=tell,
            ),
            done,
            failed,
        )

    def _may_replace(self, shown: Candidate, folder: Path) -> bool:
        """Ask, where files of the same name are there that were made of another prediction, or at another threshold."""
        stem = f"{Path(shown.slide).stem}_round{shown.round}"
        there = read_json(folder / f"{stem}.provenance.json") or {}
        now = shown.found.attributes.get("created"), self.options.threshold_or(self.session.threshold)
        made = (there.get("prediction") or {}).get("created"), there.get("threshold")
        if not there or made == now:
            return True
        other = f"at threshold {made[1]:.3g}" if made[0] == now[0] and isinstance(made[1], float) else "of another run"
        question = f"{folder.name} has files called {stem}, made {other}. Replace them?"
        return self.sure(question, "Or cancel, and choose another folder.", "Replace")

    def _begin(self) -> None:
        self._busy = True
        self._stop.clear()
        self._told = (0, 1)
        self.result.setText("")
        self.open_folder.hide()
        self.cancel.setEnabled(True)
        self._show_progress()
        self.at_work.show()
        self._timer.start()
        self._show()

    def _show_progress(self) -> None:
        done, total = self._told
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(min(done, total))

    def _cancel(self) -> None:
        self._stop.set()
        self.cancel.setEnabled(False)

    def _end(self) -> None:
        self._busy = False
        self._timer.stop()
        self.at_work.hide()
        self._show_written()
        self._show()

    def _open_folder(self) -> None:
        shown = self.session.shown
        written = None if shown is None else self._written.get(shown.path)
        if written is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(written[0]))):
            self.say_error(f"No file manager could be started. The files are in {written[0]}")


_ROUNDING = 0.03  # of an area on one grid that is counted on another


def _home_of(slide: Slide) -> Path:
    """Return where to write what is of a slide: beside it; of a sample among the user's documents, for that lies where nobody looks."""
    return slide.path.absolute().parent if _is_beside(slide) else user_documents_path() / "napari-ifkd"


def _is_beside(slide: Slide) -> bool:
    return not slide.path.absolute().is_relative_to(cache_folder())


def _of_person(written: list[Path]) -> list[str]:
    """Say what the files hold of what a person said, as their provenance tells."""
    facts: dict[str, Any] = next((read_json(path) or {} for path in written if path.name.endswith(".provenance.json")), {})
    verdicts, small, excluded = facts.get("verdicts", {}), facts.get("smaller_left_out", 0), facts.get("excluded_mm2", 0)
    rejected, of_it = verdicts.get("reject", 0), verdicts.get("reject_mm2", 0)
    parts = [f"{rejected} rejected lesion{'s' * (rejected > 1)} ({area(of_it)})"] * bool(rejected)
    parts += [f"{small:,} smaller than asked for"] * bool(small) + [f"{area(excluded)} excluded"] * bool(excluded)
    corrected = facts.get("corrections") or {}
    tumour, normal = (corrected.get(f"{kind}_mm2", 0) for kind in ("tumour", "normal"))
    lost = tumour - corrected.get("tumour_in_mask_mm2", tumour)
    painted = [f"{area(tumour)} tumour"] * bool(tumour) + [f"{area(normal)} normal"] * bool(normal)
    if lost > _ROUNDING * tumour:
        reasons = (
            ["lesions that were rejected"] * bool(rejected)
            + ["such as are too small"] * bool(small)
            + ["what is excluded"] * bool(excluded)
        )
        painted[0] += f" (⚠ {area(lost)} of it is left out with {' or '.join(reasons) or 'its lesion'})"
    lesions, covered = facts.get("lesions"), facts.get("mask_mm2")
    of = "" if lesions is None else f" in {lesions:,} lesion{'s' * (lesions != 1)}"
    said = [f"The mask covers {area(covered)}{of}."] if covered else []
    said += [f"Corrected as painted: {' and '.join(painted)}."] if painted else []
    if facts.get("lesions") == 0:
        said.append("⚠ The mask is empty.")
    said += [f"Left out: {' and '.join(parts)}."] if parts else []
    unused = verdicts.get("of_no_lesion", 0)
    if unused:
        said.append(lapsed(unused))
    return said
