"""What a person painted moves the next student there, in every mode that knows corrections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ifkd.bags import Bags
from napari_ifkd.bags.hints import Hints
from napari_ifkd.distill import distill
from napari_ifkd.distill.lesson import lesson
from napari_ifkd.events import Warned
from napari_ifkd.models import prepare, weights_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel

    Network = Callable[[int], MILModel]


def hints_of(bags: Bags, rows: list[int], labels: np.ndarray) -> Hints:
    whole = (labels == 1).all(axis=(1, 2))
    chosen = bags.subset(rows)
    return Hints(Bags(chosen.images, (~whole).astype(np.int8), chosen.groups, chosen.names, chosen.mpp, chosen.source), labels)


def probability(model: MILModel, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(prepare(torch.from_numpy(images), model.normalisation)).fused[:, 0].numpy()  # (N, H, W)


def student_of(train: Bags, val: Bags, config: Config, network: Network, hints: Hints | None) -> tuple[MILModel, list[Any]]:
    """Distil one round; return its student and the events."""
    kept: dict[int, Any] = {}
    events = list(
        distill(
            network(0),
            network(1),
            train,
            val,
            config,
            hints=lambda index: hints,
            on_round=lambda index, model, scores, decision: kept.update({index: {k: v.clone() for k, v in model.state_dict().items()}}),
        )
    )
    model = network(2)
    model.load_state_dict(kept[1])
    return model, events


@pytest.mark.parametrize("mode", ["robust", "paper", "oeem"])
def test_a_painted_correction_moves_the_student_there(train: Bags, val: Bags, config: Config, network: Network, mode: str) -> None:
    """Against the same round without it: what was painted tumour and what was painted normal move apart."""
    rates = {"rounds.learning_rate": 4e-3, "rounds.copy_rate": 1.0, "rounds.robust.label_loss": 0.0}  # labels alone would teach it
    short = config.replaced(**{"rounds.mode": mode, "rounds.rounds": 1, "rounds.epochs": 12}, **rates)
    rows = [1, 3, 5, 7]  # positive bags: dark on their right half
    labels = np.zeros((4, 32, 32), np.uint8)
    labels[:, 4:28, :12], labels[:, 4:28, 20:] = 1, 2  # an untrained teacher says about a half everywhere
    plain, _ = student_of(train, val, short, network, None)
    taught, events = student_of(train, val, short, network, hints_of(train, rows, labels))
    assert not any(isinstance(e, Warned) and "orrect" in e.message for e in events)
    before, after = (probability(model, train.images[rows]) for model in (plain, taught))
    apart = [float(found[labels == 2].mean() - found[labels == 1].mean()) for found in (before, after)]
    assert apart[1] > apart[0] + 0.08  # 0.13 to 0.58 with five other pairs of networks
    assert apart[1] > 0.2


def test_the_weight_of_corrections_acts(train: Bags, val: Bags, config: Config, network: Network) -> None:
    rows, labels = [1, 3], np.zeros((2, 32, 32), np.uint8)
    labels[:, 8:24, :8] = 2
    moved = []
    for weight in (0.0, 1.0, 10.0):
        short = config.replaced(**{"rounds.rounds": 1, "rounds.learning_rate": 1e-3, "rounds.corrections_weight": weight})
        model, _ = student_of(train, val, short, network, hints_of(train, rows, labels))
        moved.append(probability(model, train.images[rows])[labels == 2].mean())
    assert moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize(("of", "told"), [("train", False), ("val", True), ("the slide of val", True)])
def test_corrections_where_validation_looks_count_and_are_told(
    train: Bags, val: Bags, config: Config, network: Network, of: str, told: bool
) -> None:
    short = config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})
    labels = np.full((1, 32, 32), 2, np.uint8)
    hints = hints_of(train if of == "train" else val, [1], labels)
    if of == "the slide of val":
        hints = replace(hints, bags=replace(hints.bags, names=["another.png"]))
    plain, _ = student_of(train, val, short, network, None)
    taught, events = student_of(train, val, short, network, hints)
    assert (
        any(isinstance(e, Warned) and "1 corrected tile is learnt from and among those that judge round" in e.message for e in events)
        == told
    )
    assert weights_hash(plain) != weights_hash(taught)


def test_a_corrected_tile_takes_the_place_of_its_bag(train: Bags) -> None:
    labels = np.zeros((4, 32, 32), np.uint8)
    labels[0, :5], labels[1, :5], labels[2], labels[3, 9, 9] = 1, 1, 1, 2
    taught = lesson(train, hints_of(train, [2, 3, 5, 4], labels))  # even bags are negative, odd ones positive
    assert sorted(taught.bags.names) == sorted(train.names)
    label_of = dict(zip(taught.bags.names, taught.bags.labels.tolist(), strict=True))
    assert label_of["0_2.png"] == 0  # some normal pixels make no positive of a negative bag
    assert label_of["0_3.png"] == 1
    assert label_of["0_5.png"] == 0  # all of it is normal
    assert label_of["0_4.png"] == 1  # one pixel is tumour
    for row, name in enumerate(taught.bags.names):
        assert taught.origin[row] == train.names.index(name)
        np.testing.assert_array_equal(taught.bags.images[row], train.images[train.names.index(name)])
    told = taught.hints_of(np.arange(len(taught.bags)), torch.device("cpu"))
    assert told is not None
    np.testing.assert_array_equal(told.numpy()[-4:], labels)
    assert not told[:-4].any()
