"""Eq. 2 on a network's pixels: by hand, and as CLAP's own region rule says it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.attention.clap import region_threshold, suspected_region
from anomalabel.reconstruction.region import suspected_regions


def whole(count, side):
    return torch.ones(count, side, side, dtype=torch.bool)


def test_by_hand_without_upsampling():
    """Mean 1/4 and deviation sqrt(3)/4: the threshold is 0.54, of two deviations 1.12."""
    saliency = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    expected = torch.tensor([[[False, False], [False, True]]])
    assert torch.equal(suspected_regions(saliency, whole(1, 2), 0.674), expected)
    assert not suspected_regions(saliency, whole(1, 2), 2.0).any()


def test_bilinear_upsampling_by_hand():
    """0 and 1 become 0, 1/4, 3/4, 1: mean 1/2, deviation sqrt(5/32) = 0.395."""
    saliency = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert suspected_regions(saliency, whole(1, 4), 0.5)[0, 0].tolist() == [False, False, True, True]
    assert suspected_regions(saliency, whole(1, 4), 0.674)[0, 0].tolist() == [False, False, False, True]


@given(st.integers(0, 2**32 - 1), st.floats(-1, 2))
def test_it_is_claps_rule_over_what_is_inside(seed, sd):
    generator = np.random.default_rng(seed)
    saliency = generator.normal(0, 1, (3, 8, 8)).astype(np.float32)
    inside = generator.random((3, 8, 8)) < 0.7
    found = suspected_regions(torch.from_numpy(saliency), torch.from_numpy(inside), sd).numpy()
    for one, where, region in zip(saliency, inside, found, strict=True):
        seen = np.where(where, one, np.nan)
        told_apart = np.abs(one - region_threshold(seen, sd)) > 1e-5
        np.testing.assert_array_equal(region[told_apart], suspected_region(seen, sd)[told_apart])


def test_what_lies_outside_neither_counts_nor_belongs():
    saliency = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    inside = whole(1, 16)
    inside[:, :, 10:] = False
    before = suspected_regions(saliency, inside, 0.674)
    saliency[:, :, 10:] = 50
    assert torch.equal(suspected_regions(saliency, inside, 0.674), before)
    assert before.any()
    assert not before[~inside].any()


def test_slices_are_judged_alone():
    saliency = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 100])[:, None, None]
    inside = whole(2, 16)
    together = suspected_regions(saliency, inside, 0.674)
    alone = [suspected_regions(saliency[[one]], inside[[one]], 0.674) for one in range(2)]
    assert torch.equal(together, torch.cat(alone))
    assert together.flatten(1).any(1).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -0.7, 1 / 3])
@pytest.mark.parametrize("side", [14, 128, 256])
def test_a_constant_saliency_marks_nothing(value, side):
    assert not suspected_regions(torch.full((2, 14, 14), value), whole(2, side), 0.674).any()


def test_a_saliency_that_is_constant_inside_marks_nothing():
    saliency = torch.full((1, 4, 4), 0.1)
    saliency[:, :, 0] = 0.9
    inside = whole(1, 64)
    inside[:, :, :32] = False
    assert not suspected_regions(saliency, inside, 0.674).any()


def test_small_but_real_differences_count():
    saliency = torch.full((1, 8, 8), 1.0)
    saliency[0, 2, 3] = 1.01
    found = suspected_regions(saliency, whole(1, 8), 0.674)
    assert found.nonzero().tolist() == [[0, 2, 3]]


def test_a_slice_with_nothing_inside_marks_nothing():
    saliency = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    inside = whole(2, 16)
    inside[0] = False
    found = suspected_regions(saliency, inside, 0.674)
    assert not found[0].any()
    assert found[1].any()


def test_the_upper_quarter_of_a_normal_distribution_is_suspected():
    saliency = torch.randn(1, 256, 256, generator=torch.Generator().manual_seed(0)) + 7
    assert suspected_regions(saliency, whole(1, 256), 0.674).float().mean().item() == pytest.approx(0.25, abs=0.005)
