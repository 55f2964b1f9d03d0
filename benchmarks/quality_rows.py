"""What is compared: one row a method, as settings. New ideas for a round are added to VARIANTS."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

ROUNDS = 3
DEFAULT = "topk-bce-noisy"
LONGER = f"{DEFAULT}-longer"
TEACHERS = ("const-dice", "topk-bce", DEFAULT, LONGER)
"""Stage-1 rows from which rounds begin: the paper's loss, ours, ours as it is the default: disturbed more, and that trained for longer."""

FIRST = 4
"""Rows up to this rank are run on every data set before any other row: what must hold rests on them."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "robust-no-labels": ("robust, the teacher's map alone", {"rounds.robust.label_loss": 0.0}),
    "robust-mild": ("robust, disturbed no more than stage 1", {"rounds.robust.noise": {"stain": 0.15, "paste": 0.0}}),
    "robust-zoom": ("robust, zoom 0.8 to 1.6 too", {"rounds.robust.noise": {"stain": 0.3, "zoom": (0.8, 1.6), "paste": 0.5}}),
    "robust-free": ("robust, the area not held", {"rounds.robust.hold_area": False}),
    "robust-centred": ("robust, maps centred by Otsu", {"rounds.robust.centred": True}),
    "robust-ema": ("robust, moving average of the student", {"rounds.ema": 0.98}),
    "robust-sa-mil": ("robust, student of another kind: SA-MIL", {"student.name": "sa-mil"}),
}
"""What was tried beyond the paper: name -> (what it is, settings over those of `fusion-robust`)."""


MILD = {"stain": 0.15, "paste": 0.0}
"""How stage 1 was disturbed before NOISY was found; all rows but that one still are, so that they compare."""

NOISY = {"stain": 0.5, "paste": 0.5}
"""As it is by default, of teachers and students."""

ZOOMED = {**NOISY, "zoom": (0.8, 1.6)}
"""Scale varied too."""

FORMER = {"rounds.robust.noise": {"stain": 0.3, "paste": 0.5}}
"""How students were disturbed before; rounds from the first two teachers still are, so that they compare."""


@dataclass(frozen=True)
class Row:
    """A method.

    Parameters
    ----------
    name : unique; of a distillation TEACHER+METHOD
    what : for the reader of the table
    kind : nothing is run for `everything`; `train` and `distill` are acts; `views` looks at a teacher's images eight times
    rank : its place in the queue; lower is sooner
    settings : dotted settings over the defaults and the budget
    teacher : the stage-1 row it begins from
    rounds : of a distillation; stage 1 goes on for the steps of so many
    twin : method whose run this one's is, step by step, where that switched every time: it is not run twice then
    """

    name: str
    what: str
    kind: Literal["everything", "train", "distill", "views"]
    rank: int
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    teacher: str | None = None
    rounds: int = 0
    twin: str | None = None

    @property
    def method(self) -> str:
        """The name without the teacher's."""
        return self.name.rpartition("+")[2]


def _stage1(name: str, what: str, rank: int, *, rounds: int = 0, noise: dict[str, Any] = MILD, **settings: Any) -> Row:
    return Row(name, what, "train", rank, {f"stage1.{key}": value for key, value in (*settings.items(), ("noise", noise))}, rounds=rounds)


def _round(teacher: str, name: str, what: str, rank: int, settings: dict[str, Any], rounds: int = ROUNDS, twin: str | None = None) -> Row:
    return Row(f"{teacher}+{name}", what, "distill", rank, {"acceptance.rule": "always", **settings}, teacher, rounds, twin)


def _from_each(teacher: str) -> list[Row]:
    robust = {"rounds.mode": "robust", **({} if teacher in (DEFAULT, LONGER) else FORMER)}
    return [
        Row(f"{teacher}+views", "its teacher, 8 averaged views at test time", "views", 2, {}, teacher),
        _round(teacher, "fusion-paper", "paper, fusion (Fig. 2c)", 3 if teacher == TEACHERS[0] else 6, {"rounds.mode": "paper"}),
        _round(teacher, "robust-cautious", "robust, fusion; cautious acceptance", 3, {**robust, "acceptance.rule": "cautious"}),
        _round(teacher, "fusion-robust", "robust, fusion; switching forced", 4, robust, twin="robust-cautious"),
    ]


def _from_paper(teacher: str) -> list[Row]:
    return [
        _round(teacher, "fusion-released", "what the released program does", 5, {"rounds.mode": "released"}),
        _round(teacher, "fused", "paper, fused map only (Fig. 2a)", 7, {"rounds.mode": "paper", "rounds.structure": "fused"}),
        _round(teacher, "sides", "paper, side to side (Fig. 2b)", 7, {"rounds.mode": "paper", "rounds.structure": "sides"}),
        _round(teacher, "oeem", "OEEM's loss on the fixed mask: one round of as many steps", 7, {"rounds.mode": "oeem"}, 1),
    ]


def _tried(teacher: str) -> list[Row]:
    return [_round(teacher, name, what, 8, {"rounds.mode": "robust", **FORMER, **settings}) for name, (what, settings) in VARIANTS.items()]


ROWS: tuple[Row, ...] = (
    Row("all-foreground", "everything is tumour", "everything", 0),
    _stage1("const-dice", "stage 1, the paper's loss", 1, loss="const-dice"),
    _stage1("topk-bce", "stage 1, our loss", 1, loss="topk-bce"),
    _stage1("topk-bce-longer", "stage 1, our loss, the steps of three rounds longer", 6, rounds=ROUNDS, loss="topk-bce"),
    _stage1(DEFAULT, "stage 1, our default: our loss, staining varied by 0.5, normal boxes pasted", 1, loss="topk-bce", noise=NOISY),
    _stage1(LONGER, "stage 1, our default, the steps of three rounds longer", 5, rounds=ROUNDS, loss="topk-bce", noise=NOISY),
    _stage1("topk-bce-zoom", "stage 1, our default, zoom 0.8 to 1.6 too", 8, loss="topk-bce", noise=ZOOMED),
    _stage1("gm-bce", "stage 1, generalised mean", 6, loss="gm-bce"),
    _stage1("cam", "class activation maps", 7, method="cam"),
    _stage1("oaa", "activation maps accumulated over epochs", 7, method="oaa"),
    *_from_each(TEACHERS[0]),
    *_from_paper(TEACHERS[0]),
    *_from_each(TEACHERS[1]),
    *_tried(TEACHERS[1]),
    *_from_each(DEFAULT),
    *(row for row in _from_each(LONGER) if row.method != "fusion-paper"),
    _stage1("supervised", "the same network from pixel masks: the upper bound", 1, method="supervised"),
)
BY_NAME = {row.name: row for row in ROWS}


def wanted(patterns: list[str]) -> list[Row]:
    """Return the rows whose name or method one of the patterns fits, with the teachers they need; all where there are no patterns."""
    chosen = {row.name for row in ROWS if not patterns or any(fnmatchcase(n, p) for n in (row.name, row.method) for p in patterns)}
    chosen |= {row.teacher for row in ROWS if row.name in chosen and row.teacher}
    return [row for row in ROWS if row.name in chosen]
