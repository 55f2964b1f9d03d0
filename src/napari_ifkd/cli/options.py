"""Options that several commands share."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from napari_ifkd.errors import ConfigError

Out = Annotated[Path, typer.Option("--out", help="new folder of the run, or the run's own to go on with it", metavar="RUN")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win over it")]
Seed = Annotated[int | None, typer.Option(help="seed of every draw")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
Mpp = Annotated[float | None, typer.Option(help="um/px of the finest level, for slides that do not say it")]
Mpps = Annotated[
    list[str] | None,
    typer.Option(
        "--mpp",
        help="um/px of the finest level, for slides that do not say it: one for all, or SLIDE=UM for the file of that name; again for more",
        metavar="UM|SLIDE=UM",
    ),
]
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


def resolutions(given: list[str] | None) -> float | dict[str, float] | None:
    """Return what --mpp of several slides says.

    Raises
    ------
    ConfigError
        If it is no positive number, or one for all stands beside others.
    """
    of_each: dict[str, float] = {}
    for word in given or ():
        name, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not (isfinite(value) and value > 0):
            raise ConfigError("--mpp", f"is {word!r}, and no resolution", "Give um/px such as 0.25, or SLIDE=0.25")
        if name in of_each or (of_each and "" in (name, *of_each)):
            raise ConfigError("--mpp", "is given for all slides and once more, or twice for one", "Give one for all, or SLIDE=UM for each")
        of_each[name] = value
    return of_each.get("", of_each or None)
