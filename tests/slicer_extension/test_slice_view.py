"""An offscreen slice view of image, heatmap, tint and box: what its pixels say."""

from __future__ import annotations

import numpy as np
import pytest
from AnomaLabelLib.scene.geometry import ijk_to_ras
from AnomaLabelLib.scene.heatmap import set_threshold
from AnomaLabelLib.scene.runs import add_run
from AnomaLabelLib.scene.slice_views import SliceOverlay, jump_to, nodes_of_class, set_opacity
from example_results import affine, finding, inference_result, volume_node

pytestmark = pytest.mark.usefixtures("offscreen")

MATRIX = affine((0, 0, 0), (2, 2, 2), (-60, -60, -40), (1, 1, 1))
LESION = (slice(15, 25), slice(20, 32), slice(30, 44))
INDEX_MIN, INDEX_MAX = (30, 20, 15), (43, 31, 24)
INSIDE = (36, 26, 20)
OUTSIDE = (14, 45, 20)
UNSEEN = (2, 2, 20)


def result():
    values = np.zeros((40, 60, 60), np.float32)
    values[LESION] = 0.7
    values[20, 26, 36] = 0.9
    values[:, :6] = np.nan
    return inference_result(values, MATRIX, [finding(MATRIX, INDEX_MIN, INDEX_MAX, peak=INSIDE)], threshold=0.4)


@pytest.fixture
def source(scene):
    return volume_node(scene, np.full((40, 60, 60), 100, np.float32), MATRIX)


@pytest.fixture
def run(scene, source):
    source.GetDisplayNode().AutoWindowLevelOff()
    source.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    return add_run(scene, result(), source, "run")


@pytest.fixture
def view(headless, source):
    from slicer_headless.slice_view import OffscreenSliceView

    made = OffscreenSliceView(headless, "Red", "Axial", (300, 300))
    made.logic.GetSliceCompositeNode().SetBackgroundVolumeID(source.GetID())
    made.fit()
    jump_to(headless.scene, world(INSIDE))
    yield made
    made.close()


def world(index) -> np.ndarray:
    return (MATRIX @ np.append(index, 1.0))[:3]


def color_at(view, pixels, index) -> np.ndarray:
    row, column = view.pixel_of(world(index))
    return pixels[row, column].astype(int)


def is_grey(color) -> bool:
    return int(color.max() - color.min()) <= 2


def is_warm(color) -> bool:
    return color[0] > color[2] + 60


def test_colour_inside_the_lesion_and_none_outside(scene, source, run, view):
    SliceOverlay(scene).show(source, run.heatmap, 0.8, None)
    pixels = view.draw()
    assert is_warm(color_at(view, pixels, INSIDE))
    assert is_warm(color_at(view, pixels, (32, 22, 20)))
    assert is_grey(color_at(view, pixels, OUTSIDE))
    assert 120 <= color_at(view, pixels, OUTSIDE)[0] <= 135


def test_the_threshold_moves_the_overlay(scene, source, run, view):
    SliceOverlay(scene).show(source, run.heatmap, 0.8, None)
    set_threshold(run.heatmap, 0.8)
    pixels = view.draw()
    assert is_grey(color_at(view, pixels, (33, 23, 20)))
    assert is_warm(color_at(view, pixels, INSIDE))
    set_threshold(run.heatmap, 0.4)
    assert is_warm(color_at(view, view.draw(), (33, 23, 20)))


def test_what_was_not_looked_at_is_tinted_and_never_plain(scene, source, run, view):
    overlay = SliceOverlay(scene)
    overlay.show(source, run.heatmap, 0.8, run.unseen)
    tinted = color_at(view, view.draw(), UNSEEN)
    assert tinted[2] > tinted[0] + 20
    overlay.show(source, run.heatmap, 0.8, None)
    assert is_grey(color_at(view, view.draw(), UNSEEN))


def test_the_box_is_drawn_at_the_borders_of_its_voxels(scene, source, run, view):
    overlay = SliceOverlay(scene)
    overlay.show(source, None, 0.0, None)
    pixels = view.draw().astype(int)
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 150) & (pixels[..., 2] < 120)
    rows, columns = np.nonzero(yellow)
    low = view.pixel_of(world(np.array(INDEX_MIN) - 0.5))
    high = view.pixel_of(world(np.array(INDEX_MAX) + 0.5))
    expected_rows, expected_columns = sorted((low[0], high[0])), sorted((low[1], high[1]))
    assert [rows.min(), rows.max()] == pytest.approx(expected_rows, abs=2)
    assert [columns.min(), columns.max()] == pytest.approx(expected_columns, abs=2)
    run.boxes[0].GetDisplayNode().SetVisibility(False)
    pixels = view.draw().astype(int)
    assert not ((pixels[..., 0] > 200) & (pixels[..., 2] < 120)).any()


def test_opacity_mixes_heatmap_and_image(scene, source, run, view):
    SliceOverlay(scene).show(source, run.heatmap, 1.0, None)
    full = color_at(view, view.draw(), (33, 23, 20))
    set_opacity(scene, run.heatmap, 0.5)
    half = color_at(view, view.draw(), (33, 23, 20))
    np.testing.assert_allclose(half, (full + 127) / 2, atol=3)


def test_hiding_the_heatmap_gives_the_users_overlay_back(scene, source, run, view):
    own = volume_node(scene, np.ones((40, 60, 60), np.float32), MATRIX, "own")
    composite = view.logic.GetSliceCompositeNode()
    composite.SetForegroundVolumeID(own.GetID())
    composite.SetForegroundOpacity(0.3)
    overlay = SliceOverlay(scene)
    overlay.show(source, run.heatmap, 0.8, run.unseen)
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    overlay.restore()
    assert composite.GetForegroundVolumeID() == own.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    assert composite.GetLabelVolumeID() is None


def test_jumping_brings_every_view_to_the_point(headless, scene, source, view):
    from slicer_headless.slice_view import OffscreenSliceView

    others = [
        OffscreenSliceView(headless, name, plane, (300, 300))
        for name, plane in (("Green", "Coronal"), ("Yellow", "Sagittal"))
    ]
    target = world((50, 8, 33))
    view.node.SetXYZOrigin(4000, 0, 0)
    jump_to(scene, target)
    for each in (view, *others):
        normal = np.array([each.node.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
        position = np.array([each.node.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
        assert normal @ (target - position) == pytest.approx(0, abs=1e-3)
        row, column = each.pixel_of(target)
        assert 0 <= row < 300
        assert 0 <= column < 300
    crosshair = next(nodes_of_class(scene, "vtkMRMLCrosshairNode"))
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), target)
    for each in others:
        each.close()


def test_the_drawn_geometry_is_the_matrix(source):
    np.testing.assert_allclose(ijk_to_ras(source), MATRIX)
