"""The user's own cache of what frozen networks say about slices."""

from __future__ import annotations

from typing import Protocol

import torch

from anomalabel.localization.feature_cache import DiskFeatureStore, LayeredFeatureStore
from anomalabel.localization.patch_features import FeatureStore, PatchStore


class Computing(Protocol):
    """What decides how a network's features are rounded; see backbones.encoders.NamedEncoders."""

    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...


def stored_features(encoders: Computing) -> PatchStore:
    """The cache of features on disk, with memory before it."""
    hardware = f"{encoders.device.type} {torch.backends.cpu.get_cpu_capability()}"
    computed = f"{hardware} {encoders.dtype} torch {torch.__version__}"
    return LayeredFeatureStore(FeatureStore(), DiskFeatureStore(computed, device=encoders.device))
