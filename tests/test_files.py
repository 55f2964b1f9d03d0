"""What is written appears whole or not at all, whoever is killed, and whatever the disk says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from napari_ifkd import files
from napari_ifkd.errors import ExportError
from napari_ifkd.files import cannot_write, durable, durable_folder, make_folder, read_json, reserve, scratch_folder, write_aside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.json"
    write_aside(path, '{"a": "µ\\n"}\n')
    write_aside(path, b'{"b": 1}')
    assert read_json(path) == {"b": 1}
    assert names(path.parent) == ["a.json"]


def test_what_fails_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def half() -> None:
        with durable(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="folders are not synchronised there")
def test_contents_reach_the_disk_before_the_name_and_the_name_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve() if sys.platform == "linux" else None
        told = "?" if path is None else "aside" if ".part" in str(path) else path.name
        if not steps or steps[-1] != f"sync {told}":
            steps.append(f"sync {told}")
        fsync(descriptor)

    def moved(of: Any) -> Any:
        return lambda self, target: (steps.append("rename"), of(self, target))[1]

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "replace", moved(replace))
    monkeypatch.setattr(Path, "rename", moved(rename))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_aside(folder / "a", "x")
    if sys.platform == "linux":
        assert steps == ["sync aside", "rename", "sync folder"]
    steps.clear()
    with durable_folder(folder / "b") as aside:
        (aside / "c").mkdir()
        (aside / "c" / "d").write_text("x")
    if sys.platform == "linux":
        assert steps == ["sync aside", "rename", "sync folder"]
    steps.clear()
    make_folder(tmp_path / "e" / "f")
    if sys.platform == "linux":
        assert steps == ["sync e", f"sync {tmp_path.name}"]


def test_a_folder_takes_its_name_when_it_is_filled(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()  # empty: as good as none
    with durable_folder(place) as aside:
        (aside / "a").write_text("x")
        assert names(place) == []
    assert names(place) == ["a"]

    def again() -> None:
        with durable_folder(place) as aside:
            (aside / "b").write_text("x")

    with pytest.raises(OSError, match="out"):
        again()
    assert names(tmp_path) == ["out"]
    assert names(place) == ["a"]


def test_a_scratch_folder_goes(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "slide.tiff") as scratch:
        (scratch / "tiles").write_text("x")
    assert names(tmp_path) == []


KILLED = """
import os, sys
from pathlib import Path
from napari_ifkd.files import durable, durable_folder
make = {"file": durable, "folder": durable_folder}[sys.argv[1]]
with make(Path(sys.argv[2])) as aside:
    (aside / "x" if aside.is_dir() else aside).write_text("half")
    print(aside.name, flush=True)
    sys.stdin.read()
    os._exit(9)  # as when killed: nothing is tidied
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.skipif(os.name == "nt", reason="asides of the killed are swept by age there")
def test_asides_of_the_killed_are_swept_and_those_of_the_living_are_not(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    (tmp_path / ".a.b.0123abcd.part").write_text("of another file, a.b, whose name begins alike")
    command = [sys.executable, "-c", KILLED, kind, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        aside = tmp_path / other.stdout.readline().strip()
        write_aside(path, "ours")  # both at once: neither disturbs the other
        assert aside.exists()
        assert path.read_text() == "ours"
        other.stdin.close()
        other.wait()
    assert aside.exists()
    write_aside(path, "later")
    assert path.read_text() == "later"
    assert names(tmp_path) == [".a.b.0123abcd.part", "a"]


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    code = (
        "import sys; from napari_ifkd.files import write_aside\nfor k in range(40): write_aside(sys.argv[1], (sys.argv[2] * 5000) + '\\n')"
    )
    path = tmp_path / "a"
    others = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "xyz"]
    seen = set()
    while any(other.poll() is None for other in others):
        if path.exists():
            seen.add(path.read_text())
        time.sleep(0.002)
    assert [other.returncode for other in others] == [0, 0, 0]
    assert seen | {path.read_text()} <= {letter * 5000 + "\n" for letter in "xyz"}
    assert names(tmp_path) == ["a"]


def test_a_disk_s_error_names_the_file_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="a'") as told:
        write_aside(path, "x")
    assert told.value.filename == str(path)
    assert names(tmp_path) == []
    problem = cannot_write(ExportError, path, told.value, "choose another folder (--out)")
    assert str(problem) == f"{path}: cannot be written (no space left on the device). Make space, or choose another folder (--out)."
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_aside(tmp_path / "file" / "deep" / "a", "x")


def test_what_goes_wrong_elsewhere_keeps_its_own_name(tmp_path: Path) -> None:
    def copy() -> None:
        with durable(tmp_path / "a") as aside:
            aside.write_bytes((tmp_path / "source").read_bytes())

    with pytest.raises(FileNotFoundError) as told:
        copy()
    assert told.value.filename == tmp_path / "source" or told.value.filename == str(tmp_path / "source")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate")
def test_room_is_taken_at_once_or_refused(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w+b") as file:
        reserve(file.fileno(), 1 << 20)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 1 << 20
        with pytest.raises(OSError, match=r"."):
            reserve(file.fileno(), 1 << 60)


def test_a_disk_that_cannot_promise_room_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(files.os, "posix_fallocate", unable, raising=False)
    with (tmp_path / "a").open("w+b") as file:
        reserve(file.fileno(), 10)


def test_json_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"[1]", b"{", b"\xff\xfe"):
        (tmp_path / "a").write_bytes(content)
        assert read_json(tmp_path / "a") is None
    assert read_json(tmp_path / "none") is None


def test_several_make_the_same_folder_at_once(tmp_path: Path) -> None:
    for index in range(100):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make_folder, [tmp_path / str(index) / "a" / "b"] * 4))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "a")
