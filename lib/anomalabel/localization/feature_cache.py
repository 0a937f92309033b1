"""Patch features on disk: what was encoded once is there in the next run, and in the next process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalabel.localization.patch_features import GIBIBYTE, FeatureStore, PatchStore, SlicePatches
from anomalabel.model_folder.tensor_file import TensorFileError, pack, unpack
from anomalabel.preprocessing.framing import SquareFrame

SUFFIX = ".safetensors"
UNFINISHED_SUFFIX = ".unfinished"
ABANDONED_SECONDS = 3600.0
"""An unfinished file of this age belongs to a process that was killed."""

KEPT_SHARE = 0.9
"""Of the capacity, after the oldest were removed: so that this is not done at every writing."""

COUNTED_SHARE = 1 / 16
"""Of the capacity: after writing so much a process counts again what all processes wrote."""

LOGGER = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where features lie: $ANOMALABEL_CACHE/features, or the user's cache folder."""
    chosen = os.environ.get("ANOMALABEL_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "anomalabel") / "features"


class DiskFeatureStore:
    """A `PatchStore` of one file for each slice, for several processes at once.

    Features come back bit by bit as they were given: float32, or bfloat16 where that is the same (features of an
    encoder that computes in it). A file that is damaged, or was written under another key, is deleted and never used.
    Whatever the disk refuses only means that nothing is kept; that is logged once.

    The folder is readable for its user alone: features let parts of a picture be guessed.

    Args:
        folder: made when first needed; None is `cache_folder()`.
        computed: how the encoder computes, "cpu float32" say: the same weights on other hardware or in another
            precision give slightly other features, which are kept apart.
        capacity_bytes: of all files; those not used for longest leave first. With several processes it is exceeded by
            up to a sixteenth for each.
        device: where features are wanted, as the encoder would give them.
    """

    def __init__(
        self,
        computed: str,
        folder: Path | None = None,
        capacity_bytes: int = 4 * GIBIBYTE,
        device: torch.device | str = "cpu",
    ) -> None:
        self._folder = cache_folder() if folder is None else folder
        self._computed, self._capacity, self._device = computed, capacity_bytes, device
        self._lock = threading.Lock()
        self._uncounted: int | None = None
        self._room = 0
        self._told = False

    def find(self, key: bytes) -> SlicePatches | None:
        """What any process kept under a key, if it still is there and whole."""
        name = self._name(key)
        path = self._path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(error)
            return None
        try:
            patches = _from_bytes(content, name, self._device)
        except TensorFileError as error:
            LOGGER.warning("%s is deleted, and its features are computed again: %s.", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            # The time of the last use decides what leaves first.
            os.utime(path)
        return patches

    def keep(self, key: bytes, patches: SlicePatches) -> None:
        """Write features, as far as the disk and the capacity allow it."""
        name = self._name(key)
        path = self._path(name)
        try:
            if path.exists():
                return
            content = _to_bytes(patches, name)
            if len(content) > self._capacity:
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, content)
            self._make_room(len(content))
        except OSError as error:
            self._tell(error)

    def _name(self, key: bytes) -> str:
        return hashlib.blake2b(self._computed.encode() + b"\0" + key, digest_size=32).hexdigest()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}{SUFFIX}"

    def _make_room(self, written: int) -> None:
        with self._lock:
            if self._uncounted is not None:
                self._uncounted += written
                if self._uncounted <= self._room:
                    return
            total = _remove_oldest(self._folder, self._capacity)
            self._uncounted = 0
            self._room = min(self._capacity - total, int(self._capacity * COUNTED_SHARE))

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            LOGGER.warning("Features are not kept in %s: %s. Work goes on without.", self._folder, error)


class LayeredFeatureStore:
    """A `PatchStore` that asks memory first, then the disk; what is kept goes to both."""

    def __init__(self, memory: FeatureStore, disk: PatchStore) -> None:
        self._memory, self._disk = memory, disk

    def find(self, key: bytes) -> SlicePatches | None:
        """What either holds; memory then holds it too."""
        patches = self._memory.find(key)
        if patches is None:
            patches = self._disk.find(key)
            if patches is not None:
                self._memory.keep(key, patches)
        return patches

    def keep(self, key: bytes, patches: SlicePatches) -> None:
        """Keep features in both."""
        self._memory.keep(key, patches)
        self._disk.keep(key, patches)


def _to_bytes(patches: SlicePatches, name: str) -> bytes:
    text = json.dumps({"name": name, "frame": asdict(patches.frame), "levels": len(patches.levels)})
    levels = {f"level_{number}": _shortest(level) for number, level in enumerate(patches.levels)}
    return pack(text, {"seen": torch.from_numpy(np.ascontiguousarray(patches.seen)), **levels})


def _shortest(level: Tensor) -> Tensor:
    """bfloat16 where no bit is lost by it."""
    short = level.bfloat16()
    return short if torch.equal(short.float(), level) else level


def _from_bytes(content: bytes, name: str, device: torch.device | str) -> SlicePatches:
    label, tensors = unpack(content)
    try:
        told: dict[str, Any] = json.loads(label.text)
        if told["name"] != name:
            raise TensorFileError("it holds the features of another key")
        frame = told["frame"]
        rows, columns = frame["shape"]
        row_mm, column_mm = frame["spacing_mm"]
        top_mm, left_mm = frame["origin_mm"]
        square = SquareFrame((rows, columns), (row_mm, column_mm), frame["side"], (top_mm, left_mm), frame["extent_mm"])
        levels = tuple(tensors[f"level_{number}"].float().to(device) for number in range(told["levels"]))
        return SlicePatches(square, tensors["seen"].numpy(), levels)
    except (LookupError, TypeError, ValueError) as error:
        raise TensorFileError("it holds no features of a slice") from error


def _write(path: Path, content: bytes) -> None:
    """In one step; whoever writes the same file at the same time writes the same."""
    descriptor, unfinished = tempfile.mkstemp(suffix=UNFINISHED_SUFFIX, dir=path.parent)
    try:
        # Not synced: a file that a loss of power leaves torn is found by its hash.
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _remove_oldest(folder: Path, capacity: int) -> int:
    """Bytes in all files, after the least recently used were removed where they were more than the capacity."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.glob("??/*"):
        # Other processes remove files too.
        with suppress(FileNotFoundError):
            facts = path.stat()
            if path.suffix == SUFFIX:
                files.append((facts.st_mtime, facts.st_size, path))
            elif path.suffix == UNFINISHED_SUFFIX and time.time() - facts.st_mtime > ABANDONED_SECONDS:
                path.unlink()
    total = sum(size for _, size, _ in files)
    if total <= capacity:
        return total
    for _, size, path in sorted(files):
        path.unlink(missing_ok=True)
        total -= size
        if total <= capacity * KEPT_SHARE:
            break
    return total
