"""The user's cache: what one run computed is there in the next, for the same hardware and precision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from anomalabel.localization.patch_features import SlicePatches
from anomalabel.localization.stored_features import stored_features
from anomalabel.preprocessing.framing import SquareFrame


@dataclass(frozen=True)
class Encoders:
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@pytest.fixture
def patches(tmp_path, monkeypatch) -> SlicePatches:
    monkeypatch.setenv("ANOMALABEL_CACHE", str(tmp_path))
    seen = np.array([[True, False], [True, True]])
    frame = SquareFrame.around((8, 8), (1.0, 2.0), 16, np.ones((8, 8), dtype=bool))
    return SlicePatches(frame, seen, (torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0)),))


def test_what_one_run_kept_the_next_one_finds(patches, tmp_path):
    stored_features(Encoders()).keep(b"a slice", patches)
    assert [path.suffix for path in (tmp_path / "features").rglob("*") if path.is_file()] == [".safetensors"]
    found = stored_features(Encoders()).find(b"a slice")
    assert found is not None
    assert torch.equal(found.levels[0], patches.levels[0])
    np.testing.assert_array_equal(found.seen, patches.seen)
    assert found.frame == patches.frame
    assert stored_features(Encoders()).find(b"another") is None


def test_memory_comes_before_the_disk(patches, tmp_path):
    store = stored_features(Encoders())
    store.keep(b"a slice", patches)
    for path in (tmp_path / "features").rglob("*.safetensors"):
        path.unlink()
    assert store.find(b"a slice") is patches
    assert stored_features(Encoders()).find(b"a slice") is None


def test_another_precision_has_features_of_its_own(patches):
    stored_features(Encoders()).keep(b"a slice", patches)
    assert stored_features(Encoders(torch.bfloat16)).find(b"a slice") is None
    assert stored_features(Encoders()).find(b"a slice") is not None
