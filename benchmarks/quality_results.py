"""What the complete cells say: scores by row, seed and round, and paired comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from quality_counts import read_counts
from quality_stats import Counts, Interval, paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quality_cells import Cell, Plan
    from quality_rows import Row


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float
    deviation: float | None  # None of one seed

    def __str__(self) -> str:
        """Show it with three decimals."""
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


class Results:
    """The complete ones among cells.

    Parameters
    ----------
    cells : all that were asked for
    plan : their budget
    """

    def __init__(self, cells: Sequence[Cell], plan: Plan) -> None:
        self.plan = plan
        self.asked = list(cells)
        self._facts: dict[tuple[str, str], dict[int, tuple[Cell, dict[str, Any]]]] = {}
        for cell in cells:
            if (facts := cell.facts) is not None:
                self._facts.setdefault((cell.data, cell.row.name), {})[cell.seed] = cell, facts

    @property
    def data(self) -> list[str]:
        """The data sets, in order."""
        return list(dict.fromkeys(cell.data for cell in self.asked))

    def rows(self) -> list[Row]:
        """Return the rows, in order."""
        return list(dict.fromkeys(cell.row for cell in self.asked))

    def seeds(self, data: str, row: str) -> list[int]:
        """Return the seeds that are complete."""
        return sorted(self._facts.get((data, row), {}))

    def facts(self, data: str, row: str) -> list[dict[str, Any]]:
        """Return what the complete cells say of themselves, by seed."""
        return [self._facts[data, row][seed][1] for seed in self.seeds(data, row)]

    def rounds(self, data: str, row: str) -> int:
        """Return the number of rounds that all complete cells have."""
        return min((len(facts.get("decisions", [])) for facts in self.facts(data, row)), default=0)

    def standing(self, data: str, row: str, seed: int, after: int | None = None) -> Counts:
        """Return the counts of the network that is the teacher after a round; of the one the run ends with where no round is given."""
        cell, facts = self._facts[data, row][seed]
        switched = [index for index, decision in enumerate(facts.get("decisions", []), 1) if decision["switched"]]
        index = max((i for i in switched if after is None or i <= after), default=0)
        if index == 0 and cell.row.kind == "distill":
            assert cell.teacher is not None
            return _counts(cell.teacher.counts(0))
        return _counts(cell.counts(index))

    def scores(self, data: str, row: str, after: int | None = None) -> list[dict[str, float]]:
        """Return the scores of the complete seeds."""
        return [self.standing(data, row, seed, after).scores() for seed in self.seeds(data, row)]

    def mean(self, data: str, row: str, score: str, after: int | None = None) -> Spread | None:
        """Return a score over seeds; None where nothing is complete."""
        values = [scores[score] for scores in self.scores(data, row, after)]
        return spread(values) if values else None

    def compare(self, data: str, row: str, other: str) -> tuple[dict[str, Interval], int] | None:
        """Compare what two rows end with on the seeds both have; the scores, and the number of seeds."""
        seeds = sorted({*self.seeds(data, row)} & {*self.seeds(data, other)})
        if not seeds:
            return None
        return paired([(self.standing(data, row, seed), self.standing(data, other, seed)) for seed in seeds]), len(seeds)

    def falls(self, data: str, row: str, teacher: str) -> dict[int, list[float]]:
        """Return by seed the F1 after each round minus the teacher's."""
        rounds = range(1, self.rounds(data, row) + 1)
        found = {}
        for seed in self.seeds(data, row):
            first = self.standing(data, teacher, seed).scores()["f1"]
            found[seed] = [self.standing(data, row, seed, index).scores()["f1"] - first for index in rounds]
        return found

    def widest(self, data: str) -> str | None:
        """Return the row with the most complete seeds, for what is the same in all rows; None where nothing is complete."""
        name = max((row.name for row in self.rows()), key=lambda name: len(self.seeds(data, name)))
        return name if self.seeds(data, name) else None

    def true_share(self, data: str) -> float | None:
        """Return the share of true pixels in the positive test images."""
        row = self.widest(data)
        if row is None:
            return None
        counts = [self.standing(data, row, seed) for seed in self.seeds(data, row)]
        return sum(int(c.hist[:, 1].sum()) for c in counts) / sum(int(c.positive.sum()) for c in counts)

    def groups(self, data: str) -> int:
        """Return the number of groups that were tested in any seed."""
        row = self.widest(data)
        return 0 if row is None else len({str(g) for seed in self.seeds(data, row) for g in self.standing(data, row, seed).groups})


_counts = cache(read_counts)
