"""Pseudo-masks from files: what their values mean, where they lie, and how they become an ordinary map."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from napari_ifkd.annotations import read_mask
from napari_ifkd.config import Config
from napari_ifkd.errors import AnnotationError, Cancelled, RunError, SlideError
from napari_ifkd.inference import FileMap, ProbabilityMap, maps_of_tiles, open_file_map, sha256_of, write_file_map
from napari_ifkd.inference.pseudo_mask import smooth
from napari_ifkd.slides import open_slide

ALL = Config().replaced(**{"inference.tissue_only": False})
RNG = np.random.default_rng(0)


@pytest.fixture
def slide(make_slide, tissue_like):
    """600 x 440 px (x, y) at 0.5 um/px: 300 x 220 at the working resolution."""
    return make_slide(tissue_like(440, 600), mpp=0.5)


@pytest.fixture
def glassy(make_slide, tissue_like):
    """The same, its left third glass."""
    pixels = tissue_like(440, 600)
    pixels[:, :200] = 245
    return make_slide(pixels, mpp=0.5)


def save(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png":
        Image.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values, tile=(64, 64))
    return path


KINDS = {
    "labels.png": (RNG.random((220, 300)) > 0.5).astype(np.uint8),
    "labels.tif": (RNG.random((220, 300)) > 0.5).astype(np.uint16),
    "black and white.png": (RNG.random((220, 300)) > 0.5).astype(np.uint8) * 255,
    "bool.npy": RNG.random((220, 300)) > 0.5,
    "bytes.png": RNG.integers(0, 256, (220, 300)).astype(np.uint8),
    "words.png": RNG.integers(0, 65536, (220, 300)).astype(np.uint16),
    "words.tif": RNG.integers(0, 65536, (220, 300)).astype(np.uint16),
    "floats.tif": RNG.random((220, 300)).astype(np.float32),
    "doubles.npy": RNG.random((220, 300)),
}


def meant(name):
    values = KINDS[name]
    return values / {"b": 255, "w": 65535}.get(name[0], 1) if name != "bool.npy" else values.astype(float)


@pytest.mark.parametrize("name", KINDS)
def test_values_mean_probability(slide, tmp_path, name):
    with open_file_map(save(tmp_path / name, KINDS[name]), slide) as found:
        assert isinstance(found, FileMap)
        assert (found.shape, found.scale_yx, found.mpp) == ((220, 300), (2.0, 2.0), 1.0)
        assert found.slide == slide.identity()
        whole = meant(name).astype(np.float32)
        np.testing.assert_allclose(found.probability(0, 0, 220, 300), whole, atol=1e-7)
        np.testing.assert_allclose(found.probability(100, 200, 20, 30), whole[100:120, 200:230], atol=1e-7)
        stored = found.read(-5, -5, 20, 20)
        assert stored[:5].sum() == stored[:, :5].sum() == 0, "beyond the border nothing was looked at"
        np.testing.assert_array_equal(stored[5:, 5:], np.maximum(np.rint(whole[:15, :15] * 255), 1))


@pytest.mark.parametrize("sigma", [0, 3])
def test_windows_are_smoothed_without_seams(slide, tmp_path, sigma):
    found = open_file_map(save(tmp_path / "f.npy", KINDS["doubles.npy"]), slide)
    whole = smooth(KINDS["doubles.npy"], sigma)
    np.testing.assert_allclose(found.smoothed(0, 0, 220, 300, sigma), whole, atol=1e-6)
    for y, x, height, width in [(0, 0, 30, 30), (100, 120, 40, 50), (190, 280, 30, 20)]:
        np.testing.assert_allclose(found.smoothed(y, x, height, width, sigma), whole[y : y + height, x : x + width], atol=1e-6)


def run(drain, *args, **options):
    return drain(write_file_map(*args, **options))[1]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_finer_labels_become_shares(slide, drain, tmp_path, factor):
    labels = RNG.random((220 * factor, 300 * factor)) > 0.5
    found = run(drain, save(tmp_path / "m.tif", labels.astype(np.uint8)), slide, tmp_path / "m.zarr", ALL)
    shares = labels.reshape(220, factor, 300, factor).mean((1, 3))
    values = np.clip(np.rint(shares * 255), 1, 255)
    middle = labels[(factor - 1) // 2 :: factor, (factor - 1) // 2 :: factor]
    values[(shares == 0.5) & ~middle] = 127
    np.testing.assert_array_equal(found.read(0, 0, 220, 300), values)


@pytest.mark.parametrize("factor", [2, 4])
def test_areas_of_finer_labels_stay(slide, drain, tmp_path, factor):
    """Rounding half covered px up, as was done, gives 4 % more of these shapes at factor 2."""
    y, x = np.indices((220 * factor, 300 * factor)) / factor
    labels = np.sin(y / 5) * np.sin(x / 7 + y / 31) > 0.3
    found = run(drain, save(tmp_path / "m.tif", labels.astype(np.uint8)), slide, tmp_path / "m.zarr", ALL)
    assert (found.read(0, 0, 220, 300) >= 127.5).mean() == pytest.approx(labels.mean(), rel=0.003)


def test_half_covered_px_break_no_thin_line_and_no_probability(slide, drain, tmp_path):
    lines = np.zeros((440, 600), np.uint8)
    lines[40], lines[81], lines[:, 100] = 1, 1, 1  # one px wide; the second lies beside the middles
    found = run(drain, save(tmp_path / "m.tif", lines), slide, tmp_path / "m.zarr", ALL).read(0, 0, 220, 300) >= 127.5
    assert found[20].all()
    assert found[:, 50].all()
    assert found.sum() == 220 + 300 - 1
    half = np.full((220, 300), 0.5, np.float32)
    assert (run(drain, save(tmp_path / "h.npy", half), slide, tmp_path / "h.zarr", ALL).read(0, 0, 220, 300) == 128).all()


def test_any_ratio_keeps_the_mean(slide, drain, tmp_path):
    """Against an integral image, exact for any box."""
    values = RNG.random((313, 427))
    found = run(drain, save(tmp_path / "m.npy", values), slide, tmp_path / "m.zarr", ALL)
    sums = np.zeros((314, 428))
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    edges_y, edges_x = np.linspace(0, 313, 221), np.linspace(0, 427, 301)
    rows = np.stack([np.interp(edges_y, np.arange(314), sums[:, x]) for x in range(428)], 1)
    corners = np.stack([np.interp(edges_x, np.arange(428), row) for row in rows])
    means = np.diff(np.diff(corners, axis=0), axis=1) / (313 / 220 * 427 / 300)
    np.testing.assert_allclose(found.read(0, 0, 220, 300) / 255, means, atol=0.51 / 255)


def test_blocks_leave_no_trace(slide, drain, tmp_path, monkeypatch):
    path = save(tmp_path / "m.npy", RNG.random((313, 427)))
    whole = run(drain, path, slide, tmp_path / "whole.zarr", ALL).read(0, 0, 220, 300)
    monkeypatch.setattr("napari_ifkd.inference.file_map._ROWS", 37)
    monkeypatch.setattr("napari_ifkd.inference.file_map._PX", 37 * 53)
    np.testing.assert_array_equal(run(drain, path, slide, tmp_path / "blocks.zarr", ALL).read(0, 0, 220, 300), whole)


def test_coarser_images_are_stretched(slide, drain, tmp_path):
    coarse = RNG.integers(0, 256, (22, 30)).astype(np.uint8)
    found = run(drain, save(tmp_path / "m.png", coarse), slide, tmp_path / "m.zarr", ALL)
    np.testing.assert_array_equal(found.read(0, 0, 220, 300), np.maximum(coarse, 1).repeat(10, 0).repeat(10, 1))


def test_normal_tissue_was_looked_at_and_glass_was_not(glassy, drain, tmp_path):
    labels = np.zeros((220, 300), np.uint8)
    labels[50:100, 50:250] = 1
    found = run(drain, save(tmp_path / "m.png", labels), glassy, tmp_path / "m.zarr", Config())
    values = found.read(0, 0, 220, 300)
    assert not values[:, :90].any()
    assert (values[:, 110:] == np.where(labels, 255, 1)[:, 110:]).all()
    assert found.attributes["tissue"]["reason"]
    assert found.model == {"name": "m.png", "sha256": sha256_of(tmp_path / "m.png")}
    assert found.slide == glassy.identity()
    assert (found.mpp, found.scale_yx) == (1.0, (2.0, 2.0))
    assert str(tmp_path) not in json.dumps(found.attributes)


def test_a_slide_without_tissue_is_told(make_slide, drain, tmp_path):
    slide = make_slide(np.full((440, 600, 3), 245, np.uint8), mpp=0.5)
    with pytest.raises(SlideError, match="nothing to learn from"):
        run(drain, save(tmp_path / "m.png", KINDS["labels.png"]), slide, tmp_path / "m.zarr", Config())


def write_regions(path, *features):
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
                        "properties": {"classification": {"name": kind}} if kind else {},
                    }
                    for corners, kind in features
                ],
            }
        )
    )
    return path


SQUARE = [(100, 100), (301, 100), (301, 241), (100, 241)]
INNER = [(150, 150), (200, 150), (200, 200), (150, 200)]


@pytest.mark.parametrize("kind", ["Tumor", None])
def test_regions_at_the_working_resolution(slide, drain, tmp_path, kind):
    path = write_regions(tmp_path / "r.geojson", (SQUARE, kind), (INNER, "Exclusion"))
    values = run(drain, path, slide, tmp_path / "m.zarr", ALL).read(0, 0, 220, 300)
    image = Image.new("L", (600, 440))
    ImageDraw.Draw(image).rectangle((100, 100, 300, 240), fill=1)
    wanted = np.asarray(image)[1::2, 1::2].astype(bool)  # centres of the px of the map
    excluded = np.zeros_like(wanted)
    excluded[75:100, 75:100] = True
    np.testing.assert_array_equal(values, np.where(excluded, 0, np.where(wanted, 255, 1)))


def test_regions_that_say_they_are_normal_are_no_tumour(slide, tmp_path):
    with pytest.raises(AnnotationError, match="marks no tumour"):
        open_file_map(write_regions(tmp_path / "r.geojson", (SQUARE, "Normal")), slide)
    path = write_regions(tmp_path / "r2.geojson", (SQUARE, "Normal"), (INNER, "Tumor"))
    assert open_file_map(path, slide).probability(0, 0, 440, 600).sum() == 50 * 50


def test_regions_need_their_slide(tmp_path):
    with pytest.raises(AnnotationError, match="Give the slide"):
        open_file_map(write_regions(tmp_path / "r.geojson", (SQUARE, "Tumor")))


def test_a_map_of_ours_keeps_its_values_and_gaps(slide, drain, tmp_path, write_map):
    values = RNG.integers(0, 256, (220, 300)).astype(np.uint8)
    write_map(tmp_path / "a.zarr", slide, values)
    assert isinstance(open_file_map(tmp_path / "a.zarr", slide), ProbabilityMap)
    found = run(drain, tmp_path / "a.zarr", slide, tmp_path / "b.zarr", Config())
    np.testing.assert_array_equal(found.read(0, 0, 220, 300), values)
    found = run(drain, tmp_path / "a.zarr", slide, tmp_path / "c.zarr", ALL.replaced(**{"tiles.mpp": 2.0}))
    assert found.shape == (110, 150)
    seen = (values > 0).reshape(110, 2, 150, 2).sum((1, 3))
    mean = values.reshape(110, 2, 150, 2).sum((1, 3)) / np.maximum(seen, 1)
    coarse = found.read(0, 0, 110, 150)
    assert (coarse[seen < 2] == 0).all()
    assert np.abs(coarse - mean)[seen >= 2].max() <= 0.51


def test_what_cannot_be_used_is_told(slide, make_slide, tissue_like, tmp_path, write_map):
    other = make_slide(tissue_like(440, 600, seed=5), mpp=0.5, name="other.tif")
    write_map(tmp_path / "a.zarr", slide)
    with pytest.raises(RunError, match=r"the map of another slide \(slide\.tif\), not of other"):
        open_file_map(tmp_path / "a.zarr", other)
    for name, values, said in [
        ("many.png", RNG.integers(0, 5, (220, 300)).astype(np.uint8), "up to 4"),
        ("many.tif", RNG.integers(0, 300, (220, 300)).astype(np.uint16), "uint16"),
        ("large.npy", RNG.integers(0, 300, (220, 300)).astype(np.uint32), "uint32"),
        ("logits.npy", RNG.normal(size=(220, 300)), "outside 0 to 1"),
        ("nan.npy", np.full((220, 300), np.nan), "outside 0 to 1"),
        ("rgb.png", RNG.integers(0, 256, (220, 300, 3)).astype(np.uint8), "colour"),
    ]:
        with pytest.raises(AnnotationError, match=said):
            open_file_map(save(tmp_path / name, values), slide).read(0, 0, 220, 300)
    with pytest.raises(AnnotationError, match="does not fit"):
        open_file_map(save(tmp_path / "narrow.png", np.zeros((220, 100), np.uint8)), slide)
    with pytest.raises(AnnotationError, match="does not exist"):
        open_file_map(tmp_path / "none.png", slide)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(AnnotationError, match="cannot be read"):
        open_file_map(tmp_path / "bad.png", slide)
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(AnnotationError):
        open_file_map(tmp_path / "text.tif", slide)


def test_stopping_leaves_nothing(slide, drain, tmp_path):
    path = save(tmp_path / "m.png", KINDS["labels.png"])
    with pytest.raises(Cancelled):
        run(drain, path, slide, tmp_path / "m.zarr", ALL, should_stop=lambda: True)
    assert [p.name for p in tmp_path.iterdir() if "zarr" in p.name] == []


def test_windows_of_tiles(slide, tmp_path, write_map):
    values = RNG.integers(0, 256, (220, 300)).astype(np.uint8)
    write_map(tmp_path / "a.zarr", slide, values)
    found = open_file_map(tmp_path / "a.zarr", slide)
    tiles = Config().replaced(**{"tiles.size_px": 32}).tiles
    origins = np.stack(np.meshgrid(np.arange(0, 220, 32), np.arange(0, 300, 32), indexing="ij"), -1).reshape(-1, 2)
    origins = np.random.default_rng(1).permutation(origins)
    maps = maps_of_tiles(found, origins, tiles)
    assert maps.dtype == np.float16
    padded = np.pad(values, ((0, 32), (0, 32)), mode="symmetric")  # as the slide is read beyond its border
    wanted = np.stack([padded[y : y + 32, x : x + 32] for y, x in origins]) / 255
    np.testing.assert_allclose(maps, wanted, atol=3e-4)
    assert maps_of_tiles(found, np.empty((0, 2), int), tiles).shape == (0, 32, 32)
    with pytest.raises(ValueError, match="has 1 um/px, the tiles 2"):
        maps_of_tiles(found, origins, Config().replaced(**{"tiles.mpp": 2.0}).tiles)


def test_hashes_follow_contents(tmp_path):
    (tmp_path / "d").mkdir()
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / "d" / name).write_text(text)
    first = sha256_of(tmp_path / "d")
    assert first == sha256_of(tmp_path / "d")
    (tmp_path / "d" / "b").rename(tmp_path / "d" / "c")
    assert sha256_of(tmp_path / "d") != first
    assert sha256_of(tmp_path / "d" / "a") == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    with pytest.raises(AnnotationError, match="cannot be read"):
        sha256_of(tmp_path / "gone")


def test_progress_tells_of_reading_and_of_writing(slide, drain, tmp_path):
    path = save(tmp_path / "m.tif", KINDS["labels.png"])
    events, _ = drain(write_file_map(path, slide, tmp_path / "m.zarr", ALL))
    assert [event.stage for event in events] == ["reading pseudo-mask", "teacher map"]
    assert all(event.done == event.total for event in events)


def test_warnings_of_a_map_of_ours_stay_with_it(slide, drain, tmp_path, write_map):
    write_map(tmp_path / "a.zarr", slide)
    meta = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    meta["attributes"]["napari_ifkd"] |= {"warnings": ["knows phantoms only"], "domain_warning": "knows phantoms only"}
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(meta))
    found = run(drain, tmp_path / "a.zarr", slide, tmp_path / "b.zarr", ALL)
    assert (found.warnings, found.domain_warning) == (["knows phantoms only"], "knows phantoms only")


def test_real_labels(shared_data, drain, tmp_path):
    with (
        open_slide(shared_data / "slides" / "luad_mosaic.tif") as slide,
        read_mask(shared_data / "slides" / "luad_mosaic_mask.tif") as mask,
    ):
        found = run(drain, mask.path, slide, tmp_path / "m.zarr", Config())
        values, truth = found.read(0, 0, *found.shape), mask.read(0, 0, *mask.shape)
    assert values.shape == truth.shape
    assert set(np.unique(values)) == {0, 1, 255}
    assert ((values == 255) == truth)[values > 0].all()
    assert (values[truth] > 0).mean() > 0.95, "tumour is tissue"
