"""Every field of the forms, used with mouse and keys: it changes the setting it stands for, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QLineEdit, QSlider

from napari_ifkd._plugin.settings import device, set_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from napari_ifkd.config import Config


def use(window: Any, dock: str, field: Any) -> None:
    """Give a field another value, as a hand does: click it, and press a key."""
    native = getattr(field, "native", field)
    kinds = (QSlider, QAbstractSpinBox, QCheckBox, QComboBox)
    part = native if isinstance(native, kinds) else next(p for kind in kinds for p in native.findChildren(kind) if p.isVisibleTo(native))
    if isinstance(part, QCheckBox):
        window.show(dock, part)
        QTest.mouseClick(part, Qt.MouseButton.LeftButton, pos=QPoint(8, part.height() // 2))  # beside the box is beside it
        return
    window.click(dock, part)
    if isinstance(part, QComboBox):
        view = part.view()
        window.wait(view.isVisible)
        QTest.keyClick(view, Qt.Key.Key_Up if part.currentIndex() == part.count() - 1 else Qt.Key.Key_Down)
        QTest.keyClick(view, Qt.Key.Key_Return)
        window.wait(lambda: not view.isVisible())
    elif isinstance(part, QAbstractSpinBox):
        up = bool(part.stepEnabled() & QAbstractSpinBox.StepEnabledFlag.StepUpEnabled)
        QTest.keyClick(part, Qt.Key.Key_Up if up else Qt.Key.Key_Down)
    elif isinstance(part, QSlider):
        QTest.keyClick(part, Qt.Key.Key_Left)


def flat(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, settings


def each_changes_its_own(window: Any, dock: str, fields: list[Any], settings: Callable[[], Config]) -> None:
    for field in fields:
        before = dict(flat(settings().model_dump()))
        use(window, dock, field)
        after = dict(flat(settings().model_dump()))
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        owner = "acceptance.area_prior" if field.name == "" else field.name
        assert changed and all(key.startswith(owner.rpartition(".")[0] if owner.startswith("student") else owner) for key in changed), (
            field.name,
            changed,
        )


def test_each_field_of_distill_sets_what_it_says(window: Any) -> None:
    distill = window.docks["Distill"]
    window.click("Distill", distill.fold)
    each_changes_its_own(window, "Distill", [*distill.main, *distill.advanced], distill.settings)


def test_each_field_of_teach_sets_what_it_says(window: Any) -> None:
    teacher = window.docks["Teacher"]
    window.click("Teacher", teacher.teach_fold.button)
    each_changes_its_own(window, "Teacher", list(teacher.teach.form), teacher.teach._asked)


def test_the_device_is_kept_and_works(window: Any, drawn_slide: Path, drawn_teacher: Path) -> None:
    teacher, session = window.docks["Teacher"], window.session
    window.wait(lambda: "cpu" in teacher.device.choices)
    assert device() == "auto"
    try:
        use(window, "Teacher", teacher.device)
        assert device() == teacher.device.value == "cpu"
        session.open(drawn_slide)
        window.wait(lambda: session.tissue is not None)
        teacher.choose(drawn_teacher)
        window.wait(lambda: session.teacher is not None and session.teacher.path == drawn_teacher)
        window.click("Teacher", teacher.predict)
        window.wait(lambda: session.job is not None and session.job.state != "running")
        assert yaml.safe_load((session.job.out / "run.yaml").read_text(encoding="utf-8"))["config"]["device"] == "cpu"
    finally:
        set_device("auto")


def test_a_network_is_fetched_from_the_hub(window: Any, drawn_teacher: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    teacher, session, asked = window.docks["Teacher"], window.session, []

    def download(repo: str, file: str, revision: str | None = None) -> str:
        asked.append((repo, file, revision))
        if repo == "org/none":
            raise OSError("no connection")
        return str(drawn_teacher)

    def typed(text: str) -> None:
        (dialog,) = window.dialogs("QInputDialog")
        QTest.keyClicks(dialog.findChild(QLineEdit), text)
        QTest.keyClick(dialog, Qt.Key.Key_Return)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    window.wait(lambda: session.teacher is not None)
    for text in ("hf-hub:org/none", "hf-hub:org/repo@v2#small.safetensors"):
        window.when(lambda: bool(window.dialogs("QInputDialog")), lambda text=text: typed(text))
        window.click("Teacher", teacher.hub)
        window.wait(lambda: "Getting" not in teacher.card.text())
    assert asked == [("org/none", "model.safetensors", None), ("org/repo", "small.safetensors", "v2")]
    assert session.teacher.path == drawn_teacher
    (one,) = said
    assert "hf-hub:org/none" in one
