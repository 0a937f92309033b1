"""How far an image is from its restoration in the eyes of a frozen encoder, and error maps on a coarser grid."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.patch_encoders import PatchEncoder


def feature_encoder(encoder: PatchEncoder) -> Callable[[Tensor], Tensor]:
    """Patch features in which an image and its restoration are compared, of images of any size.

    The level in the texts' space where the encoder has one: it knows what texts call disease, and a restoration loses
    that; the other levels see mostly how a restoration is blurred. Else the last level.

    Returns:
        A function from (N, 1, side, side) in [0, 1] to (N, C, rows, columns).
    """
    chosen = -1 if encoder.text_level is None else encoder.text_level

    def encode(images: Tensor) -> Tensor:
        side = (encoder.side, encoder.side)
        sized = functional.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)
        return encoder.patch_features(sized[:, 0])[chosen].to(images.device)

    return encode


def feature_error(real: Tensor, restored: Tensor) -> Tensor:
    """1 - cosine similarity of patch features (N, C, rows, columns), in [0, 2]: (N, 1, rows, columns)."""
    return 1 - functional.cosine_similarity(real, restored, dim=1)[:, None]


def on_cells(errors: Tensor, cells: int) -> Tensor:
    """Errors (N, 1, side, side) on a grid: means over its cells where it is coarser, bilinear where it is finer.

    Returns:
        (N, cells, cells).
    """
    if errors.shape[-1] == cells:
        return errors[:, 0]
    if errors.shape[-1] % cells == 0:
        return functional.avg_pool2d(errors, errors.shape[-1] // cells)[:, 0]
    return functional.interpolate(errors, size=(cells, cells), mode="bilinear", align_corners=False, antialias=True)[
        :, 0
    ]


def inside_cells(inside: Tensor, cells: int) -> Tensor:
    """(N, cells, cells) bool of (N, side, side): cells of which anything is inside."""
    return functional.max_pool2d(inside[:, None].float(), inside.shape[-1] // cells)[:, 0] > 0
