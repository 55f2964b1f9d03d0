"""Labelled patches from annotated slides and pictures; labels and masks against the annotation read by other means."""

from __future__ import annotations

import csv
import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image, ImageDraw

from napari_ifkd.bags import read_patch_masks, read_patches
from napari_ifkd.bags.recipe import COLUMNS, make_patches, patch_counts
from napari_ifkd.config import Config
from napari_ifkd.errors import BagError, Cancelled, InputError, SlideError
from napari_ifkd.events import Progress, Warned
from napari_ifkd.slides import find_tissue, open_slide

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Config().replaced(**{"tiles.size_px": 32})
OUTLINE = [(150, 40), (270, 60), (260, 200), (200, 220), (140, 150)]
HOLES = [[(190, 100), (230, 100), (230, 150), (190, 150)], [(200, 60), (210, 60), (210, 75)]]
LESION = shapely.transform(
    shapely.Polygon(OUTLINE, HOLES), lambda points: points + np.array([0.137, 0.071])
)  # no edge meets a pixel's centre
EXCLUDED = shapely.box(40, 180, 70, 200)


def make(*sources: object, out: Path, config: Config = SMALL, **options: object) -> list[str]:
    """Make patches; return what was warned of."""
    return [event.message for event in make_patches(sources, out, config, **options) if isinstance(event, Warned)]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def feature(shape: shapely.Polygon, name: str) -> dict:
    return {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": {"classification": {"name": name}}}


@pytest.fixture
def geojson(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.geojson"
    path.write_text(json.dumps([feature(LESION, "Tumor"), feature(EXCLUDED, "Ignore*"), feature(shapely.box(0, 0, 50, 50), "Stroma")]))
    return path


def expected_labels(slide_path: Path, mpp: float, size: int, min_tumour: float = 0.05) -> dict[tuple[int, int], tuple[int, np.ndarray]]:
    """Return label and mask of every tile of the drawn slide by its corner, found pixel by pixel with shapely."""
    with open_slide(slide_path) as slide:
        height, width = slide.working_shape(mpp)
        scale = slide.working_scale(mpp)
        tissue = find_tissue(slide)
        found = {}
        for y in range(0, height - size + 1, size):
            for x in range(0, width - size + 1, size):
                if tissue.share((y * scale[0], x * scale[1]), (size * scale[0], size * scale[1])) < 0.5:
                    continue
                rows, columns = np.mgrid[y : y + size, x : x + size] + 0.5
                at = columns * scale[1], rows * scale[0]
                mask = shapely.contains_xy(LESION, *at)
                if not shapely.contains_xy(EXCLUDED, *at).any() and not 0 < mask.mean() < min_tumour:
                    found[y, x] = int(mask.any()), mask
    return found


@pytest.mark.parametrize(("mpp", "size"), [(1.0, 32), (0.83, 40), (2.0, 32)])
def test_labels_and_masks_are_the_annotation(drawn_slide: Path, geojson: Path, tmp_path: Path, mpp: float, size: int) -> None:
    config = SMALL.replaced(**{"tiles.size_px": size, "tiles.mpp": mpp})
    warned = make(drawn_slide, out=tmp_path / "p", annotations=[geojson], config=config)
    expected = expected_labels(drawn_slide, mpp, size)
    table = rows(tmp_path / "p")
    assert tuple(table[0]) == COLUMNS
    assert [(int(row["y"]), int(row["x"]), int(row["label"])) for row in table] == [(*at, label) for at, (label, _) in expected.items()]
    assert {label for label, _ in expected.values()} == {0, 1}
    bags, masks = read_patches(tmp_path / "p", config.tiles), read_patch_masks(tmp_path / "p")
    assert bags.mpp == pytest.approx(mpp)
    assert bags.groups.tolist() == ["tiny"] * len(table)
    with open_slide(drawn_slide) as slide:
        for name, image, row in zip(bags.names, bags.images, table, strict=True):
            at = int(row["y"]), int(row["x"])
            assert np.array_equal(image, slide.read_working(*at, size, size, mpp))
            assert np.array_equal(masks[name], expected[at][1])
            assert (tmp_path / "p" / "masks" / name).exists() == bool(expected[at][0])
    assert bags.origins is not None  # a part of the one slide can be held out
    assert any("of one slide" in note for note in warned)
    assert any("touch an excluded region" in note for note in warned)


def test_too_little_tumour_is_left_out(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    counts = []
    for share in (0.01, 0.3, 0.9):
        warned = make(drawn_slide, out=tmp_path / f"{share}", annotations=[geojson], config=SMALL.replaced(**{"tiles.min_tumour": share}))
        expected = expected_labels(drawn_slide, 1.0, 32, share)
        assert [int(row["label"]) for row in rows(tmp_path / f"{share}")] == [label for label, _ in expected.values()]
        counts.append(patch_counts(tmp_path / f"{share}")["tiny"])
        assert any("less than" in note for note in warned) == (share > 0.01)
    assert counts[0][0] > counts[1][0] > counts[2][0] > 0
    assert counts[0][1] == counts[1][1] == counts[2][1] > 0


def asap(path: Path) -> Path:
    holes = [(shapely.get_coordinates(ring), "_2") for ring in LESION.interiors]
    drawn = [(shapely.get_coordinates(LESION.exterior), "_0"), *holes, (shapely.get_coordinates(EXCLUDED), "Ignore")]
    told = ""
    for points, group in drawn:
        places = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points[:-1]))
        told += (
            f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}" Color="#64FE2E"><Coordinates>{places}</Coordinates></Annotation>'
        )
    path.write_text(f"<ASAP_Annotations><Annotations>{told}</Annotations><AnnotationGroups/></ASAP_Annotations>")
    return path


def test_every_format_gives_the_same_patches(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    outer, *holes = ({"name": "a", "vertices": shapely.get_coordinates(ring).tolist()} for ring in (LESION.exterior, *LESION.interiors))
    (tmp_path / "tiny.json").write_text(json.dumps({"positive": [outer], "negative": holes}))
    x, y = np.meshgrid(np.arange(320) + 0.5, np.arange(256) + 0.5)
    tifffile.imwrite(tmp_path / "tiny_mask.tif", shapely.contains_xy(LESION, x, y).astype(np.uint8))
    files = {"geojson": geojson, "asap": asap(tmp_path / "tiny.xml"), "ncrf": tmp_path / "tiny.json", "mask": tmp_path / "tiny_mask.tif"}
    made = {}
    for kind, file in files.items():
        make(drawn_slide, out=tmp_path / kind, annotations=[file])
        places = [(int(row["y"]), int(row["x"])) for row in rows(tmp_path / kind)]
        made[kind] = dict(zip(places, zip(rows(tmp_path / kind), read_patch_masks(tmp_path / kind).values(), strict=True), strict=True))
    assert made["geojson"].keys() == made["asap"].keys() < made["mask"].keys() == made["ncrf"].keys()  # the latter two know no exclusion
    for kind in files:
        assert all(np.array_equal(made[kind][at][1], mask) for at, (_, mask) in made["geojson"].items())
        assert all(made[kind][at][0] == row for at, (row, _) in made["geojson"].items())


def test_mosaic_masks_are_the_mask(shared_data: Path, tmp_path: Path) -> None:
    slides = shared_data / "slides"
    make(
        slides / "luad_mosaic.tif",
        out=tmp_path / "p",
        annotations=[slides / "luad_mosaic_mask.tif"],
        config=Config().replaced(**{"tiles.max_tiles": 60}),
    )
    truth = tifffile.imread(slides / "luad_mosaic_mask.tif") > 0
    masks, table = read_patch_masks(tmp_path / "p"), rows(tmp_path / "p")
    assert patch_counts(tmp_path / "p") == {"luad_mosaic": (30, 30)}
    for row in table:
        y, x = int(row["y"]), int(row["x"])
        assert np.array_equal(masks[row["file"]], truth[y : y + 128, x : x + 128])
        assert row["label"] == str(int(masks[row["file"]].any()))


def tissue(shape: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    return np.clip(np.random.default_rng(1).normal(colour, 10, (*shape, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def digestpath(tmp_path: Path) -> Path:
    """Pictures as DigestPath 2019 gives them: two patients with tumour and JPEG masks, one without."""
    rng = np.random.default_rng(0)
    for k, patient in enumerate(("18-01_a", "18-01_b", "18-02_a")):
        size = (150 + 20 * k, 200)
        mask = Image.new("L", size[::-1])
        ImageDraw.Draw(mask).polygon([tuple(p) for p in (rng.random((5, 2)) * [200, 150]).tolist()], fill=255)
        image = np.where(np.asarray(mask)[..., None] > 0, tissue(size, (120, 70, 150)), tissue(size, (222, 160, 196)))
        (tmp_path / "dp" / "tissue-train-pos").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "dp" / "tissue-train-pos" / f"{patient}.jpg")
        mask.save(tmp_path / "dp" / "tissue-train-pos" / f"{patient}_mask.jpg", quality=70)
    (tmp_path / "dp" / "tissue-train-neg").mkdir()
    Image.fromarray(tissue((100, 140), (222, 160, 196))).save(tmp_path / "dp" / "tissue-train-neg" / "19_1.jpg")
    return tmp_path / "dp"


def test_digestpath(digestpath: Path, tmp_path: Path) -> None:
    warned = make(digestpath, out=tmp_path / "p")
    table, masks = rows(tmp_path / "p"), read_patch_masks(tmp_path / "p")
    assert patch_counts(tmp_path / "p").keys() == {"19", "18-01", "18-02"}
    assert sum(row["slide"] == "19_1.jpg" for row in table) == 3 * 4  # whole tiles of 32 px in 100 x 140
    assert not any(int(row["label"]) for row in table if row["slide"] == "19_1.jpg")
    for row in table:
        stem, y, x = row["slide"][:-4], int(row["y"]), int(row["x"])
        folder = digestpath / ("tissue-train-neg" if stem == "19_1" else "tissue-train-pos")
        image = np.asarray(Image.open(folder / row["slide"]))[y : y + 32, x : x + 32]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "p" / "images" / row["file"])), image)
        if stem != "19_1":
            mask = np.asarray(Image.open(folder / f"{stem}_mask.jpg"))[y : y + 32, x : x + 32] >= 128
            assert np.array_equal(masks[row["file"]], mask)
            assert row["label"] == str(int(mask.mean() >= 0.05))
    assert {row["mpp"] for row in table} == {""}  # nobody said it
    assert any("do not tell their resolution" in note for note in warned)
    assert read_patches(tmp_path / "p", SMALL.tiles).mpp == SMALL.tiles.mpp


def test_pictures_are_brought_to_the_working_resolution(digestpath: Path, tmp_path: Path) -> None:
    warned = make(digestpath, out=tmp_path / "p", mpp=0.5)
    table, masks = rows(tmp_path / "p"), read_patch_masks(tmp_path / "p")
    assert {row["mpp"] for row in table} == {"1"}
    assert not any("resolution" in note for note in warned)
    compared = 0
    for row in table:
        stem, y, x = row["slide"][:-4], int(row["y"]), int(row["x"])
        if stem == "19_1":
            continue
        image = np.asarray(Image.open(digestpath / "tissue-train-pos" / row["slide"])).astype(float)
        height, width = image.shape[0] // 2, image.shape[1] // 2
        means = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))[y : y + 32, x : x + 32]
        assert np.abs(means - np.asarray(Image.open(tmp_path / "p" / "images" / row["file"]))).max() <= 0.51
        mask = np.asarray(Image.open(digestpath / "tissue-train-pos" / f"{stem}_mask.jpg"))[1::2, 1::2][y : y + 32, x : x + 32] >= 128
        assert np.array_equal(masks[row["file"]], mask)
        compared += 1
    assert compared > 10


def test_slides_and_pictures_together_need_one_resolution(digestpath: Path, drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="Give --mpp where it is the same for all"):
        make(drawn_slide, digestpath, out=tmp_path / "p", annotations=[geojson])
    make(drawn_slide, digestpath, out=tmp_path / "p", annotations=[geojson], mpp=1.0)
    assert read_patches(tmp_path / "p", SMALL.tiles).mpp == 1.0
    assert patch_counts(tmp_path / "p").keys() == {"tiny", "19", "18-01", "18-02"}


def test_stain_nobody_knows_can_be_cut_whole(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.fromarray(np.full((64, 96, 3), (40, 160, 60), np.uint8)).save(tmp_path / "d" / "a.png")  # green
    Image.fromarray(np.repeat([[255] * 64 + [0] * 32], 64, 0).astype(np.uint8)).save(tmp_path / "d" / "a_mask.png")
    with pytest.raises(BagError, match=r"no tile is positive.*1 of 1 slides and pictures give no tile.*a\.png \(no tissue"):
        make(tmp_path / "d", out=tmp_path / "p")
    make(tmp_path / "d", out=tmp_path / "p", config=SMALL.replaced(**{"tiles.min_tissue": 0}))
    assert patch_counts(tmp_path / "p") == {"a": (4, 2)}


def test_draw_is_seeded_a_class_and_a_slide_at_a_time(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    few = SMALL.replaced(**{"tiles.max_tiles": 10})

    def files(name: str, config: Config, **options: object) -> list[str]:
        make(drawn_slide, out=tmp_path / name, annotations=[geojson], config=config, **options)
        return [row["file"] for row in rows(tmp_path / name) if row["slide"] == "tiny.tif"]

    first = files("a", few)
    assert patch_counts(tmp_path / "a") == {"tiny": (5, 5)}
    assert first == files("b", few)
    assert first != files("c", few.replaced(seed=1))
    normal = tmp_path / "normal.tif"
    normal.write_bytes(drawn_slide.read_bytes())
    assert first == files("d", few, normal=[normal])
    assert patch_counts(tmp_path / "d") == {"tiny": (5, 5), "normal": (0, 10)}
    assert set(first) < set(files("e", SMALL))


def test_normal_slides_are_negative_throughout(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    normal = tmp_path / "tiny-normal.tif"
    normal.write_bytes(drawn_slide.read_bytes())
    events = list(make_patches([drawn_slide, normal], tmp_path / "p", SMALL, annotations=[geojson], normal=[normal]))
    labelled = [event for event in events if isinstance(event, Progress) and event.stage == "labelling"]
    assert (labelled[-1].done, labelled[-1].total, labelled[-1].unit) == (2, 2, "images")
    warned = [event.message for event in events if isinstance(event, Warned)]
    counts = patch_counts(tmp_path / "p")
    assert counts["tiny-normal"] == (0, 6 * 8)  # the section is 192 x 256 px
    assert not any("one slide" in note or "group" in note for note in warned)
    warned = make(drawn_slide, out=tmp_path / "q", annotations=[geojson], normal=[normal], group_by="^tiny")
    assert any("one group (tiny), so `train` can hold none out" in note for note in warned)


def test_progress_counts_to_the_end_and_the_table_tells_no_folder(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    events = list(make_patches([drawn_slide], tmp_path / "p", SMALL, annotations=[geojson]))
    last = {event.stage: event for event in events if isinstance(event, Progress)}
    assert list(last) == ["labelling", "writing patches"]
    assert last["labelling"].done == last["labelling"].total == 6 * 8  # the tissue is 192 x 256 px
    assert last["writing patches"].done == last["writing patches"].total == len(rows(tmp_path / "p"))
    text = (tmp_path / "p" / "labels.csv").read_text()
    assert "/" not in text
    assert "\\" not in text
    assert sorted(os.listdir(tmp_path / "p")) == ["images", "labels.csv", "masks"]  # noqa: PTH208
    truth = {"share", "fraction", "area", "mask", "tumour"}
    assert not truth & set(COLUMNS)


def test_all_or_nothing(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    after = 10**9
    make(drawn_slide, out=tmp_path / "whole", annotations=[geojson], should_stop=stop)
    total, before = asked, set(tmp_path.iterdir())
    assert total > 8
    for last in (0, total // 2, total - 1):
        asked, after = 0, last
        with pytest.raises(Cancelled):
            make(drawn_slide, out=tmp_path / "p", annotations=[geojson], should_stop=stop)
        assert set(tmp_path.iterdir()) == before
    left = make_patches([drawn_slide], tmp_path / "p", SMALL, annotations=[geojson])
    for event in left:
        if isinstance(event, Progress) and event.stage == "writing patches":
            break
    assert set(tmp_path.iterdir()) != before  # it works aside
    left.close()
    assert set(tmp_path.iterdir()) == before


def test_out_must_be_free(drawn_slide: Path, geojson: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make(drawn_slide, out=tmp_path / "empty", annotations=[geojson])
    table = (tmp_path / "empty" / "labels.csv").read_bytes()
    with pytest.raises(BagError, match="is not empty"):
        make(drawn_slide, out=tmp_path / "empty", annotations=[geojson])
    assert (tmp_path / "empty" / "labels.csv").read_bytes() == table
    with pytest.raises(BagError, match="names no folder"):
        make(drawn_slide, out=tmp_path.relative_to(tmp_path), annotations=[geojson])
    with pytest.raises(BagError, match="is a file"):
        make(drawn_slide, out=geojson, annotations=[geojson])
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match=r"p: cannot be written \(not a directory\)"):
        make(drawn_slide, out=tmp_path / "file" / "p", annotations=[geojson])
    make(drawn_slide, out=tmp_path / "new" / "deep" / "p", annotations=[geojson])
    assert len(rows(tmp_path / "new" / "deep" / "p"))


def test_every_source_that_cannot_be_used_is_told(digestpath: Path, tmp_path: Path) -> None:
    torn = digestpath / "tissue-train-pos" / "18-01_a.jpg"
    torn.write_bytes(torn.read_bytes()[:300])
    with pytest.raises(SlideError, match=r"18-01_a\.jpg: cannot be read"):
        make(digestpath, out=tmp_path / "p")
    Image.fromarray(np.zeros((30, 90), np.uint8)).save(digestpath / "tissue-train-pos" / "18-02_a_mask.jpg")
    with pytest.raises(BagError, match=r"18-01_a\.jpg cannot be read.*18-02_a_mask\.jpg does not fit 18-02_a\.jpg"):
        make(digestpath, out=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_bad_slides_and_settings(drawn_slide: Path, geojson: Path, tmp_path: Path, shared_data: Path) -> None:
    bare = tmp_path / "bare.tif"
    tifffile.imwrite(bare, np.full((256, 256, 3), 200, np.uint8), tile=(128, 128), photometric="rgb", metadata=None)
    with pytest.raises(SlideError, match="--mpp"):
        make(bare, out=tmp_path / "p", annotations=[geojson])
    with pytest.raises(BagError, match="no tile is positive"):
        make(out=tmp_path / "p", normal=[drawn_slide])
    with pytest.raises(BagError, match="less than a tile of 512 px"):
        make(drawn_slide, out=tmp_path / "p", annotations=[geojson], config=SMALL.replaced(**{"tiles.size_px": 512}))
    for path in sorted((shared_data / "slides" / "bad").iterdir()):
        if path.is_file():
            with pytest.raises(InputError):
                make(path, out=tmp_path / "p", annotations=[geojson])
    assert not (tmp_path / "p").exists()
