"""What reconstruction by inpainting knows after training, and how it looks at slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anomalabel.backbones.device import choose_dtype
from anomalabel.config import ReconstructionSettings
from anomalabel.model_folder.tensor_file import hash_of_tensors
from anomalabel.reconstruction.error_maps import feature_error, on_cells
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.mosaic import hide
from anomalabel.reconstruction.slices import SliceBatch

MSGMS, FEATURES = "msgms", "features"

Encode = Callable[[Tensor], Tensor]
"""Patch features (N, C, rows, columns) of images (N, 1, side, side) in [0, 1]; see `error_maps.feature_encoder`."""


def kinds_of(settings: ReconstructionSettings) -> tuple[str, ...]:
    """The kinds of error that have a healthy level under these settings."""
    if not settings.healthy_level:
        return ()
    return tuple(kind for kind in (MSGMS, FEATURES) if getattr(settings.errors, kind) > 0)


@dataclass(frozen=True)
class Restored:
    """What a batch of slices should look like were they healthy, and how far they are from it.

    Args:
        images: (N, 1, side, side) float32, the restorations, mean over the mosaics.
        errors: kind of error to (N, cells, cells) float32, mean over the mosaics; in its own unit.
    """

    images: Tensor
    errors: Mapping[str, Tensor]


@dataclass(frozen=True)
class ReconstructionModel:
    """A trained U-Net and the errors that healthy images have.

    Args:
        settings: of the method.
        network: in evaluation mode, frozen.
        levels: of each kind of error; empty where the settings turn them off.
        encode: of patch features; needed where these are compared.
    """

    settings: ReconstructionSettings
    network: nn.Module
    levels: Mapping[str, HealthyLevel]
    encode: Encode | None = None

    @property
    def weights_sha256(self) -> str:
        """Hexadecimal hash of the network's weights."""
        return hash_of_tensors(self.network.state_dict())

    def restore(self, batch: SliceBatch) -> Restored:
        """Hide the suspected regions, restore them, and compare (clap.txt section 2.2).

        With several mosaics each hides the image anew; restorations and errors are averaged.
        """
        settings = self.settings
        blocks: Sequence[int | None] = settings.mosaic.blocks if settings.saliency != "none" else (None,)
        images: list[Tensor] = []
        errors: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            real = None if not settings.errors.features else self._features(batch.images)
            for block in blocks:
                restored = self.restored(batch, block)
                images.append(restored)
                for kind, values in self._errors(batch.images, restored, real).items():
                    errors.setdefault(kind, []).append(values)
            return Restored(_mean(images), {kind: _mean(maps) for kind, maps in errors.items()})

    def restored(self, batch: SliceBatch, block: int | None) -> Tensor:
        """(N, 1, side, side) float32 in [0, 1]: the network's answer to one mosaic, None to the images as they are."""
        shown = batch.images if block is None else hide(batch.images, batch.hidden, block)
        device = shown.device
        dtype = choose_dtype(device, "auto")
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return self.network(shown).float().clamp_(0, 1)

    def map_of(self, errors: Mapping[str, Tensor]) -> Tensor:
        """The anomaly maps (N, cells, cells) of kinds of errors (N, cells, cells).

        The weighted mean of the kinds, each in standard deviations of healthy errors above their mean at the same
        place; without healthy level the one kind in its own unit.
        """
        weights = {kind: getattr(self.settings.errors, kind) for kind in errors}
        total = sum(weights.values())
        parts = [
            weights[kind] / total * (self.levels[kind].standardised(values) if self.levels else values)
            for kind, values in errors.items()
        ]
        return torch.stack(parts).sum(0)

    def slice_scores(self, maps: Tensor, inside: Tensor) -> list[float]:
        """One score of each slice: the maximum over what is inside (published), or the mean of the highest share.

        Args:
            maps: (N, cells, cells) of `map_of`.
            inside: (N, cells, cells) bool.

        Returns:
            N numbers; -infinity for a slice with nothing inside.
        """
        return [self._score(values[where]) for values, where in zip(maps, inside, strict=True)]

    @property
    def cells(self) -> int:
        """Along each side of the error maps."""
        return self.settings.side // self.settings.errors.cell

    def _score(self, seen: Tensor) -> float:
        if seen.numel() == 0:
            return float("-inf")
        share = 0.0 if self.settings.score == "max" else self.settings.score_share
        count = max(round(share * seen.numel()), 1)
        return float(seen.topk(count).values.mean(dtype=torch.float64))

    def _errors(self, images: Tensor, restored: Tensor, real: Tensor | None) -> dict[str, Tensor]:
        kinds, cells = self.settings.errors, self.cells
        errors = {}
        if kinds.msgms > 0:
            errors[MSGMS] = on_cells(msgms_map(images, restored, self.settings.similarity), cells)
        if real is not None:
            errors[FEATURES] = on_cells(feature_error(real, self._features(restored)), cells)
        return errors

    def _features(self, images: Tensor) -> Tensor:
        if self.encode is None:
            raise ValueError("features are compared and there is no encoder")
        return self.encode(images)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).mean(0)
