"""The mosaic by hand, against loops, and in every number type."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.errors import ConfigError
from anomalabel.reconstruction.mosaic import hide


def test_a_mosaic_by_hand():
    image = torch.tensor([[0.0, 2, 1, 1], [4, 6, 1, 1], [8, 0, 0, 0], [0, 0, 0, 4]])[None, None]
    region = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)[None]
    expected = torch.tensor([[3.0, 2, 1, 1], [4, 3, 1, 1], [8, 0, 0, 0], [0, 0, 1, 1]])[None, None]
    assert torch.equal(hide(image, region, 2), expected)


@given(st.sampled_from([2, 3, 4, 6, 12]), st.integers(0, 2**32 - 1))
def test_it_equals_loops_over_blocks(block, seed):
    generator = np.random.default_rng(seed)
    images, regions = generator.random((2, 1, 12, 12)), generator.random((2, 12, 12)) < 0.4
    expected = images.copy()
    for number in range(2):
        for row in range(12):
            for column in range(12):
                if regions[number, row, column]:
                    top, left = row // block * block, column // block * block
                    expected[number, 0, row, column] = images[number, 0, top : top + block, left : left + block].mean()
    hidden = hide(torch.from_numpy(images), torch.from_numpy(regions), block)
    np.testing.assert_allclose(hidden.numpy(), expected, atol=1e-12)


def test_outside_the_region_not_a_bit_changes():
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    nothing = torch.zeros(3, 32, 32, dtype=torch.bool)
    assert torch.equal(hide(images, nothing, 8), images)
    regions = nothing.clone()
    regions[:, 3:20, 5:9] = True
    hidden = hide(images, regions, 8)
    assert torch.equal(hidden[:, 0][~regions], images[:, 0][~regions])
    assert not torch.equal(hidden, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_the_type_stays(dtype):
    image = torch.tensor([[0, 1], [1, 1]], dtype=dtype)[None, None]
    hidden = hide(image, torch.ones(1, 2, 2, dtype=torch.bool), 2)
    assert hidden.dtype == dtype
    assert hidden.flatten().tolist() == [1 if dtype == torch.uint8 else 0.75] * 4


def test_half_precision_does_not_round_the_sum():
    """2,049 ones have no exact sum in float16."""
    image = torch.ones(1, 1, 64, 64, dtype=torch.float16)
    assert torch.equal(hide(image, torch.ones(1, 64, 64, dtype=torch.bool), 64), image)


def test_a_mosaic_of_a_mosaic_is_the_same():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    whole = torch.ones(1, 16, 16, dtype=torch.bool)
    once = hide(image, whole, 4)
    torch.testing.assert_close(hide(once, whole, 4), once, atol=1e-6, rtol=0)
    assert len(once.unique()) == 16


def test_blocks_must_fit():
    with pytest.raises(ConfigError, match="blocks of 5"):
        hide(torch.zeros(1, 1, 16, 16), torch.zeros(1, 16, 16, dtype=torch.bool), 5)
