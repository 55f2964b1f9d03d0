"""The cautious rule: what it refuses, what it lets pass, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_ifkd.config import AcceptanceConfig
from napari_ifkd.distill import decide

if TYPE_CHECKING:
    from napari_ifkd.events import Decision

FIRST = {"bag_accuracy": 0.95, "positive_area": 0.40, "negative_area": 0.02}


def judged(
    first: dict | None = None, teacher: dict | None = None, mode: str = "robust", bags: int = 100, present: int = 0, **student: float
) -> Decision:
    settings = AcceptanceConfig(area_prior=student.pop("prior", None))
    first = FIRST if first is None else first
    scores = {"first": first, "teacher": teacher or first, "student": {**FIRST, **student}}
    return decide(settings, mode, **scores, bags=bags, present=present)  # type: ignore[arg-type]


@pytest.mark.parametrize(("area", "switched"), [(0.40, True), (0.455, True), (0.345, True), (0.47, False), (0.33, False)])
def test_the_area_may_move_by_a_share_of_the_first_teachers(area: float, switched: bool) -> None:
    decision = judged(positive_area=area)
    assert decision.switched is switched
    assert decision.criterion == "cautious"
    if not switched:
        assert ("more" if area > 0.4 else "less") in decision.reason
        assert "stays" in decision.reason


def test_the_area_is_compared_with_the_first_teacher_not_the_last() -> None:
    """Else many small steps would add up to any area."""
    teacher = {**FIRST, "positive_area": 0.45}
    assert not judged(teacher=teacher, positive_area=0.47).switched


def test_the_reason_names_the_round_that_stays_the_teacher() -> None:
    """Else "the teacher" reads as the one that came, which every list of predictions calls so."""
    assert judged(positive_area=0.8).reason.startswith("The teacher stays: ")
    assert judged(positive_area=0.8, present=2).reason.startswith("Round 2 stays the teacher: ")


def test_students_of_centred_maps_are_held_against_the_centred_area() -> None:
    first = {**FIRST, "positive_area": 0.8, "centred_area": 0.5}
    student = {**FIRST, "positive_area": 0.52}

    def decided(centred: bool) -> Decision:
        return decide(AcceptanceConfig(), "robust", first=first, teacher=first, student=student, bags=100, centred=centred)

    assert decided(True).switched
    assert "its area centred" in decided(True).evidence
    assert "0.500 / 0.800 / 0.520" in decided(True).evidence
    assert not decided(False).switched
    assert "80.0%" in decided(False).reason


@pytest.mark.parametrize(("accuracy", "switched"), [(0.96, True), (0.93, True), (0.92, False)])
def test_bags_must_still_be_told_apart(accuracy: float, switched: bool) -> None:
    assert judged(bag_accuracy=accuracy).switched is switched


def test_falls_of_accuracy_do_not_add_up() -> None:
    teacher = {**FIRST, "bag_accuracy": 0.93}
    assert not judged(teacher=teacher, bag_accuracy=0.92).switched


def test_one_bag_is_no_evidence() -> None:
    assert judged(first={**FIRST, "bag_accuracy": 1.0}, bag_accuracy=0.9, bags=10).switched
    assert not judged(first={**FIRST, "bag_accuracy": 1.0}, bag_accuracy=0.8, bags=10).switched


def test_a_known_share_replaces_the_first_teachers_area() -> None:
    assert not judged(prior=0.2, positive_area=0.41).switched, "away from what is known"
    assert judged(prior=0.2, positive_area=0.22).switched, "far from the teacher, yet as known"
    nearer = judged(prior=0.2, positive_area=0.30)
    assert nearer.switched, "still off, yet nearer than the teacher"
    assert "known tumour share 0.200" in nearer.evidence
    assert nearer.criterion == judged(prior=0.2, positive_area=0.41).criterion == "area prior"
    assert "known tumour share" in nearer.reason


def test_without_positive_bags_nothing_is_accepted() -> None:
    first = {"bag_accuracy": 1.0, "negative_area": 0.01}
    settings = AcceptanceConfig()
    decision = decide(settings, "robust", first=first, teacher=first, student=first, bags=5)
    assert not decision.switched
    assert "no tumour tiles were kept aside" in decision.reason
    nothing = decide(settings, "robust", first={}, teacher={}, student={}, bags=0)
    assert not nothing.switched


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_other_modes_always_switch(mode: str) -> None:
    decision = judged(mode=mode, positive_area=0.99, bag_accuracy=0.1)
    assert decision.switched
    assert decision.criterion == "always"


def test_the_rule_can_be_switched_off() -> None:
    settings = AcceptanceConfig(rule="always")
    assert decide(settings, "robust", first=FIRST, teacher=FIRST, student={}, bags=1).switched


def test_evidence_holds_the_numbers() -> None:
    evidence = judged(positive_area=0.42, agreement=0.9).evidence
    assert "100 validation bags" in evidence
    assert "positive area 0.400 / 0.400 / 0.420" in evidence
    assert "agreement with the teacher 0.900" in evidence


def test_a_first_teacher_that_marks_nothing_is_no_measure() -> None:
    first = {**FIRST, "positive_area": 0.0004}
    for area in (0.0, 0.0004, 0.1):
        decision = judged(first=first, positive_area=area)
        assert not decision.switched
        assert "the first teacher marks nothing" in decision.reason
    assert judged(first=first, positive_area=0.41, prior=0.4).switched
