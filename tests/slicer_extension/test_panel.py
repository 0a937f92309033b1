"""The panel's file: its widgets and its texts; and the panel as a whole."""

from __future__ import annotations

import ast
from xml.etree import ElementTree

import numpy as np
import pytest
from example_results import volume_node
from panel_examples import MATRIX, SHAPE, STUDIES, answer, connect, settle
from reviewing_server import reviewing_server
from slicer_headless.scene import MODULE_FOLDER

UI_FILE = MODULE_FOLDER / "Resources" / "UI" / "AnomaLabel.ui"
PASSIVE = {"QWidget", "ctkCollapsibleButton"}


def elements_of_ui() -> list[ElementTree.Element]:
    return list(ElementTree.parse(UI_FILE).iter("widget"))  # noqa: S314


def widgets_of_ui() -> dict[str, str]:
    return {each.get("name"): each.get("class") for each in elements_of_ui()}


def names_in_code() -> set[str]:
    """Attributes read from `self.ui`, `self._ui` or from `ui`, their short name, and names looked up by text."""
    names = set()
    for path in (MODULE_FOLDER / "AnomaLabel.py", *sorted((MODULE_FOLDER / "AnomaLabelWidgets").glob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                owner = node.value
                is_ui = isinstance(owner, ast.Name) and owner.id == "ui"
                if is_ui or (isinstance(owner, ast.Attribute) and owner.attr in {"ui", "_ui"}):
                    names.add(node.attr)
    return names


def test_every_widget_the_code_names_is_in_the_file_and_vice_versa():
    widgets = widgets_of_ui()
    acting = {
        name
        for name, kind in widgets.items()
        if kind not in PASSIVE and not name.endswith("Caption") and name != "notClinicalLabel"
    }
    # The second of two exclusive buttons needs no signal of its own; tabs are named to be turned to.
    turned_to = {name for name, kind in widgets.items() if kind == "QWidget"}
    assert (names_in_code() - turned_to) | {"caseRadio", "scoringHint"} == acting


def test_texts_of_servers_and_scenes_are_never_read_as_markup():
    for label in elements_of_ui():
        if label.get("class") == "QLabel" and label.get("name") in names_in_code():
            (form,) = (each.find("enum").text for each in label.iter("property") if each.get("name") == "textFormat")
            assert form == "Qt::PlainText"


@pytest.fixture
def widget(headless, tmp_path):
    from slicer_headless.panel import panel_widget

    with panel_widget(headless, tmp_path / "settings.ini") as made:
        yield made


@pytest.fixture
def server():
    with reviewing_server(STUDIES) as made:
        made.served.answer("POST", "/infer/clap_attention", answer())
        yield made


def test_the_panel_says_what_it_is_not_for(widget):
    assert widget.ui.notClinicalLabel.text() == "Research software. Not for clinical use."
    assert not widget.ui.notClinicalLabel.isHidden()


def test_the_address_is_remembered(headless, widget, server, tmp_path):
    from slicer_headless.panel import panel_widget

    connect(widget, server)
    with panel_widget(headless, tmp_path / "settings.ini") as again:
        assert again.ui.serverAddress.currentText() == server.url


def test_errors_stand_in_the_panel_with_cause_and_remedy(widget, server):
    widget.ui.serverAddress.setEditText("http://127.0.0.1:1")
    widget.ui.testConnectionButton.click()
    settle(widget)
    cause, remedy = widget.ui.serverNotice.text().split("\n")
    assert "cannot be reached" in cause
    assert "server runs" in remedy
    assert "#f8d7da" in widget.ui.serverNotice.styleSheet()
    connect(widget, server)
    assert "#f8d7da" not in widget.ui.serverNotice.styleSheet()


def test_the_panel_can_be_drawn(widget, server, scene):
    connect(widget, server)
    widget.ui.volumeRadio.setChecked(True)
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones(SHAPE, np.int16), MATRIX))
    widget.ui.runButton.click()
    settle(widget)
    widget.ui.tabs.setCurrentWidget(widget.ui.reviewTab)
    widget.parent.resize(420, 900)
    picture = widget.parent.grab().toImage()
    colors = {picture.pixelColor(x, y).name() for x in range(0, 420, 3) for y in range(0, 900, 3)}
    assert "#fff3cd" in colors, "the warning is drawn"
    assert len(colors) > 20
