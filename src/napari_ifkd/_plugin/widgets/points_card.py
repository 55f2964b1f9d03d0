"""The card of a point count: what the answers say of each round, and which to accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.judgement import Judgement, RoundFigures

_LOOSE = 0.4  # width of an interval of F1 from which it tells little
_COLUMNS = 3  # rounds that the card has room for


def points_card(judgement: Judgement | None, pair: tuple[int, ...], notes: list[str], sigma_px: float | None = None) -> str:
    """Return the card, as rich text.

    Parameters
    ----------
    judgement : None where nothing can judge
    pair : rounds of A and B, which are told of where there is no room for all
    notes : warnings to begin with
    sigma_px : smoothing of the masks that are judged, px of the map; None where it is the one that is set
    """
    from napari_ifkd.runs.judgement import TOLD_BY, about

    said = [f"<span style='color:#E69F00'>⚠</span> {note}" for note in notes]
    if judgement is None:
        return "<br>".join([*said, "No answer can judge."])
    told_of = judgement.rounds if len(judgement.rounds) <= _COLUMNS else [f for f in judgement.rounds if f.round in (pair or (0,))]
    shown = list(told_of if judgement.chosen in told_of else [*told_of, judgement.chosen])
    rows = [
        ("", *(f"<b>{'Teacher' if f.round == 0 else f'Round&nbsp;{f.round}'}</b>" for f in shown)),
        ("F1", *(_interval(f.f1) for f in shown)),
        ("Precision", *(_interval(f.precision) for f in shown)),
        ("Recall", *(_interval(f.recall) for f in shown)),
        *([("Threshold", *(f"{f.threshold.value:.3g}" for f in shown))] if judgement.decides else []),  # else nobody should take one
        ("mm²", *(_area(f) for f in shown)),
    ]
    table = "".join("<tr>" + "".join(f"<td style='padding-right:7px'>{cell}</td>" for cell in line) + "</tr>" for line in rows)
    tumour = judgement.tumour_mm2
    areas = None if tumour is None else [about(area) for area in (tumour.value, tumour.low, tumour.high)]
    truly = f"<br>Tumour by the points: ≈ {areas[0]} mm² ({areas[1]} to {areas[2]})" if areas is not None else ""
    head = (
        f"<b>Accept {judgement.chosen.name}</b> at threshold {judgement.chosen.threshold.value:.3g}"
        if judgement.decides
        else "<b>Not decided</b>"
    )
    by = TOLD_BY[judgement.by]
    if judgement.decides:
        said += [
            f"<span style='color:#E69F00'>⚠</span> {note}" for note in (_no_better(judgement), _loose(judgement), _off(judgement)) if note
        ]
    note = f"{'' if judgement.decides else 'Each at the threshold that suits it best so far. '}In small figures: 95 % intervals."
    at = "" if sigma_px is None else f" Masks at smoothing {sigma_px:.3g} px, as in the run{': to accept one sets it' * judgement.decides}."
    figures = f"<table>{table}</table>{note}{at}{truly}"
    # the figures before the reason, which is long: else they would lie below what is seen; where nothing is decided that is the answer
    told = [*said, figures, judgement.reason] if judgement.decides else [judgement.reason, *said, figures]
    return "<br>".join([f"{head}, by {by}.", *told])


def _no_better(judgement: Judgement) -> str:
    """Say so where all tissue would do as well: most of it is tumour."""
    if judgement.chosen.f1.value > judgement.f1_of_all:
        return ""
    return f"Marking all tissue would score as well (F1 {judgement.f1_of_all:.2f})."


def is_loose(figures: RoundFigures) -> bool:
    """Return whether the answers hardly tell how good a mask is."""
    return figures.f1.high - figures.f1.low > _LOOSE


def _loose(judgement: Judgement) -> str:
    """Say so where the answers hardly tell how good what is advised is."""
    f1 = judgement.chosen.f1
    if not is_loose(judgement.chosen):
        return ""
    return f"These points hardly tell how good that is: F1 may be anything from {f1.low:.2f} to {f1.high:.2f}. Count more."


def _off(judgement: Judgement) -> str:
    """Say so where the mask that is advised is larger or smaller than the points allow: F1 may still be best there."""
    from napari_ifkd.runs.judgement import about

    tumour, marked = judgement.tumour_mm2, judgement.chosen.marked_mm2
    if tumour is None or marked is None or tumour.low <= marked <= tumour.high:
        return ""
    name = judgement.chosen.name[0].upper() + judgement.chosen.name[1:]
    other = "higher" if marked > tumour.high else "lower"
    said = f"{name} marks {about(marked)} mm² there; the points say {about(tumour.value)} mm²."
    return f"{said} If the area matters, choose a {other} threshold."


def _interval(value: Interval) -> str:
    return f"{value.value:.2f}<br><small>{_short(value.low)}-{_short(value.high)}</small>"


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _area(figures: RoundFigures) -> Any:
    from napari_ifkd.runs.judgement import about

    return "" if figures.marked_mm2 is None else f"≈ {about(figures.marked_mm2)}"
