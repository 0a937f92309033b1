"""The pictures of the documentation are drawn by using the panel, and show what they should."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("offscreen")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from slicer_headless.draw_pictures import draw

    made = tmp_path_factory.mktemp("pictures")
    draw(made, server=None, image=None)
    return made


def test_the_slice_views_show_head_heatmap_box_and_tint(folder):
    from slicer_headless.draw_pictures import VIEW_SIZE

    picture = np.asarray(Image.open(folder / "slicer_slice_view.png").convert("RGB")).astype(int)
    width, height = VIEW_SIZE
    assert picture.shape == (height, 3 * width + 2 * 4, 3)
    for start in (0, width + 4, 2 * (width + 4)):
        red, green, blue = np.moveaxis(picture[:, start : start + width], -1, 0)
        assert 300 < np.count_nonzero(red > blue + 90) < 6000, "heatmap"
        assert np.count_nonzero((red > 240) & (green > 190) & (blue < 80)) > 80, "box"
        assert np.count_nonzero((np.abs(red - green) < 6) & (np.abs(red - blue) < 6) & (red > 60)) > 20000, "head"
        assert np.count_nonzero((blue > red + 15) & (blue > green + 15)) > 10000, "tint"


def test_the_panel_is_drawn_filled(folder):
    picture = np.asarray(Image.open(folder / "slicer_panel.png").convert("RGB"))
    warning = (picture == (0xFF, 0xF3, 0xCD)).all(axis=-1)
    assert warning.sum() > 2000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_the_made_up_ultrasound_is_dark_in_its_lesion_and_unchanged_far_from_it():
    from slicer_headless.example_ultrasound import LESION_CENTER, SIDE, made_up_picture

    plain, planted = made_up_picture(3).astype(int), made_up_picture(3, lesion=True).astype(int)
    column, row = (round(SIDE * place) for place in LESION_CENTER)
    middle = np.s_[row - 10 : row + 11, column - 10 : column + 11]
    assert planted[middle].mean() < 0.7 * plain[middle].mean()
    assert abs(planted[:60].mean() - plain[:60].mean()) < 1
    assert not np.array_equal(plain, made_up_picture(4))
