"""What `evaluate` takes for a map: runs, maps, images, regions, and folders of maps for patches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ifkd import cli
from napari_ifkd.annotations import read_mask
from napari_ifkd.config import Config
from napari_ifkd.distill import evaluate_masks
from napari_ifkd.errors import AnnotationError, BagError, InputError, RunError
from napari_ifkd.export import export_run
from napari_ifkd.runs.evaluation import evaluate_map_of, evaluate_model
from napari_ifkd.slides import open_slide

PLAIN = Config().replaced(**{"inference.sigma_px": 0})


@pytest.fixture
def truth(drawn_slide):
    """Half of the section: 192 x 128 px of 256 x 320."""
    return drawn_slide.parent / "truth.tif"


def box(path, corners, kind="Tumor"):
    (left, top), (right, bottom) = corners
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": kind}},
    }
    path.write_text(json.dumps(feature))
    return path


def test_the_truth_itself_is_perfect(truth, drawn_slide):
    scores = evaluate_map_of(truth, truth, PLAIN)
    assert scores == evaluate_map_of(truth, truth, PLAIN, drawn_slide)
    assert (scores["f1"], scores["iou"], scores["average_precision"], scores["hd95_um"]) == (1, 1, 1, 0)


def test_regions_score_as_the_image_they_draw(truth, drawn_slide, tmp_path):
    drawn = box(tmp_path / "r.geojson", ((150, 40), (280, 224)))
    image = np.zeros((256, 320), np.uint8)
    image[40:224, 150:280] = 1
    Image.fromarray(image).save(tmp_path / "r.png")
    scores = evaluate_map_of(drawn, truth, PLAIN, drawn_slide)
    assert scores == evaluate_map_of(tmp_path / "r.png", truth, PLAIN, drawn_slide)
    with read_mask(truth) as mask:
        assert scores == pytest.approx(evaluate_masks([image.astype(float)], [mask.read(0, 0, 256, 320)], mpp=1.0))
    assert 0 < scores["hd95_um"] <= np.hypot(10, 8)
    with pytest.raises(AnnotationError, match="Give the slide"):
        evaluate_map_of(drawn, truth, PLAIN)


def test_the_slide_tells_the_resolution(truth, drawn_slide, tmp_path):
    labels = np.zeros((128, 160), np.uint8)
    labels[20:110, 80:140] = 1
    Image.fromarray(labels).save(tmp_path / "half.png")
    assert "hd95_um" not in evaluate_map_of(tmp_path / "half.png", truth, PLAIN)
    fine = evaluate_map_of(tmp_path / "half.png", truth, PLAIN, drawn_slide)
    assert evaluate_map_of(tmp_path / "half.png", truth, PLAIN, drawn_slide, mpp=0.5)["hd95_um"] == pytest.approx(fine["hd95_um"] / 2)


def test_what_does_not_belong_together_is_told(truth, drawn_slide, tmp_path, write_map):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.full((256, 320, 3), 200, np.uint8), photometric="rgb", tile=(128, 128), resolution=(1e4, 1e4),
                     resolutionunit="CENTIMETER", metadata=None)  # fmt: skip
    with open_slide(drawn_slide) as slide:
        write_map(tmp_path / "m.zarr", slide)
    assert evaluate_map_of(tmp_path / "m.zarr", truth, PLAIN, drawn_slide)["n"] == 1
    with pytest.raises(RunError, match="another slide"):
        evaluate_map_of(tmp_path / "m.zarr", truth, PLAIN, other)
    Image.fromarray(np.zeros((256, 100), np.uint8)).save(tmp_path / "narrow.png")
    for first, second in ((tmp_path / "narrow.png", truth), (truth, tmp_path / "narrow.png")):
        with pytest.raises(AnnotationError, match="does not fit"):
            evaluate_map_of(first, second, PLAIN)
    for bad in (tmp_path, tmp_path / "none.tif"):
        with pytest.raises(InputError):
            evaluate_map_of(bad, truth, PLAIN)


def test_a_folder_of_maps_for_patches(drawn_patches, tmp_path):
    """The masks as maps: perfect; upside down: not."""
    blank = np.zeros((32, 32), np.uint8)
    for folder, flip in (("good", 1), ("bad", -1)):
        (tmp_path / folder).mkdir()
        for image in [*(drawn_patches / "pos").iterdir(), *(drawn_patches / "neg").iterdir()]:
            mask = drawn_patches / "gt" / image.name
            values = np.asarray(Image.open(mask)) if mask.exists() else blank
            Image.fromarray(np.ascontiguousarray(values[:, ::flip])).save(tmp_path / folder / image.name)
    good, bad = (evaluate_model(tmp_path / folder, drawn_patches, PLAIN) for folder in ("good", "bad"))
    assert (good["f1"], good["average_precision"], good["hd95_um"], good["n"]) == (1, 1, 0, 24)
    assert good.keys() == bad.keys()
    assert bad["f1"] < 0.8
    assert bad["hd95_um"] == 12 * Config().tiles.mpp
    next((tmp_path / "good").iterdir()).unlink()
    with pytest.raises(BagError, match="has no map"):
        evaluate_model(tmp_path / "good", drawn_patches, PLAIN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="holds no maps"):
        evaluate_model(tmp_path / "empty", drawn_patches, PLAIN)


def test_the_command_line_takes_them_too(truth, drawn_slide, drawn_patches, tmp_path, capsys):
    drawn = box(tmp_path / "r.geojson", ((160, 32), (288, 224)))

    def said(*words):
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", *map(str, words), "--json"])
        return end.value.code, capsys.readouterr()

    status, told = said("--map", drawn, "--truth", truth, "--slide", drawn_slide)
    assert status == 0, told.err
    assert json.loads(told.out)["f1"] > 0.99
    status, told = said("--map", truth, "--truth", truth, "--slide", drawn_slide, "--mpp", 0.5)
    assert json.loads(told.out)["hd95_um"] < 1
    for words in (
        ["--map", drawn, "--truth", truth],
        ["--model", drawn_patches / "gt", "--patches", drawn_patches],
        ["--model", "phantom-teacher", "--patches", drawn_patches, "--slide", drawn_slide],
        ["--model", "phantom-teacher", "--patches", drawn_patches, "--mpp", 1],
        ["--map", drawn_slide, "--truth", truth],
    ):
        status, told = said(*words)
        assert (status, told.out, told.err.count("\n")) == (2, "", 1), told.err
        assert told.err.startswith("error: ")


def test_what_was_exported_scores_as_its_map(truth, drawn_slide, tmp_path, write_map):
    with open_slide(drawn_slide) as slide:
        write_map(tmp_path / "tiny.zarr", slide)
    scores = evaluate_map_of(tmp_path / "tiny.zarr", truth, PLAIN)
    for path in export_run(tmp_path / "tiny.zarr", ["geojson", "ome-tiff"], tmp_path / "out"):
        if path.suffix != ".json":  # that is the provenance
            other = evaluate_map_of(path, truth, PLAIN.replaced(**{"tiles.mpp": 2.0}), drawn_slide)
            for key in ("f1", "iou", "hd95_um", "foreground_share"):
                assert other[key] == pytest.approx(scores[key]), (path.name, key)
