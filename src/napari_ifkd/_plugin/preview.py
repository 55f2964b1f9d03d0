"""A quick look at what the window shows: asked of a process that stays ready, and drawn as it comes."""

from __future__ import annotations

import atexit
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal as Told
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined] # qtpy makes it of what there is

from napari_ifkd.inference.field_part import FieldPart
from napari_ifkd.inference.pseudo_mask import smooth_window
from napari_ifkd.runs.preview import Request, answers, send

from . import layers as made
from .look import field_px
from .palette import TEACHER
from .settings import device
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.runs.resolve import Resolved
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide

    from .drawn import Drawings
    from .layer_view import LayerView


_DONE = "This is a preview of the field; <i>Predict</i> maps what the Slide dock chooses."
_COARSE = "<b>Coarse only</b>: so large a field is seen from afar, and may look otherwise close up. Zoom in and press W, or <i>Predict</i>."
_ENDED = "the preview has ended unexpectedly. Preview again; where it ends again, free memory or look at a smaller field"


@dataclass(frozen=True, eq=False)
class _Picture:
    """What is seen of a field by now: the probability, and the mask at a threshold and a smoothing."""

    part: FieldPart
    mask: NDArray[np.uint8]
    look: tuple[float, float]


class Previewer(QObject):
    """Preview the visible field with the chosen teacher.

    Parameters
    ----------
    viewer : napari's viewer
    session : what is open and chosen
    layers : finds layers of ours
    drawings : what is excluded

    Attributes
    ----------
    state : what to tell the user: "" before the first, then what is going on
    """

    told = Told()
    _came = Signal(int, object)

    def __init__(self, viewer: Any, session: Session, layers: LayerView, drawings: Drawings) -> None:
        super().__init__()
        self.viewer, self.session, self.layers, self.drawings = viewer, session, layers, drawings
        self.state = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._number = 0
        self._shown: _Picture | None = None
        self._came.connect(self._take)
        for name in ("threshold", "sigma_px"):
            session.events[name].connect(self._remask, max_args=0)
        for name in ("heat", "opacity"):
            session.events[name].connect(self._dress, max_args=0)
        session.events.slide.connect(self._turn)
        self._here: tuple[Candidate, ...] = ()  # predictions on the active slide
        session.events.candidates.connect(self._predicted)

    def close(self) -> None:
        """Let the process end."""
        self._number += 1
        child, self._child = self._child, None
        if child is not None:
            _end(child)

    @property
    def busy(self) -> bool:
        """Whether parts of the field are still to come."""
        return self.state.endswith("…")

    def look(self) -> None:
        """Ask for the field that is seen now; one that is still on its way is given up."""
        slide, teacher = self.session.slide, self.session.teacher
        if slide is None or teacher is None or slide.mpp is None:
            return
        if self.layers.blind:
            self._say("Not while points are counted.")
            return
        self._number += 1
        self._say("Loading the network …" if self._child is None else "Looking …")
        asked, box, keep = self._number, field_px(slide, self.viewer), self.drawings.keeper(slide)
        in_thread(lambda: self._ask(asked, slide, teacher, box, keep), _nothing, self._failed)

    def _ask(
        self, number: int, slide: Slide, teacher: Resolved, box: tuple[float, float, float, float], keep: Callable[[], Path | None]
    ) -> None:
        """Send a request; in a thread: the process may have to be started."""
        exclude = keep()
        override = slide.mpp if slide.mpp_source == "override" else None
        request = Request(number, str(slide.path), str(teacher.path), box, override, None if exclude is None else str(exclude), device())
        with self._starting:
            if number != self._number:
                return
            child = self._child
            if child is None or child.poll() is not None:
                child = self._child = _start()
                threading.Thread(target=self._listen, args=(child,), daemon=True, name="preview").start()
            assert child.stdin is not None
            with suppress(OSError):  # it just ended: who listens to it says so
                send(child.stdin, request)

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Make pictures of what the process answers; in a thread, to the end of the process."""
        assert child.stdout is not None
        last, picture = 0, None
        with suppress(RuntimeError), child.stdout:  # the window is gone
            with suppress(ValueError):  # killed amid an answer
                for number, said in answers(child.stdout):
                    told: object = said
                    if isinstance(said, FieldPart):  # the first of a request stands alone, the others refine it
                        try:
                            part = _laid_upon(picture.part, said) if picture is not None and number == last else said
                            last, picture = number, self._pictured(part)
                            told = picture
                        except (ValueError, MemoryError) as error:
                            told = f"the preview cannot be shown ({type(error).__name__}: {error}). Preview a smaller field"
                    self._came.emit(number, told)
            child.wait()
            if child is self._child and self.busy:
                self._came.emit(self._number, _ENDED)

    def _pictured(self, part: FieldPart) -> _Picture:
        threshold, sigma_px = self._look
        probability = smooth_window(part.values, sigma_px)
        return _Picture(part, ((probability >= threshold) & (part.values > 0)).astype(np.uint8), (threshold, sigma_px))

    @property
    def _look(self) -> tuple[float, float]:
        return self.session.threshold, self.session.sigma_px

    def _take(self, number: int, said: _Picture | str | None) -> None:
        if number != self._number:
            return
        if self.layers.blind:  # points are counted by now
            self._gone(None)
            return
        slide = self.session.slide
        if isinstance(said, str):
            self._failed(said)
        elif said is None or slide is None:
            self._say(_COARSE if self._shown is not None and self._shown.part.coarse else self._done)
        else:
            self._draw(slide, said)
            self._say(_state(said.part))

    def _failed(self, error: object) -> None:
        self._say("")
        say_error(error, "Teacher")

    def _say(self, state: str) -> None:
        self.state = state
        self.told.emit()

    @property
    def _done(self) -> str:
        return _DONE if self.session.shown is None else f"{_DONE} Masks of predictions are outlined meanwhile."

    # --- layers

    def _draw(self, slide: Slide, picture: _Picture) -> None:
        self._shown = picture
        values, mask, options = picture.part.values, picture.mask, _place(slide, picture.part)
        layers = [layer for kind in ("preview heat", "preview mask") for layer in self.layers.ours(kind)]
        if len(layers) != 2:  # the user may have deleted one
            self._remove()
            self._add(slide, values, mask, options)
        else:
            for layer, data in zip(layers, (values, mask), strict=True):
                layer.data = data
                layer.scale, layer.translate = options["scale"], options["translate"]
        if picture.look != self._look:  # it was set otherwise meanwhile
            self._remask()

    def _add(self, slide: Slide, values: NDArray[np.uint8], mask: NDArray[np.uint8], options: dict[str, Any]) -> None:
        selected = self.viewer.layers.selection.active
        tags = [{made.KEY: {"kind": kind, "path": str(slide.path)}} for kind in ("preview heat", "preview mask")]
        look = {**made.heat_look(self.session.opacity), "multiscale": False}
        self.viewer.add_image(values, name="Preview", metadata=tags[0], **look, **options)
        colours = made.label_colours({1: TEACHER})
        self.viewer.add_labels(mask, name="Preview · mask", metadata=tags[1], colormap=colours, **options)
        self.viewer.layers.selection.active = selected
        self._dress()

    def _dress(self) -> None:
        """Let the preview look as a prediction would: the mask, and where asked for the heat map below its outline."""
        for layer in self.layers.ours("preview heat"):
            layer.visible, layer.opacity = self.session.heat and not self.layers.blind, self.session.opacity
        for layer in self.layers.ours("preview mask"):
            layer.contour, layer.opacity = (2, 1.0) if self.session.heat else (0, self.session.opacity)

    def _remask(self) -> None:
        """Make the mask anew, as the session says by now."""
        shown = self._shown
        if shown is None:
            return

        def done(picture: _Picture) -> None:
            mask = next(self.layers.ours("preview mask"), None)
            if mask is not None and self._shown is shown and picture.look == self._look:
                self._shown, mask.data = picture, picture.mask

        in_thread(lambda: self._pictured(shown.part), done)

    def _turn(self, _: object) -> None:
        self._here = self.session.here()
        self._gone(None)

    def _predicted(self, _: object) -> None:
        here = self.session.here()
        if here != self._here:  # else they came, or went, on another slide
            self._here = here
            if here:
                self._gone(None)

    def _gone(self, _: object) -> None:
        """Take the preview away: another slide is looked at, or a prediction tells more."""
        self._number += 1
        self._shown = None
        self._remove()
        self._say("")

    def _remove(self) -> None:
        for layer in list(self.layers.ours("preview heat", "preview mask")):
            self.viewer.layers.remove(layer)


def _state(part: FieldPart) -> str:
    """Say what a preview is at, by the part that came last."""
    if not part.to_come:
        return "Looking …"
    parts = f"{part.to_come} {'finer ' * part.coarse}part{'s' * (part.to_come > 1)}"
    return f"{'Coarse so far: ' if part.coarse else 'Looking closer: '}{parts} to come. Press W again to begin where you look then."


def _place(slide: Slide, part: FieldPart) -> dict[str, Any]:
    """Return where a part lies in the viewer."""
    place = made.placement(slide.mpp, part.scale_yx)
    corner = tuple(t + o * s for t, o, s in zip(place["translate"], part.origin_yx, place["scale"], strict=True))
    return {**place, "translate": corner}


def _laid_upon(below: FieldPart, part: FieldPart) -> FieldPart:
    """Lay a part upon what is shown, on the part's own grid."""
    step = [own / there for own, there in zip(part.scale_yx, below.scale_yx, strict=True)]
    origin = [round(o / s) for o, s in zip(below.origin_yx, step, strict=True)]
    rows, columns = (
        np.minimum(((np.arange(max(1, round(n / s))) + 0.5) * s).astype(int), n - 1) for n, s in zip(below.values.shape, step, strict=True)
    )
    values = below.values[np.ix_(rows, columns)]
    y, x = (part.origin_yx[0] - origin[0], part.origin_yx[1] - origin[1])
    top, left = max(0, y), max(0, x)
    window = values[top : y + part.values.shape[0], left : x + part.values.shape[1]]
    window[:] = part.values[top - y : top - y + window.shape[0], left - x : left - x + window.shape[1]]
    return replace(part, values=values, origin_yx=(origin[0], origin[1]))


def _start() -> subprocess.Popen[bytes]:
    """Start the process; it works beside the window, and ends with its stdin."""
    child = subprocess.Popen(
        [sys.executable, "-m", "napari_ifkd.runs.preview"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(_end, child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if child.stdin is not None:
            child.stdin.close()


def _nothing(_: object) -> None:
    return
