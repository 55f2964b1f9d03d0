"""What can go wrong, told once: what, why, and what to do about it.

Three families. :class:`InputError` is the user's to mend (exit status 2), :class:`EngineError` is ours (exit status 1), and
:class:`Cancelled` is neither. None derives from ``RuntimeError``: superqt's generator worker swallows those without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class InputError(Exception):
    """Bad input: names the thing, the cause and the remedy in one line.

    Parameters
    ----------
    what : str or Path
        The file, folder or option at fault.
    cause : str
        What is wrong with it, without a full stop.
    remedy : str
        What the user can do, without a full stop.
    """

    def __init__(self, what: str | Path, cause: str, remedy: str = "") -> None:
        self.what, self.cause, self.remedy = str(what), cause.rstrip("."), remedy.rstrip(".")
        super().__init__(self.what, self.cause, self.remedy)

    def __str__(self) -> str:
        line = f"{self.what}: {self.cause}."
        return f"{line} {self.remedy}." if self.remedy else line


class SlideError(InputError):
    """A slide that cannot be opened or read, or lacks what is needed (such as its resolution)."""


class AnnotationError(InputError):
    """A file of regions, points or masks that cannot be used."""


class BagError(InputError):
    """Patches or tiles from which no bags can be made."""


class ModelError(InputError):
    """A network or weights file that cannot be built or loaded."""


class ConfigError(InputError):
    """Settings that do not fit; the message lists every problem at once."""


class RunError(InputError):
    """A run folder that cannot be used."""


class ExportError(InputError):
    """A mask that cannot be written."""


class EngineError(Exception):
    """A failure of ours, or of the machine, in the middle of work: one sentence, with the cause chained."""


class Cancelled(Exception):
    """The user asked to stop; everything complete stands."""
