"""The figures of the results: scores by row, and by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt
from quality_rows import ROWS, TEACHERS

if TYPE_CHECKING:
    from pathlib import Path

    from quality_results import Results

mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.bbox": "tight", "savefig.dpi": 150})
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # told apart by the colour-blind
_MARKERS = "osD^vP*X"
_STYLES = {method: i % 8 for i, method in enumerate(dict.fromkeys(row.method for row in ROWS if row.kind == "distill" and row.rounds > 1))}
_NAMES = {"f1": "F1 at 0.5", "ap": "average precision", "foreground": "foreground share of positives"}
_PLAIN = {"metadata": {"Software": None}}  # the same picture is the same file


def by_row(results: Results, data: str, target: Path) -> bool:
    """Draw F1 and AP of every row: a dot a seed, a line at the mean; False where there is nothing to draw."""
    rows = [row for row in results.rows() if results.seeds(data, row.name) and row.kind != "everything"]
    if not rows:
        return False
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.8 + 0.26 * len(rows)), sharey=True)
    for axis, score in zip(axes, ("f1", "ap"), strict=True):
        for place, row in enumerate(rows):
            values = [scores[score] for scores in results.scores(data, row.name)]
            colour = _COLOURS[TEACHERS.index(row.teacher)] if row.teacher else _COLOURS[6]
            axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.5, markersize=4, markeredgewidth=0)
            axis.plot([sum(values) / len(values)] * 2, [place - 0.35, place + 0.35], color=colour, linewidth=2)
        axis.set_xlabel(_NAMES[score])
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows])
    axes[0].invert_yaxis()
    figure.savefig(target, **_PLAIN)
    plt.close(figure)
    return True


def by_round(results: Results, data: str, target: Path) -> bool:
    """Draw F1, AP and foreground share after each round, a row of panels a teacher; False where there is nothing to draw."""
    curves = {
        teacher: [row for row in results.rows() if row.teacher == teacher and row.kind == "distill" and results.rounds(data, row.name) > 1]
        for teacher in TEACHERS
    }
    teachers = [teacher for teacher in TEACHERS if curves[teacher]]
    if not teachers:
        return False
    figure, axes = plt.subplots(len(teachers), 3, figsize=(9, 2.7 * len(teachers)), squeeze=False, layout="constrained")
    for panels, teacher in zip(axes, teachers, strict=True):
        for axis, score in zip(panels, _NAMES, strict=True):
            for row in curves[teacher]:
                style = _STYLES[row.method]  # the same on every page, whatever is complete
                rounds = range(results.rounds(data, row.name) + 1)
                by_seed = [[scores[score] for scores in results.scores(data, row.name, index)] for index in rounds]
                colour = _COLOURS[style]
                axis.plot(rounds, [sum(v) / len(v) for v in by_seed], marker=_MARKERS[style], color=colour, label=row.method, markersize=4)
                axis.fill_between(rounds, [min(v) for v in by_seed], [max(v) for v in by_seed], color=colour, alpha=0.12, linewidth=0)
            top = results.mean(data, "supervised", score)
            if top is not None:
                axis.axhline(top.mean, color="#555555", linestyle=":", linewidth=1, label="supervised")
            share = results.true_share(data) if score == "foreground" else None
            if share is not None:
                axis.axhline(share, color="#555555", linestyle="--", linewidth=1, label="true share")
            axis.set_title(f"{_NAMES[score]}\nfrom {teacher}", fontsize=9)
            axis.set_xlabel("round (0: the teacher)")
            axis.set_xticks(range(1 + max(results.rounds(data, row.name) for row in curves[teacher])))
            axis.grid(alpha=0.3)
    handles = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(target, **_PLAIN)
    plt.close(figure)
    return True
