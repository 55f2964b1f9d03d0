"""Cells: one row on one data set with one seed. Each is a folder with a RUN, counts of its rounds, and cell.json once it is complete."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from quality_folds import Fold, make_fold
from quality_rows import BY_NAME, FIRST, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """The budget, the same for all cells of a work folder.

    Parameters
    ----------
    width : of the network's trunk
    steps, round_steps : of a teacher, and of one of three rounds
    batch : images
    learning_rate : of stage 1; rounds have the settings' own
    threads : of torch, in each process
    shrink : data set -> px averaged into one
    """

    width: float = 0.25
    steps: int = 240
    round_steps: int = 120
    batch: int = 32
    learning_rate: float = 1e-3
    threads: int = 1
    shrink: dict[str, int] | None = None

    def save(self, work: Path) -> None:
        """Write it, or refuse a work folder of another one."""
        path = work / "plan.json"
        if path.is_file() and self.read(work) != self:
            raise SystemExit(f"{work} was begun with {path.read_text(encoding='utf-8')}\nTake another --work, or the same options.")
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, work: Path) -> Plan:
        """Read that of a work folder."""
        return cls(**json.loads((work / "plan.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Cell:
    """One row on one data set with one seed."""

    work: Path
    data: str
    seed: int
    row: Row

    @classmethod
    def named(cls, work: Path, name: str) -> Cell:
        """Return the cell of a name such as ``luad128/seed0/const-dice``."""
        data, seed, row = name.split("/")
        return cls(work, data, int(seed.removeprefix("seed")), BY_NAME[row])

    @property
    def name(self) -> str:
        """Its folder's name under the work folder."""
        return f"{self.data}/seed{self.seed}/{self.row.name}"

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.work / self.name

    @property
    def teacher(self) -> Cell | None:
        """The cell its first round begins from."""
        return None if self.row.teacher is None else Cell(self.work, self.data, self.seed, BY_NAME[self.row.teacher])

    @property
    def facts(self) -> dict[str, Any] | None:
        """What cell.json says; None where it is not complete."""
        path = self.path / "cell.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def twin(self) -> Cell | None:
        """The cell whose run this one's is: it is complete, and switched every time."""
        if self.row.twin is None:
            return None
        cell = Cell(self.work, self.data, self.seed, BY_NAME[f"{self.row.teacher}+{self.row.twin}"])
        facts = cell.facts
        return cell if facts is not None and all(decision["switched"] for decision in facts["decisions"]) else None

    @property
    def trained(self) -> bool:
        """Whether it is complete and its run is here: a cell that was kept has counts, but no weights for others to begin from."""
        return self.facts is not None and (self.path / "run").is_dir()

    @property
    def ends_with(self) -> int:
        """The round whose network a complete run ends with; 0 is the teacher, or whatever is no round."""
        decisions = (self.facts or {}).get("decisions", [])
        return max((index for index, decision in enumerate(decisions, 1) if decision["switched"]), default=0)

    def counts(self, index: int) -> Path:
        """Return the file of counts of a round; 0 is a teacher, or whatever is no round."""
        return self.path / f"round-{index:02d}.npz"


def fold_of(cell: Cell, source: Path, plan: Plan) -> Fold:
    """Make, or find, the patch folders of a cell."""
    return make_fold(
        source / cell.data, cell.work / cell.data / f"seed{cell.seed}" / "fold", cell.seed, (plan.shrink or {}).get(cell.data, 1)
    )


def queue(cells: list[Cell], data: list[str]) -> Iterator[Cell]:
    """Yield the cells that are not complete, the most telling comparisons first, and teachers they need whose weights were not kept."""
    missing = [c for c in cells if c.facts is None]
    again = {
        c.teacher for c in missing if c.twin is None and c.teacher is not None and c.teacher.facts is not None and not c.teacher.trained
    }
    yield from sorted([*missing, *again], key=lambda c: (c.row.rank > FIRST, data.index(c.data), c.row.rank, c.seed))
