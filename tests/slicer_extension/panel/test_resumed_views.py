"""Where the views stand after the panel has gone on with a case."""

from __future__ import annotations

import numpy as np
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.server.settings import PanelSettings
from panel_examples import CLAP, EDGE, Reader, world

SETTINGS = PanelSettings(reviewer="anna", connect_s=1, answer_s=2, result_s=10)


def seated(headless, folder) -> Reader:
    """A reader whose views are fitted to their images, as the application's are."""
    reader = Reader(headless.scene, folder)
    reader.presenter = Presenter(
        headless.scene,
        reader.states.append,
        folder,
        SETTINGS,
        slice_logics=headless.application.GetSliceLogics,
        clock=lambda: reader.now_s,
    )
    reader.presenter.asking.parameters = CLAP
    return reader


def test_all_views_stand_at_the_finding_again(headless, scene, cases, tmp_path, offscreen):
    from slicer_headless.slice_view import OffscreenSliceView

    planes = ("Axial", "Sagittal", "Coronal")
    views = [OffscreenSliceView(headless, plane, plane, (80, 80)) for plane in planes]
    first = seated(headless, tmp_path)
    first.connect(cases)
    first.open("a")
    first.select(EDGE)
    scene.RemoveNode(first.presenter.cases.source)
    first.presenter.results.refresh()
    again = seated(headless, tmp_path)
    again.presenter.resume()
    again.drain()
    assert again.state.findings.selected == EDGE
    for view in views:
        seen = np.linalg.inv(view_matrix(view)) @ [*world((0, 6, 5)), 1.0]
        assert abs(seen[2]) < 0.01
        view.close()


def view_matrix(view) -> np.ndarray:
    """(4, 4) slice to RAS."""
    matrix = view.node.GetSliceToRAS()
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
