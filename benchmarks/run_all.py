"""Run every benchmark in a process of its own and show the figures: ``python benchmarks/run_all.py [NAME...]``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
NAMES = ("open_slide", "forward", "predict", "distill")


def main(names: list[str]) -> int:
    """Run them; return 1 if one failed."""
    table = Table("benchmark", "figure", "value", title=f"{os.cpu_count()} processors")
    failed = False
    for name in names or NAMES:
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True, check=False)
        failed |= done.returncode != 0
        figures = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"exit status": done.returncode}
        for figure, value in figures.items():
            table.add_row(name, figure, f"{value:g}")
    Console().print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
