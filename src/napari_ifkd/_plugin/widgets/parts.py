"""Small parts of the docks: headings, notices, buttons, folds, and forms made from the settings themselves."""

from __future__ import annotations

import re
from html import escape
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, SpinBox
from qtpy.QtCore import QEvent, QPoint, QRegularExpression, Qt, QTimer
from qtpy.QtGui import QKeySequence, QRegularExpressionValidator, QShortcut  # type: ignore[attr-defined] # qtpy has it there for every Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ifkd._plugin.palette import ACTION, ERROR, NOTE, WARNING
from napari_ifkd._plugin.trouble import TROUBLE
from napari_ifkd._plugin.words import in_window
from napari_ifkd.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from magicgui.widgets import Widget
    from pydantic.fields import FieldInfo

    from napari_ifkd.runs.resolve import Resolved


_LAID_OUT_MS = 60  # after which what was hidden has its height
_NAME = 28  # letters of a name that a list in a dock has room for
_LEAST, _BRIEF = 25, 100  # letters of a notice that are told at least (names stand before colons too), and at most: three lines of a dock
_OF_SLIDES = re.compile(r" \([^()]*\)$")  # the names of the slides that a warning is of
_DOES = "does"  # property of a button: its tooltip where it can be pressed
_NOTICES = {"note": NOTE, "warning": WARNING, "error": ERROR}


def heading(text: str) -> QLabel:
    """Return a small heading."""
    label = QLabel(f"<b>{text}</b>")
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setContentsMargins(0, 6, 0, 0)
    return label


_PADDING = 10  # above and below a label, in napari's style
_LARGER = 2  # px that a line is higher in napari's style, which a label has only once it is part of the window


def text(tooltip: str = "", *, lines: int = 0) -> QLabel:
    """Return a label for running text that wraps, with selectable words; up to so many lines, what lies below does not move."""
    label = QLabel()
    label.setAlignment(Qt.AlignmentFlag.AlignTop)
    if lines:
        label.setMinimumHeight(lines * (label.fontMetrics().lineSpacing() + _LARGER) + _PADDING)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setToolTip(tooltip)
    return label


def link(label: QLabel, to: str, word: str) -> str:
    """Return a word of a label that leads somewhere, in the colour of the text: Qt's blue cannot be read on every theme."""
    return f"<a href='{to}' style='color:{label.palette().windowText().color().name()}'>{word}</a>"


def decided(label: QLabel, reason: str, told: bool) -> str:
    """Return what was decided of a round, and a link "why" to the reason, or that too.

    Parameters
    ----------
    label : shows it
    reason : such as "The student becomes the teacher: of the tumour tiles ..."
    told : in full
    """
    what, _, because = reason.partition(": ")
    if not reason:
        return ""
    if not because:
        return f"{what.removesuffix('.')}."
    return f"{reason if told else f'{what}.'} {link(label, 'why', 'Less' if told else 'Why?')}"


def room_for(label: QLabel, texts: Iterable[str]) -> int:
    """Return how high the longest of texts is at the width a label has now."""
    said, kept, heights = label.text(), label.minimumHeight(), []
    label.setMinimumHeight(0)  # else no height is told below the room it had
    for words in texts:
        label.setText(words)
        heights.append(label.heightForWidth(label.width()))
    label.setText(said)
    label.setMinimumHeight(kept)
    return max(heights, default=0)


def keep_room(label: QLabel, texts: Iterable[str]) -> None:
    """Keep room for the longest of texts at the width a label has now: what lies below does not move from one to the next."""
    label.setMinimumHeight(room_for(label, texts))


class Notice(QLabel):
    """A line that catches the eye, in grey, amber or red, readable in both themes; hidden while it has nothing to say.

    Parameters
    ----------
    brief : of a long message the beginning is told, and the rest to who asks for it
    """

    _brief = False  # also while Qt makes it

    def __init__(self, *, brief: bool = False) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._brief, self._whole = brief, False
        self._said: tuple[tuple[str, ...], str] = (), ""
        if brief:
            self.setTextFormat(Qt.TextFormat.RichText)
            self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
            self.linkActivated.connect(self._unfold)
        self.hide()

    @property
    def unfolded(self) -> bool:
        """Whether all of a long message is told."""
        return self._whole

    def say(self, *told: str | None, kind: Literal["note", "warning", "error"] = "warning") -> None:
        """Show messages, in the words of the window, or nothing."""
        messages = tuple(in_window(message) for message in told if message)
        if self._said == (messages, kind):  # a style sheet costs time, and this is called several times a second
            return
        self._said, self._whole = (messages, kind), False
        red, green, blue = (int(_NOTICES[kind][i : i + 2], 16) for i in (1, 3, 5))
        self.setStyleSheet(
            f"background: rgba({red}, {green}, {blue}, 60); border-left: 3px solid rgb({red}, {green}, {blue}); padding: 5px;"
        )
        self._tell()
        self.setVisible(bool(messages))

    def changeEvent(self, event: Any) -> None:
        """Give the link the colour of another theme."""
        super().changeEvent(event)
        if self._brief and event.type() == QEvent.Type.PaletteChange:
            self._tell()

    def _unfold(self, _: str) -> None:
        self._whole = not self._whole
        self._tell()

    def _tell(self) -> None:
        messages, kind = self._said
        told, more = " ".join(messages), ""
        if self._brief:
            begun = " ".join(map(beginning, messages))
            if begun != told:
                more = f" {link(self, 'more', 'Less' if self._whole else 'More')}"
            whole = told if told.endswith(".") else f"{told}."
            told = escape(whole if self._whole else begun)
        self.setText(f"{'⚠ ' * (kind != 'note')}{told}{more}" if messages else "")


def beginning(message: str) -> str:
    """Return what a message says first, up to a colon or full stop, if it is longer than has room on three lines; what has none, whole."""
    end = max(message.rfind(stop, _LEAST, _BRIEF) for stop in (": ", ". "))
    of = _OF_SLIDES.search(message)
    return f"{message[:end]}{of[0] if of else ''}." if len(message) > _BRIEF and end > 0 else message


def button(label: str, tooltip: str, clicked: Callable[[], object], *, main: bool = False) -> QPushButton:
    """Return a button; the main one of a dock is filled with colour."""
    made = QPushButton(label)
    made.setToolTip(tooltip)
    made.setProperty(_DOES, tooltip)

    def pressed() -> None:
        TROUBLE.clear()  # what went wrong before is of the past
        clicked()

    made.clicked.connect(lambda: pressed())
    if main:
        emphasise(made, True)
    return made


def emphasise(made: QPushButton, main: bool) -> None:
    """Fill a button with colour, as the one to press next, or let it look like any other."""
    filled = (
        f"QPushButton {{background: {ACTION}; color: white; font-weight: bold; padding: 5px;}}"
        "QPushButton:disabled {background: rgba(128, 128, 128, 70); color: rgba(128, 128, 128, 255); padding: 4px;}"
    )
    style = filled if main else "QPushButton {padding: 5px;} QPushButton:disabled {padding: 4px;}"  # as high as the other
    if made.styleSheet() != style:  # a style sheet costs time
        made.setStyleSheet(style)


def allow(made: QWidget, why_not: str = "") -> None:
    """Enable a button, or box; or let its tooltip say why it cannot be pressed now."""
    made.setEnabled(not why_not)
    does = made.property(_DOES)
    if does is None:
        does = made.toolTip()
        made.setProperty(_DOES, does)
    made.setToolTip(f"{does}.\n\nNot now: {why_not}" if why_not else does)


def column(*parts: QWidget, lines: int) -> QWidget:
    """Return parts one below the other, with room for so many lines of text: up to that, what lies below does not move."""
    made = QWidget()
    layout = QVBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for part in parts:
        layout.addWidget(part)
    layout.addStretch(1)
    made.setMinimumHeight(lines * (made.fontMetrics().lineSpacing() + _LARGER) + _PADDING)
    return made


def row(*parts: QWidget, stretch: Sequence[int] = (), low: bool = False) -> QWidget:
    """Return parts side by side, at one height or standing on one line."""
    made = QWidget()
    layout = QHBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    for index, part in enumerate(parts):
        layout.addWidget(part, stretch[index] if index < len(stretch) else 0, *((Qt.AlignmentFlag.AlignBottom,) if low else ()))
    return made


def shortcut(page: QWidget, key: str, act: Callable[[], object]) -> QShortcut:
    """Let a key act while a page is seen, wherever in the window the keyboard is; typing into a field stays typing."""
    made = QShortcut(QKeySequence(key), page)
    made.activated.connect(lambda: act())
    return made


def spin(low: float, high: float, step: float, decimals: int, value: float, tooltip: str, at_low: str = "") -> QDoubleSpinBox:
    """Return a field for a number; `at_low` is what its least value is called."""
    made = QDoubleSpinBox()
    made.setRange(low, high)
    made.setDecimals(decimals)
    made.setSingleStep(step)
    made.setValue(value)
    made.setToolTip(tooltip)
    made.setSpecialValueText(at_low)
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # the widest number it may hold must not widen the dock
    return made


def form(*widgets: Widget, side_by_side: bool = False) -> Container[Any]:
    """Return magicgui widgets with their labels, one below the other or side by side."""
    made: Container[Any] = Container(widgets=widgets, labels=True, layout="horizontal" if side_by_side else "vertical")
    made.margins = (0, 0, 0, 0)
    made.native.layout().setSpacing(4)
    in_line(made)
    for box in made.native.findChildren(QComboBox):  # a long choice must not push the dock wider than it is
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(6)
    return made


def in_line(*forms: Container[Any]) -> None:
    """Let the fields of forms begin at one line."""
    labels = [part for each in forms for part in each.native.findChildren(QLabel) if part.text() in {widget.label for widget in each}]
    width = max((part.fontMetrics().horizontalAdvance(part.text()) for part in labels), default=0)
    for part in labels:  # the margin is for the font of the theme
        part.setFixedWidth(int(1.2 * width) + 8)


class Fold(QWidget):
    """A part that opens and closes at a click on its title."""

    def __init__(self, title: str, tooltip: str, inner: QWidget) -> None:
        super().__init__()
        self.inner = inner
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setToolTip(tooltip)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setStyleSheet("QToolButton {border: none; background: transparent; padding: 2px;}")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.button)
        layout.addWidget(inner)
        self.button.toggled.connect(self._toggle)
        self._toggle(False)

    def _toggle(self, opened: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.inner.setVisible(opened)
        for wait_ms in (0, _LAID_OUT_MS) if opened else ():  # at once, and when texts have wrapped
            QTimer.singleShot(wait_ms, self._come_into_sight)

    def _come_into_sight(self) -> None:
        """Scroll the dock so far that all of it is seen, if there is room, and its title in any case."""
        area = self.parentWidget()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        bar, content, port = (None, None, None) if area is None else (area.verticalScrollBar(), area.widget(), area.viewport())
        if bar is not None and content is not None and port is not None:
            top = self.mapTo(content, QPoint(0, 0)).y()
            bar.setValue(max(bar.value(), min(top, top + self.height() - port.height())))


def setting(dotted: str, label: str, *, leave_out: Sequence[str] = (), none: str = "") -> Widget:
    """Return the control of a setting: default, limits, choices and tooltip are those of :class:`Config`.

    Parameters
    ----------
    dotted : such as ``rounds.epochs``
    label : what stands before the control
    leave_out : choices that the window does not offer
    none : what to call "not set", for a choice that may be left open
    """
    field, default = _field(dotted)
    options: dict[str, Any] = {"name": dotted, "label": label, "tooltip": field.description or label}
    kind = field.annotation
    choices = [choice for part in (get_args(kind) if get_origin(kind) is not None else ()) for choice in (get_args(part) or (part,))]
    names = [choice for choice in choices if isinstance(choice, str) and choice not in leave_out]
    if names:
        offered = [(none, None), *((n, n) for n in names)] if none else [(n, n) for n in names]
        return ComboBox(choices=offered, value=default, **options)
    if kind is bool:
        return CheckBox(value=default, **options)
    low, high = _limits(field)
    if kind is int:
        made = SpinBox(value=default, min=int(low or 0), max=int(high or 100_000), **options)
        _let_type(made.native)
        return made
    step = 10.0 ** -_decimals(default)
    return FloatSpinBox(value=default, min=low or 0.0, max=1e6 if high is None else high, step=step, **options)


def _let_type(field: Any) -> None:
    """Take a whole number when it may be meant: superqt 0.9 raises the first digit to the least, and puts the next ones behind that."""
    field.setKeyboardTracking(False)

    def typed(text: str) -> None:
        if text == text.lstrip("0") != "" and field.minimum() <= int(text) <= field.maximum():
            field.setValue(int(text))

    field.lineEdit().setValidator(
        QRegularExpressionValidator(QRegularExpression("[0-9]*"), field)
    )  # its own lets a minus through, and fails
    field.lineEdit().textEdited.connect(typed)


def offer(box: ComboBox, choices: Sequence[tuple[str, Any]], value: Any, empty: str, room: int = _NAME) -> None:
    """Let a list offer things, without telling so; one that is chosen and not among them is none.

    Parameters
    ----------
    box : the list
    choices : name and value of each
    value : the chosen one
    empty : what to show while nothing is chosen
    room : for so many letters of a name
    """
    known = any(value == choice for _, choice in choices)
    names = [name for name, _ in choices]
    short = [shortened(name, room) for name in names]
    shown = short if len(set(short)) == len(short) else names  # two may be alike but for the middle
    with box.changed.blocked():
        wanted = [*([] if known else [(empty, None)]), *zip(shown, (choice for _, choice in choices), strict=True)]
        if [box.native.itemText(at) for at in range(box.native.count())] != [name for name, _ in wanted]:
            box.choices = ()  # else what is new would stand at the end
        box.choices = wanted
        box.value = value if known else None
    for at, name in enumerate(names, start=box.native.count() - len(names)):
        box.native.setItemData(at, name, Qt.ItemDataRole.ToolTipRole)
    view = box.native.view()
    view.setMinimumWidth(view.sizeHintForColumn(0) + 2 * view.verticalScrollBar().sizeHint().width())


def shortened(name: str, room: int = _NAME) -> str:
    """Return a name that has room in a dock: Qt would cut its end off without a sign."""
    return name if len(name) <= room else f"{name[: room // 2]}…{name[-room // 2 + 1 :]}"


def resolved(ref: str | Path) -> Resolved:
    """Find a network, for a thread: what looks for it takes torch, which is long in coming."""
    from napari_ifkd.runs.resolve import resolve_model

    return resolve_model(ref)


def patch_folder(tooltip: str, hint: str) -> FileEdit:
    """Return a field for a patch folder, with what stands in it while it is empty; see :func:`chosen_path`."""
    made = FileEdit(mode=FileDialogMode.EXISTING_DIRECTORY, tooltip=tooltip)
    made.choose_btn.text, made.choose_btn.tooltip = "…", "Choose a patch folder"
    made.line_edit.native.setPlaceholderText(hint)
    return made


def chosen_path(field: FileEdit) -> Path | None:
    """Return what is chosen in a field, None while it is empty."""
    said = str(field.value)
    return None if said in ("", ".") else Path(said)


def settings_of(*forms: Container[Any]) -> dict[str, Any]:
    """Return what is set in forms of :func:`setting`, by dotted name, for :meth:`Config.replaced`."""
    return {widget.name: widget.value for each in forms for widget in each if "." in widget.name or widget.name == "seed"}


def _field(dotted: str) -> tuple[FieldInfo, Any]:
    node: Any = Config()
    *path, last = dotted.split(".")
    for key in path:
        section = getattr(node, key)
        if section is None:  # one that may be left out, such as student
            kind = next(part for part in get_args(type(node).model_fields[key].annotation) if part is not type(None))
            return kind.model_fields[last], None
        node = section
    return type(node).model_fields[last], getattr(node, last)


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    low: Any = None
    high: Any = None
    for limit in field.metadata:
        match limit:
            case Ge(ge=value):
                low = value
            case Gt(gt=value):
                low = value
            case Le(le=value):
                high = value
            case Lt(lt=value):
                high = value
    return low, high


def _decimals(value: float) -> int:
    """Return how many decimals show a number, to two digits at least: a rate of 0.001 may become 0.0005."""
    exact = len(f"{value:.10f}".rstrip("0").partition(".")[2])
    return max(exact, 1, 1 - floor(log10(abs(value))) if value else 1)
