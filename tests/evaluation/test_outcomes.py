"""Findings on the evaluation grid, and the slice of a volume that a report shows."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from anomalabel.config import load_config
from anomalabel.detectors.base import Detection
from anomalabel.evaluation.cases import Box, EvaluationCase, Thresholds
from anomalabel.evaluation.images import CaseLoader, load_case
from anomalabel.evaluation.outcomes import example_of, outcome_of

BREAST, BRAIN = load_config("breast_ultrasound"), load_config("brain_mri")


def cut(pixel: float) -> Thresholds:
    return Thresholds(0.5, pixel, "")


@pytest.fixture
def large_picture(tmp_path) -> EvaluationCase:
    """512 x 512, a lesion of 64 x 32 pixels at (128, 256)."""
    pixels = np.random.default_rng(0).integers(60, 140, (512, 512)).astype(np.uint8)
    mask = np.zeros((512, 512), dtype=np.uint8)
    mask[128:192, 256:288] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    return EvaluationCase("a.png", tmp_path / "a.png", True, tmp_path / "a_mask.png")


@pytest.fixture
def volume(tmp_path) -> EvaluationCase:
    """(Z, Y, X) = (6, 24, 20), a lesion in slices 3 (4 voxels) and 4 (16 voxels)."""
    voxels = np.random.default_rng(0).uniform(100, 200, (20, 24, 6)).astype(np.float32)
    lesion = np.zeros((20, 24, 6), dtype=np.uint8)
    lesion[4:6, 10:12, 3] = lesion[4:8, 10:14, 4] = 1
    affine = np.diag([3.0, 3.0, 5.0, 1.0])
    for name, values in (("a.nii.gz", voxels), ("a_mask.nii.gz", lesion)):
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / name)
    return EvaluationCase("a.nii.gz", tmp_path / "a.nii.gz", True, tmp_path / "a_mask.nii.gz")


def test_findings_lie_on_the_reduced_grid_and_start_at_the_threshold(large_picture):
    loaded = load_case(large_picture, BREAST)
    assert loaded.lesion.shape == (256, 256)
    assert loaded.true_boxes == (Box((64, 128), (95, 143)),)
    anomaly_map = np.zeros((256, 256), dtype=np.float32)
    anomaly_map[64:96, 128:144] = 0.7
    anomaly_map[70, 130] = 0.9
    outcome = outcome_of(loaded, Detection(anomaly_map, 1.0), cut(0.7), BREAST)
    assert outcome.found == (Box((64, 128), (95, 143), pytest.approx(0.9)),)
    assert outcome_of(loaded, Detection(anomaly_map, 1.0), cut(0.95), BREAST).found == ()


def test_small_findings_are_dropped_by_their_true_size(large_picture):
    """25 square millimetres are 25 source pixels and 6.25 of the reduced grid."""
    loaded = load_case(large_picture, BREAST)
    anomaly_map = np.zeros((256, 256), dtype=np.float32)
    anomaly_map[10:12, 10:13] = 1
    anomaly_map[20:22, 20:24] = 1
    outcome = outcome_of(loaded, Detection(anomaly_map, 1.0), cut(0.5), BREAST)
    assert [(box.low, box.high) for box in outcome.found] == [((20, 20), (21, 23))]


def test_without_a_threshold_there_are_no_findings(large_picture):
    loaded = load_case(large_picture, BREAST)
    outcome = outcome_of(loaded, Detection(np.ones((256, 256), dtype=np.float32), 1.0), cut(float("nan")), BREAST)
    assert outcome.found == ()


def test_a_volume_shows_the_slice_with_most_of_the_lesion(volume):
    loaded = load_case(volume, BRAIN)
    anomaly_map = np.zeros((6, 24, 20), dtype=np.float32)
    anomaly_map[1, 0, 0] = 5
    anomaly_map[4, 9:15, 3:9] = 1
    outcome = outcome_of(loaded, Detection(anomaly_map, 1.0), cut(0.5), BRAIN)
    example = example_of(loaded, outcome)
    assert example.lesion.sum() == 16
    assert example.anomaly_map.shape == example.picture.shape == (24, 20)
    assert example.true_boxes == (Box((10, 4), (13, 7)),)
    assert example.found == (Box((9, 3), (14, 8), 1.0),)
    np.testing.assert_allclose(example.picture / 255, loaded.image.prepared.scaled[4], atol=0.5 / 255 + 1e-6)


def test_a_healthy_volume_shows_the_peak_of_its_map(volume):
    loaded = load_case(EvaluationCase("a", volume.image, False), BRAIN)
    anomaly_map = np.zeros((6, 24, 20), dtype=np.float32)
    anomaly_map[1, 2, 3] = 5
    outcome = outcome_of(loaded, Detection(anomaly_map, 1.0), cut(9.0), BRAIN)
    assert example_of(loaded, outcome).anomaly_map[2, 3] == 5


def test_the_loader_reads_once_as_long_as_it_has_room(large_picture, tmp_path, monkeypatch):
    read: list[Path] = []
    original = load_case

    def counting(case, config):
        read.append(case.image)
        return original(case, config)

    monkeypatch.setattr("anomalabel.evaluation.images.load_case", counting)
    other = EvaluationCase("b", large_picture.image, False)
    roomy = CaseLoader(BREAST)
    for case in (large_picture, other, large_picture):
        roomy.load(case)
    assert len(read) == 2
    one = roomy.load(large_picture).nbytes
    tight = CaseLoader(BREAST, limit=one)
    for case in (large_picture, large_picture, other, large_picture):
        tight.load(case)
    assert len(read) == 2 + 3
    full = CaseLoader(BREAST, limit=one - 1)
    assert full.load(large_picture) is not full.load(large_picture)
