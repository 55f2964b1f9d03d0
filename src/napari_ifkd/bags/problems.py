"""Telling all problems of some input at once, yet not thousands of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.errors import BagError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LISTED = 8  # one by one; the rest are counted


def raise_all(what: str | Path, problems: Sequence[str], remedy: str) -> None:
    """Raise one BagError that tells all problems; do nothing where there are none.

    Parameters
    ----------
    what : the thing at fault
    problems : each a clause without a full stop
    remedy : what the user can do about them

    Raises
    ------
    BagError
        If there are problems.
    """
    if not problems:
        return
    more = len(problems) - _LISTED
    raise BagError(what, "; ".join(problems[:_LISTED]) + (f"; and {more} more" if more > 0 else ""), remedy)
