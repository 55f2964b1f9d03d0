"""Maps that somebody else made teach the first student, and give their role away for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_ifkd.bags.hints import Hints
from napari_ifkd.distill import FixedTeacher, distill
from napari_ifkd.distill.maps import forward
from napari_ifkd.distill.training import never
from napari_ifkd.errors import BagError, Cancelled, ConfigError
from napari_ifkd.events import Decision, RoundDone, Warned
from napari_ifkd.models import MILModel, prepare

from .conftest import make_bags
from .test_stage1 import finish, same_weights

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config

Network = Callable[[int], MILModel]
ALWAYS = {"acceptance.rule": "always"}


def truth_of(bags: Bags) -> np.ndarray:
    """Return the dark half of positive bags."""
    maps = np.zeros(bags.images.shape[:3], np.float16)
    maps[bags.labels > 0, :, 16:] = 1
    return maps


@pytest.fixture
def teacher(train: Bags, val: Bags) -> FixedTeacher:
    return FixedTeacher(truth_of(train), truth_of(val), "masks")


def answers(model: MILModel, bags: Bags) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(prepare(torch.from_numpy(bags.images), model.normalisation)).fused[:, 0].numpy()


def test_a_student_learns_what_the_maps_say(train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network) -> None:
    config = config.replaced(**ALWAYS, **{"rounds.rounds": 1, "rounds.epochs": 20, "rounds.learning_rate": 5e-3})
    events, outcome = finish(distill(teacher, network(1), train, val, config))
    rounds = [e for e in events if isinstance(e, RoundDone)]
    assert rounds[0].scores["positive_area"] == 0.5, "round 0 tells of the maps"
    assert rounds[0].scores["bag_accuracy"] == 1
    assert rounds[1].scores["agreement"] > 0.8
    found = answers(outcome.model, val)[val.labels > 0]
    assert found[:, :, 18:].mean() > found[:, :, :14].mean() + 0.4


def test_round_one_is_that_of_a_network_which_says_the_same(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """With the maps of a network in its place, the student ends up bit-equal."""
    config = config.replaced(**ALWAYS, **{"rounds.rounds": 1, "rounds.robust.warm_start": False, "rounds.robust.averaged_views": False})
    maps = []
    for bags in (train, val):
        own = np.zeros(bags.images.shape[:3], np.float16)
        for rows, outputs in forward(network(0), bags.images, np.flatnonzero(bags.labels), config, should_stop=never):
            own[rows] = outputs[0].numpy()
        maps.append(own)
    _, by_maps = finish(distill(FixedTeacher(*maps, "maps"), network(1), train, val, config))
    _, by_network = finish(distill(network(0), network(1), train, val, config))
    assert same_weights(by_maps.model.state_dict(), by_network.model.state_dict())


def test_the_maps_give_their_role_away(train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network) -> None:
    """The student that takes it has a copy of itself as its student, or one of its own first weights."""
    for warm in (True, False):
        student, states = network(1), []
        initial = {key: value.clone() for key, value in student.state_dict().items()}
        settings = config.replaced(**ALWAYS, **{"rounds.robust.warm_start": warm})
        seen: list = []
        _, outcome = finish(
            distill(teacher, student, train, val, settings, on_epoch=states.append, on_round=lambda i, m, s, d, seen=seen: seen.append(m))
        )
        assert [s["pair"]["swapped"] for s in states] == [False, False, True, True, True, True]
        assert states[0]["pair"]["teacher"] is None
        boundary = states[2]["pair"]
        assert same_weights(boundary["student"], initial)
        assert same_weights(states[3]["pair"]["start"], boundary["teacher"] if warm else initial)
        assert seen[0] is teacher
        assert seen[1] is student
        assert seen[2] is outcome.model is not student
        assert outcome.accepted_round == 2


def test_where_the_maps_are_kept_round_two_starts_again_from_them(
    train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    no = Decision(False, "cautious", "none", "The teacher stays.")
    monkeypatch.setattr("napari_ifkd.distill.rounds.decide", lambda *_, **__: no)
    student, states = network(1), []
    initial = {key: value.clone() for key, value in student.state_dict().items()}
    _, outcome = finish(distill(teacher, student, train, val, config, on_epoch=states.append))
    assert outcome.model is None
    assert outcome.accepted_round == 0
    assert [s["rate"] for s in states] == [1, 1, 0.5, 0.5, 0.5, 0.25]
    assert not any(s["pair"]["swapped"] for s in states)
    assert same_weights(states[2]["pair"]["student"], initial)
    for state in states:
        _, resumed = finish(distill(teacher, network(7), train, val, config, state=state))
        assert resumed.decisions == outcome.decisions


@pytest.mark.parametrize("overrides", [ALWAYS, {"rounds.mode": "paper"}, {"rounds.mode": "released"}, {"rounds.robust.warm_start": False}])
def test_resume_from_anywhere_is_bit_equal(
    train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network, overrides: dict
) -> None:
    config = config.replaced(**{**ALWAYS, **overrides})
    states: list[dict] = []
    _, whole = finish(distill(teacher, network(1), train, val, config, on_epoch=states.append))
    assert [(s["round"], s["epoch"]) for s in states] == [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]
    for state in states:
        _, resumed = finish(distill(teacher, network(8), train, val, config, state=state))
        assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
        assert resumed.decisions == whole.decisions


def test_maps_on_disk_serve_as_well(
    train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    config = config.replaced(**ALWAYS, **{"rounds.rounds": 1})
    _, plain = finish(distill(teacher, network(1), train, val, config))
    mapped = np.memmap(tmp_path / "maps", np.float16, "w+", shape=teacher.train.shape)
    mapped[:] = teacher.train
    monkeypatch.setattr("napari_ifkd.bags.bags.MEMORY_LIMIT", 1000)
    _, outcome = finish(distill(FixedTeacher(mapped, teacher.val, "masks"), network(1), train, val, config))
    assert same_weights(outcome.model.state_dict(), plain.model.state_dict())


def test_side_outputs_cannot_be_paired_with_a_map(train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network) -> None:
    with pytest.raises(ConfigError, match=r"one map without any\. Use structure fusion or fused"):
        finish(distill(teacher, network(1), train, val, config.replaced(**{"rounds.structure": "sides"})))
    finish(distill(teacher, network(1), train, val, config.replaced(**{"rounds.structure": "sides", "rounds.mode": "oeem"})))


@pytest.mark.parametrize("what", ["train", "val"])
@pytest.mark.parametrize("fault", ["number", "size", "range", "nan"])
def test_maps_of_other_bags_are_an_error(
    train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network, what: str, fault: str
) -> None:
    maps = {"train": teacher.train, "val": teacher.val}
    wrong = maps[what].copy()
    if fault == "number":
        wrong = wrong[1:]
    elif fault == "size":
        wrong = wrong[:, 1:]
    else:
        wrong[3, 4, 5] = 1.5 if fault == "range" else np.nan
    with pytest.raises(BagError, match=r"masks: (its|a map)"):
        finish(distill(FixedTeacher(**{**maps, what: wrong}, name="masks"), network(1), train, val, config))


def test_reading_maps_can_be_stopped(train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network) -> None:
    events = distill(teacher, network(1), train, val, config, should_stop=lambda: stop)
    stop = False
    assert isinstance(next(events), RoundDone)
    stop = True
    with pytest.raises(Cancelled):
        next(events)


def test_corrected_tiles_without_a_map_wait(train: Bags, val: Bags, teacher: FixedTeacher, config: Config, network: Network) -> None:
    """Tiles of the run have their map; of others it is asked for where somebody answers, and told where nobody does."""
    new = make_bags(4, seed=9)
    new.names[:] = [train.names[0], "new 1", train.names[2], "new 3"]
    labels = np.zeros((4, 32, 32), np.uint8)
    labels[:, :4] = 2
    labels[1] = 1  # known to be normal as a whole
    new.labels[:] = [1, 0, 1, 1]
    hints = Hints(new, labels)
    config = config.replaced(**ALWAYS, **{"rounds.rounds": 1, "rounds.epochs": 1})
    events, _ = finish(distill(teacher, network(1), train, val, config, hints=lambda index: hints))
    assert [e.message for e in events if isinstance(e, Warned)] == ["1 corrected tile does not count in round 1: masks has no map of it"]

    asked: list[list[str]] = []

    def of_bags(bags: Bags) -> np.ndarray:
        asked.append(bags.names)
        return truth_of(bags)

    events, _ = finish(
        distill(FixedTeacher(teacher.train, teacher.val, "masks", of_bags), network(1), train, val, config, hints=lambda index: hints)
    )
    assert asked == [["new 3"]]
    assert not any(isinstance(e, Warned) for e in events)
