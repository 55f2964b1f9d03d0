"""Patch folders in both layouts: what is read, what never is, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_ifkd.bags import Bags, count_patches, join_bags, read_patch_masks, read_patches, split_groups
from napari_ifkd.bags import bags as bags_module
from napari_ifkd.config import TileConfig
from napari_ifkd.errors import BagError

if TYPE_CHECKING:
    from pathlib import Path

TILES = TileConfig()


def save(path: Path, level: int = 100, size: tuple[int, int] = (16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Folder with labels.csv: two groups, a positive and a negative each."""
    lines = ["file,label,group,mask_fraction"]
    for k in range(4):
        save(tmp_path / "images" / f"{k}.png", 50 + k)
        lines.append(f"{k}.png,{k % 2},patient{k // 2},truth")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_patches_are_counted_unopened(drawn_patches: Path, tmp_path: Path) -> None:
    bags = read_patches(drawn_patches, TileConfig())
    assert count_patches(drawn_patches) == (bags.positives, bags.negatives, None)
    with pytest.raises(BagError):
        count_patches(tmp_path / "nothing")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("p1_a.png", "p2_b.jpg"):
        save(tmp_path / "pos" / name, 90)
    save(tmp_path / "neg" / "p1_a.png", 200)
    (tmp_path / "pos" / "Thumbs.db").write_text("not an image")
    return tmp_path


def test_table_layout(table: Path) -> None:
    bags = read_patches(table, TILES)
    assert bags.images.shape == (4, 16, 12, 3)
    assert bags.images[:, 0, 0, 0].tolist() == [50, 51, 52, 53]
    assert bags.labels.tolist() == [0, 1, 0, 1]
    assert bags.groups.tolist() == ["patient0", "patient0", "patient1", "patient1"]
    assert bags.names == ["0.png", "1.png", "2.png", "3.png"]
    assert (bags.mpp, bags.origins) == (TILES.mpp, None)
    assert (bags.positives, bags.negatives) == (2, 2)


def test_folder_layout(folders: Path) -> None:
    bags = read_patches(folders, TILES)
    assert bags.names == ["pos/p1_a.png", "pos/p2_b.jpg", "neg/p1_a.png"]
    assert bags.labels.tolist() == [1, 1, 0]
    assert bags.groups.tolist() == ["p1", "p2", "p1"]


def test_patches_of_one_slide_know_their_places(tmp_path: Path) -> None:
    """So that parts of it can be held out; where slides differ, or the unit is another, the places mean nothing."""
    for k in range(40):
        save(tmp_path / "images" / f"{k}.png", 50 + k, (16, 16))
    lines = [f"{k}.png,{int(k % 10 < 5)},s,s.tif,{k // 10 * 16},{k % 10 * 16}" for k in range(40)]

    def read(lines: list[str]) -> Bags:
        (tmp_path / "labels.csv").write_text("\n".join(["file,label,group,slide,y,x", *lines]))
        return read_patches(tmp_path, TILES)

    bags = read(lines)
    assert bags.origins is not None
    assert bags.origins[12].tolist() == [16, 32]
    train, val = split_groups(bags, 0.2, 0)
    assert len(train)
    assert np.abs(bags.origins[train][:, None] - bags.origins[val]).max(-1).min() >= 32  # a tile lies between
    for last in ("39.png,0,s,t.tif,48,144", "39.png,0,s,s.tif,48,145", "39.png,0,s,s.tif,,", "39.png,0,other,s.tif,48,144"):
        assert read([*lines[:-1], last]).origins is None


def test_bags_carry_no_truth() -> None:
    assert set(Bags.__dataclass_fields__) == {"images", "labels", "groups", "names", "mpp", "source", "origins", "told"}


def test_masks_are_not_opened_for_training(folders: Path) -> None:
    (folders / "gt").mkdir()
    (folders / "gt" / "p1_a.png").write_text("broken")
    assert len(read_patches(folders, TILES)) == 3


def test_grey_and_transparent_images_become_rgb(table: Path) -> None:
    Image.fromarray(np.full((16, 12), 7, np.uint8)).save(table / "images" / "0.png")
    Image.fromarray(np.full((16, 12, 4), 9, np.uint8)).save(table / "images" / "1.png")
    bags = read_patches(table, TILES)
    assert (bags.images[0] == 7).all()
    assert (bags.images[1] == 9).all()


@pytest.mark.parametrize("column", ["patient_group", "slide", "source_image"])
def test_usual_group_columns(table: Path, column: str) -> None:
    path = table / "labels.csv"
    path.write_text(path.read_text().replace("group", column))
    assert len(set(read_patches(table, TILES).groups)) == 2


def test_named_group_column(table: Path) -> None:
    path = table / "labels.csv"
    path.write_text(path.read_text().replace("group", "case"))
    with pytest.raises(BagError, match="no column names the group"):
        read_patches(table, TILES)
    assert len(set(read_patches(table, TileConfig(group_column="case")).groups)) == 2


def test_resolution_of_the_table(table: Path) -> None:
    path = table / "labels.csv"
    path.write_text(path.read_text().replace("mask_fraction", "mpp").replace("truth", "0.5"))
    assert read_patches(table, TILES).mpp == 0.5
    path.write_text(path.read_text().replace("0.5", "2", 1))
    with pytest.raises(BagError, match="one resolution"):
        read_patches(table, TILES)


def refusal(folder: Path, tiles: TileConfig = TILES) -> str:
    with pytest.raises(BagError) as caught:
        read_patches(folder, tiles)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "neither labels.csv nor pos/" in refusal(tmp_path)
    (tmp_path / "pos").mkdir()
    assert "hold no images" in refusal(tmp_path)
    (tmp_path / "file").write_text("")
    assert "it is no folder" in refusal(tmp_path / "file")


def test_no_positives(tmp_path: Path) -> None:
    save(tmp_path / "neg" / "a_1.png")
    assert "no positive patches" in refusal(tmp_path)


def test_all_problems_of_a_table_at_once(table: Path) -> None:
    (table / "images" / "2.png").unlink()
    path = table / "labels.csv"
    path.write_text(path.read_text().replace("1.png,1", "1.png,yes") + "\n0.png,0,patient0,\n../x.png,1,p,\n3.png,1,,\n")
    told = refusal(table)
    for part in (
        "line 3: label 'yes' of 1.png",
        "images/2.png is missing",
        "0.png stands in 2 lines",
        "'../x.png' is no name",
        "line 8: 3.png has no group",
    ):
        assert part in told


def test_missing_columns_and_rows(table: Path) -> None:
    (table / "labels.csv").write_text("name,label\n")
    assert "the column file is missing; no column names the group" in refusal(table)
    (table / "labels.csv").write_text("file,label,group\n")
    assert "no rows" in refusal(table)
    (table / "labels.csv").write_bytes(b"\xff\xfe\x00,")
    assert "cannot be read as a table" in refusal(table)


def test_long_lists_are_cut(table: Path) -> None:
    (table / "labels.csv").write_text("file,label,group\n" + "".join(f"no{k}.png,1,g\n" for k in range(50)))
    assert "and 42 more" in refusal(table)


def test_broken_and_odd_images_are_all_named(folders: Path) -> None:
    (folders / "pos" / "p3_c.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    truncated = (folders / "neg" / "p1_a.png").read_bytes()[:60]
    (folders / "neg" / "p4_d.png").write_bytes(truncated)
    save(folders / "pos" / "p5_e.png", size=(20, 20))
    Image.fromarray(np.zeros((16, 12), np.uint16)).save(folders / "pos" / "p6_f.png")
    told = refusal(folders)
    assert "pos/p3_c.png cannot be read" in told
    assert "neg/p4_d.png cannot be read" in told
    assert "differ in size" in told
    assert "pos/p5_e.png" in told
    assert "p6_f.png is no 8-bit" in told


def test_reference_masks_of_folders(folders: Path) -> None:
    with pytest.raises(BagError, match="no such folder"):
        read_patch_masks(folders)
    (folders / "gt").mkdir()
    mask = np.zeros((16, 12), np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save(folders / "gt" / "p1_a.png")
    with pytest.raises(BagError, match=r"p2_b\.jpg has no mask"):
        read_patch_masks(folders)
    Image.fromarray(mask // 255).save(folders / "gt" / "p2_b.png")  # another ending, 0 and 1
    masks = read_patch_masks(folders)
    assert set(masks) == set(read_patches(folders, TILES).names)
    assert [int(m.sum()) for m in masks.values()] == [48, 48, 0], "the negative of the same name has no mask"
    assert all(m.dtype == bool and m.shape == (16, 12) for m in masks.values())


def test_only_the_masks_asked_for_are_opened(folders: Path) -> None:
    (folders / "gt").mkdir()
    Image.fromarray(np.ones((16, 12), np.uint8)).save(folders / "gt" / "p1_a.png")
    (folders / "gt" / "p2_b.png").write_text("broken")
    assert set(read_patch_masks(folders, only={"pos/p1_a.png"})) == {"pos/p1_a.png"}
    with pytest.raises(BagError, match="p2_b"):
        read_patch_masks(folders)


def test_reference_masks_of_tables(table: Path) -> None:
    for k in (1, 3):
        save(table / "masks" / f"{k}.png", 255)
    masks = read_patch_masks(table)
    assert [bool(masks[f"{k}.png"].all()) for k in range(4)] == [False, True, False, True]
    save(table / "masks" / "3.png", 255, size=(5, 5))
    with pytest.raises(BagError, match="5 x 5 px, its image 12 x 16"):
        read_patch_masks(table)


def test_many_images_live_in_a_temporary_file(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bags_module, "MEMORY_LIMIT", 100)
    bags = read_patches(table, TILES)
    assert isinstance(bags.images, np.memmap)
    subset = bags.subset([3, 0])
    assert isinstance(subset.images, np.memmap)
    assert subset.images[:, 0, 0, 0].tolist() == [53, 50]
    assert subset.names == ["3.png", "0.png"]


def test_sources_join_where_they_fit(table: Path) -> None:
    a = read_patches(table, TILES)
    both = join_bags([a, a])
    assert len(both) == 8
    assert join_bags([a]) is a
    with pytest.raises(BagError, match="resolution"):
        join_bags([a, read_patches(table, TileConfig(mpp=0.5))])
    with pytest.raises(BagError, match="tile size"):
        join_bags([a, Bags(np.zeros((1, 4, 4, 3), np.uint8), np.ones(1, np.int8), np.array(["g"]), ["x"], 1.0, "x")])
    with pytest.raises(BagError, match="no bags"):
        join_bags([])


def test_inconsistent_bags_are_refused() -> None:
    with pytest.raises(ValueError, match="must agree"):
        Bags(np.zeros((2, 4, 4, 3), np.uint8), np.ones(1, np.int8), np.array(["g"]), ["x"], 1.0, "x")
    with pytest.raises(ValueError, match="uint8"):
        Bags(np.zeros((1, 4, 4), np.uint8), np.ones(1, np.int8), np.array(["g"]), ["x"], 1.0, "x")


@pytest.mark.parametrize(("name", "positives", "negatives", "groups"), [("luad128", 851, 211, 55), ("ebhi", 472, 268, 122)])
def test_real_patches(shared_data: Path, name: str, positives: int, negatives: int, groups: int) -> None:
    bags = read_patches(shared_data / "patches" / name, TILES)
    assert (bags.positives, bags.negatives, len(np.unique(bags.groups))) == (positives, negatives, groups)
    train, val = split_groups(bags, 0.2, 0)
    assert not set(bags.groups[train]) & set(bags.groups[val])
    assert len(val) / len(bags) == pytest.approx(0.2, abs=0.03)
