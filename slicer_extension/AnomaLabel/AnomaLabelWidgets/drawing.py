"""Bringing widgets to a state without waking their signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape

from AnomaLabelLib.panel.panel_state import Notice

ERROR_STYLE = "background: #f8d7da; color: #58151c; border-radius: 4px; padding: 6px;"
PLAIN_STYLE = "padding: 2px;"


@contextmanager
def quietly(widget) -> Iterator[None]:
    """Change a widget as its user would not: without a signal."""
    widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(False)


def fill(combo, texts: Sequence[str], chosen: str | None = None) -> bool:
    """Give a combo box new entries and keep its choice where it still exists; whether the choice changed."""
    before = combo.property("currentText")
    wanted = before if chosen is None else chosen
    texts = list(texts)
    with quietly(combo):
        combo.clear()
        combo.addItems(texts)
        combo.setCurrentIndex(texts.index(wanted) if wanted in texts else 0 if texts else -1)
    return combo.property("currentText") != before


def choose(combo, place: int) -> None:
    """Choose an entry by its place."""
    with quietly(combo):
        combo.setCurrentIndex(place)


def set_value(widget, value: float) -> None:
    """Set a slider or number box."""
    with quietly(widget):
        widget.setValue(value)


def set_checked(widget, checked: bool) -> None:
    """Tick a box or press a button down."""
    with quietly(widget):
        widget.setChecked(checked)


def say(label, text: str) -> None:
    """Show a sentence; a label without one takes no room."""
    label.setText(text)
    label.setVisible(bool(text))


def plain_tip(text: str) -> str:
    """A text of others as a tool tip; Qt would read one that looks like markup as markup."""
    return f"<span>{escape(text)}</span>" if text else ""


def show_notice(label, notice: Notice) -> None:
    """Show what is the case and what to do about it."""
    say(label, f"{notice.cause}\n{notice.remedy}".strip())
    style = ERROR_STYLE if notice.is_error else PLAIN_STYLE
    # Qt lays out anew for a style that is set again, and every act is drawn several times.
    if label.property("styleSheet") != style:
        label.setStyleSheet(style)
