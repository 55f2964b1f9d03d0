"""The command line: one command an act. Exit status 0 done, 2 wrong use or bad input, 1 a failure of ours, 130 cancelled."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from napari_ifkd import __version__
from napari_ifkd.errors import Cancelled

from .about import check, doctor, info, models
from .acts import demo, distill, patches, predict, train
from .control import cancel, delete, pause, resume, runs
from .points import points
from .results import evaluate, export, import_

if TYPE_CHECKING:
    from collections.abc import Sequence

# Only light imports here and at the head of the modules: every command imports the engine it needs, so that --help and a typing error
# answer at once.

CANCELLED = 130

app = typer.Typer(
    name="napari-ifkd",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment tumour in whole-slide images: a weakly supervised teacher, then rounds of fusion-knowledge distillation.",
    epilog="Before or after any command, --debug shows the traceback of an error.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-ifkd {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    pass


for _command in (
    demo,
    info,
    check,
    patches,
    train,
    predict,
    distill,
    runs,
    resume,
    pause,
    cancel,
    delete,
    points,
    evaluate,
    export,
    import_,
    models,
    doctor,
):
    app.command(_command.__name__.rstrip("_"))(_command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    argv : the words after the program's name; None takes them from the process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    status = _status([word for word in words if word != "--debug"], debug)
    _let_go()
    sys.exit(status)


def _let_go() -> None:
    """Give up what stdout and stderr could not write (a full disk, a closed pipe), or Python would exit with a status of its own."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends


def _status(words: list[str], debug: bool) -> int:
    """Do what the words say; every error becomes one line on stderr and an exit status."""
    try:
        # not the app itself: it would put its own hook in place of Python's
        result: Any = get_command(app).main(args=words, prog_name="napari-ifkd", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        return CANCELLED
    except BrokenPipeError:  # as in `napari-ifkd info SLIDE | head -1`
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: a user sees one line, not a traceback
        from napari_ifkd.console import tell_error

        return tell_error(error, debug)
