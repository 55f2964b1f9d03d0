"""Whether a student may take the teacher's role.

Image labels cannot see area errors inside positive bags, and label-free scores made of them were found to have the wrong sign; so the
cautious rule uses what is known only to say no: the mean positive area must not run away, and bags must still be told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.events import Decision

if TYPE_CHECKING:
    from napari_ifkd.config import AcceptanceConfig, Mode

Scores = dict[str, float]
_LEAST_AREA = 1e-3  # areas below a thousandth are as good as none


def decide(
    settings: AcceptanceConfig,
    mode: Mode,
    *,
    first: Scores,
    teacher: Scores,
    student: Scores,
    bags: int,
    present: int = 0,
    centred: bool = False,
) -> Decision:
    """Decide on a switch, without pixel truth.

    Parameters
    ----------
    settings : AcceptanceConfig
    mode : all but ``robust`` always switch
    first, teacher, student : scores of the first teacher, the present one and the student on the same validation bags
        (see :class:`~napari_ifkd.distill.scores.Judged`)
    bags : number of those bags; one bag more or less is no evidence
    present : the round that is the teacher now, 0 for the first teacher
    centred : students learn from centred maps (``rounds.robust.centred``), so that the first teacher's area is that beyond Otsu's threshold

    Returns
    -------
    Decision
        With the numbers looked at, and a reason in plain words. To keep the teacher is a normal outcome. The criterion is ``area prior``
        where the known tumour share took the place of the first teacher's area in the cautious rule.
    """
    if centred := centred and "centred_area" in first:
        first = {**first, "positive_area": first["centred_area"]}
    evidence = _evidence(settings, first, teacher, student, bags, centred)
    if mode != "robust":
        return Decision(True, "always", evidence, f"The student of the round becomes the teacher: mode '{mode}' always switches.")
    if settings.rule == "always":
        return Decision(True, "always", evidence, "The student of the round becomes the teacher: the settings say to switch always.")
    criterion = "cautious" if settings.area_prior is None else "area prior"
    of_area = _area(settings, first, teacher, student, centred)
    objections = [reason for reason in (of_area, _accuracy(settings, first, teacher, student, bags)) if reason]
    if objections:
        return Decision(False, criterion, evidence, f"{_stays(present)}: {'; and '.join(objections)}.")
    # the bags, not the slide: its whole area may have moved more
    wanted = settings.area_prior or first["positive_area"]
    known = settings.area_prior is not None
    near = (
        f"the known tumour share is {wanted:.0%}, and it is near, or nearer than before"
        if known
        else f"the first teacher marks {wanted:.0%}; up to {settings.max_area_shift:.0%} more or less than that is allowed"
    )
    reason = (
        f"The student becomes the teacher: of the tumour tiles kept aside for checking it marks {student['positive_area']:.0%} at 0.5 "
        f"({near}), and it tells tiles with tumour from tiles without no worse than the teacher."
    )
    return Decision(True, criterion, evidence, reason)


def diverged(epoch: int, present: int = 0) -> Decision:
    """Return the decision on a student whose training failed before it completed an epoch; `present` as in :func:`decide`."""
    reason = f"{_stays(present)}: the student's training diverged."
    return Decision(False, "diverged", f"loss not a number in epoch {epoch}", reason)


def _stays(present: int) -> str:
    return f"Round {present} stays the teacher" if present else "The teacher stays"


def _area(settings: AcceptanceConfig, first: Scores, teacher: Scores, student: Scores, centred: bool) -> str | None:
    """Return what speaks against the student's mean positive area, if anything does."""
    if "positive_area" not in student or "positive_area" not in first:
        return "no tumour tiles were kept aside to check the marked area on"
    area, wanted = student["positive_area"], settings.area_prior or first["positive_area"]
    if settings.area_prior is None and wanted < _LEAST_AREA:
        return "of the tumour tiles kept aside for checking the first teacher marks nothing, so they tell nothing of the student"
    shift = (area - wanted) / wanted
    if abs(shift) <= settings.max_area_shift:
        return None
    if settings.area_prior is not None and abs(area - wanted) < abs(teacher["positive_area"] - wanted):
        return None  # still off, yet nearer to what is known than the teacher is
    grown = "more" if shift > 0 else "less"
    of = "the known tumour share" if settings.area_prior is not None else "the first teacher, centred" if centred else "the first teacher"
    return (
        f"of the tumour tiles kept aside for checking the student marks at 0.5 {abs(shift):.0%} {grown} than {of} "
        f"({area:.1%} against {wanted:.1%}), beyond the {settings.max_area_shift:.0%} allowed"
    )


def _accuracy(settings: AcceptanceConfig, first: Scores, teacher: Scores, student: Scores, bags: int) -> str | None:
    if "bag_accuracy" not in student or "bag_accuracy" not in teacher:
        return "no tiles were kept aside to check its accuracy on"
    best = max(teacher["bag_accuracy"], first["bag_accuracy"])  # else many small falls would add up unseen
    allowed = max(settings.max_accuracy_drop, 1 / bags)
    if student["bag_accuracy"] >= best - allowed - 1e-9:
        return None
    return f"the student is right less often about which tiles hold tumour ({student['bag_accuracy']:.1%} against {best:.1%})"


def _evidence(settings: AcceptanceConfig, first: Scores, teacher: Scores, student: Scores, bags: int, centred: bool) -> str:
    def told(name: str) -> str:
        return " / ".join(f"{scores[name]:.3f}" if name in scores else "-" for scores in (first, teacher, student))

    parts = [
        f"{bags} validation bags (first teacher{', its area centred' if centred else ''} / teacher / student)",
        f"positive area {told('positive_area')}",
        f"bag accuracy {told('bag_accuracy')}",
        f"negative area {told('negative_area')}",
    ]
    if "agreement" in student:
        parts.append(f"agreement with the teacher {student['agreement']:.3f}")
    if "held_by" in student:
        parts.append(f"its output was moved by {student['held_by']:+.2f} logits to hold the area")
    if settings.area_prior is not None:
        parts.append(f"known tumour share {settings.area_prior:.3f}")
    return "; ".join(parts)
