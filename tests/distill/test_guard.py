"""Holding the area: what a student marks is brought within limits, its order of pixels stays, and an area within them is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_ifkd.distill import distill
from napari_ifkd.distill.guard import hold_area
from napari_ifkd.distill.scores import judge
from napari_ifkd.distill.training import never
from napari_ifkd.events import RoundDone
from napari_ifkd.inference import predict_patches
from napari_ifkd.models import weights_hash

from .test_stage1 import finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel


@pytest.mark.parametrize("limits", [(0.7, 0.8), (0.1, 0.2), (0.45, 0.46)])
def test_the_area_comes_within_limits(val: Bags, config: Config, network: Callable[[int], MILModel], limits: tuple[float, float]) -> None:
    model = network(0)
    before = judge(model, val, config, should_stop=never).scores["positive_area"]
    assert not limits[0] <= before <= limits[1]
    shift = hold_area(model, val, limits, config, should_stop=never)
    assert (shift > 0) == (before < limits[0])
    after = judge(model, val, config, should_stop=never).scores["positive_area"]
    assert limits[0] <= after <= limits[1]


def test_side_outputs_keep_their_order_of_pixels(val: Bags, config: Config, network: Callable[[int], MILModel]) -> None:
    model = network(0).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        shift = hold_area(model, val, (0.75, 0.76), config, should_stop=never)
        after = model.eval()(images)
    for old, new in zip(before.side_logits, after.side_logits, strict=True):
        torch.testing.assert_close(new, old + shift, atol=1e-4, rtol=0)


def test_an_area_within_limits_is_left_alone(val: Bags, config: Config, network: Callable[[int], MILModel]) -> None:
    model = network(0)
    before = weights_hash(model)
    assert hold_area(model, val, (0.0, 1.0), config, should_stop=never) == 0
    assert hold_area(model, val.subset(np.flatnonzero(val.labels == 0)), (0.9, 1.0), config, should_stop=never) == 0
    assert weights_hash(model) == before


def test_rounds_hold_the_first_teachers_area(train: Bags, val: Bags, config: Config, network: Callable[[int], MILModel]) -> None:
    """A teacher that marks nearly everything, and labels that pull the students away from that, round after round."""
    teacher = network(0)
    hold_area(teacher, val, (0.9, 0.95), config, should_stop=never)
    weights = teacher.state_dict()
    areas, told = {}, {}
    for hold in (True, False):
        teacher = network(0)
        teacher.load_state_dict(weights)
        settings = config.replaced(
            **{"rounds.robust.hold_area": hold, "rounds.epochs": 6, "rounds.learning_rate": 1e-3, "acceptance.rule": "always"}
        )
        events, outcome = finish(distill(teacher, network(1), train, val, settings))
        rounds = [event for event in events if isinstance(event, RoundDone)]
        areas[hold] = [event.scores["positive_area"] for event in rounds]
        told[hold] = [event.decision.evidence for event in rounds[1:]]
        shown = predict_patches(outcome.model, val.images[val.labels > 0], device=torch.device("cpu"), precision="float32", batch=4)
        assert float((shown >= 0.5).mean()) == pytest.approx(areas[hold][-1], abs=1e-3), "what is judged is what is handed over"
    assert areas[False][-1] < 0.85 * areas[False][0], "without it the area runs away"
    assert all(0.85 <= area / areas[True][0] <= 1.15 for area in areas[True])
    assert any("to hold the area" in evidence for evidence in told[True])
    assert not any("to hold the area" in evidence for evidence in told[False])
