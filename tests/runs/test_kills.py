"""A run that is killed (-9) at any instant and resumed ends as if nothing had happened. ``tox run -e soak`` does it many times more."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """The script that soaks; its sessions find it on the path."""
    sys.path.insert(0, str(SCRIPTS))
    import soak

    return soak


@pytest.fixture(scope="module")
def subjects(tools: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Each act, and its run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("soak")
    tools.draw_material(folder)
    train = tools.Soak("train", folder / "train")
    return {
        "train": train,
        "predict": tools.Soak("predict", folder / "predict", train.whole),
        "distill": tools.Soak("distill", folder / "distill", train.whole),
    }


# the instants at which something is on disk that the journal does not tell yet, or the checkpoint does not know
INSTANTS = [
    ("train", "run.yaml", 1),
    ("train", "state.pt", 2),
    ("train", "teacher.safetensors", 1),
    ("predict", ".standing", 1),  # of the first row of tiles
    ("predict", "slide.zarr", 1),
    ("distill", "state.pt", 2),  # the last epoch of a round
    ("distill", "student.safetensors", 1),
    ("distill", "state.pt", 3),  # the switch
]


@pytest.mark.parametrize(("act", "name", "times"), INSTANTS)
def test_killed_right_after_a_file_took_its_place(tools: ModuleType, subjects: dict, act: str, name: str, times: int) -> None:
    trial = subjects[act].trial(tools.Moment(after=name, times=times))
    assert trial is not None, "nothing was killed"
    assert trial.problems == ()


@pytest.mark.parametrize("act", ["train", "predict", "distill"])
def test_killed_at_random_moments(tools: ModuleType, subjects: dict, act: str) -> None:
    subject, numbers = subjects[act], random.Random(7)
    trials = []
    while len(trials) < 3:
        trial = subject.trial(subject.draw(numbers, timed=len(trials) == 1))
        if trial is not None:
            trials.append(trial)
    assert [trial.problems for trial in trials] == [(), (), ()]


def test_comparison_sees_differences(tools: ModuleType, subjects: dict, tmp_path: Path) -> None:
    whole = subjects["distill"].whole
    parts = tmp_path / "run"

    def told() -> str:
        return " ".join(tools.differences(whole, parts))

    shutil.copytree(whole, parts)
    assert told() == ""
    network = parts / "rounds" / "01" / "student.safetensors"
    whole_bytes = network.read_bytes()
    network.write_bytes(whole_bytes[:-1] + bytes([whole_bytes[-1] ^ 1]))
    assert "weights of round 1 differ" in told()
    network.write_bytes(whole_bytes)
    chunk = next(path for path in (parts / "rounds" / "01" / "maps" / "slide.zarr" / "0").rglob("c/*/*"))
    kept = chunk.read_bytes()
    chunk.unlink()
    assert "map of slide.tif in round 1 differs" in told()
    chunk.write_bytes(kept)
    journal = parts / "journal.jsonl"
    lines = journal.read_text().splitlines()
    epoch = next(line for line in lines if json.loads(line)["event"] == "EpochDone")
    journal.write_text("\n".join([*lines, epoch, lines[-1]]) + "\n")
    assert "the journal tells" in told()
    journal.write_text("\n".join(lines) + "\n")
    (parts / "rounds" / "01" / ".left.part").touch()
    assert "left behind" in told()
    (parts / "checkpoint" / "state.pt").write_bytes(b"half")
    assert any("cannot be read" in problem for problem in tools.unreadable(parts))
