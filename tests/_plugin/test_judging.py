"""What points say: judged one after the other, kept while it holds, told wherever it matters; and what is answered is not lost."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("napari")


def counted(window: Any, reviewed: Any, answers: int = 999, *, truly: bool = False) -> Any:
    """Go to the page of points and count; where it is for the truth, round 1 is that."""
    count, truth = reviewed.count, window.session.here()[1].found
    reviewed.pages.setCurrentWidget(count)
    window.click("Review", count.start)
    window.wait(lambda: count.asking.isVisible())
    for _ in range(answers):
        if not count.points:
            break
        asked = count.points[count.at]
        value = truth.levels[0][int(asked.y / truth.scale_yx[0]), int(asked.x / truth.scale_yx[1])]
        window.click("Review", count.answers["tumour" if (value >= 128 if truly else count.at % 2 == 0) else "normal"])
    return count


def test_what_is_counted_while_the_run_waits_is_told_and_stays(window: Any, reviewed: Any) -> None:
    session = window.session
    session.begin("distill", session.run, [session.slide])  # it waits, or works on the next round
    count = counted(window, reviewed)
    window.wait(lambda: "F1" in count.card.text())
    for _ in range(3):
        session.events.job.emit(session.job)  # its progress
        window.qtbot.wait(50)
    assert "F1" in count.card.text()
    assert count.start.text() == "Count more points"
    assert "its further rounds are judged once it has ended" in count.card.text()
    assert not count.accept.isVisible()
    assert not window.bench.judging.advice()  # nor is it told anywhere else


def test_answers_of_before_are_told_of_while_a_run_that_goes_on_gets_rounds(
    window: Any, reviewed: Any, write_map: Callable[..., None]
) -> None:
    from napari_ifkd.events import MapReady

    session, run = window.session, RunFolder(window.session.run)
    count = counted(window, reviewed)
    window.wait(lambda: "F1" in count.card.text())
    session.begin("distill", run.path, [session.slide])
    write_map(run.map_path(2, session.slide.path), session.slide)
    session.apply(MapReady(2, session.slide.name, run.map_path(2, session.slide.path).relative_to(run.path).as_posix()))
    window.wait(lambda: count.card.text() == "What was answered is judged once the run has ended.")
    told: list[int] = []
    window.bench.judging.changed.connect(lambda: told.append(1))
    for _ in range(3):
        session.events.job.emit(session.job)  # its progress
        window.qtbot.wait(30)
    assert not told
    assert count.start.text() == "Count more points"


def test_a_later_count_is_not_overwritten_by_what_was_asked_before(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    count, judging = counted(window, reviewed, 12), window.bench.judging
    window.click("Review", count.finish)
    window.wait(lambda: judging.found is not None)
    go, judged = threading.Event(), []
    from napari_ifkd._plugin import judging as module

    judge = module._judged_by

    def slowly(evidence: Any) -> Any:
        judged.append(evidence)
        if len(judged) == 1:
            go.wait(30)
        return judge(evidence)

    monkeypatch.setattr(module, "_judged_by", slowly)
    judging._of = module.Of()
    judging.recall()
    window.wait(lambda: len(judged) == 1)
    told: list[int] = []
    judging.judge(judging.here(), lambda: told.append(1))
    window.qtbot.wait(100)
    assert (len(judged), judging.under_way) == (1, True)  # one after the other
    go.set()
    window.wait(lambda: not judging.under_way)
    assert len(judged) == 2
    assert told == [1]
    assert judging.found is not None


def test_answers_are_not_lost_where_a_write_is_slow(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_ifkd._plugin import answer_writer

    session, write, go = window.session, answer_writer.write_points, threading.Event()
    table = session.run / "points-asked.csv"
    monkeypatch.setattr(answer_writer, "write_points", lambda *of: go.wait(30) and write(*of))
    count = counted(window, reviewed, 8)
    slide = session.slide
    session.activate(None)
    session.activate(slide)
    assert not count.start.isEnabled()  # till all is written
    go.set()
    window.wait(lambda: count.start.isEnabled())
    assert len(read_points(table)) == 8
    window.wait(lambda: count.start.text() == "Go on counting at place 9")


def test_a_write_that_fails_is_told_and_the_next_holds_all(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_ifkd._plugin import answer_writer

    write, said, fail = answer_writer.write_points, [], [True]
    table = window.session.run / "points-asked.csv"

    def failing(*of: Any) -> None:
        if fail:
            raise OSError(28, "No space left on device", str(table))
        write(*of)

    monkeypatch.setattr(answer_writer, "write_points", failing)
    monkeypatch.setattr(answer_writer, "say_error", lambda error, *_: said.append(error))
    count = counted(window, reviewed, 2)
    window.wait(lambda: bool(said) and window.bench.judging.answers.idle)
    assert count.points  # the count goes on
    fail.clear()
    window.click("Review", count.answers["normal"])
    window.wait(lambda: len(read_points(table)) == 3)


def test_the_last_answer_can_be_mended(window: Any, reviewed: Any) -> None:
    count, run = counted(window, reviewed), RunFolder(window.session.run)
    window.wait(lambda: "F1" in count.card.text())
    last = read_points(run.path / "points-asked.csv")[-1]
    window.wait(count.mend.isVisible)
    window.key("B")
    assert count.asking.isVisible()
    assert "An answer here ends the count." in count.what.text()
    assert "before" not in count.bar.text()  # they are the same
    other = "tumour" if last.answer == "normal" else "normal"
    window.click("Review", count.answers[other])
    window.wait(lambda: "F1" in count.card.text())
    there = [point for point in read_points(run.points) if (point.x, point.y) == (last.x, last.y)]
    assert {point.answer for point in there} == {other}


def test_the_place_asked_about_is_not_seen_on_what_is_predicted(window: Any, reviewed: Any) -> None:
    counted(window, reviewed, 2)
    (ring,) = window.ours("counting")
    assert ring.visible
    reviewed.pages.setCurrentWidget(reviewed.compare)
    assert not ring.visible
    reviewed.pages.setCurrentWidget(reviewed.count)
    assert ring.visible


def test_a_turn_away_before_all_is_written_leaves_what_is_known_there(window: Any, reviewed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_ifkd._plugin import answer_writer

    session, judging = window.session, window.bench.judging
    count = counted(window, reviewed, 12)
    window.wait(lambda: judging.answers.idle)
    write, go = answer_writer.write_points, threading.Event()
    monkeypatch.setattr(answer_writer, "write_points", lambda *of: go.wait(30) and write(*of))
    window.click("Review", count.finish)
    slide = session.slide
    session.activate(None)
    found: list[object] = []
    judging.changed.connect(lambda: found.append(judging.found))
    go.set()
    window.wait(lambda: not judging._tasks and judging.answers.idle)
    assert not any(found)  # it is of another than is looked at
    session.activate(slide)
    window.wait(lambda: "F1" in count.card.text())


def test_no_place_is_mended_while_others_are_chosen(window: Any, reviewed: Any) -> None:
    count = counted(window, reviewed)
    window.wait(count.mend.isVisible)
    window.click("Review", count.start)
    assert not count.mend.isVisible()
    window.key("B")
    assert not count.points
    window.wait(lambda: bool(count.points))
    assert count.at == 0


def test_places_come_once_somebody_looks_at_the_page(window: Any, reviewed: Any) -> None:
    count = reviewed.count
    reviewed.pages.setCurrentWidget(count)
    window.click("Review", count.start)
    reviewed.pages.setCurrentWidget(reviewed.compare)
    before = tuple(window.viewer.scene.camera.center)
    window.wait(lambda: bool(count.points))
    assert not window.ours("counting")
    assert tuple(window.viewer.scene.camera.center) == before
    reviewed.pages.setCurrentWidget(count)
    assert window.ours("counting")[0].visible


def test_another_slide_of_a_run_is_counted_after_the_first(window: Any, reviewed: Any) -> None:
    """What was answered on the first, in a count that was left, goes into the run."""
    from napari_ifkd._plugin.judging import TABLE

    session, run = window.session, RunFolder(window.session.run)
    count = counted(window, reviewed, 4)
    window.wait(lambda: window.bench.judging.answers.idle)
    count.leave()
    table = run.path / TABLE
    table.write_text(table.read_text().replace(session.slide.name, "elsewhere.tif"))
    write_points(run.points, [replace(point, slide="elsewhere.tif") for point in read_points(table)])
    window.click("Review", count.start)
    window.wait(lambda: bool(count.points))
    assert {point.slide for point in count.points} == {session.slide.name}


def test_what_points_advise_is_told_wherever_a_round_is(window: Any, reviewed: Any) -> None:
    session, judging, count = window.session, window.bench.judging, counted(window, reviewed, truly=True)
    window.wait(lambda: "F1" in count.card.text())
    told = f"Points recommend {('the teacher', 'round 1')[judging.advised.round]} at {judging.advised.threshold.value:.3g}"
    session.look(threshold=0.9)
    assert f"<b>{told}.</b>" in window.docks["Export"].what.text()
    assert "The run recommends" not in window.docks["Export"].what.text()
    assert f"<b>{told}</b>" in window.docks["Distill"].reason.text()
    window.click("Review", count.accept)
    assert "Points recommend" not in window.docks["Export"].what.text()
    assert "Points recommend" not in window.docks["Distill"].reason.text()


def test_what_the_run_recommends_is_told_with_what_points_say_against_it(window: Any, reviewed: Any) -> None:
    session, judging, count = window.session, window.bench.judging, counted(window, reviewed, 5)
    window.click("Review", count.finish)
    window.wait(lambda: "too few" in count.card.text())
    assert judging.advised is None
    for candidate in session.here():
        session.show(candidate)
        assert "<b>The run recommends" not in reviewed.about.text()
        assert "Points do not decide" in reviewed.about.text()
