"""What the defaults must show, and whether the complete cells show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quality_rows import DEFAULT, TEACHERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quality_results import Results

_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """A line that must hold.

    Parameters
    ----------
    what : the line
    found : the figures
    holds : None where nothing is known yet
    seeds : they rest on
    """

    what: str
    found: str
    holds: bool | None
    seeds: int

    @property
    def verdict(self) -> str:
        """The answer in words."""
        if self.holds is None:
            return "not yet run"
        return ("holds" if self.holds else "**does not hold**") + (
            "" if self.seeds >= _SEEDS else f" so far ({self.seeds} of {_SEEDS} seeds)"
        )


def claims(results: Results) -> Iterator[Claim]:
    """Yield all lines for the data sets of the results."""
    if "luad128" in results.data:
        yield _default(results)
        yield _robust_over_paper(results)
    for data in results.data:
        for teacher in TEACHERS:
            yield _forced(results, data, teacher)
            yield _cautious(results, data, teacher)
    if "luad128" in results.data:
        for teacher in TEACHERS:
            yield from _average_precision(results, teacher)
    for data in results.data:
        for teacher in TEACHERS[1:-1]:
            yield _as_long(results, data, teacher)


def _default(results: Results) -> Claim:
    f1 = results.mean("luad128", DEFAULT, "f1")
    return Claim(
        f"luad128: the stage-1 default (`{DEFAULT}`) reaches F1 0.75",
        f"F1 {f1}" if f1 else "",
        None if f1 is None else f1.mean >= 0.75,
        len(results.seeds("luad128", DEFAULT)),
    )


def _robust_over_paper(results: Results) -> Claim:
    teacher = TEACHERS[0]
    what = f"luad128, from `{teacher}`: F1 of robust at least 0.015 above paper's at equal steps, interval above 0"
    found = results.compare("luad128", f"{teacher}+fusion-robust", f"{teacher}+fusion-paper")
    if found is None:
        return Claim(what, "", None, 0)
    f1 = found[0]["f1"]
    return Claim(what, f"F1 {f1}; AP {found[0]['ap']}", f1.mean >= 0.015 and f1.low > 0, found[1])


def _forced(results: Results, data: str, teacher: str) -> Claim:
    row = f"{teacher}+fusion-robust"
    falls = results.falls(data, row, teacher)
    worst = min((fall for of_seed in falls.values() for fall in of_seed), default=None)
    return Claim(
        f"{data}, from `{teacher}`: robust never falls more than 0.015 F1 below its teacher, switching forced",
        "" if worst is None else f"lowest of all rounds and seeds {worst:+.3f}",
        None if worst is None else worst >= -0.015,
        len(falls),
    )


def _cautious(results: Results, data: str, teacher: str) -> Claim:
    row = f"{teacher}+robust-cautious"
    falls = results.falls(data, row, teacher)
    ends = {seed: of_seed[-1] for seed, of_seed in falls.items()}
    switches = [sum(d["switched"] for d in facts["decisions"]) for facts in results.facts(data, row)]
    ended = zip(ends.items(), switches, strict=True)
    told = ", ".join(f"seed {seed} {end:+.3f} ({count} of {len(falls[seed])} switched)" for (seed, end), count in ended)
    return Claim(
        f"{data}, from `{teacher}`: with cautious acceptance no seed ends more than 0.005 F1 below its teacher",
        told,
        None if not ends else min(ends.values()) >= -0.005,
        len(ends),
    )


def _average_precision(results: Results, teacher: str) -> Iterator[Claim]:
    row = f"{teacher}+robust-cautious"
    for other, what in ((teacher, "its teacher's"), (f"{teacher}+views", "that of its teacher with averaged views")):
        found = results.compare("luad128", row, other)
        what = f"luad128, from `{teacher}`: AP of the accepted student above {what}, interval above 0"
        yield Claim(what, "", None, 0) if found is None else Claim(what, f"AP {found[0]['ap']}", found[0]["ap"].low > 0, found[1])
    gap, gain = results.compare("luad128", "supervised", teacher), results.compare("luad128", row, teacher)
    what = f"luad128, from `{teacher}`: the accepted student closes half of the gap in AP to the supervised network (the aim)"
    if gap is None or gain is None:
        yield Claim(what, "", None, 0)
    else:
        share = gain[0]["ap"].mean / gap[0]["ap"].mean
        yield Claim(what, f"{share:.0%} of a gap of {gap[0]['ap'].mean:.3f}", share >= 0.5, min(gain[1], gap[1]))


def _as_long(results: Results, data: str, teacher: str) -> Claim:
    found = results.compare(data, f"{teacher}+robust-cautious", f"{teacher}-longer")
    what = f"{data}, from `{teacher}`: AP of the accepted student above its teacher's had that learned for as many steps, interval above 0"
    if found is None:
        return Claim(what, "", None, 0)
    return Claim(what, f"AP {found[0]['ap']}; F1 {found[0]['f1']}", found[0]["ap"].low > 0, found[1])
