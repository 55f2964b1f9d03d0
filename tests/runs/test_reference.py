"""Masks that the user gives for choosing: how they are read, what they decide, and that nothing learns from them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
import tifffile

from napari_ifkd.annotations import Corrections
from napari_ifkd.config import Config, load_config
from napari_ifkd.distill.metrics import Evaluation
from napari_ifkd.errors import AnnotationError, InputError
from napari_ifkd.events import Event, Progress, RoundDone, RunDone, Warned
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model, weights_hash
from napari_ifkd.runs.acts import distill_run
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judged_by_reference import ReferenceEvidence
from napari_ifkd.runs.reference import ReferenceMask, References
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_ifkd.runs.judgement import Judgement


@pytest.fixture(scope="module")
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config).replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})


@pytest.fixture(scope="module")
def done(drawn_slide: Path, drawn_teacher: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one round, without reference."""
    out = tmp_path_factory.mktemp("reference") / "run"
    list(distill_run([drawn_slide], drawn_teacher, out, config))
    return RunFolder.open(out)


@pytest.fixture
def truth(drawn_slide: Path) -> Path:
    return drawn_slide.parent / "truth.tif"


def drawn(path: Path, **boxes: tuple[int, int, int, int]) -> Path:
    """Write GeoJSON of boxes (x0, y0, x1, y1), classified as their names."""
    features = [
        {"type": "Feature", "properties": {"classification": {"name": name}}, "geometry": shapely.geometry.mapping(shapely.box(*box))}
        for name, box in boxes.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def ended(events: Generator[Event, None, Any]) -> tuple[list[Event], Any]:
    """Return what a generator yields and returns."""
    seen: list[Event] = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def judged(run: RunFolder, slide_path: Path, *paths: Path, exclusion: Any = None) -> tuple[Judgement | None, ReferenceEvidence]:
    with open_slide(slide_path) as slide:
        references = References(paths, [slide], run.config.tiles)
        evidence = ReferenceEvidence(
            references, run, [slide], run.config, {} if exclusion is None else {slide.name: exclusion}, lambda: False
        )
        events, found = ended(evidence.judgement())
    assert all(isinstance(event, Progress) for event in events)
    return found, evidence


def test_figures_are_those_of_an_evaluation_with_the_same_mask(done: RunFolder, drawn_slide: Path, truth: Path) -> None:
    judgement, evidence = judged(done, drawn_slide, truth)
    assert judgement is not None
    assert judgement.decides
    mask = tifffile.imread(truth) > 0
    for figures in judgement.rounds:
        pmap = open_map(done.maps(figures.round)["tiny.tif"])
        probability = pmap.smoothed(0, 0, *pmap.shape, done.config.inference.sigma_px)
        scores = Evaluation(figures.threshold.value)
        scores.add(probability, mask)
        assert figures.f1.value == pytest.approx(scores.result()["f1"], abs=1e-3)
        looked = (probability > 0) | mask
        assert figures.marked == pytest.approx((probability >= figures.threshold.value).sum() / looked.sum(), abs=1e-3)
        assert figures.f1.low < figures.f1.value <= figures.f1.high
    assert judgement.tumour_mm2 is not None
    assert judgement.tumour_mm2.value == pytest.approx(mask.sum() * 1e-6, rel=1e-6)
    assert "reference masks of tiny.tif" in judgement.evidence
    assert "of one slide" in evidence.notes[0]


def test_the_mask_may_be_coarser_and_be_drawn(done: RunFolder, drawn_slide: Path, truth: Path, tmp_path: Path) -> None:
    whole, _ = judged(done, drawn_slide, truth)
    outlines, _ = judged(done, drawn_slide, drawn(tmp_path / "a.geojson", Tumor=(160, 32, 288, 224)))
    tifffile.imwrite(tmp_path / "half.tif", tifffile.imread(truth)[::2, ::2])
    half, _ = judged(done, drawn_slide, tmp_path / "half.tif")
    assert whole is not None
    assert outlines is not None
    assert half is not None
    assert whole.record()["rounds"] == outlines.record()["rounds"] == half.record()["rounds"]


def test_regions_say_what_was_looked_at(drawn_slide: Path, tmp_path: Path) -> None:
    cases = {
        "tumour alone: all else is normal": ({"Tumor": (10, 0, 20, 10)}, 100, 320 * 256),
        "normal too: only what lies in one": ({"Tumor": (10, 0, 20, 10), "Normal": (30, 0, 50, 10)}, 100, 300),
        "a box that was looked at": ({"Region*": (0, 0, 40, 10), "Tumor": (10, 0, 20, 10)}, 100, 400),
        "without what is excluded": ({"Tumor": (10, 0, 20, 10), "Normal": (0, 0, 40, 10), "Ignore*": (15, 0, 25, 10)}, 50, 300),
        "normal tissue alone": ({"Normal": (0, 0, 40, 10)}, 0, 400),
    }
    with open_slide(drawn_slide) as slide:
        for name, (boxes, tumour_px, known_px) in cases.items():
            with ReferenceMask(drawn(tmp_path / "r.geojson", **boxes), slide) as mask:
                tumour, known = mask.on_grid((1.0, 1.0)).read(0, 0, 256, 320)
                assert (tumour.sum(), known.sum()) == (tumour_px, known_px), name
                assert not (tumour & ~known).any()
                part = mask.on_grid((2.0, 2.0), shapely.box(0, 0, 15, 10)).read(0, 4, 10, 10)
                assert part[1][:5, :3].sum() < 15, name  # the run's own exclusion
        with pytest.raises(AnnotationError, match=r"neither tumour nor normal tissue \(its regions are: Stroma\)"):
            ReferenceMask(drawn(tmp_path / "s.geojson", Stroma=(0, 0, 9, 9)), slide)


def test_what_the_run_excludes_is_not_counted(done: RunFolder, drawn_slide: Path, truth: Path) -> None:
    judgement, _ = judged(done, drawn_slide, truth, exclusion=shapely.box(0, 128, 320, 256))
    assert judgement is not None
    assert judgement.tumour_mm2 is not None
    assert judgement.tumour_mm2.value == pytest.approx(96 * 128e-6)
    nothing, evidence = judged(done, drawn_slide, truth, exclusion=shapely.box(0, 0, 320, 256))
    assert nothing is None
    assert "no tumour" in evidence.notes[0]


def test_what_was_corrected_does_not_judge(done: RunFolder, drawn_slide: Path, truth: Path, tmp_path: Path) -> None:
    """The rounds learned from it: one mask as corrections and as reference would judge what it taught."""
    run = RunFolder(shutil.copytree(done.path, tmp_path / "run"))
    whole, _ = judged(run, drawn_slide, truth)
    assert whole is not None
    with open_slide(drawn_slide) as slide:
        corrections = Corrections.create(run.corrections_path(slide.name), slide, 0.5)  # on a finer grid than the maps
        height, width = corrections.shape
        corrections.paint(0, 0, np.full((height, width // 2), 1, np.uint8))
        left = shapely.box(0, 0, slide.shape_level0[1] / 2, slide.shape_level0[0])
    without, evidence = judged(run, drawn_slide, truth)
    assert without == judged(done, drawn_slide, truth, exclusion=left)[0]  # as if nobody knew of that half
    assert without.rounds != whole.rounds
    assert any("of the reference mask do not count, for that was corrected too" in note for note in evidence.notes)
    corrections.paint(0, 0, np.full((height, width), 2, np.uint8))
    nothing, evidence = judged(run, drawn_slide, truth)
    assert nothing is None
    assert "no tumour that can judge" in evidence.notes[-1]


def test_masks_find_their_slides_by_name(drawn_slide: Path, truth: Path, drawn_patches: Path, tmp_path: Path, config: Config) -> None:
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    folder = tmp_path / "masks"
    folder.mkdir()
    shutil.copy(truth, folder / "tiny_mask.tif")
    shutil.copy(truth, folder / "unrelated.tif")
    (folder / "tiny.txt").write_text("no mask")
    with open_slide(drawn_slide) as one, open_slide(tmp_path / "other.tif") as other:
        assert References([truth], [one], config.tiles).of_slides == {"tiny.tif": truth}
        found = References([folder, drawn_patches], [one, other], config.tiles)
        assert found.of_slides == {"tiny.tif": folder / "tiny_mask.tif"}
        assert found.of_patches == [drawn_patches]
        for name in ("other.tif.tif", "other.tif_mask.tif"):  # called like the whole name
            shutil.copy(truth, tmp_path / name)
            assert References([tmp_path / name], [one, other], config.tiles).of_slides == {"other.tif": tmp_path / name}
        assert len(found) == 2
        for paths, told in (
            ([truth], "truth.tif belongs to no slide of this run"),
            ([tmp_path / "none.tif"], "does not exist"),
            ([folder, folder / "tiny_mask.tif"], "tiny.tif has two files"),
            ([drawn_slide.parent], "belongs to no slide"),
        ):
            with pytest.raises(InputError, match=told):
                References(paths, [one, other], config.tiles)
        (tmp_path / "bad.tif").write_text("no image")
        with pytest.raises(InputError, match=r"bad\.tif"):
            References([tmp_path / "bad.tif"], [one], config.tiles)


def test_a_run_ends_by_its_reference_and_says_so(
    done: RunFolder, drawn_slide: Path, drawn_teacher: Path, truth: Path, config: Config, tmp_path: Path
) -> None:
    """Nothing learns from the reference: networks and rounds are those of the run without it."""
    events = list(distill_run([drawn_slide], drawn_teacher, tmp_path / "run", config, reference=[truth], truth=truth))
    run = RunFolder.open(tmp_path / "run")
    end, accepted = events[-1], run.accepted
    assert isinstance(end, RunDone)
    assert end.reason.startswith("By reference masks: ")
    assert "Had there been no reference masks: " in end.reason
    assert accepted is not None
    assert (accepted.by, accepted.round) == ("reference", end.accepted_round)
    assert accepted.reason
    assert accepted.reason in end.reason
    warned = [e.message for e in events if isinstance(e, Warned)]
    assert any("is both --reference and --truth" in message for message in warned)
    for other in (run, done):
        assert weights_hash(load_model(other.model_path(1))[0]) == weights_hash(load_model(done.model_path(1))[0])
    decided = [[e.decision for e in folder.events() if isinstance(e, RoundDone)] for folder in (run, done)]
    assert decided[0] == decided[1]
    told = [e.scores for e in events if isinstance(e, RoundDone)]
    assert len(told) == 2
    for scores in told:  # the same mask, held against the rounds by another program
        assert scores["reference_f1"] == pytest.approx(scores["f1"], abs=1e-12)
    assert not any("reference_f1" in e.scores for e in done.events() if isinstance(e, RoundDone))
    assert run.about["data"]["reference"] == [str(truth.resolve())]


def test_the_mask_of_one_slide_does_not_decide_over_another(
    drawn_slide: Path, drawn_teacher: Path, truth: Path, config: Config, tmp_path: Path
) -> None:
    shutil.copy(drawn_slide, tmp_path / "other.tif")
    mask = shutil.copy(truth, tmp_path / "tiny_mask.tif")
    events = list(distill_run([drawn_slide, tmp_path / "other.tif"], drawn_teacher, tmp_path / "run", config, reference=[mask]))
    assert RunFolder(tmp_path / "run").accepted is None
    assert isinstance(events[-1], RunDone)
    assert events[-1].reason.startswith("By the cautious rule: ")
    warned = [e.message for e in events if isinstance(e, Warned)]
    assert any("is of tiny.tif alone: it judges that one, and does not decide over 1 other slide." in message for message in warned)
    assert all("reference_f1" in e.scores for e in events if isinstance(e, RoundDone))  # it is told all the same


def test_a_mask_that_marks_everything_is_not_chosen(
    done: RunFolder, drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]
) -> None:
    run = RunFolder(shutil.copytree(done.path, tmp_path / "run"))
    with open_slide(drawn_slide) as slide:
        for index in run.rounds():
            path = run.maps(index)[slide.name]
            shape = open_map(path).shape
            shutil.rmtree(path)
            write_map(path, slide, np.random.default_rng(index).integers(150, 250, shape).astype(np.uint8))  # knows nothing
    judgement, _ = judged(run, drawn_slide, drawn(tmp_path / "a.geojson", Tumor=(160, 32, 240, 112)))
    assert judgement is not None
    assert not judgement.decides
    assert judgement.reason.startswith("No better than marking all tissue as tumour: what would be chosen, ")
    assert judgement.reason.endswith("Take another teacher.")


def test_truth_does_not_choose(
    done: RunFolder, drawn_slide: Path, drawn_teacher: Path, truth: Path, config: Config, tmp_path: Path
) -> None:
    """A run with truth, and with a false one, ends as the run without."""
    shutil.copy(truth, tmp_path / "false.tif")
    tifffile.imwrite(tmp_path / "false.tif", 1 - tifffile.imread(truth))
    ends = [[e for e in done.events() if isinstance(e, RunDone)][-1]]
    for name, mask in (("true", truth), ("false", tmp_path / "false.tif")):
        events = list(distill_run([drawn_slide], drawn_teacher, tmp_path / name, config, truth=mask))
        assert isinstance(events[-1], RunDone)
        ends.append(events[-1])
        assert RunFolder(tmp_path / name).accepted is None
    assert ends[0] == ends[1] == ends[2]
    assert ends[0].reason.startswith("By the cautious rule: ")


def test_patches_with_masks_judge_a_run_of_patches(drawn_patches: Path, drawn_teacher: Path, config: Config, tmp_path: Path) -> None:
    events = list(distill_run([drawn_patches], drawn_teacher, tmp_path / "run", config, reference=[drawn_patches]))
    run = RunFolder.open(tmp_path / "run")
    assert isinstance(events[-1], RunDone)
    assert f"reference masks of {drawn_patches.name}, 0.0246 mm² in 24 blocks" in events[-1].reason  # 24 patches of 32 px
    assert any("of 6 groups" in e.message for e in events if isinstance(e, Warned))
    assert run.accepted is not None
    assert run.accepted.by == "reference"
    maps = np.ones((24, 32, 32), np.uint8) * 255
    (tmp_path / "pseudo").mkdir()
    for path, values in zip(sorted((*drawn_patches.glob("pos/*"), *drawn_patches.glob("neg/*"))), maps, strict=True):
        tifffile.imwrite(tmp_path / "pseudo" / f"{path.stem}.tif", values)
    with pytest.raises(InputError, match="cannot be asked about other images"):
        list(distill_run([drawn_patches], tmp_path / "pseudo", tmp_path / "two", config, reference=[drawn_patches]))
