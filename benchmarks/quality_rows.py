"""What is compared: one row a method, as settings. New ideas for a round are added to VARIANTS."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

ROUNDS = 3
TEACHERS = ("const-dice", "topk-bce")
"""Stage-1 rows from which rounds begin: the paper's, and our default."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "robust-ema": ("fusion-robust, moving average of the student", {"rounds.ema": 0.98}),
    "robust-sa-mil": ("fusion-robust, student of another kind: SA-MIL", {"student.name": "sa-mil"}),
}
"""Rows of distillation beyond the paper's: name -> (what it is, settings over those of `fusion-robust`)."""


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
    rounds : of a distillation, each of the budget's steps over `rounds`
    """

    name: str
    what: str
    kind: Literal["everything", "train", "distill", "views"]
    rank: int
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    teacher: str | None = None
    rounds: int = 0

    @property
    def method(self) -> str:
        """The name without the teacher's."""
        return self.name.rpartition("+")[2]


def _stage1(name: str, what: str, rank: int, **settings: Any) -> Row:
    return Row(name, what, "train", rank, {f"stage1.{key}": value for key, value in settings.items()})


def _rounds_from(teacher: str, ranks: tuple[int, int]) -> list[Row]:
    def row(name: str, what: str, rank: int, settings: dict[str, Any], rounds: int = ROUNDS) -> Row:
        always = {"acceptance.rule": "always"}
        return Row(f"{teacher}+{name}", what, "distill", rank, {**always, **settings}, teacher, rounds)

    first, cautious = ranks
    return [
        Row(f"{teacher}+views", "its teacher, 8 averaged views at test time", "views", 2, {}, teacher),
        row("fusion-paper", "paper, fusion (Fig. 2c)", first, {"rounds.mode": "paper"}),
        row("fusion-robust", "robust, fusion; switching forced", first, {"rounds.mode": "robust"}),
        row("fusion-released", "what the released program does", first, {"rounds.mode": "released"}),
        row("robust-cautious", "robust, fusion; cautious acceptance", cautious, {"rounds.mode": "robust", "acceptance.rule": "cautious"}),
        row("oeem", "OEEM's loss on the fixed mask: one round of as many steps", 8, {"rounds.mode": "oeem"}, 1),
        row("fused", "paper, fused map only (Fig. 2a)", 8, {"rounds.mode": "paper", "rounds.structure": "fused"}),
        row("sides", "paper, side to side (Fig. 2b)", 8, {"rounds.mode": "paper", "rounds.structure": "sides"}),
        *(row(name, what, 9, {"rounds.mode": "robust", **settings}) for name, (what, settings) in VARIANTS.items()),
    ]


ROWS: tuple[Row, ...] = (
    Row("all-foreground", "everything is tumour", "everything", 0),
    _stage1("const-dice", "stage 1, the paper's loss", 1, loss="const-dice"),
    _stage1("topk-bce", "stage 1, our default", 1, loss="topk-bce"),
    _stage1("gm-bce", "stage 1, generalised mean", 5, loss="gm-bce"),
    _stage1("cam", "class activation maps", 7, method="cam"),
    _stage1("oaa", "activation maps accumulated over epochs", 7, method="oaa"),
    *_rounds_from(TEACHERS[0], (3, 5)),
    *_rounds_from(TEACHERS[1], (4, 6)),
    _stage1("supervised", "the same network from pixel masks: the upper bound", 1, method="supervised"),
)
BY_NAME = {row.name: row for row in ROWS}


def wanted(patterns: list[str]) -> list[Row]:
    """Return the rows whose name or method one of the patterns fits, with the teachers they need; all where there are no patterns."""
    chosen = {row.name for row in ROWS if not patterns or any(fnmatchcase(n, p) for n in (row.name, row.method) for p in patterns)}
    chosen |= {row.teacher for row in ROWS if row.name in chosen and row.teacher}
    return [row for row in ROWS if row.name in chosen]
