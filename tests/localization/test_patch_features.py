"""The store gives back what an encoder says, asks it once, and stays within its memory."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from anomalabel.config import Clahe, ForegroundSettings, PreprocessingSettings, WaveletDenoising
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.localization import patch_features
from anomalabel.localization.patch_features import (
    FeatureStore,
    SlicePatches,
    cut_slice,
    extract_cut,
    extract_patches,
)
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


class Batches(Counting):
    """Counts the images of each time it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.batches.append(len(images))
        return super().patch_features(images)


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


def test_a_cut_slice_is_what_is_shown_at_its_position():
    scaled = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 24
    seen = np.zeros((2, 3, 4), bool)
    seen[1, 2, 3] = True
    one = cut_slice(PreparedVolume(scaled, seen), np.diag([-0.5, -2.0, 3.0, 1.0]), SlicePosition(0, 1, "image"))
    np.testing.assert_array_equal(one.scaled, scaled[1])
    np.testing.assert_array_equal(np.argwhere(one.seen), [[2, 3]])
    assert one.spacing_mm == (2.0, 0.5)
    assert one.framed(16, PLAIN).image.shape == (16, 16)


def test_slices_of_several_volumes_share_batches_and_the_store():
    encoder, store, done = Batches(), FeatureStore(), []
    volumes = [volume(seed) for seed in range(3)]
    slices = [cut_slice(prepared, np.eye(4), position) for prepared in volumes for position in (FIRST, SECOND)]
    extract_cut(encoder, PLAIN, slices[1:2], store)
    found = extract_cut(encoder, PLAIN, iter([*slices, slices[3]]), store, 2, done.append)
    assert encoder.batches == [1, 2, 2, 1]
    assert done == [3, 5, 7]
    expected = [
        one for prepared in volumes for one in extract_patches(Counting(), PLAIN, prepared, np.eye(4), (FIRST, SECOND))
    ]
    for one, other in zip(found, [*expected, expected[3]], strict=True):
        torch.testing.assert_close(one.levels, other.levels)
        np.testing.assert_array_equal(one.seen, other.seen)


def test_without_a_store_every_slice_is_encoded():
    encoder = Batches()
    one = cut_slice(volume(), np.eye(4), FIRST)
    assert len(extract_cut(encoder, PLAIN, [one, one, one], batch_size=2)) == 3
    assert len(extract_cut(encoder, PLAIN, [one, one, one])) == 3
    assert encoder.batches == [2, 1, 3]
    assert extract_cut(encoder, PLAIN, []) == []


def test_slices_are_let_go_of_once_they_are_encoded():
    told: list[weakref.ref] = []
    most = []

    def read():
        for seed in range(6):
            one = cut_slice(volume(seed), np.eye(4), FIRST)
            told.append(weakref.ref(one))
            yield one
            del one
            most.append(sum(reference() is not None for reference in told))

    extract_cut(Counting(), PLAIN, read(), FeatureStore(), batch_size=3)
    assert max(most) == 2


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
