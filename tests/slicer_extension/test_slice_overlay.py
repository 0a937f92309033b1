"""Which views a case takes, what they show over each other, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene.case_views import views_for_case
from AnomaLabelLib.scene.layers import Layer, Layers, can_stack, read_layers, write_layers
from AnomaLabelLib.scene.runs import add_run, delete_run
from AnomaLabelLib.scene.slice_views import SliceOverlay, jump_to
from AnomaLabelLib.server.map_kinds import RECONSTRUCTION, SALIENCY, UNCERTAINTY
from example_results import affine, finding, inference_result, nrrd_bytes, volume_node

MATRIX = affine((0, 0, 0), (2, 2, 2), (-60, -60, -40))
SHAPE = (40, 60, 60)
SURE, UNSURE, FAINT, OUTSIDE, UNSEEN = (36, 26, 20), (31, 26, 20), (36, 40, 20), (12, 45, 20), (30, 2, 20)


def composite(scene, name: str):
    made = scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
    made.UnRegister(None)
    made.SetLayoutName(name)
    made.SetSingletonTag(name)
    return scene.AddNode(made)


@pytest.fixture
def views(scene):
    return [composite(scene, name) for name in ("Red", "Green", "Yellow")]


def image(scene, name: str):
    return volume_node(scene, np.full(SHAPE, 100, np.float32), MATRIX, name)


def case(scene, name: str):
    source = image(scene, name)
    heatmap = np.zeros(SHAPE, np.float32)
    heatmap[15:25, 20:32, 30:44] = 0.7
    heatmap[:, :6] = np.nan
    unsure = np.zeros(SHAPE, np.float32)
    unsure[:, :, 28:33] = 0.09
    unsure[:, 38:42] = 0.02
    saliency = np.ones(SHAPE, np.float32)
    maps = {UNCERTAINTY: unsure, SALIENCY: saliency, RECONSTRUCTION: saliency}
    for values in maps.values():
        values[:, :6] = np.nan
    files = {kind: nrrd_bytes(values, MATRIX) for kind, values in maps.items()}
    rows = [finding(MATRIX, (30, 20, 15), (43, 31, 24))]
    return source, add_run(scene, inference_result(heatmap, MATRIX, rows, files), source, f"{name} run")


def backgrounds(views) -> list[str | None]:
    return [view.GetBackgroundVolumeID() for view in views]


def test_layers_are_read_and_written_whole(scene, views):
    volumes = [image(scene, str(number)).GetID() for number in range(5)]
    wanted = Layers(volumes[0], Layer(volumes[1], 0.25), Layer(None, 0.5), (Layer(volumes[2], 0.75),))
    write_layers(views[0], wanted)
    assert read_layers(views[0]) == wanted
    more = Layers(None, Layer(None, 0.5), Layer(None, 1.0), (Layer(volumes[3], 0.25), Layer(volumes[4], 0.5)))
    write_layers(views[0], more)
    assert read_layers(views[0]) == more
    write_layers(views[0], wanted)
    assert read_layers(views[0]) == wanted


def test_an_empty_view_and_one_of_ours_are_free(scene, views):
    ours, own = image(scene, "ours"), image(scene, "own")
    views[0].SetBackgroundVolumeID(ours.GetID())
    views[1].SetBackgroundVolumeID(own.GetID())
    assert views_for_case(scene, lambda node: node is ours) == [views[0], views[2]]


def test_where_none_is_free_all_are_taken(scene, views):
    for view in views:
        view.SetBackgroundVolumeID(image(scene, "own").GetID())
    assert views_for_case(scene, lambda _node: False) == views


def test_a_free_view_that_is_not_on_the_screen_is_not_enough(scene, views):
    own = image(scene, "own")
    for view in views[:2]:
        view.SetBackgroundVolumeID(own.GetID())
    for view in views:
        node = slicer.vtkMRMLSliceNode()
        node.SetSingletonTag(view.GetLayoutName())
        node.SetLayoutName(view.GetLayoutName())
        scene.AddNode(node).SetMappedInLayout(view is not views[2])
    assert views_for_case(scene, lambda _node: False) == views
    scene.GetSingletonNode("Yellow", "vtkMRMLSliceNode").SetMappedInLayout(True)
    assert views_for_case(scene, lambda _node: False) == [views[2]]


def test_the_next_case_leaves_the_prior_where_the_user_put_it(scene, views):
    overlay, prior = SliceOverlay(scene), image(scene, "prior")
    for view in views:
        view.SetLinkedControl(True)
    first, run = case(scene, "first")
    overlay.show(first, run.heatmap, 0.5, run.unseen, run.maps[UNCERTAINTY])
    assert backgrounds(views) == [first.GetID()] * 3
    views[2].SetBackgroundVolumeID(prior.GetID())
    second, run = case(scene, "second")
    overlay.show(second, run.heatmap, 0.5, run.unseen)
    assert backgrounds(views) == [second.GetID(), second.GetID(), prior.GetID()]
    assert [views[2].GetForegroundVolumeID(), views[2].GetLabelVolumeID(), read_layers(views[2]).further] == [
        None,
        None,
        (),
    ]
    overlay.show(None, run.heatmap, 0.25, None)
    assert views[2].GetForegroundVolumeID() is None
    assert views[0].GetForegroundOpacity() == pytest.approx(0.25)
    overlay.restore()
    assert views[2].GetBackgroundVolumeID() == prior.GetID()
    assert all(view.GetLinkedControl() for view in views)


def test_a_prior_that_was_a_case_itself_keeps_its_view(scene, views):
    overlay = SliceOverlay(scene)
    prior, run = case(scene, "prior")
    overlay.show(prior, run.heatmap, 0.5, None)
    second, run = case(scene, "second")
    overlay.show(second, run.heatmap, 0.5, None)
    views[1].SetBackgroundVolumeID(prior.GetID())
    third, run = case(scene, "third")
    overlay.show(third, run.heatmap, 0.5, None)
    assert backgrounds(views) == [third.GetID(), prior.GetID(), third.GetID()]


def test_the_images_of_other_cases_are_free_where_somebody_says_so(scene, views):
    old, _run = case(scene, "loaded with the scene")
    own = image(scene, "own")
    views[0].SetBackgroundVolumeID(old.GetID())
    for view in views[1:]:
        view.SetBackgroundVolumeID(own.GetID())
    new, run = case(scene, "new")
    SliceOverlay(scene, is_ours=lambda node: node is old).show(new, run.heatmap, 0.5, None)
    assert backgrounds(views) == [new.GetID(), own.GetID(), own.GetID()]


def test_everything_the_user_had_comes_back(scene, views):
    own = [image(scene, str(number)).GetID() for number in range(4)]
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode").GetID()
    before = Layers(own[0], Layer(own[1], 0.125), Layer(label, 0.75), (Layer(own[2], 0.375),))
    for view in views:
        write_layers(view, before)
    overlay = SliceOverlay(scene)
    for name in ("first", "second"):
        source, run = case(scene, name)
        overlay.show(source, run.heatmap, 0.5, run.unseen, run.maps[UNCERTAINTY])
        assert read_layers(views[0]).further == (Layer(own[2], 0.375), Layer(run.maps[UNCERTAINTY].GetID(), 0.6))
        overlay.show(None, None, 0.5, None)
        assert read_layers(views[1]) == Layers(source.GetID(), before.foreground, before.label, before.further)
    overlay.restore()
    assert [read_layers(view) for view in views] == [before] * 3
    overlay.restore()
    assert [read_layers(view) for view in views] == [before] * 3


def test_what_is_gone_does_not_come_back_and_harms_nobody(scene, views):
    own, kept = image(scene, "own"), image(scene, "kept")
    for view in views:
        write_layers(view, Layers(own.GetID(), Layer(kept.GetID(), 0.5), Layer(None, 0.5), (Layer(own.GetID(), 0.5),)))
    overlay = SliceOverlay(scene)
    source, run = case(scene, "case")
    overlay.show(source, run.heatmap, 0.5, run.unseen, run.maps[UNCERTAINTY])
    scene.RemoveNode(own)
    delete_run(scene, run.id)
    overlay.restore()
    for view in views:
        assert read_layers(view) == Layers(source.GetID(), Layer(kept.GetID(), 0.5), Layer(None, 0.5))


def test_a_view_that_goes_away_meanwhile_harms_nobody(scene, views):
    overlay = SliceOverlay(scene)
    source, run = case(scene, "case")
    overlay.show(source, run.heatmap, 0.5, run.unseen)
    scene.RemoveNode(views[1])
    overlay.show(None, run.heatmap, 0.25, None)
    overlay.restore()
    assert views[0].GetForegroundVolumeID() is None


def test_what_the_user_picks_meanwhile_is_what_comes_back(scene, views):
    first, later = image(scene, "first own"), image(scene, "later own")
    views[0].SetForegroundVolumeID(first.GetID())
    overlay = SliceOverlay(scene)
    source, run = case(scene, "case")
    overlay.show(source, run.heatmap, 0.5, None)
    views[0].SetForegroundVolumeID(later.GetID())
    views[0].SetForegroundOpacity(0.75)
    overlay.show(None, run.heatmap, 0.5, None)
    assert views[0].GetForegroundVolumeID() == run.heatmap.GetID()
    overlay.restore()
    assert read_layers(views[0]).foreground == Layer(later.GetID(), 0.75)


def test_where_slicer_has_no_further_layers_the_uncertainty_stands_in_place_of_the_heatmap(scene, views, monkeypatch):
    for place in ("layers", "slice_views"):
        monkeypatch.setattr(f"AnomaLabelLib.scene.{place}.can_stack", lambda _view: False)
    overlay = SliceOverlay(scene)
    source, run = case(scene, "case")
    overlay.show(source, run.heatmap, 0.5, run.unseen, run.maps[UNCERTAINTY], 0.75)
    assert read_layers(views[0]).foreground == Layer(run.maps[UNCERTAINTY].GetID(), 0.75)
    assert views[0].GetNumberOfAdditionalLayers() == 0
    overlay.show(None, run.heatmap, 0.5, run.unseen)
    assert read_layers(views[0]).foreground == Layer(run.heatmap.GetID(), 0.5)


@pytest.fixture
def view(headless):
    from slicer_headless.slice_view import OffscreenSliceView

    made = OffscreenSliceView(headless, "Red", "Axial", (300, 300))
    yield made
    made.close()


def at(view, pixels, index) -> np.ndarray:
    return pixels[view.pixel_of((MATRIX @ np.append(index, 1.0))[:3])].astype(int)


def drawn(view, overlay, source, *shown) -> dict[tuple, np.ndarray]:
    overlay.show(source, *shown)
    view.fit()
    jump_to(view.node.GetScene(), (MATRIX @ np.append(SURE, 1.0))[:3])
    pixels = view.draw()
    return {place: at(view, pixels, place) for place in (SURE, UNSURE, FAINT, OUTSIDE, UNSEEN)}


@pytest.mark.usefixtures("offscreen")
def test_heatmap_uncertainty_and_tint_are_seen_together(scene, view):
    source, run = case(scene, "case")
    source.GetDisplayNode().AutoWindowLevelOff()
    source.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    for box in run.boxes:
        box.GetDisplayNode().SetVisibility(False)
    overlay = SliceOverlay(scene)
    assert can_stack(view.logic.GetSliceCompositeNode())
    alone = drawn(view, overlay, source, run.heatmap, 0.6, run.unseen)
    both = drawn(view, overlay, source, run.heatmap, 0.6, run.unseen, run.maps[UNCERTAINTY])
    for place in (SURE, FAINT, OUTSIDE, UNSEEN):
        np.testing.assert_array_equal(both[place], alone[place])
    # Magenta of 0.09 on the scale from -0.04 to 0.1 covers 0.6 of the heatmap below it.
    covered = 0.4 * alone[UNSURE] + 0.6 * np.array([0.13 / 0.14 * 255, 0, 0.13 / 0.14 * 255])
    np.testing.assert_allclose(both[UNSURE], covered, atol=4)
    assert np.ptp(alone[OUTSIDE]) <= 2
    assert alone[UNSEEN][2] > alone[UNSEEN][0] + 20
    only = drawn(view, overlay, source, None, 0.6, run.unseen, run.maps[UNCERTAINTY])
    assert np.ptp(only[SURE]) <= 2
    assert only[UNSURE][0] > only[UNSURE][1] + 100


@pytest.mark.usefixtures("offscreen")
@pytest.mark.parametrize("kind", [UNCERTAINTY, SALIENCY, RECONSTRUCTION])
def test_the_tint_stays_over_every_map_in_the_heatmaps_place(scene, view, kind):
    source, run = case(scene, "case")
    colors = drawn(view, SliceOverlay(scene), source, run.maps[kind], 1.0, run.unseen)
    assert colors[UNSEEN][2] > colors[UNSEEN][0] + 20


@pytest.mark.usefixtures("offscreen")
def test_a_jump_moves_the_view_of_the_prior_too(headless, scene, view):
    from slicer_headless.slice_view import OffscreenSliceView

    other = OffscreenSliceView(headless, "Yellow", "Axial", (300, 300))
    prior = image(scene, "prior")
    other.logic.GetSliceCompositeNode().SetBackgroundVolumeID(prior.GetID())
    source, run = case(scene, "case")
    SliceOverlay(scene).show(source, run.heatmap, 0.5, None)
    assert other.logic.GetSliceCompositeNode().GetBackgroundVolumeID() == prior.GetID()
    target = (MATRIX @ [10, 20, 33, 1])[:3]
    jump_to(scene, target)
    assert [each.node.GetSliceToRAS().GetElement(2, 3) for each in (view, other)] == pytest.approx([target[2]] * 2)
    other.close()
