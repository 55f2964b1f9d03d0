"""A verdict on a lesion that is taken back: the lesion is as if nobody had judged it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import shapely

from .lesions import verdicts_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.annotations.verdicts import Verdict

    from .mask import Source
    from .outlines import Outline


def taken_back(outline: Outline, verdicts: Sequence[Verdict], source: Source) -> list[Verdict]:
    """Return the verdicts but those said inside a lesion, or of a larger one of which it is a part; for a thread.

    A verdict on a larger lesion goes as a whole: its other parts are no longer judged either, unless something else was said of them.

    Parameters
    ----------
    outline : of the lesion, (x, y) in px of the mask
    verdicts : of its slide and of others, in order of time
    source : what it is a mask of
    """
    scale_y, scale_x = source.scale_yx
    shapely.prepare(outline.polygon)

    def holds(verdict: Verdict) -> bool:
        if verdict.slide != source.slide["name"]:
            return False
        inside = outline.polygon.intersects(shapely.Point(verdict.x / scale_x, verdict.y / scale_y))
        return bool(inside) or verdicts_on([outline], [verdict], source)[0] != [None]

    return [verdict for verdict in verdicts if not holds(verdict)]
