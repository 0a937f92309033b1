"""One-off images are found by features, size and modality; sets of one kind lose nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.errors import ConfigError
from anomalabel.learning.odd_ones import ImageFacts, image_means, image_vectors, odd_ones
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.preprocessing.framing import SquareFrame

PICTURE = ImageFacts((1, 400, 500))


def same_kind(count: int, seed: int, dimensions: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimensions))


def test_distances_by_hand():
    vectors = np.array([[0.0], [1.0], [2.0], [3.0], [13.0]])
    medians = np.array([2.5, 1.5, 1.5, 2.5, 11.5])
    report = odd_ones(vectors, [PICTURE] * 5)
    np.testing.assert_allclose(report.distances, medians / 2.5)
    assert report.numbers == (4,)
    assert report.odd[0].distance == pytest.approx(4.6)
    assert report.odd[0].reason == "it is 4.6 times as far from the others as is usual"
    assert report.untold == ""


@pytest.mark.parametrize("count", [4, 8, 16, 32])
def test_sets_of_one_kind_lose_nobody_in_97_of_100(count):
    lost = [bool(odd_ones(same_kind(count, seed), [PICTURE] * count).odd) for seed in range(200)]
    assert np.mean(lost) <= 0.03


@pytest.mark.parametrize(("count", "odd"), [(4, 1), (8, 1), (8, 3), (16, 1), (16, 6)])
def test_those_of_another_kind_are_found_even_when_they_are_alike(count, odd):
    for seed in range(20):
        vectors = same_kind(count, seed)
        vectors[:odd] = vectors[:odd] / 3 + 6
        assert odd_ones(vectors, [PICTURE] * count).numbers == tuple(range(odd))


def test_scale_shift_and_order_of_the_features_do_not_matter():
    vectors = same_kind(8, 1)
    vectors[5] += 5
    plain = odd_ones(vectors, [PICTURE] * 8)
    moved = odd_ones(vectors[::-1] * 1e-3 + 70, [PICTURE] * 8)
    assert plain.numbers == (5,)
    assert moved.numbers == (2,)
    np.testing.assert_allclose(moved.distances[::-1], plain.distances, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_tell_nothing(count):
    report = odd_ones(np.arange(count)[:, None] ** 9.0, [PICTURE] * count)
    assert (report.odd, report.distances) == ((), ())
    assert report.untold == f"Whether one of {count} images is unlike the others cannot be told: at least 4 are needed."


def test_images_without_any_difference_tell_nothing():
    report = odd_ones(np.array([[1.0]] * 5 + [[9.0]]), [PICTURE] * 6)
    assert report.odd == ()
    assert "most of them are the same" in report.untold


def test_another_size_is_odd_beyond_a_factor_of_two_either_way():
    sizes = [(400, 500), (401, 500), (420, 510), (799, 251), (399, 1001), (199, 500)]
    report = odd_ones(same_kind(6, 3, 200), [ImageFacts((1, *size)) for size in sizes])
    assert report.numbers == (4, 5)
    assert report.odd[1].reason == "it has 500 x 199 pixels, the others about 500 x 400"
    two = odd_ones(same_kind(2, 0), [ImageFacts((1, 10, 10)), ImageFacts((1, 90, 90))])
    assert two.odd == ()


def test_another_modality_and_volumes_among_pictures_are_odd():
    facts = [
        ImageFacts((1, 9, 9), "US"),
        ImageFacts((1, 9, 9), "US"),
        ImageFacts((1, 9, 9), ""),
        ImageFacts((20, 9, 9), "MR"),
    ]
    report = odd_ones(same_kind(4, 0, 500), facts)
    assert report.numbers == (3,)
    assert report.odd[0].reason == "it is a volume, and most are not; its modality is MR, of most US"
    few = odd_ones(same_kind(3, 0), [facts[0], facts[0], facts[3]])
    assert (few.numbers, few.odd[0].distance) == ((2,), None)


def test_two_kinds_equally_common_are_refused():
    facts = [ImageFacts((1, 9, 9), name) for name in ("US", "MR", "MR", "US", "")]
    with pytest.raises(ConfigError, match="two kinds: 2 x MR, 2 x US"):
        odd_ones(same_kind(5, 0), facts)


def slice_of(levels: list[np.ndarray], seen: np.ndarray) -> SlicePatches:
    frame = SquareFrame.around((4, 4), (1.0, 1.0), 4)
    return SlicePatches(frame, seen, tuple(torch.from_numpy(level.astype(np.float32)) for level in levels))


def test_a_vector_is_the_mean_over_what_was_seen():
    seen = np.zeros((4, 4), dtype=bool)
    seen[0, :2] = True
    fine = np.full((1, 4, 4), 99.0)
    fine[0, 0, :2] = (1, 3)
    coarse = np.full((2, 2, 2), 99.0)
    coarse[:, 0, 0] = (5, 7)
    zero = slice_of([np.zeros((1, 4, 4)), np.zeros((2, 2, 2))], seen)
    one = slice_of([fine, coarse], seen)
    means = [image_means(slices) for slices in ([zero], [one], [one, zero])]
    assert [[level.tolist() for level in image] for image in means] == [[[0], [0, 0]], [[2], [5, 7]], [[1], [2.5, 3.5]]]
    vectors = image_vectors(means)
    # Means 0, 2, 1 and (0, 0), (5, 7), (2.5, 3.5); about their medians, over the median squared deviation.
    fine_part, coarse_part = np.array([-1, 1, 0]), np.array([[-2.5, -3.5], [2.5, 3.5], [0, 0]])
    np.testing.assert_allclose(vectors[:, 0], fine_part / 1)
    np.testing.assert_allclose(vectors[:, 1:], coarse_part / np.hypot(2.5, 3.5))


def test_levels_count_alike_whatever_their_scale_and_channels():
    generator = np.random.default_rng(0)
    seen = np.ones((2, 2), dtype=bool)
    images = [
        [slice_of([1e4 * generator.standard_normal((3, 2, 2)), 1e-3 * generator.standard_normal((300, 2, 2))], seen)]
        for _ in range(30)
    ]
    vectors = image_vectors([image_means(one) for one in images])
    spread = [(vectors[:, part] ** 2).sum(1).mean() for part in (slice(0, 3), slice(3, 303))]
    assert 0.3 < spread[0] / spread[1] < 3


def test_a_slice_without_body_counts_whole():
    unseen = slice_of([np.arange(4.0).reshape(1, 2, 2)], np.zeros((2, 2), dtype=bool))
    zero = slice_of([np.zeros((1, 2, 2))], np.ones((2, 2), dtype=bool))
    assert image_means([unseen])[0].tolist() == [1.5]
    assert np.ptp(image_vectors([image_means([one]) for one in (unseen, zero, zero)])[:, 0]) > 0
