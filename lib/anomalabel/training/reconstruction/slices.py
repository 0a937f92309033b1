"""What a U-Net learns from: slices of healthy images, framed, with the region to hide in each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HealthySlices:
    """Slices in memory, in half precision since a training holds thousands.

    Args:
        images: (N, s, s) float16 in [0, 1], at least one.
        hidden: (N, s, s) bool, the region that the saliency marks.
        inside: (N, s, s) bool, the field of view; what is outside is not learned from.
        names: of the image that each slice is of.
    """

    images: Tensor
    hidden: Tensor
    inside: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.images.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2]:
            raise ValueError(f"images have shape {tuple(shape)}, wanted are square slices (N, s, s)")
        if self.hidden.shape != shape or self.inside.shape != shape or len(self.names) != shape[0]:
            raise ValueError("each slice needs a hidden region, a field of view and a name")
        if self.hidden.dtype != torch.bool or self.inside.dtype != torch.bool:
            raise ValueError("hidden and inside must be bool")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def side(self) -> int:
        """Pixels along a slice."""
        return self.images.shape[-1]

    @property
    def size_bytes(self) -> int:
        """Of its tensors."""
        return sum(one.numel() * one.element_size() for one in (self.images, self.hidden, self.inside))

    def of(self, numbers: Tensor) -> HealthySlices:
        """These slices, in this order, copied; numbers (M,) int64 may repeat."""
        here = numbers.to(self.images.device)
        names = tuple(self.names[number] for number in numbers.tolist())
        return HealthySlices(self.images[here], self.hidden[here], self.inside[here], names)

    def to(self, device: torch.device) -> HealthySlices:
        """On a device."""
        images, hidden, inside = (one.to(device, non_blocking=True) for one in (self.images, self.hidden, self.inside))
        return HealthySlices(images, hidden, inside, self.names)
