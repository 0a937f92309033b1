"""Results as bytes and back: frozen dataclasses of numbers, texts, tuples, paths and arrays, without pickle."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

TREE = "tree"
PLAIN = (str, int, float, bool, type(None))


class RecordError(ValueError):
    """Bytes that hold no record, or one of a kind that was not asked for."""


def to_bytes(record: Any) -> bytes:
    """One record as a compressed NumPy archive: a tree in JSON and the arrays it refers to.

    Args:
        record: a dataclass, tuple, path, array or plain value; dictionaries with text keys; nested at will.

    Raises:
        TypeError: something else is in it.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_flatten(record, arrays))
    stream = io.BytesIO()
    np.savez_compressed(stream, **{TREE: np.array(tree)}, **arrays)
    return stream.getvalue()


def from_bytes(content: bytes, kinds: Iterable[type]) -> Any:
    """The inverse of `to_bytes`.

    Args:
        kinds: every dataclass that may be in it; nothing else is ever constructed.

    Raises:
        RecordError: damaged bytes, or a record of another kind or of other fields.
    """
    by_name = {kind.__name__: kind for kind in kinds}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _grow(json.loads(str(arrays[TREE])), arrays, by_name)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"not a record of {', '.join(by_name)}: {error}") from error


def _flatten(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple):
        return {"tuple": [_flatten(part, arrays) for part in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): _flatten(part, arrays) for key, part in value.items()}}
    if isinstance(value, Path):
        return {"path": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: _flatten(getattr(value, part.name), arrays) for part in fields(value) if part.init}
        return {"kind": type(value).__name__, "fields": parts}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _grow(node: Any, arrays: dict[str, np.ndarray], kinds: dict[str, type]) -> Any:
    if not isinstance(node, dict):
        return node
    if "array" in node:
        return arrays[node["array"]]
    if "tuple" in node:
        return tuple(_grow(part, arrays, kinds) for part in node["tuple"])
    if "dict" in node:
        return {key: _grow(part, arrays, kinds) for key, part in node["dict"].items()}
    if "path" in node:
        return Path(node["path"])
    return kinds[node["kind"]](**{name: _grow(part, arrays, kinds) for name, part in node["fields"].items()})
