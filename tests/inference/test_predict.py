"""Slide to map: seamless, at its place, only where there is tissue, all or nothing."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
import shapely
import torch

from napari_ifkd.config import Config, NetworkConfig
from napari_ifkd.errors import Cancelled, EngineError, SlideError
from napari_ifkd.events import Progress, Warned
from napari_ifkd.inference import Predictor, chance_warning, domain_warning, few_slides_warning, open_map, predict_map, warnings_of
from napari_ifkd.inference.coverage import Coverage
from napari_ifkd.models import build_model, prepare
from napari_ifkd.slides import Tissue, find_tissue

EVERYWHERE = {"inference.tissue_only": False, "precision": "float32", "device": "cpu"}


def whole(network, pixels):
    with torch.inference_mode():
        return network(prepare(torch.from_numpy(pixels)[None], network.normalisation)).fused[0, 0].numpy()


@pytest.mark.parametrize("size", [(300, 261), (64, 500), (33, 20), (129, 64), (1, 1)])
def test_map_equals_the_network_on_the_whole_image(make_slide, tissue_like, network, card, drain, tmp_path, size):
    pixels = tissue_like(*size)
    card = card.model_copy(update={"tile_px": 64})
    _, found = drain(predict_map(make_slide(pixels), network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    assert found.shape == size
    wanted = np.clip(np.rint(whole(network, pixels) * 255), 1, 255)
    difference = np.abs(found.read(0, 0, *size).astype(int) - wanted)
    inner = difference[4:-4, 4:-4]  # at the slide's border the network itself sees another surrounding
    if inner.size:
        assert inner.max() <= 4
        assert inner.mean() < 0.2
    # a seam would show as a systematic difference in the rows and columns where tiles meet
    if min(size) > 100:
        assert difference.mean(0)[4:-4].max() < 3
        assert difference.mean(1)[4:-4].max() < 3


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_batches_do_not_matter(make_slide, tissue_like, network, card, drain, tmp_path, batch):
    slide = make_slide(tissue_like(150, 170))
    _, one = drain(predict_map(slide, network, card, tmp_path / "one.zarr", Config().replaced(**EVERYWHERE)))
    settings = Config().replaced(**EVERYWHERE, **{"inference.batch": batch})
    _, other = drain(predict_map(slide, network, card, tmp_path / "other.zarr", settings))
    np.testing.assert_allclose(one.read(0, 0, 150, 170).astype(int), other.read(0, 0, 150, 170), atol=1)


def test_overlap_changes_little(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(200, 200))
    maps = []
    for overlap in (0.1, 0.25, 0.5):
        settings = Config().replaced(**EVERYWHERE, **{"inference.overlap": overlap})
        maps.append(drain(predict_map(slide, network, card, tmp_path / f"{overlap}.zarr", settings))[1].read(0, 0, 200, 200).astype(int))
    assert all(np.abs(a - b).mean() < 0.6 for a, b in itertools.combinations(maps, 2))


def test_no_overlap_still_covers_everything(make_slide, tissue_like, network, card, drain, tmp_path):
    settings = Config().replaced(**EVERYWHERE, **{"inference.overlap": 0.0})
    _, found = drain(predict_map(make_slide(tissue_like(130, 70)), network, card, tmp_path / "m.zarr", settings))
    assert found.read(0, 0, 130, 70).min() > 0


def test_a_real_network_leaves_no_seam(make_slide, tissue_like, card, drain, tmp_path):
    network = build_model(NetworkConfig(width=0.125), seed=0).eval()
    pixels = tissue_like(256, 384)
    card = card.model_copy(update={"tile_px": 128})
    _, found = drain(predict_map(make_slide(pixels), network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    wanted = whole(network, pixels)
    values = found.read(0, 0, 256, 384) / 255
    inside = np.abs(values - wanted)[48:-48, 48:-48]
    assert inside.mean() < 0.02
    steps = np.abs(np.diff(values, axis=1))[48:-48].mean(0)  # step between neighbouring columns
    assert steps[48:-48].max() < 4 * steps.mean() + 0.01


def test_map_lies_on_the_slide(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(301, 203), mpp=0.37)
    _, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    assert found.shape == slide.working_shape(1.0) == (round(301 * 0.37), round(203 * 0.37))
    for side, scale, length in zip(found.shape, found.scale_yx, (301, 203), strict=True):
        assert side * scale == pytest.approx(length)
    assert found.pixel_size_um_yx == pytest.approx([0.37 * s for s in found.scale_yx])
    assert found.slide == slide.identity()
    assert found.mpp == 1.0


def test_coarse_levels_are_means(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(1101, 37))
    _, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    assert [level.shape for level in found.levels] == [(1101, 37), (551, 19)]
    fine, coarse = found.levels[0][:].astype(float), found.levels[1][:]
    means = fine[:1100, :36].reshape(550, 2, 18, 2).mean((1, 3))
    assert np.abs(coarse[:550, :18] - means).max() <= 0.5
    assert coarse[550, 0] == np.floor(fine[1100, :2].mean() + 0.5)


def test_a_map_that_would_come_out_the_same_is_copied(make_slide, tissue_like, network, card, drain, tmp_path):
    slide, settings = make_slide(tissue_like(200, 200)), Config().replaced(**EVERYWHERE)
    card = card.model_copy(update={"weights_sha256": "a" * 64})
    _, first = drain(predict_map(slide, network, card, tmp_path / "first.zarr", settings))
    made = [tmp_path / "gone.zarr", first.path]
    events, second = drain(predict_map(slide, network, card, tmp_path / "second.zarr", settings, made=made))
    assert not [event for event in events if isinstance(event, Progress)]
    assert second.attributes == first.attributes
    for ours, theirs in zip(second.levels, first.levels, strict=True):
        np.testing.assert_array_equal(ours[:], theirs[:])
    others = (
        (card.model_copy(update={"weights_sha256": "b" * 64}), settings, None),
        (card, settings.replaced(**{"inference.overlap": 0.5}), None),
        (card, settings, shapely.box(0, 0, 100, 100)),
    )
    for number, (other, wanted, region) in enumerate(others):
        out = tmp_path / f"{number}.zarr"
        events, _ = drain(predict_map(slide, network, other, out, wanted, region=region, made=made))
        assert [event for event in events if isinstance(event, Progress)]


def half_glass(tissue_like):
    pixels = np.full((320, 320, 3), 243, np.uint8)
    pixels[60:260, 40:200] = tissue_like(200, 160)
    return pixels


def test_glass_is_zero_and_tissue_is_not(make_slide, tissue_like, network, card, drain, tmp_path):
    pixels = half_glass(tissue_like)
    slide = make_slide(pixels)
    tissue = find_tissue(slide)
    settings = Config().replaced(precision="float32", device="cpu")
    events, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", settings))
    values = found.read(0, 0, 320, 320)
    y, x = ((np.arange(320) + 0.5) / s for s in tissue.scale_yx)
    mask = tissue.mask[np.ix_(y.astype(int), x.astype(int))]
    assert (values[~mask] == 0).all()
    assert (values[mask] > 0).all()
    # right up to the border of the tissue the answer is that of the whole image
    wanted = np.rint(whole(network, pixels) * 255)
    assert np.abs(values.astype(int) - wanted)[mask].mean() < 0.5
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total < 36


def test_region_and_exclusion_cut_to_the_pixel(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(200, 200), mpp=0.5)
    region, hole = shapely.box(20, 30, 120, 180), shapely.box(60, 60, 100, 100)
    settings = Config().replaced(**EVERYWHERE)
    _, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", settings, region=region, exclusion=hole))
    seen = found.read(0, 0, 100, 100) > 0
    wanted = np.zeros((100, 100), bool)
    wanted[15:90, 10:60] = True
    wanted[30:50, 30:50] = False
    np.testing.assert_array_equal(seen, wanted)
    assert found.attributes["region"] is True


def test_the_area_of_tissue_is_without_what_is_excluded():
    tissue = Tissue(np.ones((10, 10), bool), (20.0, 20.0), True, "", 4.0)
    assert Coverage((100, 100), (2.0, 2.0), tissue).tissue_mm2() == 4
    assert Coverage((100, 100), (2.0, 2.0), tissue, exclusion=shapely.box(0, 0, 100, 200)).tissue_mm2() == pytest.approx(2)
    assert Coverage((100, 100), (2.0, 2.0), exclusion=shapely.box(0, 0, 100, 200)).tissue_mm2() is None


def test_region_beside_the_slide_is_an_error(make_slide, tissue_like, network, card, drain, tmp_path):
    settings = Config().replaced(**EVERYWHERE)
    with pytest.raises(SlideError, match="region"):
        drain(
            predict_map(
                make_slide(tissue_like(90, 90)), network, card, tmp_path / "m.zarr", settings, region=shapely.box(500, 500, 600, 600)
            )
        )


def test_no_tissue_is_told_with_a_way_on(make_slide, network, card, drain, tmp_path):
    slide = make_slide(np.full((300, 300, 3), 244, np.uint8))
    with pytest.raises(SlideError, match=r"(?s)no tissue found.*--region.*tissue_only: false"):
        drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config()))
    _, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config(), region=shapely.box(0, 0, 100, 100)))
    assert any("No tissue was found" in text for text in found.warnings)


def test_slide_without_resolution_is_an_error(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(90, 90), mpp=352.8)
    with pytest.raises(SlideError, match="--mpp"):
        drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config()))


def test_cancel_leaves_nothing_and_is_quick(make_slide, tissue_like, network, card, tmp_path):
    slide = make_slide(tissue_like(500, 500))
    stop = threading.Event()
    out = tmp_path / "maps" / "m.zarr"
    settings = Config().replaced(**EVERYWHERE, **{"inference.batch": 1})
    work = predict_map(slide, network, card, out, settings, should_stop=stop.is_set)
    next(work)
    stop.set()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(work)
    assert time.monotonic() - began < 1
    assert list(out.parent.iterdir()) == []
    assert not any(thread.name == "tile-reader" for thread in threading.enumerate())


def test_closing_the_generator_leaves_nothing(make_slide, tissue_like, network, card, tmp_path):
    out = tmp_path / "maps" / "m.zarr"
    settings = Config().replaced(**EVERYWHERE, **{"inference.batch": 1})
    work = predict_map(make_slide(tissue_like(500, 500)), network, card, out, settings)
    next(work)
    work.close()
    assert list(out.parent.iterdir()) == []


def test_an_older_map_stands_until_the_new_one_is_complete(make_slide, tissue_like, network, card, drain, tmp_path):
    slide, out = make_slide(tissue_like(90, 90)), tmp_path / "m.zarr"
    settings = Config().replaced(**EVERYWHERE)
    drain(predict_map(slide, network, card, out, settings))
    before = open_map(out).read(0, 0, 90, 90)
    with pytest.raises(Cancelled):
        drain(predict_map(slide, network, card, out, settings, should_stop=lambda: True))
    np.testing.assert_array_equal(open_map(out).read(0, 0, 90, 90), before)
    network.gain.data.neg_()
    drain(predict_map(slide, network, card, out, settings))
    assert not np.array_equal(open_map(out).read(0, 0, 90, 90), before)


def test_reading_errors_reach_the_caller(make_slide, tissue_like, network, card, drain, tmp_path, monkeypatch):
    slide = make_slide(tissue_like(90, 90))

    def broken(*_):
        raise SlideError(slide.name, "a tile is damaged")

    monkeypatch.setattr(slide, "read_working", broken)
    with pytest.raises(SlideError, match="a tile is damaged"):
        drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))


def test_diverged_network_is_told(network):
    network.gain.data.fill_(float("nan"))
    with pytest.raises(EngineError, match="no numbers"):
        Predictor(network, "cpu", "float32")(np.zeros((1, 32, 32, 3), np.uint8))


def test_warning_of_a_phantom_teacher_stays_with_the_map(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(90, 90))
    card = card.model_copy(update={"domain": "phantom"})
    events, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    told = domain_warning(card, slide)
    assert told is not None
    assert "phantom" in told
    assert Warned(told) in events
    assert found.domain_warning == told
    assert told in open_map(found.path).warnings


def test_a_teacher_of_few_slides_is_not_believed_on_another(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(96, 96), mpp=1.0)
    others = tuple("0" * 63 + str(number) for number in range(4))
    for learned_from, warned in (((), False), (others[:1], True), (others[:3], True), (others, False), ((slide.quick_hash,), False)):
        asked = card.model_copy(update={"learned_from": learned_from})
        told = few_slides_warning(asked, slide)
        assert (told is not None) == warned
        out = tmp_path / f"{len(learned_from)}{warned}.zarr"
        events, found = drain(predict_map(slide, network, asked, out, Config().replaced(**EVERYWHERE)))
        assert [text for text in found.warnings if "learned from" in text] == ([told] if warned else [])
        assert (Warned(told) in events) == warned
        assert found.domain_warning is None


def test_a_teacher_that_guesses_is_believed_nowhere(make_slide, tissue_like, card):
    slide = make_slide(tissue_like(96, 96), mpp=1.0)
    for told_apart, warned in ((None, False), (0.29, True), (0.5, True), (0.75, False)):
        asked = card.model_copy(update={"told_apart": told_apart})
        told = chance_warning(asked)
        assert (told is not None) == warned
        assert (told in warnings_of(asked, slide)) == warned
        assert told is None or f"it puts {told_apart:.0%} in order" in told
    for called_rightly, warned in ((None, False), (0.17, True), (0.5, False)):  # which puts them in order, and calls all of them tumour
        told = chance_warning(card.model_copy(update={"told_apart": 0.9, "called_rightly": called_rightly}))
        assert (told is not None) == warned
        assert told is None or "calls 17% of the images" in told


def test_a_slide_coarser_than_the_network_knows_is_told_before_and_after(make_slide, tissue_like, network, card, drain, tmp_path):
    slide = make_slide(tissue_like(96, 96), mpp=2.0)
    for mpp, warned in ((1.0, True), (1.7, False), (2.0, False)):
        asked = card.model_copy(update={"mpp": mpp})
        told = warnings_of(asked, slide)
        assert ["is coarser than" in text for text in told] == [True] * warned
        _, found = drain(predict_map(slide, network, asked, tmp_path / f"{mpp}.zarr", Config().replaced(**EVERYWHERE)))
        assert list(found.warnings) == told


def test_no_folder_is_told_by_the_map(make_slide, tissue_like, network, card, drain, tmp_path):
    _, found = drain(predict_map(make_slide(tissue_like(40, 40)), network, card, tmp_path / "m.zarr", Config().replaced(**EVERYWHERE)))
    assert str(tmp_path) not in (found.path / "zarr.json").read_text()


def test_real_slide_of_one_level(shared_data, network, card, drain, tmp_path):
    from napari_ifkd.slides import open_slide

    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        card = card.model_copy(update={"tile_px": 128})
        events, found = drain(predict_map(slide, network, card, tmp_path / "m.zarr", Config().replaced(device="cpu")))
    assert found.shape == (1481, 1108)
    assert 0.3 < (found.levels[-1][:] > 0).mean() < 1
    assert any(isinstance(event, Progress) and event.per_second for event in events)
