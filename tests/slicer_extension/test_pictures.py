"""Pictures of the documentation show what a reader has before the eyes; made-up studies hold what they should."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from example_results import finding, nrrd_bytes, report, volume_node
from PIL import Image
from small_server import offer_everything, result_reply, small_server

SHAPE = (3, 60, 60)
MATRIX = np.diag([-1.0, -1.0, 1.0, 1.0])
VIEW_SIZE = (120, 120)


def hot_square() -> np.ndarray:
    values = np.zeros(SHAPE, np.float32)
    values[1, 20:40, 20:40] = 1.0
    values[:, :10] = np.nan
    return values


@pytest.fixture
def drawn(offscreen, headless, scene, tmp_path):
    """The picture of a panel with a result, as (height, width, 3) integers."""
    from slicer_headless.panel import panel_widget, wait_for
    from slicer_headless.pictures import save_state
    from slicer_headless.slice_view import OffscreenSliceView

    text = json.dumps(report(hot_square(), [finding(MATRIX, (20, 20, 1), (39, 39, 1), score=1.0)], threshold=0.5))
    view = OffscreenSliceView(headless, "Red", "Axial", VIEW_SIZE)
    with small_server() as server, panel_widget(headless, tmp_path / "settings.ini") as widget:
        offer_everything(server)
        server.answer("POST", "/infer/clap_attention", result_reply(text, nrrd_bytes(hot_square(), MATRIX)))
        widget.ui.serverAddress.setEditText(server.url)
        widget.ui.testConnectionButton.click()
        assert wait_for(lambda: not widget.presenter.busy, 8)
        widget.ui.volumeRadio.setChecked(True)
        widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.full(SHAPE, 90, np.int16), MATRIX))
        widget.ui.runButton.click()
        assert wait_for(lambda: not widget.presenter.busy, 8)
        path = save_state(widget, [view], tmp_path / "state.png", tab=0)
    view.close()
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_view_and_panel_stand_side_by_side_with_nothing_cut_off(drawn):
    width, height = VIEW_SIZE
    red, green, blue = np.moveaxis(drawn[:height, :width], -1, 0)
    assert np.count_nonzero((red > 150) & (red > blue + 90)) > 800, "heatmap"
    assert np.count_nonzero((blue > red + 15) & (blue > green + 15)) > 800, "tint"
    panel = drawn[:, width + 4 :]
    assert ((panel == (0xFF, 0xF3, 0xCD)).all(axis=-1)).sum() > 2000, "the warning"
    below = drawn[height + 4 :, :width]
    assert (below == 255).all(), "nothing below the view"
    assert len(np.unique(panel[-20:].reshape(-1, 3), axis=0)) < 10, "no text at its end"


def test_the_made_up_ultrasound_is_dark_in_its_lesion_and_unchanged_far_from_it():
    from slicer_headless.example_ultrasound import LESION_CENTER, SIDE, made_up_picture

    plain, planted = made_up_picture(3).astype(int), made_up_picture(3, lesion=True).astype(int)
    column, row = (round(SIDE * place) for place in LESION_CENTER)
    middle = np.s_[row - 10 : row + 11, column - 10 : column + 11]
    assert planted[middle].mean() < 0.7 * plain[middle].mean()
    assert abs(planted[:60].mean() - plain[:60].mean()) < 1
    assert not np.array_equal(plain, made_up_picture(4))


def test_a_made_up_head_is_another_one_with_the_same_lesion():
    from slicer_headless.example_head import lesion_profile, planted_head
    from slicer_headless.example_studies import another_head

    voxels, affine_ras = planted_head()
    inside = lesion_profile(voxels.shape, affine_ras) > 0.8
    first, second = another_head(voxels, 1), another_head(voxels, 2)
    assert first.shape == voxels.shape
    assert np.abs(first - second)[voxels > 0].mean() > 1
    assert abs(first[inside].mean() - voxels[inside].mean()) < 0.15 * voxels[inside].mean()


def test_the_studies_hold_cases_and_folders_to_learn_from(tmp_path, monkeypatch):
    from slicer_headless import example_studies

    small = np.full((8, 9, 10), 50, np.float32)
    monkeypatch.setattr(example_studies, "template_head", lambda: (small, np.eye(4)))
    monkeypatch.setattr(example_studies, "planted_head", lambda: (small, np.eye(4)))
    example_studies.make_studies(tmp_path)
    assert len(list((tmp_path / "healthy-pictures").iterdir())) == example_studies.SHOTS
    assert len(list((tmp_path / "healthy-heads").iterdir())) == example_studies.HEADS
    assert {path.name for path in tmp_path.glob("*.*")} == {"head_1.nii.gz", *(f"breast_{n}.png" for n in range(1, 6))}
    assert nibabel.load(tmp_path / "head_1.nii.gz").shape == (10, 9, 8)
