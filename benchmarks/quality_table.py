"""The page of results, written whole from the complete cells."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from quality_claims import claims
from quality_figures import by_round, by_row
from quality_results import Results, spread
from quality_rows import TEACHERS
from quality_stats import BINS, DRAWS

from napari_ifkd.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quality_cells import Cell, Plan
    from quality_rows import Row

_HEAD = """# Evidence at width {width:g}

Methods, data sets and seeds compared on groups (regions or patients) that no training saw. This page is written by
`benchmarks/quality.py --table` from complete runs; none of its numbers is typed by hand. Pixel masks score here, and teach the row
`supervised`; they train and choose nothing else.
"""
_SIGMA = Config().inference.sigma_px
_READ = f"""- **F1, IoU**: over all pixels of the test images, at 0.5 after smoothing by a Gaussian of {_SIGMA:g} px.
  **AP**: pixel average precision, which needs no threshold, from {BINS} bins equally wide in the logit. **Best F1**: at the threshold
  that suits the test masks best, hence a diagnostic and no result. **Foreground**: marked share of the positive test images.
- Numbers are mean ± standard deviation over seeds. A seed holds out another third of the groups, so the spread holds the folds' too.
- **To its teacher**: the row's score minus its teacher's in the mean of the seeds, with the 95 % interval of a paired bootstrap over
  groups ({DRAWS} draws, both rows on the same draw). It tells of other groups, not of other random starts.
- **Switched**: students that became the teacher, of all rounds of all seeds.
- Three rounds of equal steps; switching is forced except where the row says `cautious`. `oeem` learns once, for as many steps.
  `fused` and `sides` are the paper's ablations, in its mode. Distilled rows are scored after the last round, `robust-cautious` at the
  round it accepted, all without averaged views. Where `robust-cautious` switched every time, `fusion-robust` is the same run, and was not
  run twice.
"""


def write_results(cells: list[Cell], plan: Plan, out: Path) -> None:
    """Write quality.md, quality.csv and the figures.

    Parameters
    ----------
    cells : all that were asked for, complete or not
    plan : their budget
    out : folder
    """
    out.mkdir(parents=True, exist_ok=True)
    results = Results(cells, plan)
    _write_csv(results, out / "quality.csv")
    (out / "quality.md").write_text("\n".join([_HEAD.format(width=plan.width), *_page(results, out)]).rstrip() + "\n", encoding="utf-8")


def _page(results: Results, out: Path) -> Iterator[str]:
    missing = sum(cell.facts is None for cell in results.asked)
    if missing:
        yield f"{missing} of {len(results.asked)} cells (a row on a data set with a seed) are not yet run. Folds differ in difficulty, so"
        yield "means of rows with other seeds do not compare; the paired columns do.\n"
    yield from _setup(results)
    yield "## What must hold\n"
    yield from _table(["line", "found", "verdict"], [[c.what, c.found or "-", c.verdict] for c in claims(results)])
    yield "## How to read the tables\n"
    yield _READ
    for data in results.data:
        yield from _data_set(results, data, out)


def _setup(results: Results) -> Iterator[str]:
    plan = results.plan
    facts = [f for data in results.data for row in results.rows() for f in results.facts(data, row.name)]
    machines = sorted({"{processor}, {cores} cores, torch {torch}, on {device}".format(**f["hardware"]) for f in facts})
    yield "## Setting\n"
    shrunk = ", ".join(f"{name} by {side}" for name, side in (plan.shrink or {}).items() if side > 1)
    lines = [
        ["network", f"VGG-MIL from scratch, width {plan.width:g} of the paper's, image labels only"],
        ["teacher", f"{plan.steps} steps asked for, batch {plan.batch}, learning rate {plan.learning_rate:g}, cosine to 0"],
        ["round", f"{plan.round_steps} steps asked for, batch {plan.batch}; rates in the table of runs"],
        ["steps", "whole epochs, as many as come nearest; see the table of runs"],
        ["images made smaller", f"{shrunk} (mean of blocks; um/px times as much)" if shrunk else "no"],
        ["seeds", ", ".join(str(seed) for seed in sorted({cell.seed for cell in results.asked}))],
        ["hardware", "; ".join(machines) or "-"],
        ["threads of a run", str(plan.threads)],
        ["load of the machine", _loads(facts)],
        ["commit of the package", ", ".join(sorted({f["commit"] for f in facts})) or "-"],
    ]
    yield from _table(["", ""], lines)


def _loads(facts: list[dict[str, Any]]) -> str:
    loads = [f["load"] for f in facts if f.get("load") is not None]
    return f"{min(loads):g} to {max(loads):g} processes waiting or at work at the end of a cell: wall times are of that" if loads else "-"


def _data_set(results: Results, data: str, out: Path) -> Iterator[str]:
    yield f"## {data}\n"
    widest = results.widest(data)
    if widest is None:
        yield "Not yet run.\n"
        return
    seeds, first = results.seeds(data, widest), results.facts(data, widest)[0]
    yield (
        f"{results.groups(data)} groups tested in {len(seeds)} seeds. In seed {seeds[0]}: {first['train_images']} images to learn from and "
        f"{first['validation_images']} for validation, of {first['train_groups']} groups; {first['test_images']} test images of "
        f"{first['test_groups']} others; {first['size_px']} px. True share of the positive test images: {results.true_share(data):.3f}.\n"
    )
    head = ["row", "what", "seeds", "F1", "IoU", "AP", "best F1 (diagnostic)", "foreground", "F1 to its teacher", "AP to its teacher"]
    yield from _table([*head, "switched"], [_scores(results, data, row) for row in results.rows()])
    if by_row(results, data, out / f"{data}-rows.png"):
        yield f"![F1 and average precision of every row on {data}, a dot a seed]({data}-rows.png)\n"
    stage1 = [row for row in results.rows() if row.kind == "train" and row.name != TEACHERS[0] and results.seeds(data, row.name)]
    if stage1 and results.seeds(data, TEACHERS[0]):
        yield f"### {data}, stage 1 beside the paper's loss\n"
        yield from _table(["row", f"F1 to `{TEACHERS[0]}`", f"AP to `{TEACHERS[0]}`"], [_stage1(results, data, row) for row in stage1])
    distilled = [row for row in results.rows() if row.kind == "distill" and results.seeds(data, row.name)]
    if distilled:
        yield f"### {data}, round by round\n"
        if by_round(results, data, out / f"{data}-rounds.png"):
            told = f"F1, average precision and foreground share after each round on {data}; bands from the lowest to the highest seed"
            yield f"![{told}]({data}-rounds.png)\n"
        yield "F1 at 0.5 of the network that is the teacher after each round; last, AP beside that of its teacher with averaged views.\n"
        head = ["row", "teacher", "round 1", "round 2", "round 3", "lowest to its teacher", "AP to its teacher with views"]
        yield from _table(head, [_rounds(results, data, row) for row in distilled])
    yield f"### {data}, runs\n"
    head = ["row", "epochs", "steps", "learning rate", "wall time of a run, s"]
    yield from _table(head, [_run(results, data, row) for row in results.rows() if row.kind in ("train", "distill")])


def _scores(results: Results, data: str, row: Row) -> list[str]:
    seeds = results.seeds(data, row.name)
    first = [f"`{row.name}`", row.what, str(len(seeds))]
    if not seeds:
        return [*first[:2], "not yet run", *[""] * 8]
    shown = [str(results.mean(data, row.name, score)) for score in ("f1", "iou", "ap", "best_f1", "foreground")]
    found = None if row.teacher is None else results.compare(data, row.name, row.teacher)
    told = ["", ""] if found is None else [str(found[0]["f1"]), str(found[0]["ap"])]
    decisions = [d["switched"] for facts in results.facts(data, row.name) for d in facts.get("decisions", [])]
    return [*first, *shown, *told, f"{sum(decisions)} of {len(decisions)}" if decisions else ""]


def _stage1(results: Results, data: str, row: Row) -> list[str]:
    found = results.compare(data, row.name, TEACHERS[0])
    return [f"`{row.name}`", *(["", ""] if found is None else [str(found[0]["f1"]), str(found[0]["ap"])])]


def _rounds(results: Results, data: str, row: Row) -> list[str]:
    assert row.teacher is not None
    count = results.rounds(data, row.name)
    shown = [str(results.mean(data, row.name, "f1", index)) if index <= count else "" for index in range(4)]
    lowest = min(fall for falls in results.falls(data, row.name, row.teacher).values() for fall in falls)
    views = results.compare(data, row.name, f"{row.teacher}+views")
    return [f"`{row.name}`", *shown, f"{lowest:+.3f}", "" if views is None else str(views[0]["ap"])]


def _run(results: Results, data: str, row: Row) -> list[str]:
    facts = results.facts(data, row.name)
    if not facts:
        return [f"`{row.name}`", "not yet run", "", "", ""]
    seconds = [f["seconds"] for f in facts]
    times = f"{spread(seconds).mean:.0f} ({min(seconds):.0f} to {max(seconds):.0f})"

    def told(key: str) -> str:
        return " / ".join(f"{value:g}" for value in sorted({f[key] for f in facts}))

    rounds = f"{row.rounds} x " if row.rounds else ""
    return [f"`{row.name}`", rounds + told("epochs"), rounds + told("steps"), told("rate"), times]


def _table(head: list[str], lines: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def _write_csv(results: Results, path: Path) -> None:
    columns = ["data", "row", "seed", "round", "f1", "iou", "ap", "best_f1", "foreground", "switched", "epochs", "steps", "seconds"]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for data in results.data:
            for row in results.rows():
                for seed, facts in zip(results.seeds(data, row.name), results.facts(data, row.name), strict=True):
                    decisions = facts.get("decisions", [])
                    for index in range(len(decisions) + 1 if decisions else 1):
                        scores = results.standing(data, row.name, seed, index).scores()
                        shown = [f"{scores[name]:.5f}" for name in columns[4:9]]
                        switched = str(int(decisions[index - 1]["switched"])) if index else ""
                        spent = [
                            str(facts.get("epochs", "")),
                            str(facts.get("steps", "")),
                            f"{facts['seconds']:.1f}" if "seconds" in facts else "",
                        ]
                        table.writerow([data, row.name, seed, index, *shown, switched, *spent])
