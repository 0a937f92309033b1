"""Colours of a heatmap: fixed across cases where calibrated, and the bar that explains them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene.color_scale import ColorScale, legend, scale_of, top_of
from AnomaLabelLib.scene.further_maps import uncertainty_legend
from AnomaLabelLib.scene.heatmap import legend_of, load_heatmap, set_threshold, set_up_display
from AnomaLabelLib.scene.runs import add_run, delete_run
from AnomaLabelLib.scene.view_legend import hide_legend, legend_of_volume, show_legend
from AnomaLabelLib.server.report import parse_report
from example_results import affine, finding, inference_result, nrrd_bytes, report, volume_node
from hypothesis import given
from hypothesis import strategies as st

MATRIX = affine((0, 0, 0), (2, 2, 2), (-60, -60, -40))


def facts(peak: float, threshold: float, calibrated: bool):
    values = np.full((2, 3, 4), -5.0, np.float32)
    values[1, 1, 1] = peak
    return parse_report(json.dumps(report(values, [], threshold=threshold, calibrated=calibrated)))


@pytest.mark.parametrize(
    ("threshold", "high"), [(0.4, 0.8), (3.0, 6.0), (-2.0, 0.0), (0.0, 1e-6)], ids=["unit", "sd", "negative", "zero"]
)
@pytest.mark.parametrize("peak", [-1.0, 0.5, 100.0])
def test_a_calibrated_scale_depends_on_the_threshold_alone(threshold, high, peak):
    scale = scale_of(facts(peak, threshold, calibrated=True))
    assert (scale.low, scale.high, scale.fixed) == (threshold, pytest.approx(high), True)


def test_the_scale_is_that_of_the_librarys_own_pictures():
    from anomalabel.explain.overlay import CALIBRATED_RANGE, SMALLEST_SPAN

    for limit in (-2.5, -1e-9, 0.0, 0.3, 7.0):
        assert top_of(limit) == limit + (CALIBRATED_RANGE - 1) * max(abs(limit), SMALLEST_SPAN)


def test_an_uncalibrated_scale_ends_at_the_maps_own_maximum():
    assert scale_of(facts(0.9, 0.4, calibrated=False)) == ColorScale(0.4, pytest.approx(0.9, abs=1e-6), fixed=False)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_every_scale_has_a_width(threshold, peak, calibrated):
    scale = scale_of(facts(np.float32(peak), threshold, calibrated))
    assert scale.high > scale.low


def greys(scene) -> slicer.vtkMRMLColorTableNode:
    """Four colours: 0, 85, 170, 255 of red."""
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetNumberOfColors(4)
    for place in range(4):
        table.SetColor(place, "", place / 3, 0.0, 1.0, 1.0)
    return scene.AddNode(table)


def test_the_bar_holds_the_tables_colours_and_the_scales_values(scene):
    bar = legend(ColorScale(0.4, 0.8, fixed=True), greys(scene))
    assert bar.stops.dtype == np.uint8
    assert bar.stops.tolist() == [[0, 0, 255], [85, 0, 255], [170, 0, 255], [255, 0, 255]]
    assert bar.ticks == ((0.0, "0.40"), (0.5, "0.60"), (1.0, "\u2265 0.80"))
    assert bar.title == "Anomaly"
    assert bar.note == "Same colours in every case of this model"


def test_the_bar_of_an_uncalibrated_map_says_so(scene):
    bar = legend(ColorScale(-10.0, 230.0, fixed=False), greys(scene), title="Mine")
    assert bar.ticks == ((0.0, "-10"), (0.5, "110"), (1.0, "230"))
    assert bar.note == "Not calibrated: colours compare within this image only"
    assert bar.title == "Mine"


def test_the_bar_leaves_out_what_is_not_shown(scene):
    bar = legend(ColorScale(-1.0, 1.0, fixed=False), greys(scene), shown_from=0.0)
    assert bar.stops.tolist() == [[170, 0, 255], [255, 0, 255]]
    assert [text for _place, text in bar.ticks] == ["0.0", "0.5", "1.0"]


def test_the_uncertainty_has_a_bar_without_black(scene):
    bar = uncertainty_legend(scene)
    assert [text for _place, text in bar.ticks] == ["0.030", "0.065", "0.100"]
    assert (bar.stops[:, 1] == 0).all()
    assert bar.stops[0, 0] == pytest.approx(128, abs=4)
    np.testing.assert_allclose(bar.stops[-1].astype(int), [255, 0, 255], atol=1)


@pytest.mark.parametrize(("calibrated", "high"), [(True, 0.8), (False, 5.0)])
def test_the_heatmap_is_drawn_on_its_scale_whatever_the_threshold(scene, calibrated, high):
    values = np.full((2, 3, 4), 0.1, np.float32)
    values[0, 0, 0] = 5.0
    said = parse_report(json.dumps(report(values, [], threshold=0.4, calibrated=calibrated)))
    heatmap = load_heatmap(scene, nrrd_bytes(values, MATRIX), said, "map")
    set_up_display(heatmap, said)
    before = legend_of(heatmap, said)
    set_threshold(heatmap, 2.0)
    display = heatmap.GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0.4, high))
    after = legend_of(heatmap, said)
    assert after.ticks == before.ticks
    np.testing.assert_array_equal(after.stops[[0, -1]], [[255, 0, 0], [255, 255, 0]])


@pytest.mark.usefixtures("offscreen")
def test_values_above_the_top_keep_the_last_colour(headless, scene):
    from slicer_headless.slice_view import OffscreenSliceView

    values = np.full((40, 60, 60), 0.75, np.float32)
    values[:, :, 30:] = 50.0
    source = volume_node(scene, np.zeros_like(values), MATRIX)
    run = add_run(scene, inference_result(values, MATRIX, [], threshold=0.4, calibrated=True), source, "run")
    view = OffscreenSliceView(headless, "Red", "Axial", (200, 200))
    composite = view.logic.GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(source.GetID())
    composite.SetForegroundVolumeID(run.heatmap.GetID())
    composite.SetForegroundOpacity(1.0)
    view.fit()
    pixels = view.draw()
    view.close()
    assert pixels[100, 60].tolist() == [255, 255, 0], "fifty times the threshold"
    assert pixels[100, 140, 1] < 240, "below the top the colour is not the last one"


def test_the_bar_in_the_views_comes_once_and_goes_with_its_run(scene):
    source = volume_node(scene, np.zeros((4, 5, 6), np.float32), MATRIX)
    before = scene.GetNumberOfNodes()
    values = np.ones((4, 5, 6), np.float32)
    run = add_run(scene, inference_result(values, MATRIX, [finding(MATRIX, (0, 0, 0), (1, 1, 1))]), source, "run")
    bar = show_legend(run.heatmap, "first")
    assert show_legend(run.heatmap, "second") is bar
    assert bar.GetTitleText() == "second"
    assert bar.GetPrimaryDisplayNode() is run.heatmap.GetScalarVolumeDisplayNode()
    assert run.heatmap.GetDisplayNode() is run.heatmap.GetScalarVolumeDisplayNode()
    hide_legend(run.heatmap)
    assert legend_of_volume(run.heatmap) is None
    show_legend(run.heatmap, "third")
    delete_run(scene, run.id)
    assert scene.GetNumberOfNodes() == before


@pytest.mark.usefixtures("offscreen")
def test_the_bar_is_drawn_inside_the_view(headless, scene):
    from slicer_headless.slice_view import OffscreenSliceView

    source = volume_node(scene, np.zeros((40, 60, 60), np.float32), MATRIX)
    values = np.full((40, 60, 60), 0.1, np.float32)
    run = add_run(scene, inference_result(values, MATRIX, [], calibrated=True), source, "run")
    view = OffscreenSliceView(headless, "Red", "Axial", (300, 300))
    composite = view.logic.GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(source.GetID())
    composite.SetForegroundVolumeID(run.heatmap.GetID())
    view.fit()
    assert not view.draw()[:, 200:, 0].any()
    show_legend(run.heatmap, "CLAP")
    pixels = view.draw().astype(int)
    view.close()
    rows, columns = np.nonzero((pixels[..., 0] > 240) & (pixels[..., 2] < 10))
    assert len(rows) > 500
    assert columns.min() > 200
    assert pixels[rows.min() + 3, columns[rows.argmin()], 1] > 200, "yellow on top"
    assert pixels[rows.max() - 3, columns[rows.argmax()], 1] < 50, "red below"
