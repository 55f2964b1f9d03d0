"""Which annotation belongs to which slide, and which mask to which picture: by names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_ifkd.bags.pairs import find_pairs
from napari_ifkd.errors import BagError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str, root: Path) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def told(pairs: list) -> list[tuple[str, str | None, str, str]]:
    return [(pair.image.name, pair.annotation and pair.annotation.name, pair.group, pair.key) for pair in pairs]


def test_slides_find_their_annotations(here: Path) -> None:
    touch("a.svs", "b.tif", "c.ndpi", "d.png", "e.tif", "marks/a.xml", "marks/b_mask.tif", "c.geojson.gz", "marks/other.json", root=here)
    touch("marks/d_Mask.PNG", root=here)
    pairs = find_pairs(["a.svs", "b.tif", "c.ndpi", "d.png"], ["marks", "c.geojson.gz"], ["e.tif"])
    assert told(pairs) == [
        ("a.svs", "a.xml", "a", "a"),
        ("b.tif", "b_mask.tif", "b", "b"),
        ("c.ndpi", "c.geojson.gz", "c", "c"),
        ("d.png", "d_Mask.PNG", "d", "d"),
        ("e.tif", None, "e", "e"),
    ]
    assert [pair.plain for pair in pairs] == [False, False, False, True, False]


def test_annotations_may_lie_beside_their_slides(here: Path) -> None:
    touch("a.tif", "a_mask.tif", "b.tif", "b.xml", root=here)
    assert told(find_pairs(["a.tif", "b.tif"], ["."])) == [("a.tif", "a_mask.tif", "a", "a"), ("b.tif", "b.xml", "b", "b")]


def test_one_slide_and_one_file_need_no_common_name(here: Path) -> None:
    touch("a.tif", "drawn.xml", "n.tif", root=here)
    assert told(find_pairs(["a.tif"], ["drawn.xml"], ["n.tif"])) == [("a.tif", "drawn.xml", "a", "a"), ("n.tif", None, "n", "n")]


def test_a_slide_named_twice_counts_once_and_as_normal(here: Path) -> None:
    touch("a.tif", "b.tif", "a.xml", root=here)
    expected = [("a.tif", "a.xml", "a", "a"), ("b.tif", None, "b", "b")]
    assert told(find_pairs(["a.tif", "b.tif", "a.tif"], ["a.xml"], ["./b.tif"])) == expected


def test_folder_of_normal_slides(here: Path) -> None:
    touch("a.tif", "a.xml", "normal/n1.tif", "normal/n2.svs", "normal/list.txt", "normal/n1_mask.png", root=here)
    pairs = find_pairs(["a.tif"], ["a.xml"], ["normal"])
    assert [pair.image.name for pair in pairs] == ["a.tif", "n1.tif", "n2.svs"]


def test_digestpath(here: Path) -> None:
    touch("tissue-train-pos/18-09926A_2019-lv1-12.jpg", "tissue-train-pos/18-09926A_2019-lv1-12_mask.jpg", root=here)
    touch("tissue-train-neg/2018_64982_1.jpg", "tissue-train-neg/2018_64982_2.jpg", root=here)
    expected = [
        ("2018_64982_1.jpg", None, "2018", "2018_64982_1"),
        ("2018_64982_2.jpg", None, "2018", "2018_64982_2"),
        ("18-09926A_2019-lv1-12.jpg", "18-09926A_2019-lv1-12_mask.jpg", "18-09926A", "18-09926A_2019-lv1-12"),
    ]
    assert told(find_pairs(["."])) == expected
    assert told(find_pairs(["tissue-train-neg", "tissue-train-pos"])) == expected
    assert all(pair.plain for pair in find_pairs(["."]))


@pytest.mark.parametrize("start", ["set", "."])
def test_other_layouts_of_pictures(here: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("set/images/p1_a.png", "set/images/p2_b.tif", "set/masks/p1_a.bmp", "set/masks/p2_b_mask.png", root=here)
    touch("set/roi/pos/p1_a.png", "set/roi/neg/p3_a.png", "set/roi/gt/p1_a.png", "set/roi/.hidden.png", "set/roi/notes.txt", root=here)
    if start == ".":
        monkeypatch.chdir(here / "set")
    assert told(find_pairs([start])) == [
        ("p1_a.png", "p1_a.bmp", "p1", "images-p1_a"),
        ("p2_b.tif", "p2_b_mask.png", "p2", "p2_b"),
        ("p3_a.png", None, "p3", "p3_a"),
        ("p1_a.png", "p1_a.png", "p1", "pos-p1_a"),
    ]


def test_group_by(here: Path) -> None:
    touch("TCGA-CR-7395-01Z.tif", "TCGA-CR-7395-02Z.tif", "x.tif", root=here)
    normal = ["TCGA-CR-7395-01Z.tif", "TCGA-CR-7395-02Z.tif"]
    assert {pair.group for pair in find_pairs([], [], normal, "^TCGA-..-....")} == {"TCGA-CR-7395"}
    assert {pair.group for pair in find_pairs([], [], normal, "^TCGA-(..)-")} == {"CR"}
    with pytest.raises(BagError, match=r"finds nothing in x\."):
        find_pairs([], [], [*normal, "x.tif"], "^TCGA")
    with pytest.raises(BagError, match="no regular expression"):
        find_pairs([], [], normal, "(")
    with pytest.raises(BagError, match="finds nothing"):
        find_pairs([], [], normal, "^(X)?")


def test_keys_suit_any_file_system(here: Path) -> None:
    touch("a b/1:2 é.tif", "c/1:2 é.tif", root=here)
    keys = [pair.key for pair in find_pairs([], [], ["a b/1:2 é.tif", "c/1:2 é.tif"])]
    assert keys == ["a_b-1_2_é", "c-1_2_é"]
    touch("x/c/1:2 é.tif", root=here)
    with pytest.raises(BagError, match=r"c/1:2 é\.tif shares its name.*x/c/1:2 é\.tif shares"):
        find_pairs([], [], ["a b/1:2 é.tif", "c/1:2 é.tif", "x/c/1:2 é.tif"])


@pytest.mark.parametrize(
    ("sources", "annotations", "said"),
    [
        ([], [], "no slide or picture"),
        (["a.tif", "b.tif"], ["a.xml"], r"b\.tif has no annotation\. .*--normal"),
        (["a.tif", "b.tif"], ["a.xml", "a.json"], r"a\.tif has 2 annotations \(a\.xml, a\.json\); b\.tif has no annotation"),
        (["a.tif"], ["a.xml", "z.xml"], r"z\.xml belongs to no slide"),
        (["a.tif", "s/a.tif"], ["a.xml"], r"a\.xml belongs to two slides"),
        (["a.tif"], [], r"a\.tif has no annotation"),
        (["a.tif"], ["empty"], r"a\.tif has no annotation"),
        (["nowhere.tif"], ["a.xml"], r"nowhere\.tif does not exist; a\.xml belongs to no slide"),
        (["a.tif"], ["nowhere.xml"], r"nowhere\.xml does not exist"),
        (["empty"], [], r"empty holds no pictures"),
        (["done"], [], r"folder of patches already"),
        (["torn"], [], r"1\.png has no mask; .*2\.png has 2 masks \(2_mask\.jpg, 2_mask\.png\); .*3_mask\.png is the mask of no picture"),
    ],
)
def test_what_does_not_fit_is_told_all_at_once(here: Path, sources: list[str], annotations: list[str], said: str) -> None:
    touch("a.tif", "s/a.tif", "b.tif", "a.xml", "a.json", "z.xml", "empty/x.txt", "done/labels.csv", "done/images/1.png", root=here)
    touch("torn/1.png", "torn/2.png", "torn/2_mask.jpg", "torn/2_mask.png", "torn/3_mask.png", root=here)
    with pytest.raises(BagError, match=said):
        find_pairs(sources, annotations)


def test_missing_normal_slides_are_told(here: Path) -> None:
    touch("a.tif", "a.xml", "empty/x.txt", root=here)
    with pytest.raises(BagError, match=r"n\.tif does not exist; empty holds no slide or picture"):
        find_pairs(["a.tif"], ["a.xml"], ["n.tif", "empty"])
