"""The normal bank on a fabric with a planted foreign texture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from anomalabel.config import AnatomyConfig, ForegroundSettings, NormalBankSettings, PreprocessingSettings, load_config
from anomalabel.detectors.base import PreparedImage, no_progress
from anomalabel.detectors.normal_bank import NormalBankDetector
from anomalabel.errors import Cancelled, ImageReadError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.patch_features import FeatureStore, slice_score
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

SIDE = 64
PLANT = (slice(24, 40), slice(8, 24))
PICTURE = (SlicePosition(0, 0, "image"),)


class TextureEncoder:
    """Mean and deviation of grey value and its gradients over 8 x 8 pixels, and over 16 x 16."""

    identity = ModelIdentity(name="texture", weights_sha256="3" * 64)
    side = SIDE
    level_weights: tuple[float, ...] = ()

    def __init__(self) -> None:
        self.asked = 0

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.asked += len(images)
        across, down = (
            functional.pad(images.diff(dim=axis).abs(), pad) for axis, pad in ((2, (0, 1)), (1, (0, 0, 0, 1)))
        )
        parts = torch.stack([images, across, down], dim=1)
        return tuple(
            torch.cat([functional.avg_pool2d(parts, size), functional.max_pool2d(parts, size)], dim=1)
            for size in (8, 16)
        )


def config(**bank) -> AnatomyConfig:
    preprocessing = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
    settings = NormalBankSettings(**bank)
    return load_config("brain_mri").model_copy(update={"preprocessing": preprocessing, "normal_bank": settings})


def fabric(seed: int, planted=False, seen=None) -> PreparedImage:
    """Vertical stripes with noise; a plant has horizontal ones."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 0.5 + 0.3 * np.sin(columns * 0.8 + generator.uniform(0, 6)) + 0.02 * generator.standard_normal((SIDE, SIDE))
    if planted:
        image[PLANT] = (0.5 + 0.3 * np.sin(rows * 0.8))[PLANT]
    scaled = np.clip(image, 0, 1).astype(np.float32)[None]
    prepared = PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool) if seen is None else seen)
    return PreparedImage(prepared, np.eye(4), PICTURE)


def detect(detector: NormalBankDetector, image: PreparedImage, progress=no_progress):
    return detector.detect(image.prepared, image.affine_ras, image.positions, progress)


@pytest.fixture(scope="module")
def shots() -> tuple[PreparedImage, ...]:
    return tuple(fabric(seed) for seed in range(4))


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_maximum_lies_inside_the_plant_and_the_score_is_higher(shots, metric):
    detector = NormalBankDetector(TextureEncoder(), shots, config(metric=metric), seed=0)
    sick, healthy = detect(detector, fabric(9, planted=True)), detect(detector, fabric(9))
    row, column = np.unravel_index(int(np.nanargmax(sick.anomaly_map[0])), (SIDE, SIDE))
    assert PLANT[0].start <= row < PLANT[0].stop
    assert PLANT[1].start <= column < PLANT[1].stop
    assert sick.image_score > 2 * healthy.image_score
    assert sick.prompt_specificity is None
    assert detector.identity == TextureEncoder.identity


def test_a_shots_own_patches_are_at_distance_zero_until_it_is_left_out(shots):
    store = FeatureStore()
    encoder = TextureEncoder()
    full = detect(NormalBankDetector(encoder, shots, config(), 0, store), shots[1])
    np.testing.assert_array_equal(full.anomaly_map, np.zeros((1, SIDE, SIDE), dtype=np.float32))
    assert full.image_score == 0
    others = detect(NormalBankDetector(encoder, shots[:1] + shots[2:], config(), 0, store), shots[1])
    assert others.image_score > 0
    assert (others.anomaly_map > 0).mean() > 0.9
    assert encoder.asked == 4


def test_a_store_changes_nothing(shots):
    image = fabric(7, planted=True)
    plain = detect(NormalBankDetector(TextureEncoder(), shots, config(), 0), image)
    stored = detect(NormalBankDetector(TextureEncoder(), shots, config(), 0, FeatureStore()), image)
    np.testing.assert_array_equal(plain.anomaly_map, stored.anomaly_map)


def test_what_was_not_seen_is_unknown_and_does_not_count(shots):
    seen = np.ones((1, SIDE, SIDE), dtype=bool)
    seen[0, PLANT[0], PLANT[1]] = False
    detector = NormalBankDetector(TextureEncoder(), shots, config(pooling=1), 0)
    hidden = detect(detector, fabric(9, planted=True, seen=seen))
    np.testing.assert_array_equal(np.isnan(hidden.anomaly_map), ~seen)
    assert hidden.image_score < detect(detector, fabric(9, planted=True)).image_score


def test_the_image_score_is_the_mean_of_the_farthest_patches(shots):
    image = fabric(9, planted=True)
    scores = [
        detect(NormalBankDetector(TextureEncoder(), shots, config(score_share=share), 0), image).image_score
        for share in (1e-6, 0.25, 1)
    ]
    assert scores[0] > scores[1] > scores[2]
    assert slice_score(np.arange(10, dtype=np.float32)[None], 0.3) == 8
    assert slice_score(np.array([[4, np.nan, 1]], dtype=np.float32), 0.01) == 4


def test_a_volumes_score_is_its_worst_slices_and_a_healthy_volume_gives_spread_slices(shots):
    def stack(*images: PreparedImage) -> PreparedImage:
        scaled = np.concatenate([image.prepared.scaled for image in images])
        positions = tuple(SlicePosition(0, index, "image") for index in range(len(images)))
        return PreparedImage(PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool)), np.eye(4), positions)

    encoder = TextureEncoder()
    detector = NormalBankDetector(encoder, [stack(*shots)], config(slices_a_volume=2), 0)
    assert encoder.asked == 2
    sick, healthy = fabric(9, planted=True), fabric(8)
    told = []
    both = detect(detector, stack(healthy, sick), lambda done, total: told.append((done, total)))
    assert both.image_score == pytest.approx(detect(detector, sick).image_score, rel=1e-5)
    np.testing.assert_allclose(both.anomaly_map[0], detect(detector, healthy).anomaly_map[0], atol=1e-6)
    assert told == [(0, 2), (2, 2)]
    first_and_last = NormalBankDetector(encoder, (shots[0], shots[3]), config(), 0)
    np.testing.assert_allclose(both.anomaly_map[1], detect(first_and_last, sick).anomaly_map[0], atol=1e-6)


def test_progress_can_cancel(shots):
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        detect(NormalBankDetector(TextureEncoder(), shots, config(), 0), shots[0], cancel)


def test_an_image_without_a_seen_patch_is_an_error(shots):
    nothing = fabric(0, seen=np.zeros((1, SIDE, SIDE), dtype=bool))
    with pytest.raises(ImageReadError, match="No patch of the image"):
        detect(NormalBankDetector(TextureEncoder(), shots, config(), 0), nothing)
