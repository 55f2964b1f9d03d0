"""``python -m napari_ifkd._plugin [DEMO | SLIDE | RUN]``: napari with the docks, and what was named opened."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .bench import Bench, bench_of
from .docks import add_docks


def build(path: Path | None = None, *, show: bool = True) -> tuple[Any, Bench]:
    """Return a viewer with the docks, and its bench.

    Parameters
    ----------
    path : a folder made by ``napari-ifkd demo``, a slide, or a run folder; None opens nothing
    show : whether the window appears
    """
    import napari

    viewer = napari.Viewer(title="napari-ifkd", show=show)
    bench = bench_of(viewer)
    add_docks(viewer)
    if path is not None:
        bench.open(path)
    return viewer, bench


def main(arguments: list[str]) -> int:
    """Open the window and wait until it is closed."""
    import napari

    path = Path(arguments[0]) if arguments else None
    _keep = build(path)
    napari.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
