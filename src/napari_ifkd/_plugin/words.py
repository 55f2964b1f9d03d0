"""What the engine tells, in the words of the window: where the command line has options, it has docks and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.runs.accepted import same_smoothing
from napari_ifkd.runs.judgement import name_of

if TYPE_CHECKING:
    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.runs.judgement import Judgement

LOOKING = "Lesions that were rejected are looked for …"

WORDS = {
    " (--out)": "",
    " (--forever)": "",
    "or go on with it by `napari-ifkd resume`": "or resume it in the Runs dock",
    "Give the --out of a train, predict or distill command": "Choose the folder of a run",
    "Give a new or empty folder as --out": "Choose a new or empty folder",
    "choose another --out": "choose another folder",
    ", or give it by --slide": "",
    "choose one by --round": "choose one of these in the Review dock",
    "Give settings with `inference: {tissue_only: false}` by --config": "Choose another slide",
    "by --tumour CLASS": "in the field tumour class",
    "these by --tumour": "these in the field tumour class",
    "Leave --tumour out": "Leave the field tumour class empty",
    "Give it with --mpp X (": "Give it in the Slide dock (",
    "Give a --region to predict, or settings with `inference: {tissue_only: false}` by --config": (
        "Choose Visible field or Drawn region in the Slide dock"
    ),
    "or --device cpu": "or the CPU as device (Teacher dock)",
    "--slide, or Review, Points in the window": "Review, Points",
    " um/px": " µm/px",
}


_NO_CHANGE = 0.005  # which would be told as 0%
_TIMES = 3  # from so many on they are told, and no more a share


def in_window(told: str) -> str:
    """Return what the engine tells as the window says it."""
    for option, words in WORDS.items():
        told = told.replace(option, words)
    return told


def marks(ratio: float, than: str = "") -> str:
    """Return how much more or less is marked than by another, such as "marks 43% more than the teacher"."""
    if ratio >= _TIMES:
        return f"marks {ratio:.0f} times as much{f' as {than}' if than else ''}"
    if abs(ratio - 1) < _NO_CHANGE:
        return f"marks as much{f' as {than}' if than else ''}"
    return f"marks {abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'}{f' than {than}' if than else ''}"


def area(mm2: float) -> str:
    """Return an area in three digits, and in a unit that has no need of powers of ten."""
    if 0 < mm2 < 1e-4:
        return f"{1e6 * mm2:.3g} µm²"
    return f"{mm2:.3g} mm²" if mm2 < 999.5 else f"{mm2:,.0f} mm²"


def acceptance(index: int, threshold: float, what: str = "") -> str:
    """Return what a button says that accepts a round at a threshold."""
    return f"Accept {what}{f'round {index}' if index else 'teacher'} at {threshold:.3g}"


def accepted_mask(accepted: Accepted, sigma_px: float) -> str:
    """Tell what was accepted, and its smoothing where that is another than the one that is set."""
    told = f"{name_of(accepted.round)} at {accepted.threshold:.3g}"
    if same_smoothing(accepted.sigma_px, sigma_px):
        return told
    return f"{told}, smoothing {accepted.sigma_px:.3g} px"


def lapsed(places: int) -> str:
    """Say that verdicts hold no more at this threshold, or on this prediction."""
    if places == 1:
        return "1 verdict does not count on this mask: its lesion is gone here, or part of a much larger one, which stays."
    return f"{places} verdicts do not count on this mask: their lesions are gone here, or part of a much larger one, which stays."


def points_undecided(judgement: Judgement, best: int) -> str:
    """Tell that points do not decide, and what they say so far against the round that the run recommends."""
    most = max(judgement.rounds, key=lambda figures: figures.f1.value)
    own = next((figures.f1.value for figures in judgement.rounds if figures.round == best), None)
    against = (
        "" if own is None or most.round == best else f": its F1 is {own:.2f} so far, that of {name_of(most.round)} {most.f1.value:.2f}"
    )
    return f"Points do not decide{against}."
