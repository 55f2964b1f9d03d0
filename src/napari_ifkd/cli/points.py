"""The command that asks for points on slides, and judges the rounds of a run by the answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_ifkd.errors import InputError

from .options import AsJson

if TYPE_CHECKING:
    from napari_ifkd.evidence import Interval
    from napari_ifkd.runs.answers import Taken
    from napari_ifkd.runs.judgement import Judgement
    from napari_ifkd.runs.points import PointEvidence

_TABLE = "points-asked.csv"


def points(
    run: Annotated[Path, typer.Argument(help="a distill run with slides")],
    slide: Annotated[str | None, typer.Option(help="of this slide of the run alone: its name, or where its file lies now")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="points to ask about")] = 30,
    out: Annotated[Path | None, typer.Option("--out", help=f"table to fill in; default RUN/{_TABLE}", metavar="CSV")] = None,
    answered: Annotated[
        Path | None, typer.Option(help="take in the answers of this table, and judge the rounds by all so far", metavar="CSV")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask about the points that tell most of which round is best; with --answered, judge the rounds by the answers."""
    from napari_ifkd.console import show
    from napari_ifkd.runs.points import opened_evidence

    if answered is not None and out is not None:
        raise InputError("points", "--answered takes answers in, --out asks for more", "Give one of them")
    with opened_evidence(run, slide) as evidence:
        show(evidence.look())
        if answered is None:
            _ask(evidence, count, run / _TABLE if out is None else out, as_json)
        else:
            _judge(evidence, answered, as_json)


def _ask(evidence: PointEvidence, count: int, table: Path, as_json: bool) -> None:
    from napari_ifkd.console import note, say, say_json
    from napari_ifkd.runs.answers import ask

    asked = evidence.proposals(count)
    if not asked:
        raise InputError(evidence.folder.path, "has no tissue on which all its rounds looked", "Give another run")
    ask(evidence.folder, asked, table)
    known = sum(bool(point.answer) for point in asked)
    if as_json:
        say_json({"run": str(evidence.folder.path), "table": str(table), "asked": len(asked), "known": known, "notes": evidence.notes})
        return
    for line in evidence.notes:
        note(f"warning: {line}", style="yellow")
    again = f" ({known} of them known from before)" if known else ""
    say(
        f"{table}: {len(asked)} points{again}. x and y are pixels of the finest level; write t (tumour), n (normal) or u (unsure) as answer"
    )
    say(f"then: napari-ifkd points {evidence.folder.path} --answered {table}")


def _judge(evidence: PointEvidence, table: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from napari_ifkd.console import note, say_json
    from napari_ifkd.runs.answers import take_answers
    from napari_ifkd.runs.judgement import put_down

    taken = take_answers(evidence.folder, evidence.slides, table)
    judgement = evidence.judgement()
    written = judgement is not None and put_down(evidence.folder, judgement)
    accepted = evidence.folder.accepted
    notes = [*_notes(taken), *evidence.notes]
    if judgement is None:
        notes.append("No answered point can judge.")
    if as_json:
        say_json(
            {
                "run": str(evidence.folder.path),
                "taken": asdict(taken),
                "judgement": None if judgement is None else judgement.record(),
                "accepted": None if accepted is None else accepted.record(),
                "notes": notes,
            }
        )
        return
    for line in notes:
        note(f"warning: {line}", style="yellow")
    if judgement is not None:
        _say(judgement)
    if accepted is not None:
        _say_accepted(accepted.round, accepted.threshold, accepted.by, written)


def _say(judgement: Judgement) -> None:
    from napari_ifkd.console import say, say_table
    from napari_ifkd.runs.judgement import about

    say_table(
        ("round", "from", "mm2", "F1", "precision", "recall"),
        (
            (
                "teacher" if figures.round == 0 else figures.round,
                f"{figures.threshold.value:g}",
                "" if figures.marked_mm2 is None else about(figures.marked_mm2),
                *(_short(interval) for interval in (figures.f1, figures.precision, figures.recall)),
            )
            for figures in judgement.rounds
        ),
    )
    threshold = judgement.chosen.threshold
    say(
        "from: a pixel is tumour from this probability on; mm2: marked as tumour; in brackets 95 % intervals, which hold after choosing too"
    )
    area = "" if judgement.tumour_mm2 is None else "{:.3g} mm2 ({:.3g} to {:.3g}), ".format(*judgement.tumour_mm2)
    say(f"tumour by the points: {area}a share of {_short(judgement.tumour)} of the tissue")
    if judgement.decides:
        say(f"advice: {judgement.reason} Thresholds from {threshold.low:g} to {threshold.high:g} are not surely worse.")
    else:
        say(f"no advice yet: {judgement.reason}")


def _short(interval: Interval) -> str:
    return "{:.2f} ({:.2f}-{:.2f})".format(*interval)


def _say_accepted(round_: int, threshold: float, by: str, written: bool) -> None:
    from napari_ifkd.console import say
    from napari_ifkd.runs.judgement import TOLD_BY, name_of

    what = f"{name_of(round_)} at {threshold:g}"
    if written:
        say(f"accepted by points: {what}")
    elif by != "points":
        say(f"{what}, accepted by {TOLD_BY.get(by, 'you' if by == 'user' else by)}, stands")


def _notes(taken: Taken) -> list[str]:
    """Tell what of the table does not count, where there is anything."""
    partial = "Fine where you stopped at a row; where you left out hard places, call them unsure."
    told = (
        (taken.unanswered, f"Rows without an answer: {taken.unanswered}. {partial}"),
        (taken.unsure, f"Answers 'unsure', which do not judge: {taken.unsure}."),
        (taken.elsewhere, f"Answers left out, for they name slides that are not asked about here: {taken.elsewhere}."),
        (taken.changed, f"Places answered otherwise before, where the new answers count: {taken.changed}."),
    )
    return [line for count, line in told if count]
