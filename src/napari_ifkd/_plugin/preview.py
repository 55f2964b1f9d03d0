"""A quick look at what the window shows: asked of a process that stays ready, and drawn as it comes."""

from __future__ import annotations

import atexit
import subprocess
import sys
import threading
from contextlib import suppress
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
    from napari_ifkd.slides import Slide

    from .drawn import Drawings
    from .layer_view import LayerView


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
        self._number = 0
        self._shown: tuple[int, FieldPart] | None = None  # number of the request, and what is drawn
        self._came.connect(self._take)
        for name in ("threshold", "sigma_px"):
            session.events[name].connect(self._remask)
        session.events.slide.connect(self._gone)
        session.events.candidates.connect(self._gone)

    def close(self) -> None:
        """Let the process end."""
        self._number += 1
        if self._child is not None:
            _end(self._child)
            self._child = None

    @property
    def busy(self) -> bool:
        """Whether parts of the field are still to come."""
        return self.state.endswith("…")

    def look(self) -> None:
        """Ask for the field that is seen now; one that is still on its way is given up."""
        slide, teacher = self.session.slide, self.session.teacher
        if slide is None or teacher is None or slide.mpp is None:
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
        if number != self._number:
            return
        child = self._child
        if child is None or child.poll() is not None:
            child = self._child = _start()
            threading.Thread(target=self._listen, args=(child,), daemon=True, name="preview").start()
        override = slide.mpp if slide.mpp_source == "override" else None
        request = Request(number, str(slide.path), str(teacher.path), box, override, None if exclude is None else str(exclude), device())
        assert child.stdin is not None
        send(child.stdin, request)

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with suppress(ValueError, RuntimeError):  # killed amid an answer, or the window is gone
            for number, said in answers(child.stdout):
                self._came.emit(number, said)
        child.wait()

    def _take(self, number: int, said: FieldPart | str | None) -> None:
        if number != self._number:
            return
        slide = self.session.slide
        if isinstance(said, str):
            self._failed(said)
        elif said is None or slide is None:
            self._say("This is a preview of the field; <i>Predict</i> makes the map of the slide.")
        else:
            self._draw(slide, number, said)
            self._say("Coarse; looking closer …" if said.coarse else "Looking …")

    def _failed(self, error: object) -> None:
        self._say("")
        say_error(error)

    def _say(self, state: str) -> None:
        self.state = state
        self.told.emit()

    # --- layers

    def _draw(self, slide: Slide, number: int, part: FieldPart) -> None:
        if self._shown is not None and self._shown[0] == number:  # the first of a request stands alone, the others refine it
            part = _laid_upon(self._shown[1], part)
        self._shown = number, part
        options = _place(slide, part)
        heat, mask = (next(self.layers.ours(kind), None) for kind in ("preview heat", "preview mask"))
        if heat is None or mask is None:
            self._remove()
            selected = self.viewer.layers.selection.active
            look = {**made.heat_look(self.session.opacity), "multiscale": False}
            self.viewer.add_image(
                part.values, name="Preview", metadata={made.KEY: {"kind": "preview heat", "path": str(slide.path)}}, **look, **options
            )
            outline = self.viewer.add_labels(
                self._mask(part),
                name="Preview · mask",
                metadata={made.KEY: {"kind": "preview mask", "path": str(slide.path)}},
                colormap=made.label_colours({1: TEACHER}),
                **options,
            )
            outline.contour = 2
            self.viewer.layers.selection.active = selected
            return
        for layer, data in ((heat, part.values), (mask, self._mask(part))):
            layer.data = data
            layer.scale, layer.translate = options["scale"], options["translate"]

    def _mask(self, part: FieldPart) -> NDArray[np.uint8]:
        probability = smooth_window(part.values, self.session.sigma_px)
        return ((probability >= self.session.threshold) & (part.values > 0)).astype(np.uint8)

    def _remask(self, _: object) -> None:
        mask = next(self.layers.ours("preview mask"), None)
        if mask is not None and self._shown is not None:
            mask.data = self._mask(self._shown[1])

    def _gone(self, _: object) -> None:
        """Take the preview away: another slide is looked at, or a prediction tells more."""
        self._number += 1
        self._shown = None
        self._remove()
        self._say("")

    def _remove(self) -> None:
        for layer in list(self.layers.ours("preview heat", "preview mask")):
            self.viewer.layers.remove(layer)


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
    return FieldPart(values, (origin[0], origin[1]), part.scale_yx, part.coarse)


def _start() -> subprocess.Popen[bytes]:
    """Start the process; it works beside the window, at a lower priority, and ends with its stdin."""
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
