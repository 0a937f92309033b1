from __future__ import annotations

import pytest
import torch
from torch import nn

from anomalabel.errors import ConfigError
from anomalabel.reconstruction.network import SMALLEST_SIDE, build_unet

CHANNELS = (4, 6, 8, 10, 12, 14)


def test_five_encoder_blocks_a_bottom_and_five_decoder_blocks() -> None:
    network = build_unet(CHANNELS)
    down = [one for one in network.modules() if type(one) is nn.Conv2d]
    up = [one for one in network.modules() if type(one) is nn.ConvTranspose2d]
    assert [(one.in_channels, one.out_channels, one.stride[0]) for one in down] == [
        (1, 4, 2),
        (4, 6, 2),
        (6, 8, 2),
        (8, 10, 2),
        (10, 12, 2),
        (12, 14, 1),
    ]
    # From the bottom up: each takes the block below and, by the skip connection, the encoder block of its size.
    assert sorted(((one.in_channels, one.out_channels) for one in up), reverse=True) == [
        (14 + 12, 10),
        (2 * 10, 8),
        (2 * 8, 6),
        (2 * 6, 4),
        (2 * 4, 1),
    ]
    assert all(one.stride == (2, 2) for one in up)
    assert sum(type(one) is nn.InstanceNorm2d for one in network.modules()) == 10


@pytest.mark.parametrize("side", [SMALLEST_SIDE, 96])
def test_an_image_is_restored_alike_whatever_else_is_in_the_batch(side: int) -> None:
    torch.manual_seed(0)
    network = build_unet(CHANNELS)
    images = torch.rand(3, 1, side, side)
    restored = network(images)
    assert restored.shape == images.shape
    assert torch.allclose(network(images[1:2]), restored[1:2], atol=1e-5)
    assert not torch.allclose(restored[0], restored[1], atol=1e-3)


def test_a_smaller_input_cannot_be_learned_from() -> None:
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        build_unet(CHANNELS)(torch.rand(2, 1, SMALLEST_SIDE // 2, SMALLEST_SIDE // 2))


@pytest.mark.parametrize("channels", [(4, 6, 8, 10, 12), (4, 6, 8, 10, 12, 0), (4,) * 7])
def test_other_numbers_of_channels_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"no channels.*6 positive numbers"):
        build_unet(channels)
