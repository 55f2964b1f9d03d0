"""Rounds of distillation: the switch is real, resume is exact, a diverging student does no harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ifkd.bags.augment import Drawn
from napari_ifkd.bags.hints import Hints
from napari_ifkd.config import Config, NetworkConfig, NoiseConfig, RobustConfig
from napari_ifkd.distill import distill
from napari_ifkd.distill.learning import distillation_loss
from napari_ifkd.distill.lesson import lesson
from napari_ifkd.distill.losses import topk_bce
from napari_ifkd.distill.map_store import MapStore
from napari_ifkd.distill.maps import TeacherMaps, forward, teacher_maps
from napari_ifkd.distill.pair import TeacherStudent
from napari_ifkd.distill.training import Batch, never
from napari_ifkd.errors import BagError, Cancelled, ConfigError, ModelError
from napari_ifkd.events import Decision, EpochDone, Progress, RoundDone, Warned
from napari_ifkd.models import CamModel, MILModel, SideOutputs, build_model, cam_network_config, weights_hash

from .conftest import make_bags
from .test_stage1 import finish, poison, same_weights

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags

Network = Callable[[int], MILModel]
ALWAYS = {"rounds.mode": "paper"}


@pytest.fixture
def veto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rule refuse every student."""
    monkeypatch.setattr("napari_ifkd.distill.rounds.decide", lambda *_, **__: Decision(False, "cautious", "none", "The teacher stays."))


def test_events_of_two_rounds(train: Bags, val: Bags, config: Config, network: Network) -> None:
    seen: list[tuple] = []
    config = config.replaced(**ALWAYS)
    events, outcome = finish(
        distill(network(0), network(1), train, val, config, on_round=lambda i, m, s, d: seen.append((i, weights_hash(m), s, d)))
    )
    rounds = [e for e in events if isinstance(e, RoundDone)]
    assert [e.index for e in rounds] == [0, 1, 2]
    assert rounds[0].decision is None
    assert all(e.decision.switched and e.decision.criterion == "always" for e in rounds[1:])
    assert [(e.round, e.epoch) for e in events if isinstance(e, EpochDone)] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {"bag_accuracy", "positive_area", "negative_area", "agreement"} <= set(rounds[1].scores)
    assert {e.stage for e in events if isinstance(e, Progress)} == {"asking the teacher", "training"}
    assert [s[0] for s in seen] == [0, 1, 2]
    assert outcome.accepted_round == 2
    assert weights_hash(outcome.model) == seen[-1][1]
    assert not outcome.model.training
    assert "Round 2" in outcome.reason


def test_modules_change_hands_and_the_old_teacher_becomes_student(train: Bags, val: Bags, config: Config, network: Network) -> None:
    teacher, student = network(0), network(1)
    first = weights_hash(teacher)
    states: list[dict] = []
    generator = distill(teacher, student, train, val, config.replaced(**ALWAYS, **{"rounds.rounds": 1}), on_epoch=states.append)
    _, outcome = finish(generator)
    assert outcome.model is student
    assert weights_hash(teacher) == first, "the old teacher's weights pass to the student untouched"
    assert weights_hash(student) != first
    assert states[-1]["pair"]["swapped"] is True
    assert same_weights(states[-1]["pair"]["student"], teacher.state_dict())


def test_mode_released_leaves_the_student_in_both_roles(train: Bags, val: Bags, config: Config, network: Network) -> None:
    states: list[dict] = []
    config = config.replaced(**{"rounds.mode": "released", "rounds.rounds": 1, "rounds.epochs": 1})
    _, outcome = finish(distill(network(0), network(1), train, val, config, on_epoch=states.append))
    before, after = states
    assert same_weights(after["pair"]["teacher"], before["pair"]["student"])
    assert same_weights(after["pair"]["student"], before["pair"]["student"])
    assert outcome.accepted_round == 1


def test_robust_students_start_from_a_copy_of_the_teacher(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """Training that learns nothing shows where the student started."""
    states: list[dict] = []
    config = config.replaced(**{"rounds.learning_rate": 1e-12, "rounds.weight_decay": 0.0, "rounds.rounds": 1})
    teacher = network(0)
    first = [p.detach().clone() for p in teacher.parameters()]
    finish(distill(teacher, network(1), train, val, config, on_epoch=states.append))
    learnt = network(2)
    learnt.load_state_dict(states[0]["pair"]["student"])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(learnt.parameters(), first, strict=True))


def test_large_maps_and_bags_live_in_temporary_files(
    train: Bags, val: Bags, config: Config, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.replaced(**{"rounds.rounds": 1})
    _, plain = finish(distill(network(0), network(1), train, val, config))
    monkeypatch.setattr("napari_ifkd.bags.bags.MEMORY_LIMIT", 1000)
    mapped = train.subset(range(len(train)))
    assert isinstance(mapped.images, np.memmap)
    _, outcome = finish(distill(network(0), network(1), mapped, val, config))
    assert same_weights(outcome.model.state_dict(), plain.model.state_dict())


def test_pair_switches_and_keeps(network: Network) -> None:
    a, b = network(0), network(1)
    hashes = weights_hash(a), weights_hash(b)
    pair = TeacherStudent(a, b)
    pair.begin(warm_start=False)
    pair.switch()
    assert (pair.teacher, pair.student) == (b, a)
    assert (weights_hash(pair.teacher), weights_hash(pair.student)) == (hashes[1], hashes[0])
    pair.keep()
    assert weights_hash(pair.student) == weights_hash(pair.teacher) == hashes[1]
    assert pair.student is not pair.teacher
    with pytest.raises(ValueError, match="two modules"):
        TeacherStudent(a, a)


@pytest.mark.usefixtures("veto")
def test_a_kept_teacher_stays_and_the_rate_halves(train: Bags, val: Bags, config: Config, network: Network) -> None:
    teacher = network(0)
    first, states = weights_hash(teacher), []
    _events, outcome = finish(distill(teacher, network(1), train, val, config, on_epoch=states.append))
    assert outcome.accepted_round == 0
    assert weights_hash(outcome.model) == first
    assert [d.switched for d in outcome.decisions] == [False, False]
    assert "kept" in outcome.reason
    assert states[-1]["rate"] == 0.25
    boundary = next(s for s in states if s["round"] == 2 and s["epoch"] == 0)
    assert same_weights(boundary["pair"]["student"], boundary["pair"]["teacher"])


def test_reasons_name_the_round_that_is_the_teacher_by_then(train: Bags, val: Bags, config: Config, network: Network) -> None:
    teacher = network(0)
    poison(teacher, 1)  # the student of round 2, for the modules change hands
    _, outcome = finish(distill(teacher, network(1), train, val, config.replaced(**ALWAYS)))
    assert outcome.decisions[1].reason == "Round 1 stays the teacher: the student's training diverged."


def check_resume(train: Bags, val: Bags, config: Config, network: Network) -> None:
    states: list[dict] = []
    _, whole = finish(distill(network(0), network(1), train, val, config, on_epoch=states.append))
    assert [(s["round"], s["epoch"]) for s in states] == [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]
    for state in states:
        _, resumed = finish(distill(network(7), network(8), train, val, config, state=state))
        assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
        assert resumed.decisions == whole.decisions
        assert resumed.accepted_round == whole.accepted_round


@pytest.mark.parametrize("overrides", [{}, ALWAYS, {"rounds.robust.reset_optimiser": False, "acceptance.rule": "always"}])
def test_resume_from_anywhere_is_bit_equal(train: Bags, val: Bags, config: Config, network: Network, overrides: dict) -> None:
    check_resume(train, val, config.replaced(**overrides), network)


@pytest.mark.usefixtures("veto")
def test_resume_where_the_teacher_was_kept_is_bit_equal(train: Bags, val: Bags, config: Config, network: Network) -> None:
    check_resume(train, val, config, network)


def test_states_are_plain_data(train: Bags, val: Bags, config: Config, network: Network, tmp_path: Any) -> None:
    states: list[dict] = []
    finish(distill(network(0), network(1), train, val, config, on_epoch=states.append))
    torch.save(states[-1], tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["act"] == "distill"


def test_a_student_of_another_kind_takes_the_role(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"acceptance.rule": "always"})
    teacher, student = network(0), build_model(NetworkConfig(width=0.25), 1)
    states: list[dict] = []
    _, outcome = finish(distill(teacher, student, train, val, config, on_epoch=states.append))
    assert outcome.model is teacher, "after two switches the first module is teacher again"
    for state in states:
        _, resumed = finish(distill(network(5), build_model(NetworkConfig(width=0.25), 6), train, val, config, state=state))
        assert same_weights(resumed.model.state_dict(), outcome.model.state_dict())


def test_a_users_own_module_may_teach(train: Bags, val: Bags, config: Config, network: Network) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> SideOutputs:
            logit = self.conv(x).float()
            return SideOutputs((logit,), logit.sigmoid())

    config = config.replaced(**{"acceptance.rule": "always"})
    _, outcome = finish(distill(Own(), network(0), train, val, config))  # type: ignore[arg-type]
    assert isinstance(outcome.model, Own)


def test_divergence_in_the_first_epoch_keeps_the_teacher(train: Bags, val: Bags, config: Config, network: Network) -> None:
    teacher, student = network(0), network(1)
    poison(student, 1)
    events, outcome = finish(distill(teacher, student, train, val, config.replaced(**ALWAYS, **{"rounds.rounds": 1})))
    assert outcome.accepted_round == 0
    assert outcome.model is teacher
    assert outcome.decisions[0].criterion == "diverged"
    assert any(isinstance(e, Warned) for e in events)
    assert all(torch.isfinite(v).all() for v in student.state_dict().values())


def test_divergence_later_keeps_the_last_good_student(train: Bags, val: Bags, config: Config, network: Network) -> None:
    student = network(1)
    poison(student, 4)
    states: list[dict] = []
    config = config.replaced(**ALWAYS, **{"rounds.rounds": 1})
    events, outcome = finish(distill(network(0), student, train, val, config, on_epoch=states.append))
    assert outcome.accepted_round == 1
    assert same_weights(outcome.model.state_dict(), states[0]["pair"]["student"])
    assert any(isinstance(e, Warned) and "epoch 2" in e.message for e in events)


def test_stop_while_teacher_maps_are_made(train: Bags, val: Bags, config: Config, network: Network) -> None:
    generator = distill(network(0), network(1), train, val, config, should_stop=lambda: stop)
    stop = False
    assert isinstance(next(generator), RoundDone)
    stop = True
    with pytest.raises(Cancelled):
        finish(generator)


def test_bags_without_positives_are_an_error(train: Bags, val: Bags, config: Config, network: Network) -> None:
    negatives = train.subset(np.flatnonzero(train.labels == 0))
    with pytest.raises(BagError, match="no positive bags"):
        finish(distill(network(0), network(1), negatives, val, config))


def test_missing_negatives_are_told(train: Bags, val: Bags, config: Config, network: Network) -> None:
    positives = train.subset(np.flatnonzero(train.labels == 1))
    events, _ = finish(distill(network(0), network(1), positives, val, config.replaced(**{"rounds.rounds": 1, "rounds.epochs": 1})))
    assert any(isinstance(e, Warned) and "no negative bags" in e.message for e in events)


def test_side_to_side_needs_as_many_sides(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"rounds.structure": "sides", "rounds.rounds": 1})
    finish(distill(network(0), network(1), train, val, config))
    student = network(1)
    student.weights = (0.5, 0.5)
    with pytest.raises(ConfigError, match="the student 2"):
        finish(distill(network(0), student, train, val, config))


def test_averaged_maps_turn_with_the_image(train: Bags, config: Config, network: Network) -> None:
    """A map averaged over all views is the map of the turned image, turned back; one view is not."""
    model = network(0)
    turned = np.ascontiguousarray(np.rot90(train.images, axes=(1, 2)))

    def maps(images: np.ndarray, averaged: bool) -> np.ndarray:
        run = forward(model, images, np.arange(len(images)), config, averaged=averaged, should_stop=never)
        return np.concatenate([outputs[0].numpy() for _, outputs in run])

    averaged = maps(train.images, True)
    np.testing.assert_allclose(maps(turned, True), np.rot90(averaged, axes=(1, 2)), atol=1e-5)
    single = np.abs(maps(turned, False) - np.rot90(maps(train.images, False), axes=(1, 2))).max()
    assert single > 1e-4


def test_teacher_is_asked_about_the_rows_named(train: Bags, config: Config, network: Network) -> None:
    rows = np.flatnonzero(train.labels)
    _, maps = finish(teacher_maps(network(0), train, rows, config, averaged=False, sides=True, should_stop=never))
    everything = np.arange(len(train))
    assert maps.sides.get(everything).shape == (16, 3, 32, 32)
    fused = maps.fused.get(everything)
    assert (fused[train.labels == 0] == 0).all()
    assert (fused[train.labels == 1] > 0).all()
    with torch.no_grad():
        whole = torch.cat([outputs for _, outputs in forward(network(0), train.images, rows, config, should_stop=never)], 1)
    torch.testing.assert_close(fused[rows], whole[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(maps.sides.get(rows), whole[1:].transpose(0, 1), atol=1e-3, rtol=0)


def test_maps_follow_the_flips_of_their_images(train: Bags, config: Config) -> None:
    """With the student's answer made from the turned teacher map itself, the semimetric is exactly zero."""
    fused = torch.from_numpy(np.random.default_rng(0).random((4, 32, 32)).astype(np.float16))
    flips = torch.tensor([[True, False, False], [False, True, True], [True, True, True], [False, False, False]])
    rows = np.arange(4)
    store = MapStore(rows, len(train), (32, 32), torch.device("cpu"))
    store.put(rows, fused)
    batch = Batch(rows, torch.ones(4), Drawn(flips))
    answer = batch.follow(fused.float())[:, None]
    settings = config.replaced(**{"rounds.robust.pixel_bce": False, "rounds.robust.label_loss": 0.0, "rounds.structure": "fused"})
    loss = distillation_loss(settings, TeacherMaps(store, None), lesson(train, None))
    outputs = SideOutputs((torch.zeros_like(answer),), answer)
    assert float(loss(outputs, batch).max()) == 0
    unturned = SideOutputs(outputs.side_logits, fused.float()[:, None])
    assert (loss(unturned, batch)[:3] > 0.1).all()


def test_corrections_follow_the_flips_of_their_images(train: Bags, config: Config) -> None:
    """An answer made from the turned corrections themselves leaves nothing to learn."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 3, (4, 32, 32)).astype(np.uint8)  # every pixel, so that the teacher has no say
    chosen = train.subset([1, 3, 5, 7])
    taught = lesson(train, Hints(chosen, labels))
    rows = taught.hinted
    assert [taught.bags.names[row] for row in rows] == chosen.names
    flips = torch.tensor([[True, False, False], [False, True, True], [True, True, True], [False, False, False]])
    batch = Batch(rows, torch.ones(4), Drawn(flips))
    store = MapStore(rows, len(taught.bags), (32, 32), torch.device("cpu"))
    loss = distillation_loss(config.replaced(**{"rounds.robust.label_loss": 0.0}), TeacherMaps(store, None), taught)
    answer = batch.follow(torch.from_numpy(labels == 2).float())[:, None]

    def outputs(p: torch.Tensor) -> SideOutputs:
        return SideOutputs(((p * 2 - 1) * 30,), p)

    assert float(loss(outputs(answer), batch).max()) < 1e-4
    assert (loss(outputs(torch.from_numpy(labels == 2).float()[:, None]), batch)[:3] > 1).all()


@pytest.mark.parametrize(
    ("overrides", "told", "small"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"rounds.robust.label_loss": 0.0}, True, True),
        ({"rounds.robust.warm_start": False}, False, False),
        ({"rounds.mode": "paper"}, False, False),
    ],
)
def test_a_copy_that_learns_from_the_map_alone_takes_small_steps(
    train: Bags, val: Bags, config: Config, network: Network, overrides: dict, told: bool, small: bool
) -> None:
    """Measured on the phantom: at a rate of 1e-3 such a copy ends with AP .894, at 1e-4 with .933; its teacher has .924."""
    bags = replace(train, told=np.full(len(train), told))
    states: list[dict] = []
    tiny = {"rounds.copy_rate": 1e-9, "rounds.weight_decay": 0.0, "rounds.rounds": 1}
    finish(distill(network(0), network(1), bags, val, config.replaced(**tiny, **overrides), on_epoch=states.append))
    started, learnt = states[0]["pair"]["start"], states[0]["pair"]["student"]
    heads = [name for name in started if name.startswith("heads.")]
    assert heads
    assert all(torch.allclose(started[name], learnt[name], atol=1e-6) for name in heads) == small


def test_labels_count_where_a_person_gave_them_only(train: Bags, config: Config, network: Network) -> None:
    told = np.arange(len(train)) % 3 > 0
    taught = lesson(replace(train, told=told), None)
    rows = np.arange(8)
    batch = Batch(rows, torch.from_numpy(train.labels[rows]), None)
    maps = TeacherMaps(MapStore(np.flatnonzero(train.labels), len(train), (32, 32), torch.device("cpu")), None)
    outputs = network(0)(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    with_labels = distillation_loss(config.replaced(**{"rounds.robust.label_loss": 0.7}), maps, taught)(outputs, batch)
    without = distillation_loss(config.replaced(**{"rounds.robust.label_loss": 0.0}), maps, taught)(outputs, batch)
    wanted = 0.7 * topk_bce(outputs, batch.labels) * torch.from_numpy(told[rows])
    assert wanted[told[rows]].min() > 0
    torch.testing.assert_close(with_labels - without, wanted)
    for mode in ("paper", "released", "oeem"):
        of_mode = distillation_loss(config.replaced(**{"rounds.mode": mode, "rounds.robust.label_loss": 0.7}), maps, taught)
        none = distillation_loss(config.replaced(**{"rounds.mode": mode, "rounds.robust.label_loss": 0.0}), maps, taught)
        assert torch.equal(of_mode(outputs, batch), none(outputs, batch))


def test_centred_maps_are_what_the_student_learns(train: Bags, config: Config) -> None:
    """With the student's answer made from the moved map, the semimetric is zero; the teacher's own map is an error then."""
    fused = torch.from_numpy(np.random.default_rng(0).uniform(0.4, 0.99, (4, 32, 32)).astype(np.float16))
    rows = np.flatnonzero(train.labels)[:4]
    store = MapStore(rows, len(train), (32, 32), torch.device("cpu"))
    store.put(rows, fused)
    off = {"rounds.robust.pixel_bce": False, "rounds.robust.label_loss": 0.0, "rounds.robust.confidence": 0.0, "rounds.structure": "fused"}
    loss = distillation_loss(config.replaced(**off), TeacherMaps(store, None), lesson(train, None), shift=1.0)

    def outputs(p: torch.Tensor) -> SideOutputs:
        return SideOutputs((torch.zeros_like(p[:, None]),), p[:, None])

    batch = Batch(rows, torch.ones(4), None)
    assert float(loss(outputs((fused.float().logit() - 1.0).sigmoid()), batch).max()) < 1e-3
    assert (loss(outputs(fused.float()), batch) > 0.05).all()


def test_oeem_trains_a_fresh_student_once(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"rounds.mode": "oeem", "rounds.rounds": 5})
    student, states = network(1), []
    initial = {key: value.clone() for key, value in student.state_dict().items()}
    events, outcome = finish(distill(network(0), student, train, val, config, on_epoch=states.append))
    assert [e.index for e in events if isinstance(e, RoundDone)] == [0, 1]
    assert any(isinstance(e, Warned) and "of the 5 rounds asked for there is one" in e.message for e in events)
    assert same_weights(states[0]["pair"]["start"], initial)
    assert outcome.model is student
    assert outcome.decisions[0].criterion == "always"
    _, resumed = finish(distill(network(5), network(6), train, val, config, state=states[0]))
    assert same_weights(resumed.model.state_dict(), student.state_dict())
    events, _ = finish(distill(network(0), network(1), train, val, config.replaced(**{"rounds.rounds": 3})))
    assert not any(isinstance(e, Warned) for e in events), "nobody asked for the default"


SWITCHES: dict[str, Any] = {name: not default for name, default in RobustConfig().model_dump().items()}
SWITCHES |= {"confidence": 0.0, "label_loss": 0.0, "noise": NoiseConfig(stain=0.3, paste=0.0).model_dump()}


@pytest.mark.parametrize("mode", ["robust", "paper"])
def test_every_switch_of_robust_acts_there_and_nowhere_else(train: Bags, val: Bags, config: Config, network: Network, mode: str) -> None:
    """Each alone changes what two rounds learn; mode ``paper`` knows none of them."""
    config = config.replaced(**{"rounds.mode": mode, "rounds.epochs": 1, "acceptance.rule": "always", "rounds.robust.confidence": 0.05})

    def learnt(settings: Config) -> str:
        return weights_hash(finish(distill(network(0), network(1), train, val, settings))[1].model)

    whole = learnt(config)
    changed = {name for name, off in SWITCHES.items() if learnt(config.replaced(**{f"rounds.robust.{name}": off})) != whole}
    assert changed == (set(SWITCHES) if mode == "robust" else set())


def test_the_teacher_may_be_asked_about_negatives(train: Bags, val: Bags, config: Config, network: Network) -> None:
    totals = {}
    for hard in (True, False):
        settings = config.replaced(**{"rounds.robust.hard_negatives": hard, "rounds.rounds": 1, "rounds.epochs": 1})
        events, _ = finish(distill(network(0), network(1), train, val, settings))
        totals[hard] = next(e.total for e in events if isinstance(e, Progress) and e.stage == "asking the teacher")
    assert totals == {True: 8, False: 16}


def hints_for(bags: Bags, rows: list[int], name: str) -> Hints:
    labels = np.zeros((len(rows), 32, 32), np.uint8)
    labels[:, :8], labels[:, 24:] = 1, 2
    chosen = bags.subset(rows)
    return Hints(replace(chosen, names=[f"{name} {row}" for row in rows]), labels)


def test_each_round_asks_for_its_corrections_and_maps_them(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**ALWAYS)
    asked: list[int] = []
    by_round = {1: None, 2: hints_for(train, [1, 3, 5], "painted")}

    def hints(index: int) -> Hints | None:
        asked.append(index)
        return by_round[index]

    states: list[dict] = []
    events, whole = finish(distill(network(0), network(1), train, val, config, hints=hints, on_epoch=states.append))
    assert asked == [1, 2]
    totals = [e.total for e in events if isinstance(e, Progress) and e.stage == "asking the teacher"]
    assert set(totals) == {8, 11}, "the teacher is asked about the tiles too"
    _, plain = finish(distill(network(0), network(1), train, val, config))
    assert not same_weights(plain.model.state_dict(), whole.model.state_dict())
    for state in states:
        asked.clear()
        _, resumed = finish(distill(network(7), network(8), train, val, config, hints=hints, state=state))
        assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
        expected = (
            [] if (state["round"], state["epoch"]) in ((2, 2), (3, 0)) else [1, 2] if (state["round"], state["epoch"]) == (1, 1) else [2]
        )
        assert asked == expected


def test_corrected_tiles_of_another_size_are_an_error(train: Bags, val: Bags, config: Config, network: Network) -> None:
    hints = Hints(make_bags(2, size=64), np.ones((2, 64, 64), np.uint8))
    with pytest.raises(BagError, match="differ in tile size"):
        finish(distill(network(0), network(1), train, val, config, hints=lambda index: hints))


def test_side_rates_of_both_networks_are_checked_before_the_work(train: Bags, val: Bags, config: Config, network: Network) -> None:
    one_side = build_model(cam_network_config(NetworkConfig(width=0.125)), 1)
    config = config.replaced(**{"rounds.side_rates": (1.0, 2.0, 3.0)})
    for teacher, student in ((network(0), one_side), (one_side, network(0))):
        seen: list[Any] = []
        with pytest.raises(ModelError, match="side_rates"):
            seen.extend(distill(teacher, student, train, val, config))
        assert not seen
    states: list[dict] = []
    finish(distill(network(0), network(1), train, val, config.replaced(**{"rounds.rounds": 1}), on_epoch=states.append))
    rates = [group["initial_lr"] if "initial_lr" in group else group["lr"] for group in states[0]["optimiser"]["param_groups"]]
    assert rates == pytest.approx([rates[0], rates[0], 2 * rates[0], 3 * rates[0]])


def test_an_optimiser_is_not_carried_to_a_network_of_which_other_parts_learn(
    train: Bags, val: Bags, config: Config, network: Network
) -> None:
    frozen = build_model(NetworkConfig(width=0.125, frozen=True), 1)
    config = config.replaced(**{"acceptance.rule": "always", "rounds.robust.reset_optimiser": False})
    _, outcome = finish(distill(frozen, network(0), train, val, config))
    assert outcome.accepted_round == 2


def test_activation_maps_teach_and_do_not_become_a_student(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """A CAM teacher cannot learn, so its successor gets a copy of itself."""

    def teacher(seed: int) -> CamModel:
        return CamModel([build_model(cam_network_config(NetworkConfig(width=0.125)), seed)], (1.0, 0.5))

    config = config.replaced(**ALWAYS)
    states: list[dict] = []
    first, student = teacher(0), network(1)
    before = weights_hash(first)
    _, whole = finish(distill(first, student, train, val, config, on_epoch=states.append))
    assert whole.accepted_round == 2
    assert weights_hash(first) == before
    assert whole.model is not student
    assert same_weights(states[2]["pair"]["teacher"], student.state_dict())
    for state in states:
        _, resumed = finish(distill(teacher(5), network(8), train, val, config, state=state))
        assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
    with pytest.raises(ConfigError, match=r"one map without any\. Use structure fusion or fused"):
        finish(distill(first, network(1), train, val, config.replaced(**{"rounds.structure": "sides"})))
    with pytest.raises(ModelError, match="cannot learn"):
        finish(distill(network(1), first, train, val, config))
