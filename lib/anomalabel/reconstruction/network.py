"""The U-Net that restores what is hidden (clap.txt section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from anomalabel.config.reconstruction import ENCODER_BLOCKS
from anomalabel.errors import ConfigError

STRIDE = 2
SMALLEST_SIDE = 2 * STRIDE**ENCODER_BLOCKS
"""Pixels: of a smaller input the bottom has a single pixel, and nothing to be normalised by."""


def build_unet(channels: Sequence[int]) -> nn.Module:
    """MONAI's U-Net in the published shape, with random weights of torch's own generator.

    Five encoder blocks, each a convolution of stride 2 with instance normalisation and PReLU; a bottom block of stride
    1; five decoder blocks, each a transposed convolution of stride 2, the last of them without normalisation and
    activation. Each decoder block sees the output of the block below beside that of the encoder block of its own size,
    so the finest skip connection is at half the input's resolution. Instances are normalised each by itself: an image's
    reconstruction depends on no other of its batch.

    Args:
        channels: of the five encoder blocks and of the bottom.

    Returns:
        From (N, 1, s, s) to (N, 1, s, s) with s a multiple of 32 from 64; the output is not bounded.

    Raises:
        ConfigError: these are not six positive numbers.
    """
    if len(channels) != ENCODER_BLOCKS + 1 or min(channels) < 1:
        raise ConfigError(
            f"The U-Net has {ENCODER_BLOCKS} encoder blocks and a bottom; {list(channels)} are no channels for them.",
            f"Give reconstruction.channels {ENCODER_BLOCKS + 1} positive numbers.",
        )
    # MONAI takes seconds to import, which other methods should not wait for.
    from monai.networks.nets import UNet

    network: nn.Module = UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=tuple(channels),
        strides=(STRIDE,) * ENCODER_BLOCKS,
        norm="INSTANCE",
    )
    return network
