"""``accepted.json``: the user's judgement of a run; ``taken_back.json``: what evidence had chosen and the user did not want."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from napari_ifkd.files import read_json, write_aside

if TYPE_CHECKING:
    from pathlib import Path


_SAME_SIGMA = 0.005  # px: as it is told
_MOST = 20  # judgements that can be taken back


@dataclass(frozen=True, slots=True)
class Accepted:
    """Which round of a run is the one to use, and from which probability a pixel of it is tumour.

    Attributes
    ----------
    round, threshold : of its mask
    by : "user", or the evidence that decided: "reference", "points"
    time : UTC, ISO 8601
    reason : one sentence for a person; the user gives none
    sigma_px : smoothing of the mask that was looked at or judged, px of the map; None in runs of earlier versions
    before : what was accepted until then
    """

    round: int
    threshold: float
    by: str
    time: str
    reason: str = ""
    sigma_px: float | None = None
    before: Accepted | None = field(default=None, compare=False, repr=False)

    def is_mask(self, round: int, threshold: float, sigma_px: float) -> bool:
        """Return whether it is the mask of a round, at a threshold and smoothing."""
        return (self.round, self.threshold) == (round, threshold) and same_smoothing(self.sigma_px, sigma_px)

    def record(self) -> dict[str, Any]:
        """Return it ready for JSON, without what was accepted before."""
        return {name: value for name, value in asdict(self).items() if name != "before"}


def same_smoothing(one: float | None, other: float) -> bool:
    """Return whether two masks are smoothed alike, px of the map, as far as it is told; None is whichever."""
    return one is None or abs(one - other) < _SAME_SIGMA


def read_accepted(path: Path) -> Accepted | None:
    """Return what was accepted, None where nothing that can be read was."""
    return _accepted(read_json(path))


def write_accepted(
    path: Path, round: int, threshold: float, by: str, reason: str = "", sigma_px: float | None = None, before: Accepted | None = None
) -> Accepted:
    """Write what is accepted, as of now."""
    accepted = Accepted(round, threshold, by, datetime.now(UTC).isoformat(timespec="seconds"), reason, sigma_px, before)
    _write(path, accepted)
    return accepted


def take_back(path: Path, refused: Path) -> Accepted | None:
    """Let what was accepted before be accepted again, and return it; None where nothing was: then nothing is.

    Parameters
    ----------
    path : of accepted.json
    refused : of taken_back.json, where it is noted what evidence had chosen
    """
    there = read_accepted(path)
    before = None if there is None else there.before
    if there is not None and there.by != "user":
        told = [one.record() for one in (*read_refused(refused), there)]
        write_aside(refused, json.dumps({"taken_back": told[-_MOST:]}, indent=2) + "\n")
    if before is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, before)
    return before


def read_refused(path: Path) -> list[Accepted]:
    """Return what evidence had chosen and the user took back, as far as it can be read."""
    told = (read_json(path) or {}).get("taken_back")
    found = [_accepted(one) for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return [one for one in found if one is not None]


def _write(path: Path, accepted: Accepted) -> None:
    line: list[Accepted] = []
    each: Accepted | None = accepted
    while each is not None and len(line) < _MOST:
        line.append(each)
        each = each.before
    data: dict[str, Any] | None = None
    for each in reversed(line):
        data = {**each.record(), **({} if data is None else {"before": data})}
    write_aside(path, json.dumps(data, indent=2) + "\n")


def _accepted(data: dict[str, Any] | None) -> Accepted | None:
    if not data:
        return None
    try:
        return replace(Accepted(**{**data, "before": None}), before=_accepted(data.get("before")))
    except (TypeError, AttributeError, RecursionError):
        return None
