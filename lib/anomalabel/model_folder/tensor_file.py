"""Tensors and a text about them in one safetensors file, with the checksums that safetensors leaves out.

One file is the largest thing that every file system replaces in one step, so what belongs together lies in one.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

TEXT, TEXT_SHA256, TENSORS_SHA256 = "anomalabel", "anomalabel_sha256", "tensors_sha256"
LENGTH_BYTES = 8
LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""


class TensorFileError(Exception):
    """The file is damaged, or nobody of ours wrote it."""


class ForeignFileError(TensorFileError):
    """A whole safetensors file that somebody else wrote."""


@dataclass(frozen=True)
class Label:
    """What a file says about itself; its text is checked, its tensors are not.

    Args:
        text: as it was given to `pack`.
        tensors_sha256: what the tensors' hash must be.
    """

    text: str
    tensors_sha256: str


def pack(text: str, tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file that `unpack` reads back.

    Args:
        text: any UTF-8, in the file's metadata.
        tensors: by name, on any device; at least one.
    """
    # Clones, since safetensors refuses tensors that share memory.
    held = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {TEXT: text, TEXT_SHA256: _sha256(text.encode()), TENSORS_SHA256: hash_of_tensors(held)}
    return save(held, metadata)


def unpack(content: bytes) -> tuple[Label, dict[str, Tensor]]:
    """Text and tensors of a file's bytes, both checked; the tensors are in main memory.

    Raises:
        TensorFileError: a single bit is not as it was written, or the file is none of ours.
    """
    label = _label_of(content[LENGTH_BYTES : LENGTH_BYTES + _header_bytes(content[:LENGTH_BYTES])])
    try:
        tensors = load(content)
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise TensorFileError(f"its tensors cannot be read ({error})") from error
    if hash_of_tensors(tensors) != label.tensors_sha256:
        raise TensorFileError("its tensors do not have the hash that they were written with")
    return label, tensors


def read_label(path: Path) -> Label:
    """The text of a file, without reading its tensors.

    Raises:
        TensorFileError: its head is damaged, or the file is none of ours.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        length = _header_bytes(stream.read(LENGTH_BYTES))
        return _label_of(stream.read(length))


def hash_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hexadecimal SHA-256 of tensors by name: names, shapes, kinds of number and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header_bytes(start: bytes) -> int:
    if len(start) < LENGTH_BYTES:
        raise TensorFileError("it ends early")
    length: int = struct.unpack("<Q", start)[0]
    if length > LARGEST_HEADER:
        raise TensorFileError("it is no safetensors file")
    return length


def _label_of(header: bytes) -> Label:
    try:
        parsed: Any = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise TensorFileError("its head is damaged") from error
    metadata = parsed.get("__metadata__", {}) if isinstance(parsed, dict) else None
    if not isinstance(metadata, dict):
        raise TensorFileError("its head is damaged")
    text, text_sha256, tensors_sha256 = (metadata.get(key) for key in (TEXT, TEXT_SHA256, TENSORS_SHA256))
    if text is None and text_sha256 is None:
        raise ForeignFileError("it was not written by AnomaLabel")
    if not isinstance(text, str) or not isinstance(tensors_sha256, str) or _sha256(_bytes(text)) != text_sha256:
        raise TensorFileError("its description does not have the hash that it was written with")
    return Label(text, tensors_sha256)


def _bytes(text: str) -> bytes:
    # JSON of a damaged file may hold half a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
