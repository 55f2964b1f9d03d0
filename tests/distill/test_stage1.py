"""Training a teacher: progress, cancel, exact resume, and what happens when it diverges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ifkd.bags.augment import Drawn
from napari_ifkd.config import NetworkConfig
from napari_ifkd.distill import train_teacher
from napari_ifkd.distill.stage1 import snapshot_epochs, teacher_loss
from napari_ifkd.distill.training import Batch, balanced_batches
from napari_ifkd.errors import BagError, Cancelled, EngineError, ModelError
from napari_ifkd.events import EpochDone, Progress, Warned
from napari_ifkd.models import CamModel, MILModel, SideOutputs, build_model, cam_network_config, prepare, weights_hash

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config

Network = Callable[[int], MILModel]


def finish(generator: Any) -> tuple[list, Any]:
    """Run a generator to its end; return its events and its result."""
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_events_tell_of_progress_and_epochs(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    states: list[dict] = []
    events, result = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    assert result is model
    assert not model.training
    epochs = [e for e in events if isinstance(e, EpochDone)]
    assert [(e.round, e.epoch, e.epochs) for e in epochs] == [(0, 1, 3), (0, 2, 3), (0, 3, 3)]
    assert set(epochs[-1].scores) == {"bag_accuracy", "bag_auc", "positive_area", "centred_area", "negative_area"}
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress[-1].done == progress[-1].total == 3 * 16
    assert [s["epoch"] for s in states] == [1, 2, 3]
    assert same_weights(states[-1]["model"], model.state_dict())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_resume_after_any_epoch_is_bit_equal(train: Bags, val: Bags, config: Config, network: Network, precision: str) -> None:
    config = config.replaced(precision=precision)
    whole = network(0)
    states: list[dict] = []
    finish(train_teacher(train, val, whole, config, on_epoch=states.append))
    for state in states:
        resumed = network(99)
        finish(train_teacher(train, val, resumed, config, state=state))
        assert same_weights(resumed.state_dict(), whole.state_dict())


def test_states_are_plain_data(train: Bags, val: Bags, config: Config, network: Network, tmp_path: Any) -> None:
    states: list[dict] = []
    finish(train_teacher(train, val, network(0), config, on_epoch=states.append))
    torch.save(states[-1], tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == 3


def test_stop_is_asked_before_every_batch(train: Bags, val: Bags, config: Config, network: Network) -> None:
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(Cancelled):
        finish(train_teacher(train, val, network(0), config, should_stop=stop))
    assert len(asked) == 2


@pytest.mark.parametrize(("label", "word"), [(1, "negative"), (0, "positive")])
def test_a_missing_class_is_an_error(train: Bags, val: Bags, config: Config, network: Network, label: int, word: str) -> None:
    one_class = train.subset(np.flatnonzero(train.labels == label))
    with pytest.raises(BagError, match=f"no {word} images"):
        finish(train_teacher(one_class, val, network(0), config))


def test_validation_may_be_empty(train: Bags, config: Config, network: Network) -> None:
    events, _ = finish(train_teacher(train, train.subset([]), network(0), config))
    assert [e.scores for e in events if isinstance(e, EpochDone)] == [{}, {}, {}]


def poison(model: MILModel, from_call: int) -> None:
    """Let a network answer nan from its n-th training pass on."""
    calls = [0]

    def hook(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        calls[0] += module.training
        return output * float("nan") if module.training and calls[0] >= from_call else output

    model.heads[0].register_forward_hook(hook)


def test_divergence_keeps_the_last_good_epoch(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    poison(model, 4)  # two batches an epoch: in the middle of epoch 2
    states: list[dict] = []
    events, _ = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    assert len(states) == 1
    assert same_weights(model.state_dict(), states[0]["model"])
    assert any(isinstance(e, Warned) and "epoch 2" in e.message for e in events)


def test_divergence_in_the_first_epoch_is_an_error(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    poison(model, 1)
    with pytest.raises(EngineError, match="learning_rate"):
        finish(train_teacher(train, val, model, config))


def test_batches_hold_half_of_each_class() -> None:
    labels = np.array([1] * 30 + [0] * 5, np.int8)
    batches = list(balanced_batches(labels, 8, 10, np.random.default_rng(0)))
    assert len(batches) == 10
    assert all(labels[rows].sum() == 4 for rows in batches)
    seen = np.bincount(np.concatenate(batches), minlength=35)
    assert seen[:30].min() >= 1
    assert seen[30:].min() == seen[30:].max() == 8  # 40 draws of 5


def test_batches_of_a_single_class_are_whole() -> None:
    batches = list(balanced_batches(np.ones(6, np.int8), 8, 2, np.random.default_rng(0)))
    assert [sorted(rows) for rows in batches] == [[0, 1, 2, 3, 4, 5]] * 2


@pytest.fixture
def classifier() -> Network:
    return lambda seed: build_model(cam_network_config(NetworkConfig(width=0.125)), seed)


def oaa_config(config: Config, **overrides: object) -> Config:
    return config.replaced(
        **{"stage1.method": "oaa", "stage1.epochs": 5, "stage1.cam": {"scales": (0.5, 1.0), "snapshots": 3}, **overrides}
    )


def test_cam_reads_the_trained_classifier(train: Bags, val: Bags, config: Config, classifier: Network) -> None:
    model = classifier(0)
    before = weights_hash(model)
    config = config.replaced(**{"stage1.method": "cam", "stage1.cam.scales": (1.0, 2.0)})
    states: list[dict] = []
    events, result = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    assert isinstance(result, CamModel)
    assert not result.training
    assert list(result.networks) == [model]
    assert result.scales == (1.0, 2.0)
    assert weights_hash(model) != before
    assert same_weights(states[-1]["model"], model.state_dict())
    assert {"bag_accuracy", "positive_area"} <= set(next(e for e in events if isinstance(e, EpochDone)).scores)
    with torch.no_grad():
        outputs = result(prepare(torch.from_numpy(train.images), result.normalisation))
    assert len(outputs.side_logits) == 2
    assert outputs.fused.shape == (16, 1, 32, 32)


def test_cam_tells_tumour_apart(train: Bags, val: Bags, config: Config, classifier: Network) -> None:
    config = config.replaced(**{"stage1.method": "cam", "stage1.epochs": 12, "stage1.learning_rate": 3e-3})
    _, result = finish(train_teacher(train, val, classifier(0), config))
    with torch.no_grad():
        fused = result(prepare(torch.from_numpy(val.images), result.normalisation)).fused[:, 0]
    positive = fused[val.labels > 0]
    assert positive[:, :, 16:].mean() > positive[:, :, :16].mean() + 0.3, "the dark half is the tumour"
    assert positive.mean() > fused[val.labels == 0].mean() + 0.1


@pytest.mark.parametrize(("epochs", "count", "expected"), [(8, 4, [2, 4, 6, 8]), (5, 3, [2, 4, 5]), (2, 4, [1, 2]), (1, 2, [1])])
def test_snapshots_are_evenly_spaced_and_end_with_the_last(config: Config, epochs: int, count: int, expected: list[int]) -> None:
    settings = oaa_config(config, **{"stage1.epochs": epochs, "stage1.cam.snapshots": count}).stage1
    assert snapshot_epochs(settings) == expected
    assert snapshot_epochs(settings.model_copy(update={"method": "cam"})) == []


def test_oaa_accumulates_epochs_and_resumes_bit_equal(train: Bags, val: Bags, config: Config, classifier: Network, tmp_path: Any) -> None:
    config = oaa_config(config)
    states: list[dict] = []
    _, whole = finish(train_teacher(train, val, classifier(0), config, on_epoch=states.append))
    assert isinstance(whole, CamModel)
    for network, epoch in zip(whole.networks, (2, 4, 5), strict=True):
        assert same_weights(network.state_dict(), states[epoch - 1]["model"])
    torch.save(states[3], tmp_path / "state.pt")
    for state in (*states, torch.load(tmp_path / "state.pt", weights_only=True)):
        _, resumed = finish(train_teacher(train, val, classifier(9), config, state=state))
        assert same_weights(resumed.state_dict(), whole.state_dict())


def test_oaa_that_diverges_accumulates_what_was_good(train: Bags, val: Bags, config: Config, classifier: Network) -> None:
    model = classifier(0)
    poison(model, 7)  # two batches an epoch: in epoch 4
    states: list[dict] = []
    _, result = finish(train_teacher(train, val, model, oaa_config(config), on_epoch=states.append))
    assert isinstance(result, CamModel)
    assert len(states) == 3
    assert [same_weights(n.state_dict(), states[k]["model"]) for n, k in zip(result.networks, (1, 2), strict=True)] == [True, True]


@pytest.mark.parametrize("method", ["cam", "oaa"])
def test_activation_maps_need_a_network_with_one_side(train: Bags, val: Bags, config: Config, network: Network, method: str) -> None:
    with pytest.raises(ModelError, match="one side head"):
        next(train_teacher(train, val, network(0), config.replaced(**{"stage1.method": method})))


def halves(bags: Bags) -> np.ndarray:
    masks = np.zeros(bags.images.shape[:3], bool)
    masks[bags.labels > 0, :, 16:] = True
    return masks


def test_masks_follow_the_flips_of_their_images(config: Config) -> None:
    """An answer made from the turned masks themselves leaves nothing to learn."""
    masks = np.random.default_rng(0).random((4, 8, 8)) < 0.5
    flips = torch.tensor([[True, False, False], [False, True, True], [True, True, True], [False, False, False]])
    batch = Batch(np.array([2, 0, 3, 1]), torch.ones(4), Drawn(flips))
    loss = teacher_loss(config.replaced(**{"stage1.method": "supervised"}).stage1, masks)

    def outputs(p: torch.Tensor) -> SideOutputs:
        return SideOutputs(((p * 2 - 1)[:, None] * 30,), p[:, None])

    told = torch.from_numpy(masks[batch.rows]).float()
    assert float(loss(outputs(batch.follow(told)), batch).max()) < 1e-4
    assert (loss(outputs(told), batch)[:3] > 1).all()


def test_supervision_learns_the_masks(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"stage1.method": "supervised", "stage1.epochs": 12, "stage1.learning_rate": 3e-3})
    _, model = finish(train_teacher(train, val, network(0), config, masks=halves(train)))
    with torch.no_grad():
        fused = model(prepare(torch.from_numpy(val.images), model.normalisation)).fused[:, 0].numpy()
    assert ((fused > 0.5) == halves(val)).mean() > 0.9


def test_supervision_may_do_without_negatives_and_resumes_bit_equal(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"stage1.method": "supervised"})
    positives = train.subset(np.flatnonzero(train.labels))
    states: list[dict] = []
    whole = network(0)
    finish(train_teacher(positives, val, whole, config, masks=halves(positives), on_epoch=states.append))
    resumed = network(9)
    finish(train_teacher(positives, val, resumed, config, masks=halves(positives), state=states[0]))
    assert same_weights(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("method", ["mil", "cam", "oaa"])
def test_no_weak_method_may_see_masks(train: Bags, val: Bags, config: Config, network: Network, method: str) -> None:
    with pytest.raises(BagError, match="without pixel masks"):
        finish(train_teacher(train, val, network(0), config.replaced(**{"stage1.method": method}), masks=halves(train)))


def test_supervision_needs_masks_that_fit(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"stage1.method": "supervised"})
    with pytest.raises(BagError, match="none were given"):
        finish(train_teacher(train, val, network(0), config))
    with pytest.raises(BagError, match="the masks are"):
        finish(train_teacher(train, val, network(0), config, masks=halves(train)[1:]))


def test_side_heads_learn_at_rates_of_their_own(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """A rate of 0 leaves a head as it was; the trunk learns as ever."""
    model = network(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = config.replaced(**{"stage1.side_rates": (0.0, 1.0, 5.0), "stage1.epochs": 1, "stage1.weight_decay": 0.0})
    states: list[dict] = []
    finish(train_teacher(train, val, model, config, on_epoch=states.append))
    moved = {key: float((value - before[key]).abs().max()) for key, value in model.state_dict().items() if key.endswith("weight")}
    assert moved["heads.0.weight"] == 0
    assert moved["heads.2.weight"] > 2 * moved["heads.1.weight"] > 0
    assert max(value for key, value in moved.items() if key.startswith("trunk")) > 0
    rates = [group["lr"] for group in states[0]["optimiser"]["param_groups"]]
    assert rates == pytest.approx([rates[0], 0, rates[0], 5 * rates[0]])


def test_as_many_side_rates_as_sides(train: Bags, val: Bags, config: Config, network: Network) -> None:
    with pytest.raises(ModelError, match="side_rates"):
        finish(train_teacher(train, val, network(0), config.replaced(**{"stage1.side_rates": (1.0, 2.0)})))


def test_stains_and_turns_are_drawn_only_where_asked_for(
    train: Bags, val: Bags, config: Config, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("napari_ifkd.bags.augment.jitter_stain", lambda images, *_: drawn.append(len(images)) or images)
    finish(train_teacher(train, val, network(0), config.replaced(**{"stage1.augment": False})))
    assert drawn == []
    finish(train_teacher(train, val, network(0), config))
    assert sum(drawn) == 3 * 16, "every image of every epoch, and none of the validation"


@pytest.mark.parametrize(
    ("often", "batch", "expected"),
    [
        ([3], 32, (12, 12, 8)),  # a quarter, however few they are
        (list(range(50)), 32, (8, 8, 16)),  # their share of all where that is more
        ([0], 2, (1, 0, 1)),
        (list(range(100)), 8, (0, 0, 8)),
        ([], 8, (4, 4, 0)),
    ],
)
def test_some_bags_have_a_share_of_each_batch(often: list[int], batch: int, expected: tuple[int, int, int]) -> None:
    labels = (np.arange(100) % 2).astype(np.int8)
    for rows in balanced_batches(labels, batch, 6, np.random.default_rng(0), np.array(often, np.intp)):
        rest = rows[~np.isin(rows, often)]
        assert (labels[rest].sum(), (1 - labels[rest]).sum(), np.isin(rows, often).sum()) == expected


@pytest.mark.parametrize(("loss", "pastes"), [("topk-bce", True), ("gm-bce", True), ("const-dice", False)])
def test_no_normal_box_is_pasted_where_all_is_to_be_tumour(
    train: Bags, val: Bags, config: Config, network: Network, loss: str, pastes: bool
) -> None:
    def learnt(paste: float) -> str:
        model = network(0)
        settings = config.replaced(**{"stage1.loss": loss, "stage1.epochs": 1, "stage1.augment": True, "stage1.noise.paste": paste})
        finish(train_teacher(train, val, model, settings))
        return weights_hash(model)

    assert (learnt(0.0) != learnt(1.0)) == pastes


def test_noise_that_a_file_names_in_part_is_the_usual_in_the_rest(config: Config) -> None:
    whole = type(config)()
    part = type(config).model_validate({"stage1": {"noise": {"zoom": (0.9, 1.1)}}, "rounds": {"robust": {"noise": {"zoom": (0.9, 1.1)}}}})
    for now, default in ((part.stage1.noise, whole.stage1.noise), (part.rounds.robust.noise, whole.rounds.robust.noise)):
        assert (now.stain, now.paste) == (default.stain, default.paste)
