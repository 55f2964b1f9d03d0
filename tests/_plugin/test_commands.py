"""The commands of the docks: what a run is told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import shapely
import tifffile

from napari_ifkd._plugin.commands import distill_command, new_run, train_command
from napari_ifkd.annotations import read_regions
from napari_ifkd.config import Config
from napari_ifkd.errors import InputError
from napari_ifkd.runs.inputs import files_of_slides
from napari_ifkd.session_records import Given
from napari_ifkd.slides import open_slide

DRAWN = {"Tumor": shapely.box(165, 32, 288, 160)}


@pytest.fixture
def coarse_slide(drawn_slide: Path, tmp_path: Path) -> Path:
    """Return the same slide, at 2 um/px by its file."""
    options = {"tile": (128, 128), "resolution": (5e3, 5e3), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "coarse.tif", tifffile.imread(drawn_slide), photometric="rgb", **options)
    return tmp_path / "coarse.tif"


def test_runs_are_numbered(tmp_path: Path) -> None:
    data, runs = [Path("/data/a (1).svs")], tmp_path / "runs"
    assert new_run(runs, data, "train") == runs / "a (1)-train-1"
    for name in (
        "a (1)-train-1",
        "a (1)-train-7",
        "a (1)-train-8.config.yaml",
        "a (1)-train-20261128-224925",
        "a (1)-distill-9",
        "b-train-9",
    ):
        (runs / name).mkdir(parents=True)
    assert new_run(runs, data, "train") == runs / "a (1)-train-9"
    assert new_run(runs, [*data, Path("b.svs"), Path("c.svs")], "distill") == runs / "a (1)-and-2-more-distill-1"


def test_slides_of_many_resolutions_are_believed(drawn_slide: Path, coarse_slide: Path, tmp_path: Path) -> None:
    with open_slide(drawn_slide) as fine, open_slide(coarse_slide) as coarse:
        command = train_command([(fine, DRAWN), (coarse, DRAWN)], None, tmp_path / "out", exclude=[], config=Config())
    assert "--mpp" not in command
    assert {path.name for path in (tmp_path / "out.regions").iterdir()} == {"tiny.geojson", "coarse.geojson"}


def test_a_resolution_that_was_set_is_told(drawn_slide: Path, coarse_slide: Path, tmp_path: Path) -> None:
    with open_slide(drawn_slide) as fine, open_slide(coarse_slide, 1.0) as coarse:
        command = train_command([(fine, DRAWN), (coarse, DRAWN)], None, tmp_path / "out", exclude=[], config=Config())
    assert [word for before, word in pairwise(command) if before == "--mpp"] == ["coarse.tif=1.0"]  # and of no other


def test_a_distillation_names_its_data_and_what_belongs_to_it(drawn_slide: Path, coarse_slide: Path, tmp_path: Path) -> None:
    patches, without = tmp_path / "patches", tmp_path / "tiny_exclusions.geojson"
    without.write_text("as drawn now")
    with open_slide(drawn_slide) as fine, open_slide(coarse_slide) as coarse:
        words = distill_command(
            [fine, coarse], "T", tmp_path / "out", config=Config(), patches=patches, drawn={fine: DRAWN}, exclude=[without]
        )
        assert words[1:4] == [str(drawn_slide), str(coarse_slide), str(patches)]
        kept = Path(words[words.index("--exclude") + 1])  # as it was when the run began
        assert (kept.name, kept.read_text()) == (without.name, "as drawn now")
        assert kept != without
        folder = Path(words[words.index("--regions") + 1])
        assert [path.name for path in folder.iterdir()] == ["tiny.geojson"]
        assert read_regions(folder / "tiny.geojson", fine).tumour.equals(DRAWN["Tumor"])
        given = tmp_path / "given.geojson"
        words = distill_command(
            [fine], "T", tmp_path / "two", config=Config(), drawn={fine: DRAWN}, given=[Given(fine.name, "regions", given)]
        )
    assert words[words.index("--regions") + 1] == str(given)
    assert words.count("--regions") == 1


def test_what_was_given_for_each_of_several_slides_goes_under_their_names(drawn_slide: Path, coarse_slide: Path, tmp_path: Path) -> None:
    mask = tmp_path / "by hand.ome.tif"
    mask.write_bytes(b"mask")
    drawn = tmp_path / "rough.tif.geojson"  # not all that looks like one is an ending
    drawn.write_text("rough")
    with open_slide(drawn_slide) as fine, open_slide(coarse_slide) as coarse:
        given = [Given(coarse.name, "reference", mask), Given(coarse.name, "regions", drawn), Given("another.tif", "reference", mask)]
        words = distill_command([fine, coarse], "T", tmp_path / "out", config=Config(), drawn={fine: DRAWN, coarse: DRAWN}, given=given)
        for option, files in (
            ("--reference", {f"{coarse.path.stem}.ome.tif": "mask"}),
            ("--regions", {"tiny.geojson": None, f"{coarse.path.stem}.geojson": "rough"}),
        ):
            folder = Path(words[words.index(option) + 1])
            assert {path.name for path in folder.iterdir()} == set(files)
            assert all(text is None or (folder / name).read_text() == text for name, text in files.items())
        assert files_of_slides([folder], [fine, coarse], "--regions", frozenset({".geojson"}), "").keys() == {fine.name, coarse.name}


def test_a_file_is_never_written_over_for_another_slide_of_that_name(drawn_slide: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "tiny.tiff", tifffile.imread(drawn_slide), photometric="rgb", tile=(128, 128))
    masks = [tmp_path / "one.png", tmp_path / "two.png"]
    for mask in masks:
        mask.write_text(mask.name)
    with open_slide(drawn_slide) as first, open_slide(tmp_path / "tiny.tiff") as second:
        given = [Given(slide.name, "reference", mask) for slide, mask in zip((first, second), masks, strict=True)]
        with pytest.raises(InputError, match="two of the slides are called tiny"):
            distill_command([first, second], "T", tmp_path / "out", config=Config(), given=given)
    assert [mask.read_text() for mask in masks] == ["one.png", "two.png"]
