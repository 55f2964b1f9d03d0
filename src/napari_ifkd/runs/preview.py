"""Quick looks at fields of a slide, in a process of their own that stays ready: ``python -m napari_ifkd.runs.preview``.

The window must not load torch's compiler next to its OpenGL, nor wait for a network. Requests are lines of JSON on stdin, of which the last
one counts; answers are a line of JSON each on stdout, and as many bytes as it says. It ends with its stdin, or when nobody asks for long.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import Cancelled, InputError
from napari_ifkd.inference.field_part import FieldPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IDLE_S = 900.0


@dataclass(frozen=True)
class Request:
    """A field to be looked at.

    Parameters
    ----------
    number : rises with every request
    slide, mpp : file, and the resolution that overrides it, um/px
    model : weights file
    box : left, top, right, bottom, level-0 px
    exclude : file of what is excluded
    device : where to work
    """

    number: int
    slide: str
    model: str
    box: tuple[float, float, float, float]
    mpp: float | None = None
    exclude: str | None = None
    device: str = "auto"


def send(stream: IO[bytes], request: Request) -> None:
    """Ask; an earlier request that is not answered yet is given up."""
    stream.write(json.dumps(asdict(request)).encode() + b"\n")
    stream.flush()


def answers(stream: IO[bytes]) -> Iterator[tuple[int, FieldPart | str | None]]:
    """Yield what the process answers: the number of the request, and a part of the field, an error in words, or None at its end."""
    while line := stream.readline():
        head = json.loads(line)
        if "error" in head:
            yield head["number"], str(head["error"])
        elif "shape" in head:
            height, width = head["shape"]
            values = np.frombuffer(stream.read(height * width), np.uint8).reshape(height, width)
            yield head["number"], FieldPart(values, tuple(head["origin_yx"]), tuple(head["scale_yx"]), head["coarse"], head["to_come"])
        else:
            yield head["number"], None


class _Server:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._asked: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._last = 0
        self._ready: tuple[tuple[object, ...], Any] | None = None

    def read(self, stream: IO[bytes]) -> None:
        for line in stream:
            data = json.loads(line)
            request = Request(**{**data, "box": tuple(data["box"])})
            self._last = request.number
            self._asked.put(request)
        self._asked.put(None)

    def serve(self) -> None:
        while True:
            try:
                request = self._asked.get(timeout=_IDLE_S)
            except queue.Empty:
                return
            if request is None:
                return
            if request.number != self._last:
                continue
            try:
                self._answer(request, partial(self._stale, request.number))
                self._say({"number": request.number})
            except Cancelled:
                continue
            except InputError as error:
                self._say({"number": request.number, "error": str(error)})
            except Exception as error:  # noqa: BLE001 - told in the window; the next request may fare better
                self._say({"number": request.number, "error": f"the preview failed ({type(error).__name__}: {str(error)[:200]})"})

    def _stale(self, number: int) -> bool:
        return number != self._last

    def _answer(self, request: Request, should_stop: Callable[[], bool]) -> None:
        from .regions import all_of

        field = self._field(request)
        exclusion = None if request.exclude is None else all_of(request.exclude, field.slide)
        for part in field.parts(request.box, exclusion, should_stop):
            head = {name: getattr(part, name) for name in ("origin_yx", "scale_yx", "coarse", "to_come")}
            self._say({"number": request.number, "shape": part.values.shape, **head}, part.values.tobytes())

    def _field(self, request: Request) -> Any:
        from napari_ifkd.config import Config
        from napari_ifkd.inference.field import FieldPredictor
        from napari_ifkd.models import load_model
        from napari_ifkd.slides import open_slide

        wanted = request.slide, request.mpp, request.model, request.device, Path(request.model).stat().st_mtime_ns
        if self._ready is None or self._ready[0] != wanted:
            if self._ready is not None:
                self._ready[1].slide.close()
            self._ready = None
            model, card = load_model(Path(request.model))
            config = Config().replaced(device=request.device)
            self._ready = wanted, FieldPredictor(open_slide(request.slide, request.mpp), model, card, config)
        return self._ready[1]

    def _say(self, head: dict[str, Any], body: bytes = b"") -> None:
        self._out.write(json.dumps(head).encode() + b"\n" + body)
        self._out.flush()


def main() -> None:
    """Answer until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints must not come between the answers
    server = _Server(out)
    threading.Thread(target=server.read, args=(sys.stdin.buffer,), daemon=True).start()
    with suppress(BrokenPipeError):  # the window is gone
        server.serve()
    os._exit(0)  # without waiting for threads that read a slide


if __name__ == "__main__":
    main()
