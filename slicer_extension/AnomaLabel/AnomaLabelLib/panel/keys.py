"""The keys of the panel: one letter for what is pressed often, Shift with a letter for what decides a whole case.

They are in force while the module is open. None of them is a key of Slicer's own views or of its Segment Editor, so
that both keep working beside the panel.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..translation import _


@dataclass(frozen=True)
class KeyBinding:
    """A key and what it does.

    Args:
        key: as Qt writes it: "N", "Shift+U".
        command: the presenter's part and its method: "review.accept".
        text: what it does, for people.
        section: heading on the help card.
    """

    key: str
    command: str
    text: str
    section: str


FINDINGS, DECIDE, VIEW, CASE, HELP = (
    _("Go through"),
    _("Decide on a finding"),
    _("See"),
    _("Decide on the case"),
    _("Help"),
)

KEYS = (
    KeyBinding("N", "findings.next", _("Next finding"), FINDINGS),
    KeyBinding("P", "findings.previous", _("Previous finding"), FINDINGS),
    KeyBinding("C", "worklist.next", _("Next case"), FINDINGS),
    KeyBinding("Shift+C", "worklist.previous", _("Previous case"), FINDINGS),
    KeyBinding("K", "review.accept", _("Accept: keep the finding"), DECIDE),
    KeyBinding("D", "review.reject", _("Reject: discard the finding"), DECIDE),
    KeyBinding("E", "editing.toggle", _("Edit the box; again to keep it as dragged"), DECIDE),
    KeyBinding("Shift+E", "editing.drop", _("Leave the box as it was"), DECIDE),
    KeyBinding("M", "editing.add_box", _("Add a box over what was missed"), DECIDE),
    KeyBinding("Shift+O", "review.reopen", _("Open again what was decided"), DECIDE),
    KeyBinding("U", "review.undo", _("Undo"), DECIDE),
    KeyBinding("Shift+U", "review.redo", _("Redo"), DECIDE),
    KeyBinding("H", "results.toggle_heatmap", _("Show or hide the heatmap"), VIEW),
    KeyBinding("O", "results.toggle_boxes", _("Show or hide the boxes"), VIEW),
    KeyBinding("Shift+H", "review.case_normal", _("The whole case is normal (healthy)"), CASE),
    KeyBinding("Shift+A", "review.case_abnormal", _("The case is abnormal"), CASE),
    KeyBinding(
        "Shift+D", "review.toggle_second_reader", _("Ask for a second reader (double reading), or no longer"), CASE
    ),
    KeyBinding("?", "help.toggle", _("Show or hide this card"), HELP),
)


def key_of(command: str) -> str:
    """The key of a command, as a person reads it.

    Raises:
        KeyError: no key is bound to it.
    """
    return shown_key({binding.command: binding.key for binding in KEYS}[command])


def shown_key(key: str) -> str:
    """A key as a person reads it: "Shift + U"."""
    return " + ".join(key.split("+"))


def help_card() -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The help card: headings in order, each with its (key, what it does)."""
    sections = dict.fromkeys(binding.section for binding in KEYS)
    return tuple(
        (section, tuple((shown_key(each.key), each.text) for each in KEYS if each.section == section))
        for section in sections
    )
