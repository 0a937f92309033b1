"""Slices as the U-Net takes them: framed, with their field of view and where the saliency lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.config import PreprocessingSettings, ReconstructionSettings
from anomalabel.localization.patch_features import CutSlice
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.reconstruction.field_of_view import field_of_view
from anomalabel.reconstruction.region import suspected_regions
from anomalabel.volume import FloatArray

INSIDE = 0.5
"""A pixel of the network's input counts as seen from this share of seen area on."""


@dataclass(frozen=True)
class RestorableSlice:
    """A slice in the network's input.

    Args:
        frame: how it sits there.
        image: (side, side) float32 in [0, 1].
        inside: (side, side) bool, the field of view: what may be hidden and is scored.
        shown: (H, W) bool, the same on the slice's own pixels.
        saliency: (rows, columns) float32 over the whole square; any constant where nothing is to be hidden.
    """

    frame: SquareFrame
    image: FloatArray
    inside: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    saliency: FloatArray


@dataclass(frozen=True)
class SliceBatch:
    """N slices on the network's device.

    Args:
        images: (N, 1, side, side) float32 in [0, 1].
        inside: (N, side, side) bool.
        hidden: (N, side, side) bool, the suspected region (clap.txt eq. 2).
    """

    images: Tensor
    inside: Tensor
    hidden: Tensor


def restorable_slice(
    cut: CutSlice, saliency: FloatArray, settings: ReconstructionSettings, preprocessing: PreprocessingSettings
) -> RestorableSlice:
    """A slice and its saliency in the network's input.

    Where the config finds no body (foreground mask off), black that touches the border lies outside the field of view:
    around an ultrasound's sector, beyond an X-ray's collimation.

    Args:
        saliency: (rows, columns) over the square that frames the slice.
    """
    # Slices of a volume are views in display orientation; products with a view turned around take ten times as long.
    cut = replace(cut, scaled=np.ascontiguousarray(cut.scaled), seen=np.ascontiguousarray(cut.seen))
    framed = cut.framed(settings.side, preprocessing)
    shown = cut.seen if preprocessing.foreground.enabled else field_of_view(cut.scaled, cut.seen)
    share = framed.body if shown is cut.seen else framed.frame.to_model(shown.astype(np.float32))
    return RestorableSlice(framed.frame, framed.image, share >= INSIDE, shown, saliency)


def batch_of(slices: Sequence[RestorableSlice], threshold_sd: float, device: torch.device) -> SliceBatch:
    """Slices as one batch, each with its own region: mean + `threshold_sd` sd of its saliency inside its view."""
    images = torch.from_numpy(np.stack([one.image for one in slices]))[:, None].to(device)
    inside = torch.from_numpy(np.stack([one.inside for one in slices])).to(device)
    saliency = torch.from_numpy(np.stack([one.saliency for one in slices])).to(device)
    return SliceBatch(images, inside, suspected_regions(saliency, inside, threshold_sd))
