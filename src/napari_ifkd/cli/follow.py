"""Driving a run in the process of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.errors import Cancelled
from napari_ifkd.events import Event, RunCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def follow(make: Callable[[Callable[[], bool]], Generator[Event, None, None]]) -> None:
    """Drive a run in this process to its end, stopping on SIGINT and SIGTERM."""
    from napari_ifkd.console import show
    from napari_ifkd.runs.allocator import keep_freed_memory
    from napari_ifkd.runs.stop import stop_on_signals

    keep_freed_memory()
    with stop_on_signals() as should_stop:
        last = show(make(should_stop))
    if isinstance(last, RunCancelled):
        raise Cancelled
