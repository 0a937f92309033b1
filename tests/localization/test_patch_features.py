"""The store gives back what an encoder says, asks it once, and stays within its memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.config import Clahe, ForegroundSettings, PreprocessingSettings, WaveletDenoising
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.localization import patch_features
from anomalabel.localization.patch_features import FeatureStore, SlicePatches, extract_patches
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

PLAIN = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
FIRST, SECOND = SlicePosition(0, 0, "image"), SlicePosition(0, 1, "image")


class Counting:
    """Block means of 4 x 4 and 8 x 8 pixels of a 16-pixel square; counts the images it was asked about."""

    side = 16
    level_weights: tuple[float, ...] = ()

    def __init__(self, name="counting") -> None:
        self.identity = ModelIdentity(name=name, weights_sha256="2" * 64)
        self.asked = 0

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.asked += len(images)
        return tuple(torch.nn.functional.avg_pool2d(images[:, None], size) for size in (8, 4))


class OtherLevels(Counting):
    """Another kind of encoder on the same weights."""


def volume(seed=0) -> PreparedVolume:
    scaled = np.random.default_rng(seed).random((2, 16, 16), dtype=np.float32)
    return PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool))


def test_features_are_those_of_the_framed_slice():
    prepared = volume()
    prepared.seen[1, :, :8] = False
    first, second = extract_patches(Counting(), PLAIN, prepared, np.eye(4), (FIRST, SECOND))
    assert first.levels[1].shape == (1, 4, 4)
    np.testing.assert_allclose(first.levels[1][0, 3, 2], prepared.scaled[0, 12:, 8:12].mean(), rtol=1e-5)
    assert first.seen.shape == (4, 4)
    assert first.seen.all()
    # The square is centred on the body, columns 8 to 15, and reaches from column 4 to 19.
    np.testing.assert_array_equal(second.seen, np.tile([False, True, True, False], (4, 1)))


def test_a_slice_is_encoded_once():
    encoder, store, prepared = Counting(), FeatureStore(), volume()
    plain = extract_patches(encoder, PLAIN, prepared, np.eye(4), (FIRST, SECOND))
    stored = extract_patches(encoder, PLAIN, prepared, np.eye(4), (SECOND, FIRST, SECOND), store)
    assert encoder.asked == 4
    again = extract_patches(encoder, PLAIN, prepared, np.eye(4), (FIRST,), store)
    assert encoder.asked == 4
    for one, number in zip((*stored, *again), (1, 0, 1, 0), strict=True):
        torch.testing.assert_close(one.levels, plain[number].levels)


@pytest.mark.parametrize("change", ["pixels", "seen", "spacing", "preprocessing", "encoder", "version", "kind"])
def test_whatever_changes_the_features_asks_again(change, monkeypatch):
    encoder, store, prepared = Counting(), FeatureStore(), volume()
    extract_patches(encoder, PLAIN, prepared, np.eye(4), (FIRST,), store)
    affine, settings = np.eye(4), PLAIN
    if change == "pixels":
        prepared.scaled[0, 3, 3] += 1e-3
    if change == "seen":
        prepared.seen[0, 0, 0] = False
    if change == "spacing":
        affine = np.diag([1.0, 2.0, 1.0, 1.0])
    if change == "preprocessing":
        settings = PLAIN.model_copy(update={"equalisation": Clahe()})
    if change == "version":
        monkeypatch.setattr(patch_features, "FEATURES_VERSION", patch_features.FEATURES_VERSION + 1)
    other = {"encoder": Counting("other"), "kind": OtherLevels()}.get(change, encoder)
    extract_patches(other, settings, prepared, affine, (FIRST,), store)
    assert other.asked == (2 if other is encoder else 1)


def test_the_version_is_raised_when_the_pixels_that_encoders_get_change():
    """Where this fails on purpose, raise FEATURES_VERSION and write the new numbers here."""
    rows, columns = np.mgrid[:24, :40].astype(np.float32) / 40
    scaled = (0.5 + 0.4 * np.sin(9 * rows + 5 * columns**2)).astype(np.float32)[None]
    prepared = PreparedVolume(scaled, np.broadcast_to(columns > 0.3, scaled.shape).copy())
    settings = PLAIN.model_copy(update={"equalisation": Clahe(), "denoising": WaveletDenoising()})
    found = extract_patches(Counting(), settings, prepared, np.diag([1.0, 2.0, 1.0, 1.0]), (FIRST,))[0]
    assert patch_features.FEATURES_VERSION == 1
    np.testing.assert_allclose(found.levels[0].flatten(), [0.5514, 0.2311, 0.3560, 0.4398], atol=1e-4)


def test_the_oldest_leave_when_memory_is_full():
    def patches() -> SlicePatches:
        frame = SquareFrame.around((4, 4), (1.0, 1.0), 4)
        return SlicePatches(frame, np.ones((4, 4), dtype=bool), (torch.zeros(1, 4, 4),))

    assert patches().bytes == 64
    store = FeatureStore(capacity_bytes=128)
    for key in (b"a", b"b"):
        store.keep(key, patches())
    assert store.find(b"a") is not None
    store.keep(b"c", patches())
    assert [store.find(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_store_too_small_for_anything_still_answers():
    encoder, store = Counting(), FeatureStore(capacity_bytes=0)
    for _ in range(2):
        assert len(extract_patches(encoder, PLAIN, volume(), np.eye(4), (FIRST, SECOND), store)) == 2
    assert encoder.asked == 4


def test_features_that_are_not_finite_are_an_error():
    class Broken(Counting):
        def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (torch.full((len(images), 1, 2, 2), torch.nan),)

    with pytest.raises(ModelError, match="not finite"):
        extract_patches(Broken(), PLAIN, volume(), np.eye(4), (FIRST,))
