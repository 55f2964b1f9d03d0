"""What was painted and answered in a run, round by round: each round keeps what it began with."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_ifkd.annotations.corrections import Corrections
from napari_ifkd.annotations.points import Point, read_points, write_points
from napari_ifkd.annotations.verdicts import Verdict, read_verdicts, write_verdicts
from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import AnnotationError, Cancelled
from napari_ifkd.events import EpochDone, RunCancelled, RunDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs import hints as module
from napari_ifkd.runs.acts import distill_run, resume_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.hints import RoundHints, copy_corrections, inherit, known_of
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ifkd.bags.hints import Hints
    from napari_ifkd.slides import Slide

CONFIG = Config().replaced(**{"tiles.size_px": 32})
WITH_POINTS = CONFIG.replaced(**{"rounds.points_as_labels": True, "rounds.point_radius_um": 3.0})


@pytest.fixture
def slides(tmp_path: Path) -> Iterator[list[Slide]]:
    """Two slides of 300 x 200 px (x, y) at 1 um/px."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for seed, path in enumerate(paths):
        image = np.random.default_rng(seed).integers(0, 255, (200, 300, 3), np.uint8)
        tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", resolution=(1e4, 1e4), resolutionunit="CENTIMETER", metadata=None)
    opened = [open_slide(path) for path in paths]
    yield opened
    for slide in opened:
        slide.close()


@pytest.fixture
def run(tmp_path: Path, slides: list[Slide]) -> RunFolder:
    return make_run(tmp_path / "run", slides)


def make_run(path: Path, slides: list[Slide]) -> RunFolder:
    return RunFolder.create(path, "distill", CONFIG, {}, slides=[slide.identity() for slide in slides])


def paint(run: RunFolder, slide: Slide, y: int, x: int, h: int = 8, w: int = 8, label: int = 2) -> None:
    path = run.corrections_path(slide.path)
    corrections = Corrections.open(path) if path.exists() else Corrections.create(path, slide, 1.0)
    corrections.paint(y, x, np.full((h, w), label, np.uint8))


def same(one: Hints | None, other: Hints | None) -> bool:
    assert one is not None
    assert other is not None
    return (
        one.bags.names == other.bags.names
        and np.array_equal(one.bags.images, other.bags.images)
        and np.array_equal(one.bags.labels, other.bags.labels)
        and np.array_equal(one.labels, other.labels)
    )


def test_a_round_keeps_what_it_began_with(run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 40, 40)
    hints = RoundHints(run, slides, WITH_POINTS)
    first = hints(1)
    assert first is not None
    assert first.bags.names == ["a.tif@32,32"]
    assert hints.notes == ["Round 1: 1 corrected tile of a.tif counts (6.4e-05 mm² painted)"]
    paint(run, slides[0], 40, 40, label=1)  # while the round is going
    paint(run, slides[1], 0, 0)
    write_points(run.points, [Point("b.tif", 250, 150, "tumour")])
    resumed = RoundHints(run, slides, WITH_POINTS)
    assert same(first, resumed(1))  # after a crash the round goes on with what it knew
    second = resumed(2)
    assert second is not None
    assert second.bags.names == ["a.tif@32,32", "b.tif@0,0", "b.tif@128,224"]
    assert set(np.unique(second.labels[0])) == {0, 1}
    assert set(np.unique(second.labels[1:])) == {0, 2}
    assert second.bags.groups.tolist() == ["a.tif", "b.tif", "b.tif"]
    assert sorted(p.name for p in (run.round_dir(2) / "hints").iterdir()) == ["corrections", "points.csv"]
    assert resumed.notes[-2:] == [
        "Round 2: 1 corrected tile of a.tif counts (6.4e-05 mm² painted)",
        "Round 2: 2 corrected tiles of b.tif count (6.4e-05 mm² painted and 1 answered point)",
    ]


def test_nothing_then_stays_nothing(run: RunFolder, slides: list[Slide]) -> None:
    hints = RoundHints(run, slides, WITH_POINTS)
    assert hints(1) is None
    paint(run, slides[0], 0, 0)
    assert hints(1) is None
    assert hints(2) is not None
    assert len(hints.notes) == 1


def test_corrections_taken_back_are_gone(run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 0, 0)
    hints = RoundHints(run, slides, CONFIG)
    assert hints(1) is not None
    paint(run, slides[0], 0, 0, label=0)
    assert hints(2) is None


def test_points_count_only_where_the_settings_say_so(run: RunFolder, slides: list[Slide]) -> None:
    write_points(run.points, [Point("a.tif", 10, 10, "normal"), Point("a.tif", 90, 90, "unsure")])
    assert RoundHints(run, slides, CONFIG)(1) is None
    assert not (run.round_dir(1) / "hints" / "points.csv").exists()
    hints = RoundHints(run, slides, WITH_POINTS)
    found = hints(2)
    assert found is not None
    assert found.bags.names == ["a.tif@0,0"]
    assert hints.notes == ["Round 2: 1 corrected tile of a.tif counts (1 answered point)"]


def test_it_is_told_when_not_all_count(run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 0, 0, 200, 300)
    hints = RoundHints(run, slides, CONFIG.replaced(**{"tiles.max_tiles": 4}))
    found = hints(1)
    assert found is not None
    assert len(found.bags) == 4
    assert hints.notes == ["Round 1: 4 corrected tiles of a.tif count (0.06 mm² painted, drawn at random: tiles.max_tiles)"]


def test_patches_alone_have_no_hints(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [])
    assert RoundHints(run, [], WITH_POINTS)(1) is None
    assert not run.round_dir(1).exists()


def test_what_cannot_be_used_is_told_before_the_run_begins(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    write_points(run.points, [Point("elsewhere.tif", 1, 1, "tumour")])
    RoundHints(run, slides, CONFIG)  # they do not count
    with pytest.raises(AnnotationError, match=r"no point lies on a slide of this run \(they name elsewhere.tif; the run's: a.tif, b.tif\)"):
        RoundHints(run, slides, WITH_POINTS)
    write_points(run.points, [Point("a.tif", 300, 1, "tumour")])
    with pytest.raises(AnnotationError, match="beside the slide"):
        RoundHints(run, slides, WITH_POINTS)
    run.points.write_text("slide,x,y,answer\na.tif,1,1,hm\n")
    with pytest.raises(AnnotationError, match=r"points\.csv: line 2"):
        RoundHints(run, slides, WITH_POINTS)
    Corrections.create(run.corrections_path("a.tif"), slides[1], 1.0)
    with pytest.raises(AnnotationError, match="another slide"):
        RoundHints(run, slides, CONFIG)


def test_a_bad_state_is_not_kept(run: RunFolder, slides: list[Slide], monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that could not begin can begin once the cause is mended."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    hints = RoundHints(run, slides, CONFIG)
    paint(run, slides[0], 0, 0)
    chunk = run.corrections_path("a.tif") / "c" / "0" / "0"
    good = chunk.read_bytes()
    chunk.write_bytes(good[:-3])
    with pytest.raises(AnnotationError, match=r"run.corrections.a\.zarr: cannot be read"):
        hints(1)
    assert list(run.round_dir(1).iterdir()) == []
    chunk.write_bytes(good)
    assert hints(1) is not None


def test_copying_while_somebody_paints(run: RunFolder, slides: list[Slide], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that vanishes, and one caught half written, by a writer that writes in place."""
    paint(run, slides[0], 0, 0, 200, 300)
    source = run.corrections_path("a.tif")
    chunk = source / "c" / "0" / "0"
    (chunk.parent / "1").write_bytes(chunk.read_bytes())  # will be taken back
    (chunk.parent / "2.0abc.partial").write_bytes(b"half")
    whole, copy = chunk.read_bytes(), shutil.copyfile
    chunk.write_bytes(whole[: len(whole) // 2])

    def copyfile(file: Path, target: Path) -> Any:
        if file.name == "1":
            file.unlink(missing_ok=True)
        return copy(file, target)

    monkeypatch.setattr(module.shutil, "copyfile", copyfile)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: chunk.write_bytes(whole))
    copied = copy_corrections(source, tmp_path / "copy.zarr")
    assert (copied.read(0, 0, 200, 300) == 2).all()
    assert {p.name for p in (copied.path / "c" / "0").iterdir()} == {"0"}


def test_left_by_a_killed_process(run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 0, 0)
    stale = run.round_dir(1) / ".hints.0123abcd.part" / "corrections" / "b.zarr"
    stale.mkdir(parents=True)
    assert RoundHints(run, slides, CONFIG)(1) is not None
    assert not stale.exists()


def test_it_stops_when_asked(run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 0, 0)
    with pytest.raises(Cancelled):
        RoundHints(run, slides, CONFIG, should_stop=lambda: True)(1)
    assert RoundHints(run, slides, CONFIG)(1) is not None


def test_excluded_tiles_are_left_out(run: RunFolder, slides: list[Slide]) -> None:
    from shapely import box

    paint(run, slides[0], 0, 0, 8, 100)
    found = RoundHints(run, slides[:1], CONFIG, exclusions={slides[0].name: box(40, 20, 50, 30)})(1)
    assert found is not None
    assert found.bags.names == ["a.tif@0,0", "a.tif@0,64", "a.tif@0,96"]


def test_a_new_run_inherits_for_the_same_slides(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 3, 3)
    paint(run, slides[1], 5, 5)
    points = [Point("a.tif", 1.5, 2, "tumour", 0.25, "s"), Point("b.tif", 1, 2, "normal"), Point("c.tif", 1, 2, "normal")]
    write_points(run.points, points)
    moved = tmp_path / "moved" / "renamed.tif"
    moved.parent.mkdir()
    shutil.copy(slides[0].path, moved)
    with open_slide(moved) as renamed, open_slide(moved) as again:
        to = make_run(tmp_path / "to", [renamed])
        inherit([run], to)
        assert [p.name for p in to.corrections.iterdir()] == ["renamed.zarr"]
        corrections = Corrections.open(to.corrections_path("renamed.tif"))
        corrections.check(again)
        assert corrections.area_mm2() == pytest.approx(64e-6)
        assert read_points(to.points) == [Point("renamed.tif", 1.5, 2, "tumour", 0.25, "s")]
        found = RoundHints(to, [renamed], WITH_POINTS)(1)
        assert found is not None
        assert found.bags.names == ["renamed.tif@0,0"]
        corrections.paint(0, 0, np.zeros((50, 50), np.uint8))
        write_points(to.points, [])
        inherit([run], to)  # once more: what the new run has stays
        assert Corrections.open(corrections.path).is_empty
        assert read_points(to.points) == []
    assert len(read_points(run.points)) == 3


def test_verdicts_go_on_too_and_all_that_does_is_told(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    names = [slide.name for slide in slides]
    assert known_of(run, slides[0], names) == ""
    paint(run, slides[0], 3, 3)
    write_points(run.points, [Point("a.tif", 1.5, 2, "tumour"), Point("a.tif", 3, 2, "normal"), Point("b.tif", 1, 2, "normal")])
    said = [Verdict(name, 1.0, 2.0, "reject", 1, 0.5, "2026-01-01T00:00:00+00:00") for name in ("a.tif", "c.tif")]
    write_verdicts(run.verdicts, said)
    assert known_of(run, slides[0], names) == "corrections, 2 answered points and 1 judged lesion"
    assert known_of(run, slides[1], names) == "1 answered point"
    batches = [Point("b.tif", 1, 2, "normal", 0.1, "batch 1 of b.tif"), Point("b.tif", 1, 2, "normal", 0.1, "batch 2")]
    write_points(run.points, batches)
    assert known_of(run, slides[1], ["b.tif"]) == "2 answered points"
    assert known_of(run, slides[1], names) == "1 answered point"  # the other was drawn on that slide alone
    write_points(run.points, [*batches, Point("b.tif", 2, 2, "unsure", 0.1, "batch 2")])
    assert known_of(run, slides[1], names) == "1 answered point (1 more unsure)"
    write_points(run.points, batches[:1])
    assert known_of(run, slides[1], names) == ""
    to = make_run(tmp_path / "to", slides)
    inherit([run], to)
    assert read_verdicts(to.verdicts) == said[:1]


def test_of_several_runs_each_slide_goes_on_from_the_first_that_has_any(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    second = make_run(tmp_path / "second", slides)
    paint(run, slides[0], 3, 3)
    paint(second, slides[1], 3, 3)
    write_points(run.points, [Point("a.tif", 1.5, 2, "tumour")])
    write_points(second.points, [Point("a.tif", 9, 9, "normal"), Point("b.tif", 4, 4, "normal")])
    to = make_run(tmp_path / "to", slides)
    inherit([run, second, to], to)
    assert {(point.x, point.slide) for point in read_points(to.points)} == {(1.5, "a.tif"), (4, "b.tif")}
    for slide in slides[:2]:
        assert Corrections.open(to.corrections_path(slide.name)).area_mm2() == pytest.approx(64e-6)


def test_a_run_goes_on_from_the_judgements_of_another(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    paint(run, slides[0], 3, 3)
    write_points(run.points, [Point("a.tif", 1.5, 2, "tumour", 0.25, "s")])
    events = list(distill_run([slides[0].path], "phantom-teacher", tmp_path / "new", CONFIG, judged=[run.path], should_stop=lambda: True))
    new = RunFolder.open(tmp_path / "new")
    assert isinstance(events[-1], RunCancelled)
    assert Corrections.open(new.corrections_path("a.tif")).area_mm2() == pytest.approx(64e-6)
    assert len(read_points(new.points)) == 1


def test_nothing_to_inherit(tmp_path: Path, run: RunFolder, slides: list[Slide]) -> None:
    Corrections.create(run.corrections_path("a.tif"), slides[0], 1.0)  # empty
    write_points(run.points, [Point("c.tif", 1, 2, "normal")])
    to = make_run(tmp_path / "to", slides)
    inherit([run], to)
    inherit([run], run)
    assert not to.corrections.exists()
    assert not to.points.exists()


def test_hints_may_lie_in_a_folder_before_its_run(tmp_path: Path, slides: list[Slide]) -> None:
    early = RunFolder(tmp_path / "early")
    early.path.mkdir()
    paint(early, slides[0], 0, 0)
    write_points(early.points, [Point("a.tif", 1, 2, "normal")])
    make_run(early.path, slides)
    assert RoundHints(early, slides, WITH_POINTS)(1) is not None


def test_painted_in_a_run_its_next_round_moves_there(drawn_slide: Path, drawn_teacher: Path, drawn_config: Path, tmp_path: Path) -> None:
    """Through the whole of `distill`: the map moves where it was painted; a run that stopped goes on with what its round began with."""
    config = load_config(drawn_config).replaced(
        **{"rounds.rounds": 1, "rounds.epochs": 10, "rounds.learning_rate": 5e-3, "rounds.corrections_weight": 5}
    )
    corner = np.s_[64:128, 176:240]  # tumour by its look and by the teacher

    def start(name: str) -> RunFolder:
        run = RunFolder(tmp_path / name)
        with open_slide(drawn_slide) as slide:
            Corrections.create(run.corrections_path(slide.path), slide, 1.0).paint(64, 176, np.ones((64, 64), np.uint8))
        return run

    plain, painted, stopped = RunFolder(tmp_path / "plain"), start("painted"), start("stopped")
    list(distill_run([drawn_slide], drawn_teacher, plain.path, config))
    events = list(distill_run([drawn_slide], drawn_teacher, painted.path, config))
    assert isinstance(events[-1], RunDone)
    assert [e.message for e in events if isinstance(e, Warned) and "corrected" in e.message] == [
        "Round 1: 6 corrected tiles of tiny.tif count (0.0041 mm² painted)"
    ]
    before, after = (open_map(run.map_path(1, "tiny.tif")).read(0, 0, 256, 320)[corner].mean() / 255 for run in (plain, painted))
    assert before > 0.6
    assert after < before - 0.15

    for event in (parts := distill_run([drawn_slide], drawn_teacher, stopped.path, config)):
        if isinstance(event, EpochDone) and event.epoch == 2:
            break
    parts.close()
    Corrections.open(stopped.corrections_path("tiny.tif")).paint(0, 0, np.full((256, 320), 2, np.uint8))
    list(resume_run(stopped.path))
    hashes = [weights_hash(load_model(run.model_path(1))[0]) for run in (plain, painted, stopped)]
    assert hashes[0] != hashes[1] == hashes[2]
    again = RunFolder(tmp_path / "again")  # a run from a run goes on with its corrections
    handed = [e.message for e in distill_run([drawn_slide], stopped.path, again.path, config) if isinstance(e, Warned)]
    assert any("80 corrected tiles of tiny.tif count" in message for message in handed)
