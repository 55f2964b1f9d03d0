"""``accepted.json``: the user's judgement of a run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_ifkd.files import read_json, write_aside

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which round of a run is the one to use, and from which probability a pixel of it is tumour."""

    round: int
    threshold: float
    by: str  # "user", or the evidence that decided: "reference", "points"
    time: str  # UTC, ISO 8601
    reason: str = ""  # one sentence for a person; the user gives none


def read_accepted(path: Path) -> Accepted | None:
    """Return what was accepted, None where nothing that can be read was."""
    data = read_json(path)
    try:
        return Accepted(**data) if data else None
    except TypeError:
        return None


def write_accepted(path: Path, round: int, threshold: float, by: str, reason: str = "") -> Accepted:
    """Write what is accepted, as of now."""
    accepted = Accepted(round, threshold, by, datetime.now(UTC).isoformat(timespec="seconds"), reason)
    write_aside(path, json.dumps(asdict(accepted), indent=2) + "\n")
    return accepted
