"""Regions above a threshold and their boxes, in voxels and in the world."""

import itertools
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.localization.findings import extract_findings, world_box

MAP = np.zeros((4, 6, 8), dtype=np.float32)


def find(anomaly_map, affine=None, threshold=0.5, minimum_mm3=0.0, identity="run", **more):
    affine = np.eye(4) if affine is None else affine
    return extract_findings(
        np.asarray(anomaly_map, np.float32), affine, threshold, minimum_mm3, "spot", identity, **more
    )


def planted(**places) -> np.ndarray:
    """The map with values at "z,y,x" places."""
    values = MAP.copy()
    for place, value in places.items():
        values[tuple(int(step) for step in place[1:].split("_"))] = value
    return values


@st.composite
def affines(draw) -> np.ndarray:
    """Rotation (a random unit quaternion) times flips, axis permutation and spacings, with an origin."""
    quaternion = np.array(draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4)))
    if np.linalg.norm(quaternion) < 1e-3:
        quaternion = np.array([1.0, 0, 0, 0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    flips = np.diag(draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3)))
    spacings = np.diag(draw(st.lists(st.floats(0.1, 10), min_size=3, max_size=3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.eye(3)[draw(st.permutations(range(3)))] @ flips @ spacings
    affine[:3, 3] = draw(st.lists(st.floats(-500, 500), min_size=3, max_size=3))
    return affine


@st.composite
def boxes(draw) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Inclusive (i, j, k) corners inside a grid of 8 x 6 x 4."""
    ends = [sorted(draw(st.lists(st.integers(0, length - 1), min_size=2, max_size=2))) for length in (8, 6, 4)]
    return tuple(low for low, _ in ends), tuple(high for _, high in ends)


def sorted_corners(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(4).T)]


@given(affines(), boxes(), st.randoms(use_true_random=False))
def test_a_box_in_the_world_has_the_voxel_borders_as_its_corners(affine, box, random):
    low, high = box
    filled = MAP.copy()
    inside = tuple(slice(start, stop + 1) for start, stop in zip(reversed(low), reversed(high), strict=True))
    filled[inside] = 0.6
    peak = tuple(random.randint(start, stop) for start, stop in zip(low, high, strict=True))
    filled[peak[::-1]] = 0.9
    (finding,) = find(filled, affine)

    assert (finding.index_min, finding.index_max, finding.peak_index) == (low, high, peak)
    borders = [(start - 0.5, stop + 0.5) for start, stop in zip(low, high, strict=True)]
    expected = np.array([(affine @ (*corner, 1.0))[:3] for corner in itertools.product(*borders)])
    center, size, axes = (np.array(part) for part in (finding.center_ras, finding.size_mm, finding.axes_ras))
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    actual = center + (signs * size) @ axes
    distances = np.linalg.norm(actual[:, np.newaxis] - expected, axis=-1)
    assert distances.min(axis=1).max() < 1e-6
    assert distances.min(axis=0).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(finding.center_lps, center * (-1, -1, 1), atol=1e-9)
    voxels = np.prod(np.array(high) - low + 1)
    np.testing.assert_allclose(finding.volume_mm3, voxels * abs(np.linalg.det(affine[:3, :3])), rtol=1e-9)
    np.testing.assert_allclose(finding.volume_mm3, np.prod(size), rtol=1e-6)


def test_world_box_by_hand():
    affine = np.array([[0, 0, -3.0, 10], [2, 0, 0, 20], [0, 1, 0, 30], [0, 0, 0, 1]])
    box = world_box(affine, (1, 2, 3), (3, 2, 4))
    assert box["center_ras"] == (10 - 3 * 3.5, 20 + 2 * 2, 30 + 2)
    assert box["center_lps"] == (0.5, -24.0, 32.0)
    assert box["size_mm"] == (6.0, 1.0, 6.0)
    assert box["axes_ras"] == ((0, 1, 0), (0, 0, 1), (-1, 0, 0))


def test_voxels_that_touch_at_a_corner_are_one_region():
    (finding,) = find(planted(p0_0_0=0.7, p1_1_1=0.9))
    assert (finding.index_min, finding.index_max) == ((0, 0, 0), (1, 1, 1))
    assert finding.volume_mm3 == 2


def test_voxels_one_apart_are_two_regions_highest_first():
    first, second = find(planted(p0_0_0=0.7, p0_0_2=0.9))
    assert (first.peak_index, second.peak_index) == ((2, 0, 0), (0, 0, 0))


def test_scores_of_a_region():
    (finding,) = find(planted(p2_3_4=0.6, p2_3_5=0.75, p2_3_6=0.9))
    assert finding.label == "spot"
    assert finding.score == pytest.approx(0.9)
    assert finding.mean_score == pytest.approx(0.75)
    assert finding.peak_index == (6, 3, 2)
    assert finding.uncertainty is None


def test_mean_uncertainty_is_taken_inside_the_region():
    uncertainty = planted(p2_3_4=0.2, p2_3_5=0.4, p2_3_6=9.0)
    (finding,) = find(planted(p2_3_4=0.6, p2_3_5=0.75), uncertainty=uncertainty)
    assert finding.uncertainty == pytest.approx(0.3)


def test_the_threshold_itself_is_not_above_it():
    assert find(planted(p0_0_0=0.5)) == []
    assert len(find(planted(p0_0_0=np.nextafter(np.float32(0.5), np.float32(1))))) == 1


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.5])
def test_unseen_voxels_belong_to_no_region(threshold):
    values = np.full((4, 6, 8), np.nan)
    values[1:3, 2:4, 3:6] = 1.0
    values[1, 2, 3] = np.nan
    (finding,) = find(values, threshold=threshold)
    assert finding.volume_mm3 == 11
    assert (finding.index_min, finding.index_max) == ((3, 2, 1), (5, 3, 2))
    assert finding.mean_score == 1.0


def test_a_bridge_of_unseen_voxels_joins_nothing():
    values = planted(p1_1_1=1, p1_1_2=np.nan, p1_1_3=1)
    assert len(find(values)) == 2
    assert find(np.full((2, 2, 2), np.nan)) == []


@pytest.mark.parametrize(("minimum_mm3", "count"), [(0, 2), (12, 2), (12.1, 1), (24, 1), (24.1, 0)])
def test_minimum_volume_is_in_cubic_millimetres(minimum_mm3, count):
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    found = find(planted(p0_0_0=1, p3_5_6=1, p3_5_7=1), affine, minimum_mm3=minimum_mm3)
    assert len(found) == count
    assert all(finding.volume_mm3 >= minimum_mm3 for finding in found)


def test_equal_runs_name_their_findings_the_same_and_other_runs_do_not():
    values = planted(p0_0_0=0.7, p0_0_2=0.9, p3_5_7=0.8)
    ids = [finding.id for finding in find(values)]
    assert ids == [finding.id for finding in find(values)]
    assert len({uuid.UUID(one) for one in ids}) == 3
    assert not set(ids) & {finding.id for finding in find(values, identity="another")}


def test_a_dropped_small_region_does_not_rename_the_others():
    values = planted(p0_0_0=1, p3_5_6=1, p3_5_7=1)
    (large,) = find(values, minimum_mm3=2)
    assert large.id in {finding.id for finding in find(values)}


def test_a_picture_of_one_slice():
    picture = np.zeros((1, 20, 30))
    picture[0, 5:9, 10:20] = 1
    (finding,) = find(picture, np.diag([-0.5, -0.25, 1, 1]))
    assert (finding.index_min, finding.index_max) == ((10, 5, 0), (19, 8, 0))
    assert finding.size_mm == (5.0, 1.0, 1.0)
