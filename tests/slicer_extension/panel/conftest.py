"""Fixtures of the panel's tests: a server with four cases, a reader without a window, the real widgets."""

from __future__ import annotations

import pytest


@pytest.fixture
def cases():
    """A reviewing server with the cases a to d."""
    from panel_examples import STUDIES, answer
    from reviewing_server import reviewing_server

    with reviewing_server(STUDIES) as made:
        made.served.answer("POST", "/infer/clap_attention", answer())
        yield made


@pytest.fixture
def view(scene):
    """A slice view's layers."""
    return scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")


@pytest.fixture
def reader(scene, cases, tmp_path):
    """Anna, connected."""
    from panel_examples import Reader

    made = Reader(scene, tmp_path / "kept")
    made.connect(cases)
    return made


@pytest.fixture
def reading(reader, view):
    """Anna with case a open and its findings shown."""
    reader.open("a")
    assert len(reader.rows) == 3, reader.state.notice
    return reader


@pytest.fixture
def widget(headless, tmp_path):
    """The module's real widget code."""
    from slicer_headless.panel import panel_widget

    with panel_widget(headless, tmp_path / "settings.ini") as made:
        yield made


@pytest.fixture
def at_work(widget, cases, view):
    """The widgets with anna connected and case a open."""
    from panel_examples import open_case, sign_in

    sign_in(widget, cases)
    open_case(widget, "a")
    assert widget.ui.findingsTable.rowCount() == 3, widget.presenter.state.notice
    return widget


@pytest.fixture
def server():
    """An older server: it runs methods and knows no reviews."""
    from panel_examples import answer
    from small_server import offer_everything, small_server

    with small_server() as made:
        offer_everything(made)
        made.answer("POST", "/infer/clap_attention", answer())
        yield made


def run_on_volume(widget, scene) -> None:
    """Have the user's own volume looked at."""
    from panel_examples import pick_volume, settle

    pick_volume(widget, scene)
    widget.ui.runButton.click()
    settle(widget)
    assert not widget.presenter.state.notice.is_error, widget.presenter.state.notice


@pytest.fixture
def shown(widget, server, scene):
    """The widgets with a result of the user's own volume, no case being open."""
    from panel_examples import connect

    connect(widget, server)
    run_on_volume(widget, scene)
    return widget


@pytest.fixture
def learnt(widget, server, scene):
    """The panel after a run of the method that learns from healthy images."""
    from panel_examples import connect, few_shot_answer

    server.answer("POST", "/infer/few_shot_localization", few_shot_answer())
    scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    connect(widget, server)
    widget.ui.configCombo.setCurrentText("Liver CT")
    widget.ui.taskCombo.setCurrentText("few_shot_localization")
    run_on_volume(widget, scene)
    return widget


@pytest.fixture
def restored(widget, server, scene):
    """The panel after a run of the method that restores images as it believes them healthy."""
    from panel_examples import connect, reconstruction_answer

    server.answer("POST", "/infer/unet_reconstruction", reconstruction_answer("saliency", "reconstruction"))
    scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    connect(widget, server)
    widget.ui.configCombo.setCurrentText("Liver CT")
    widget.ui.taskCombo.setCurrentText("unet_reconstruction")
    run_on_volume(widget, scene)
    return widget
