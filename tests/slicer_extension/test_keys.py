"""The panel's keys: none of Slicer's own, each for one command that the presenter's parts have, each on the card."""

from __future__ import annotations

import ast
import re

import pytest
from AnomaLabelLib.panel.keys import KEYS, help_card, key_of, shown_key
from slicer_headless.scene import MODULE_FOLDER

SLICER_KEYS = {
    # Slicer 5.10, Docs/user_guide/user_interface.md, "Slice views", and vtkMRMLSliceIntersectionWidget.cxx, which adds
    # up, down and Shift+V to the documented ones.
    "slice views": "B F V Shift+V R G T [ ] { } Left Right Up Down",
    # The same page, "3D views", and vtkMRMLCameraWidget.cxx.
    "3D views": "Left Right Up Down Shift+Left Shift+Right Shift+Up Shift+Down Home End PgDown Shift+Home Shift+End "
    "Shift+PgDown Ins + - R Clear Ctrl+B",
    # vtkMRMLFocusWidget.cxx
    "view in focus": "Esc",
    # The same page, "Generic shortcuts", and Base/QTApp/Resources/UI/qSlicerMainWindow.ui.
    "main window": "Ctrl+F Ctrl+O Ctrl+S Ctrl+W Ctrl+0 Ctrl+1 Ctrl+2 Ctrl+3 Ctrl+4 Ctrl+5 Ctrl+6 Ctrl+` Ctrl+H Ctrl+X "
    "Ctrl+C Ctrl+V Ctrl+Z Ctrl+Y",
    # vtkSlicerMarkupsWidget.cxx: the point under the mouse.
    "markups": "S Del Shift+Del Backspace",
    # qMRMLSegmentEditorWidget.cxx, installKeyboardShortcuts; more than Docs/user_guide/modules/segmenteditor.md names.
    "segment editor": "1 2 3 4 5 6 7 8 9 0 Shift+1 Shift+2 Shift+3 Shift+4 Shift+5 Shift+6 Shift+7 Shift+8 Shift+9 "
    "Shift+0 Esc Space Z Y Ctrl+Z Ctrl+Y Q W / * , . < > I",
    # segmenteditor.md, the effects Paint, Draw and Erase.
    "segment editor effects": "X A Return + -",
}
READABLE = re.compile(r"(Shift\+)?[A-Z]|\?")


def methods_of_panel() -> dict[str, set[str]]:
    """Public methods of each class in the panel's library, by class name."""
    found: dict[str, set[str]] = {}
    for path in sorted((MODULE_FOLDER / "AnomaLabelLib" / "panel").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                names = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                found[node.name] = {name for name in names if not name.startswith("_")}
    return found


@pytest.mark.parametrize("place", SLICER_KEYS)
def test_no_key_is_one_of_slicers_own(place):
    taken = {key.lower() for key in SLICER_KEYS[place].split(" ")}
    assert {binding.key.lower() for binding in KEYS} & taken == set()


def test_each_key_has_one_command_and_each_command_one_key():
    keys, commands = [binding.key.lower() for binding in KEYS], [binding.command for binding in KEYS]
    assert len(set(keys)) == len(keys)
    assert len(set(commands)) == len(commands)


def test_keys_are_letters_that_work_alone_or_with_shift():
    assert [binding.key for binding in KEYS if not READABLE.fullmatch(binding.key)] == []


def test_what_ends_a_case_takes_two_fingers():
    """A verdict on a whole case must not be one slip of a finger away from the next finding."""
    of_case = {binding.command: binding.key for binding in KEYS if binding.command.startswith("review.case_")}
    assert of_case == {"review.case_normal": "Shift+H", "review.case_abnormal": "Shift+A"}


def test_the_reviewers_acts_all_have_a_key():
    wanted = {
        "findings.next",
        "findings.previous",
        "worklist.next",
        "worklist.previous",
        "review.accept",
        "review.reject",
        "editing.toggle",
        "editing.drop",
        "editing.add_box",
        "review.reopen",
        "review.undo",
        "review.redo",
        "review.case_normal",
        "review.case_abnormal",
        "review.toggle_second_reader",
        "results.toggle_heatmap",
        "results.toggle_boxes",
        "help.toggle",
    }
    assert {binding.command for binding in KEYS} == wanted


def test_each_command_is_a_method_of_its_part():
    classes = {
        "findings": "Findings",
        "worklist": "WorklistPart",
        "review": "Review",
        "editing": "BoxEditing",
        "results": "Results",
    }
    methods = methods_of_panel()
    parts = [binding.command.split(".") for binding in KEYS if binding.command != "help.toggle"]
    assert [f"{part}.{method}" for part, method in parts if method not in methods[classes[part]]] == []


def test_the_help_card_shows_each_key_once_under_its_heading():
    card = help_card()
    assert [heading for heading, _lines in card] == [
        "Go through",
        "Decide on a finding",
        "See",
        "Decide on the case",
        "Help",
    ]
    assert card[0][1] == (
        ("N", "Next finding"),
        ("P", "Previous finding"),
        ("C", "Next case"),
        ("Shift + C", "Previous case"),
    )
    assert [line for _heading, lines in card for line in lines] == [(shown_key(each.key), each.text) for each in KEYS]


def test_a_notice_can_name_the_key_of_a_command():
    assert key_of("editing.drop") == "Shift + E"
    assert key_of("help.toggle") == "?"
    with pytest.raises(KeyError):
        key_of("review.fly")


def test_qt_reads_each_key_as_it_is_written():
    from PySide6.QtGui import QKeySequence

    for binding in KEYS:
        sequence = QKeySequence(binding.key)
        assert sequence.count() == 1
        assert sequence.toString(QKeySequence.SequenceFormat.PortableText) == binding.key
