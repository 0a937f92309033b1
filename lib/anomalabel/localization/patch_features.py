"""Patch features of slices, remembered: shots and test images come back in every draw of an evaluation."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
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


@dataclass(frozen=True)
class CutSlice:
    """A slice of a prepared volume in display orientation, before any network has set its size.

    Args:
        scaled: (H, W) float32 in [0, 1], as `prepare_volume` gives it; may be a view that keeps its volume in memory.
        seen: (H, W) bool, pixels that hold body.
        spacing_mm: between rows and between columns.
    """

    scaled: NDArray[np.float32]
    seen: NDArray[np.bool_]
    spacing_mm: tuple[float, float]

    def framed(self, side: int, preprocessing: PreprocessingSettings) -> FramedSlice:
        """The slice in the square input, `side` pixels wide, of a network."""
        return frame_slice(self.scaled, self.seen, self.spacing_mm, side, preprocessing)

    def key(self, encoder: PatchEncoder, preprocessing: PreprocessingSettings) -> bytes:
        """Hashes all that decides what an encoder says about the slice."""
        network = (encoder.identity.model_dump_json(), type(encoder).__qualname__, encoder.side)
        told = (FEATURES_VERSION, network, self.spacing_mm, self.seen.shape)
        digest = hashlib.blake2b(f"{told} {preprocessing.model_dump_json()}".encode(), digest_size=32)
        digest.update(np.ascontiguousarray(self.scaled).data)
        digest.update(np.packbits(self.seen).data)
        return digest.digest()


def cut_slice(prepared: PreparedVolume, affine_ras: Matrix, position: SlicePosition) -> CutSlice:
    """The slice of a volume at a position."""
    return CutSlice(
        extract_slice(prepared.scaled, affine_ras, position),
        extract_slice(prepared.seen, affine_ras, position),
        slice_spacing_mm(affine_ras, position),
    )


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
    slices = [cut_slice(prepared, affine_ras, position) for position in positions]
    return extract_cut(encoder, preprocessing, slices, store)


def extract_cut(
    encoder: PatchEncoder,
    preprocessing: PreprocessingSettings,
    slices: Iterable[CutSlice],
    store: PatchStore | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[SlicePatches]:
    """Patch features of slices, whichever volumes they come from; what the store lacks fills batches across volumes.

    Args:
        slices: taken one by one and let go of once encoded, so that they may be read as they are asked for.
        store: asked first, and given what it lacked after each batch.
        batch_size: slices encoded together; None encodes all that are missing at once.
        progress: told how many slices are done, after each batch and at the end; may raise Cancelled.

    Returns:
        One for each slice, in their order; those that are alike share one where there is a store.

    Raises:
        ModelError: the encoder answers with NaN or infinity.
    """
    found: dict[bytes, SlicePatches] = {}
    waiting: dict[bytes, CutSlice] = {}
    keys: list[bytes] = []

    def encode() -> None:
        encoded = encode_framed(encoder, [one.framed(encoder.side, preprocessing) for one in waiting.values()])
        for key, patches in zip(waiting, encoded, strict=True):
            if store is not None:
                store.keep(key, patches)
            found[key] = patches
        waiting.clear()
        if progress is not None:
            progress(len(keys))

    for number, one in enumerate(slices):
        key = number.to_bytes(8, "big") if store is None else one.key(encoder, preprocessing)
        keys.append(key)
        if key in found or key in waiting:
            continue
        kept = None if store is None else store.find(key)
        if kept is not None:
            found[key] = kept
            continue
        waiting[key] = one
        if len(waiting) == batch_size:
            encode()
    encode()
    return [found[key] for key in keys]


def encode_framed(encoder: PatchEncoder, framed: Sequence[FramedSlice]) -> list[SlicePatches]:
    """Patch features of slices that sit in the encoder's input already, in one batch.

    Raises:
        ModelError: the encoder answers with NaN or infinity.
    """
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
