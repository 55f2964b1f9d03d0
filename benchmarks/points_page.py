"""The page of ``points.py``: tables and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot as plt
from points_draws import MEASURES, POINTS, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from points_populations import Population

    Found = Sequence[tuple[Population, list[dict[int, Outcome]]]]

_LIMITS = {30: 0.020, 100: 0.012}
_COVERAGE = 0.9
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_NAMES = {"f1": "F1", "precision": "precision", "recall": "recall", "area": "tumour share"}
_HEAD = "<!-- written by benchmarks/points.py; do not edit -->"


def write_page(found: Found, folder: Path, seed: int) -> None:
    """Write points.md and points.png; the first population is the real one."""
    _figure(found, folder / "points.png")
    (folder / "points.md").write_text(_page(found, seed), encoding="utf-8")


def _mean(draws: list[dict[int, Outcome]], points: int, of: Callable[[Outcome], float]) -> float:
    return float(np.mean([of(outcomes[points]) for outcomes in draws]))


def _error(draws: list[dict[int, Outcome]], points: int, of: Callable[[Outcome], float]) -> float:
    return float(np.std([of(outcomes[points]) for outcomes in draws], ddof=1) / np.sqrt(len(draws)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(found: Found, seed: int) -> str:
    population, draws = found[0]
    best, near = population.f1.max(axis=1), found[1][0].f1.max(axis=1)
    parts = [
        _HEAD,
        "# What points are worth",
        f"Simulated: masks answer the points that the sampler proposes, ten at a time; {len(draws)} draws (seeds from {seed}) of "
        f"{population.what}. {population.f1.size} pairs of a candidate and a threshold; each candidate's best F1 lies between "
        f"{best.min():.3f} and {best.max():.3f}, and at 0.5 the last {population.candidates[0].rpartition('-')[0]} candidate has "
        f"{population.f1[2, population.f1.shape[1] // 2]:.3f}. "
        f"Marking all tissue has {2 * population.truth.mean() / (1 + population.truth.mean()):.3f}. "
        "*Lost* is F1 behind the best candidate at its best threshold, over all pixels. "
        "The priors and shares of the method were set on other draws of the same candidates and populations, and answers are never wrong "
        "here.",
        "## The choice",
        _table(
            [
                "points",
                "F1 lost",
                "by the candidate alone",
                "asked for",
                "points of equal chances, F1 counted",
                "from the worst candidate in use",
                "leaves the best pair in use",
                "left undecided",
            ],
            [_choice_row(draws, points) for points in POINTS],
        ),
        "*From the worst candidate in use* and *leaves the best* are choices with an incumbent, which gives way only where another is "
        "better with a probability of 75 %: the first shows what caution costs, the second what it protects. *Left undecided*: the "
        "program does not choose where what it would choose is no better than marking all tissue.",
        "![F1 lost and coverage by number of points](points.png)",
        "## The intervals",
        f"Share of draws in which the 95 % interval of the **chosen** pair holds the truth (asked for: {_COVERAGE:.2f}), and half of the "
        "interval's mean width.",
        _table(
            [
                "points",
                *(f"{_NAMES[m]}" for m in MEASURES),
                "best threshold",
                *(f"± {_NAMES[m]}" for m in MEASURES),
                "plain interval, F1",
                "most flattering pair, F1",
            ],
            [_interval_row(draws, points) for points in POINTS],
        ),
        "*Plain interval* is the usual one on points of equal chances, after choosing by them. *Most flattering pair* is the pair of the "
        "highest estimate, which is not what is chosen: the choice asks the model alone, and the interval joins the model with the design.",
        "## Other candidates",
        f"{len(found[1][1])} draws each. *near*: candidates as above, disturbed in training as stage 1 is by default: their best F1 lies "
        f"between {near.min():.3f} and {near.max():.3f}. The others are drawn, nine candidates of three kinds, and their calibration is "
        "off in other ways. " + " ".join(f"*{p.name}*: {p.what}." for p, _ in found[2:]),
        _table(
            [
                "population",
                "points",
                "best F1",
                "all tissue",
                "F1 lost",
                "plain, lost",
                "leaves the best pair in use",
                "left undecided",
                *(f"{_NAMES[m]} covered" for m in MEASURES),
            ],
            [_other_row(p, d, points) for p, d in found[1:] for points in POINTS],
        ),
        "## What was asked for",
        "\n".join(_verdicts(found)),
    ]
    return "\n\n".join(parts) + "\n"


def _choice_row(draws: list[dict[int, Outcome]], points: int) -> list[str]:
    def told(of: Callable[[Outcome], float]) -> str:
        return f"{_mean(draws, points, of):.4f} ± {_error(draws, points, of):.4f}"

    limit = f"≤ {_LIMITS[points]:.3f}" if points in _LIMITS else ""
    left = f"{_mean(draws, points, lambda o: o.left_best):.1%}"
    return [
        str(points),
        told(lambda o: o.lost),
        told(lambda o: o.lost_by_candidate),
        limit,
        told(lambda o: o.plain_lost),
        told(lambda o: o.lost_from_worst),
        left,
        f"{_mean(draws, points, lambda o: o.undecided):.1%}",
    ]


def _interval_row(draws: list[dict[int, Outcome]], points: int) -> list[str]:
    return [
        str(points),
        *(f"{_covered(draws, points, m):.3f}" for m in MEASURES),
        f"{_mean(draws, points, lambda o: o.threshold_covered):.3f}",
        *(f"{_mean(draws, points, lambda o, m=m: o.half_width[m]):.3f}" for m in MEASURES),  # type: ignore[misc]
        f"{_mean(draws, points, lambda o: o.plain_covered):.3f}",
        f"{_mean(draws, points, lambda o: o.flattering_covered):.3f}",
    ]


def _other_row(population: Population, draws: list[dict[int, Outcome]], points: int) -> list[str]:
    lost, plain = (_mean(draws, points, of) for of in (lambda o: o.lost, lambda o: o.plain_lost))
    covered = [f"{_covered(draws, points, m):.2f}" for m in MEASURES]
    share = population.truth.mean()  # of tumour; all tissue has that precision, and recall 1
    told = f"{population.f1.max():.3f}", f"{2 * share / (1 + share):.3f}", f"{lost:.4f}", f"{plain:.4f}"
    shares = [f"{_mean(draws, points, of):.0%}" for of in (lambda o: o.left_best, lambda o: o.undecided)]
    return [population.name, str(points), *told, *shares, *covered]


def _covered(draws: list[dict[int, Outcome]], points: int, measure: str) -> float:
    return _mean(draws, points, lambda o: o.covered[measure])


def _verdicts(found: Found) -> list[str]:
    draws = found[0][1]
    lines = []
    for points, limit in _LIMITS.items():
        lost = _mean(draws, points, lambda o: o.lost)
        lines.append(f"- F1 lost at {points} points at most {limit:.3f}: **{'holds' if lost <= limit else 'does not hold'}** ({lost:.4f}).")
    for title, several in (("real candidates", found[:1]), ("other candidates", found[1:])):
        short = [
            f"{p.name}, {points} points, {_NAMES[m]}: {_covered(d, points, m):.2f}"
            for p, d in several
            for points in POINTS
            for m in MEASURES
            if _covered(d, points, m) < _COVERAGE
        ]
        held = "**holds** for all measures and numbers of points" if not short else f"**does not hold** for {'; '.join(short)}"
        lines.append(f"- Intervals of the {title} cover at least {_COVERAGE:.0%} after choosing: {held}.")
    return lines


def _figure(found: Found, target: Path) -> None:
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    draws = found[0][1]
    ways = (("points where they tell most", lambda o: o.lost), ("points of equal chances, F1 counted", lambda o: o.plain_lost))
    for colour, (label, of) in zip(_COLOURS, ways, strict=False):
        mean = [_mean(draws, points, of) for points in POINTS]
        error = [1.96 * _error(draws, points, of) for points in POINTS]
        left.errorbar(POINTS, mean, error, marker="o", markersize=4, color=colour, label=label, capsize=2)
    left.plot(*zip(*_LIMITS.items(), strict=True), "kv", markersize=5, linestyle="none", label="asked for: below")
    left.set_ylabel("F1 lost against the best pair")
    left.set_ylim(bottom=0)
    for colour, (population, some) in zip(_COLOURS, found, strict=False):
        covered = [_covered(some, points, "f1") for points in POINTS]
        right.plot(POINTS, covered, marker="o", markersize=4, color=colour, label=population.name)
    plain = [_mean(draws, points, lambda o: o.plain_covered) for points in POINTS]
    right.plot(POINTS, plain, ":", color="#555555", label=f"{found[0][0].name}, plain interval")
    right.axhline(_COVERAGE, color="#555555", linewidth=0.8)
    right.set_ylabel("share of 95 % intervals of F1 that cover")
    right.set_ylim(0, 1.02)
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xticks(POINTS, [str(points) for points in POINTS])
        axis.minorticks_off()
        axis.set_xlabel("answered points")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(target, dpi=150, metadata={"Software": None})
    plt.close(figure)
