"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="new folder of the run, or the run's own to go on with it", metavar="RUN")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win over it")]
Seed = Annotated[int | None, typer.Option(help="seed of every draw")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
Mpp = Annotated[float | None, typer.Option(help="um/px of the finest level, for slides that do not say it")]
Epochs = Annotated[int | None, typer.Option(help="training epochs")]
GroupColumn = Annotated[str | None, typer.Option(help="column of labels.csv that names patient, slide or ROI")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout and nothing else")]
Exclude = Annotated[
    list[Path] | None,
    typer.Option(
        "--exclude",
        help="regions not to look at, such as pen or folds: files called like their slides, or folders of such; again for more",
        metavar="FILE|FOLDER",
    ),
]
