"""Patch features of slices, remembered: shots and test images come back in every draw of an evaluation."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import PreprocessingSettings
from anomalabel.errors import ModelError
from anomalabel.localization.framed_slices import FramedSlice, frame_slice
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, slice_spacing_mm
from anomalabel.volume import FloatArray, Matrix

GIBIBYTE = 1 << 30

FEATURES_VERSION = 1
"""Part of every key, since features are also kept on disk, from one version of this package to the next.

Raise it by hand with every change of code that changes the features of the same pixels, settings and weights: in
`preprocessing` (after the volume is prepared), `localization.framed_slices`, this file, or a patch encoder of
`backbones`.
"""


@dataclass(frozen=True)
class SlicePatches:
    """What an encoder says about one slice.

    Args:
        frame: how the slice sat in the encoder's input.
        seen: (rows, columns) bool on the finest level's grid, patches that hold body.
        levels: (C_l, rows_l, columns_l) float32 each, as the encoder gave them.
    """

    frame: SquareFrame
    seen: NDArray[np.bool_]
    levels: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Memory that the features take."""
        return sum(level.numel() * level.element_size() for level in self.levels)


class PatchStore(Protocol):
    """Keeps patch features under keys that hash all that decides them.

    What comes out equals what the encoder would say, so that a store changes nothing but time. May be used from several
    threads.
    """

    def find(self, key: bytes) -> SlicePatches | None:
        """What was kept under a key, if it still is."""
        ...

    def keep(self, key: bytes, patches: SlicePatches) -> None:
        """Keep features; a store may also let go of them at once."""
        ...


class FeatureStore:
    """A `PatchStore` in memory; features that were not asked for longest leave first.

    Args:
        capacity_bytes: of the features kept; a 224-pixel slice takes 0.2 to 1.2 MB.
    """

    def __init__(self, capacity_bytes: int = GIBIBYTE) -> None:
        self._capacity = capacity_bytes
        self._kept: OrderedDict[bytes, SlicePatches] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def find(self, key: bytes) -> SlicePatches | None:
        """What was kept under a key, if it still is."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: bytes, patches: SlicePatches) -> None:
        """Keep features, and let go of the oldest beyond the capacity."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = patches
            self._bytes += patches.bytes
            while self._bytes > self._capacity:
                self._bytes -= self._kept.popitem(last=False)[1].bytes


def extract_patches(
    encoder: PatchEncoder,
    preprocessing: PreprocessingSettings,
    prepared: PreparedVolume,
    affine_ras: Matrix,
    positions: Sequence[SlicePosition],
    store: PatchStore | None = None,
) -> list[SlicePatches]:
    """Patch features of the slices at `positions`, in one batch as far as the store lacks them.

    Raises:
        ModelError: the encoder answers with NaN or infinity.
    """
    slices = [_cut(prepared, affine_ras, position) for position in positions]
    if store is None:
        return encode_framed(encoder, [one.framed(encoder.side, preprocessing) for one in slices])
    keys = [one.key(encoder, preprocessing) for one in slices]
    found = {key: patches for key in keys if (patches := store.find(key)) is not None}
    missing = {key: one for key, one in zip(keys, slices, strict=True) if key not in found}
    encoded = encode_framed(encoder, [one.framed(encoder.side, preprocessing) for one in missing.values()])
    for key, patches in zip(missing, encoded, strict=True):
        store.keep(key, patches)
        found[key] = patches
    return [found[key] for key in keys]


@dataclass(frozen=True)
class _Slice:
    scaled: NDArray[np.float32]
    seen: NDArray[np.bool_]
    spacing_mm: tuple[float, float]

    def framed(self, side: int, preprocessing: PreprocessingSettings) -> FramedSlice:
        return frame_slice(self.scaled, self.seen, self.spacing_mm, side, preprocessing)

    def key(self, encoder: PatchEncoder, preprocessing: PreprocessingSettings) -> bytes:
        network = (encoder.identity.model_dump_json(), type(encoder).__qualname__, encoder.side)
        told = (FEATURES_VERSION, network, self.spacing_mm, self.seen.shape)
        digest = hashlib.blake2b(f"{told} {preprocessing.model_dump_json()}".encode(), digest_size=32)
        digest.update(np.ascontiguousarray(self.scaled).data)
        digest.update(np.packbits(self.seen).data)
        return digest.digest()


def _cut(prepared: PreparedVolume, affine_ras: Matrix, position: SlicePosition) -> _Slice:
    return _Slice(
        extract_slice(prepared.scaled, affine_ras, position),
        extract_slice(prepared.seen, affine_ras, position),
        slice_spacing_mm(affine_ras, position),
    )


def encode_framed(encoder: PatchEncoder, framed: Sequence[FramedSlice]) -> list[SlicePatches]:
    if not framed:
        return []
    maps = encoder.patch_features(torch.from_numpy(np.stack([one.image for one in framed])))
    if not all(torch.isfinite(level).all() for level in maps):
        raise ModelError(
            f"The patch features of {encoder.identity.name} are not finite.", "Check its weights, or load them again."
        )
    rows, columns = max((level.shape[2:] for level in maps), key=lambda shape: shape[0] * shape[1])
    return [
        # Copies, since a view would keep the whole batch in memory.
        SlicePatches(one.frame, one.seen_patches((rows, columns)), tuple(level[number].clone() for level in maps))
        for number, one in enumerate(framed)
    ]


def slice_score(anomaly_map: FloatArray, share: float) -> float:
    """Mean of the highest `share` of a slice's seen values (rows, columns), at least one of them seen."""
    values = anomaly_map[np.isfinite(anomaly_map)]
    count = max(round(share * values.size), 1)
    return float(np.partition(values, -count)[-count:].mean(dtype=np.float64))
