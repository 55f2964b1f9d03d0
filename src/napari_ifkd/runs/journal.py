"""The journal of a run: one event a line, appended and flushed; a torn last line is ignored."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_ifkd.events import Event, Progress, from_record, to_record
from napari_ifkd.files import naming, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRESS = b'"event": "Progress"'  # as append writes it; within a text its quotes would be escaped


class Journal:
    """Append to, read and follow a journal file.

    Parameters
    ----------
    path : the ``journal.jsonl``; it need not exist yet
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = False  # whether we know that the last line is

    def append(self, event: Event) -> None:
        """Add an event with the time (UTC, ISO 8601), flushed; all but progress is also forced to disk.

        Raises
        ------
        OSError
            If it cannot be written; it names the file. What part of the event came to stand there is ignored.
        """
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **to_record(event)}
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        new = not self.path.exists()
        with naming(self.path):
            if not self._whole:
                self._cut_torn_line()
            self._whole = False
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                if not isinstance(event, Progress):
                    os.fsync(file.fileno())
            if new:
                sync(self.path.parent)
            self._whole = True

    def _cut_torn_line(self) -> None:
        # a line of a killed writer would swallow the event that follows it
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open("r+b") as file:
                text = file.read()
                if not text.endswith(b"\n"):
                    file.truncate(text.rfind(b"\n") + 1)

    def records(self, start: int = 0, *, progress: bool = True) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each complete record from byte `start` on, with the byte where the next one starts; unreadable lines are skipped.

        Parameters
        ----------
        start : byte, where a line starts
        progress : progress too. It is nearly all of a long journal, and leaving it out some twenty times as quick as reading it
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):  # torn, or being written
                    return
                start += len(line)
                if not progress and _PROGRESS in line:
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record, start

    def events(self, start: int = 0, *, progress: bool = True) -> Iterator[tuple[Event, int]]:
        """Yield each event from byte `start` on, with the byte where the next one starts; unknown kinds are kept. See :meth:`records`."""
        for record, position in self.records(start, progress=progress):
            yield from_record(record), position

    def size(self) -> int:
        """Return the length in bytes, 0 where there is no journal."""
        return self.path.stat().st_size if self.path.exists() else 0
