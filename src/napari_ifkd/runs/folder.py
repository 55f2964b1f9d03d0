"""The run folder: what a run was asked, what happened, and what it made.

::

    RUN/
      run.yaml        resolved config, seed, versions, slide identities, model hash; `data`, what the command was given
      journal.jsonl   one event a line
      checkpoint/     state.pt: the last complete epoch
      rounds/00/      teacher.safetensors (or teacher.json: it was pseudo-masks), metrics.json, maps/<slide>.zarr/
      rounds/01/ ...  student.safetensors, metrics.json, maps/<slide>.zarr/
      accepted.json  taken_back.json  points.csv  verdicts.csv  corrections/<slide>.zarr/   the user's judgement
      lock  stop  pause  log.txt   who writes, whether it shall stop or wait, what a child said
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.config import Config, validated
from napari_ifkd.errors import RunError
from napari_ifkd.events import Event, RoundDone, RunDone
from napari_ifkd.files import cannot_write, is_aside, read_json, write_aside

from . import lock
from .about import read_about, write_about
from .accepted import Accepted, read_accepted, read_refused, take_back, write_accepted
from .checkpoint import load_checkpoint, save_checkpoint
from .journal import Journal
from .status import Status, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_BESIDES = {
    "log.txt",
    "stop",
    "pause",
    "lock",
    "points.csv",
    "corrections",
    "verdicts.csv",
    "exclusions",
}  # may lie in a folder before its run begins
TEACHER_FACTS = "teacher.json"


class RunFolder:
    """A run on disk. Use :meth:`create` or :meth:`open`.

    Parameters
    ----------
    path : the folder

    Attributes
    ----------
    stop_file, pause_file : files whose presence asks the run to stop, to wait
    log : what a child process said on stdout and stderr
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.stop_file, self.pause_file, self.log = self.path / "stop", self.path / "pause", self.path / "log.txt"
        self.journal = Journal(self.path / "journal.jsonl")

    # --- making and opening

    @classmethod
    def create(
        cls,
        path: str | Path,
        act: str,
        config: Config,
        data: dict[str, Any],
        *,
        slides: list[dict[str, Any]] | None = None,
        model: dict[str, Any] | None = None,
    ) -> RunFolder:
        """Make a run folder, or take up the one there if it was asked exactly the same.

        Parameters
        ----------
        path : a new or empty folder, or the folder of the same run
        act : "train", "predict" or "distill"
        config : the resolved settings
        data : JSON-ready; the arguments of the command as given (paths too: `resume` needs them; exports must not carry them)
        slides : identities of the slides (no paths)
        model : name and hash of the network, or the pseudo-masks, the run starts from

        Raises
        ------
        RunError
            If the folder holds something else, or a run that was asked something else.
        """
        run = cls(path)
        run.check_free()
        if run.exists:
            if (run.act, run.config, run.asked) != (act, config, _settled(data)):
                raise RunError(
                    path,
                    f"holds another {run.act} run (other data or settings)",
                    "Choose another folder (--out), or go on with it by `napari-ifkd resume`",
                )
            return run
        try:
            write_about(run.path / "run.yaml", act, config, data, slides or [], model)
        except OSError as error:
            raise cannot_write(RunError, path, error, "choose another folder (--out)") from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run.

        Raises
        ------
        RunError
            If `path` is no run folder.
        """
        run = cls(path)
        if not run.exists:
            raise RunError(path, "is no run folder (it has no run.yaml)", "Give the --out of a train, predict or distill command")
        _ = run.about
        return run

    def check_free(self) -> None:
        """Raise RunError if the path holds something that is no run (a run, or nothing, is fine)."""
        if not self.path.exists() or self.exists:
            return
        if not self.path.is_dir():
            raise RunError(self.path, "is a file", "Give a new or empty folder as --out")
        try:
            others = sorted(p.name for p in self.path.iterdir() if p.name not in _BESIDES and not is_aside(p))
        except OSError as error:
            raise RunError(self.path, f"cannot be read ({error.strerror})", "Choose another folder (--out)") from error
        if others:
            raise RunError(self.path, f"is not empty and no run (it holds {others[0]})", "Give a new or empty folder as --out")

    # --- what it was asked

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments of the command, in the form of this version; those that were left out are not in there."""
        return _settled(self.about["data"])

    @property
    def exists(self) -> bool:
        """Whether a run was ever begun here."""
        return (self.path / "run.yaml").is_file()

    @property
    def about(self) -> dict[str, Any]:
        """The contents of run.yaml."""
        return read_about(self.path / "run.yaml")

    @property
    def act(self) -> str:
        """Which command made it: "train", "predict" or "distill"."""
        return str(self.about["act"])

    @property
    def config(self) -> Config:
        """The resolved settings."""
        return validated(self.about["config"], self.path / "run.yaml")

    # --- what happened

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing; RunError if another process does. What an earlier process was asked is forgotten."""
        with lock.hold(self.path / "lock") as handed:
            if not handed:  # else whoever started this process did, and may have asked something since
                self.forget_asked()
            yield

    @property
    def writer(self) -> int | None:
        """Process id of whoever works on the run now; None if nobody does."""
        return lock.holder(self.path / "lock")

    def forget_asked(self) -> None:
        """Remove the files that ask to stop or to wait."""
        for path in (self.stop_file, self.pause_file):
            path.unlink(missing_ok=True)

    def append(self, event: Event) -> None:
        """Append an event to the journal."""
        self.journal.append(event)

    def events(self) -> list[Event]:
        """Return all events so far; a torn last line is ignored, unknown kinds are kept."""
        return [event for event, _ in self.journal.events()]

    @property
    def status(self) -> Status:
        """What became of the run; "interrupted" is one that ended without a word."""
        events = (event for event, _ in self.journal.events(progress=False))
        return status_of(events, at_work=self.writer is not None, may_wait=self.pause_file.exists())

    # --- what it made

    def round_dir(self, index: int) -> Path:
        """Return the folder of a round; 0 is the teacher."""
        return self.path / "rounds" / f"{index:02d}"

    def rounds(self) -> list[int]:
        """Return the rounds that are on disk, in order; each has a network, except a round 0 of pseudo-masks from a file."""
        kept = {"teacher.safetensors", "student.safetensors", TEACHER_FACTS}
        return sorted({int(p.parent.name) for p in self.path.glob("rounds/[0-9]*/*.*") if p.name in kept})

    def model_path(self, index: int) -> Path:
        """Return where the network of a round lies."""
        return self.round_dir(index) / ("student.safetensors" if index else "teacher.safetensors")

    @property
    def file_teacher(self) -> dict[str, Any] | None:
        """Name, kind and sha256 of the pseudo-masks that stand in for the teacher; None where it is a network."""
        return read_json(self.round_dir(0) / TEACHER_FACTS)

    def write_file_teacher(self, facts: dict[str, str]) -> None:
        """Write that pseudo-masks stand in for the teacher."""
        write_aside(self.round_dir(0) / TEACHER_FACTS, json.dumps(facts, indent=2) + "\n")

    def map_path(self, index: int, slide: str | Path) -> Path:
        """Return where the map of a slide in a round lies."""
        return self.round_dir(index) / "maps" / f"{Path(slide).stem}.zarr"

    def maps(self, index: int) -> dict[str, Path]:
        """Return the complete maps of a round: slide file name -> folder."""
        return {_slide_name(path): path for path in sorted(self.round_dir(index).glob("maps/*.zarr")) if (path / "zarr.json").is_file()}

    def metrics(self, index: int) -> dict[str, Any]:
        """Return metrics.json of a round, empty where it has none."""
        return read_json(self.round_dir(index) / "metrics.json") or {}

    def write_metrics(self, index: int, metrics: dict[str, Any]) -> None:
        """Write metrics.json of a round."""
        write_aside(self.round_dir(index) / "metrics.json", json.dumps(metrics, indent=2) + "\n")

    def recommended_round(self) -> int:
        """Return the last round whose student was switched in, 0 if none was: what the run itself decided."""
        best = 0
        for event, _ in self.journal.events(progress=False):
            if isinstance(event, RoundDone) and event.decision is not None and event.decision.switched:
                best = event.index
            elif isinstance(event, RunDone):
                best = event.accepted_round
        return best

    # --- the checkpoint

    @property
    def checkpoint(self) -> Path:
        """The state of the last complete epoch, as a file."""
        return self.path / "checkpoint" / "state.pt"

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Save the engine's state, whole or not at all."""
        save_checkpoint(self.checkpoint, state)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the engine's state of the last complete epoch, None where there is none; RunError if it is damaged."""
        return load_checkpoint(self.checkpoint)

    # --- the user's judgement

    @property
    def points(self) -> Path:
        """Where the points the user answered lie."""
        return self.path / "points.csv"

    @property
    def corrections(self) -> Path:
        """The folder of the pixels the user painted."""
        return self.path / "corrections"

    @property
    def verdicts(self) -> Path:
        """Where what a person said of single lesions lies."""
        return self.path / "verdicts.csv"

    def corrections_path(self, slide: str | Path) -> Path:
        """Return where the pixels the user painted on a slide lie."""
        return self.corrections / f"{Path(slide).stem}.zarr"

    def exclusion_path(self, slide: str | Path) -> Path:
        """Return where the regions of a slide lie that the run does not look at."""
        return self.path / "exclusions" / f"{Path(slide).stem}.geojson"

    @property
    def accepted(self) -> Accepted | None:
        """The round and threshold the user accepted, or evidence chose; None if none was."""
        return read_accepted(self.path / "accepted.json")

    def accept(self, round: int, threshold: float, by: str = "user", reason: str = "", sigma_px: float | None = None) -> Accepted:
        """Write accepted.json; what it held before can be had again by :meth:`take_back`.

        Parameters
        ----------
        round, threshold, by, reason, sigma_px : see :class:`~napari_ifkd.runs.accepted.Accepted`

        Raises
        ------
        RunError
            If the run has no such round.
        """
        if round not in self.rounds():
            raise RunError(self.path, f"has no round {round}", f"It has {', '.join(map(str, self.rounds())) or 'none yet'}")
        there = self.accepted
        again = there is not None and (there.round, there.threshold, there.by, there.sigma_px) == (round, threshold, by, sigma_px)
        before = there.before if there is not None and again else there
        return write_accepted(self.path / "accepted.json", round, threshold, by, reason, sigma_px, before)

    def take_back(self) -> Accepted | None:
        """Let what was accepted before be accepted again, and return it; None where nothing was: then nothing is."""
        return take_back(self.path / "accepted.json", self.path / "taken_back.json")

    def was_taken_back(self, round: int, threshold: float, sigma_px: float) -> bool:
        """Return whether evidence had chosen a mask before, and the user took that back and has not accepted it since."""
        there = self.accepted
        if there is not None and there.is_mask(round, threshold, sigma_px):
            return False
        return any(one.is_mask(round, threshold, sigma_px) for one in read_refused(self.path / "taken_back.json"))

    def __repr__(self) -> str:
        """Name the folder."""
        return f"RunFolder({str(self.path)!r})"


def _slide_name(map_path: Path) -> str:
    told: Any = read_json(map_path / "zarr.json")
    for key in ("attributes", "napari_ifkd", "slide", "name"):
        told = told.get(key) if isinstance(told, dict) else None
    return str(told or map_path.stem)


def _settled(data: dict[str, Any]) -> dict[str, Any]:
    """Bring arguments to one form: earlier versions wrote what was left out, one file of regions, and one patch folder of `train`."""
    settled = dict(data)
    if "patches" in settled:
        settled["data"] = [settled.pop("patches")]
    if isinstance(settled.get("regions"), str):
        settled["regions"] = [settled["regions"]]
    return {key: value for key, value in settled.items() if value is not None and value != []}
