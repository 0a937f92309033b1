"""The panel's keys, in force while the module is open, and the card that lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from AnomaLabelLib.panel.keys import KEYS, help_card
from AnomaLabelLib.translation import _

REPEATED = frozenset({"findings.next", "findings.previous"})
"""A key that is held down goes through the findings, but decides on none that nobody has looked at."""


class KeyShortcuts:
    """Keys of the whole window: they act wherever the mouse is, but never while a text is typed.

    Args:
        acts: what a command does, by the commands of `KEYS`.
    """

    def __init__(self, window, acts: Mapping[str, Callable[[], None]]) -> None:
        self._shortcuts = []
        for binding in KEYS:
            shortcut = qt.QShortcut(qt.QKeySequence(binding.key), window)
            shortcut.setProperty("autoRepeat", binding.command in REPEATED)
            shortcut.activated.connect(acts[binding.command])
            self._shortcuts.append(shortcut)

    def set_enabled(self, enabled: bool) -> None:
        """Put the keys in force, or give them back to the other modules."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def close(self) -> None:
        """End with the panel."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []


class HelpCard:
    """A small window with all keys that stays beside the views.

    Args:
        parent: closes it with itself.
    """

    def __init__(self, parent) -> None:
        self.dialog = qt.QDialog(parent)
        self.dialog.setWindowTitle(_("AnomaLabel keys"))
        self.dialog.setModal(False)
        # The keys of the window beside it stay in force, and typing goes on there.
        self.dialog.setWindowFlags(qt.Qt.Tool)
        self.dialog.setAttribute(qt.Qt.WA_ShowWithoutActivating)
        grid = qt.QGridLayout(self.dialog)
        line = 0
        for section, keys in help_card():
            grid.addWidget(_bold(section), line, 0, 1, 2)
            line += 1
            for key, text in keys:
                grid.addWidget(_bold(key), line, 0)
                grid.addWidget(qt.QLabel(text), line, 1)
                line += 1

    def toggle(self) -> None:
        """Show the card, or hide it."""
        self.dialog.setVisible(not self.dialog.property("visible"))


def _bold(text: str):
    label = qt.QLabel(text)
    label.setStyleSheet("font-weight: bold;")
    return label
