"""Pixels of the picture of a reconstruction: what lies beside what, and in which colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.config import load_config
from anomalabel.explain.reconstruction_panel import write_reconstruction_panel
from anomalabel.finding import FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.findings import extract_findings
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.seen_image import SeenImage
from anomalabel.volume import FloatArray, Volume

SHAPE = (1, 40, 60)
LESION = (0, slice(10, 20), slice(30, 45))
THRESHOLD = 2.0
UNIT = np.eye(4)


def seen_image(scaled: FloatArray, affine=UNIT) -> SeenImage:
    volume = Volume(scaled * 900 - 100, affine, source="a", spatial_dims=2 if scaled.shape[0] == 1 else 3)
    return SeenImage(volume, PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool)), load_config("brain_mri"))


def write(path: Path, seen: SeenImage, anomaly_map: FloatArray, extra_maps, calibrated=True) -> np.ndarray:
    """The picture (H, W, 3), int."""
    report = FindingsReport(
        image="a.png",
        method="reconstruction",
        model=ModelIdentity(name="tiny", weights_sha256="0" * 64),
        config="brain_mri",
        prompts=PromptTexts(positive=(), negative=()),
        image_score=5,
        calibrated=calibrated,
        threshold=Threshold(value=THRESHOLD, rule="by hand"),
        prompt_specificity=None,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(
            grid=anomaly_map.shape[::-1], min=float(np.nanmin(anomaly_map)), max=float(np.nanmax(anomaly_map))
        ),
        findings=tuple(extract_findings(anomaly_map, seen.volume.affine_ras, THRESHOLD, 0, "spot", "run")),
    )
    write_reconstruction_panel(path, seen, anomaly_map, extra_maps, report)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def runs(filled: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[False, filled, False].astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def panels(picture: np.ndarray) -> list[np.ndarray]:
    """The panels from left to right; everything shown in them is brighter than their surroundings."""
    bright = picture.max(axis=2) > 40
    # The title's letters fill no row of the picture.
    top, bottom = max(runs(bright.mean(axis=1) > 0.5), key=lambda run: run[1] - run[0])
    columns = [run for run in runs(bright[top:bottom].mean(axis=0) > 0.9) if run[1] - run[0] > 50]
    return [picture[top:bottom, left:right] for left, right in columns]


def at(panel: np.ndarray, row: float, column: float, shape=SHAPE[1:]) -> np.ndarray:
    """The colour of a pixel of the slice."""
    rows, columns = ((place + 0.5) / length for place, length in zip((row, column), shape, strict=True))
    return panel[int(rows * panel.shape[0]), int(columns * panel.shape[1])]


@pytest.fixture
def maps():
    """Image, anomaly map, saliency and reconstruction of a picture with a bright lesion that is hidden and restored."""
    scaled = np.full(SHAPE, 0.5, dtype=np.float32)
    scaled[LESION] = 0.9
    anomaly_map = np.full(SHAPE, 1.0, dtype=np.float32)
    anomaly_map[LESION] = 5.0
    saliency = np.full(SHAPE, 0.2, dtype=np.float32)
    saliency[LESION] = 1.0
    return scaled, anomaly_map, saliency, np.full(SHAPE, 0.5, dtype=np.float32)


def test_four_panels_side_by_side(maps, tmp_path):
    scaled, anomaly_map, saliency, restored = maps
    picture = write(
        tmp_path / "p.png", seen_image(scaled), anomaly_map, {"saliency": saliency, "reconstruction": restored}
    )
    image, looked, healthy, error = panels(picture)
    assert image.shape[1] / image.shape[0] == pytest.approx(60 / 40, rel=0.03)
    # Image and reconstruction have one grey scale.
    assert at(image, 14, 36) == pytest.approx(0.9 * 255, abs=2)
    for panel in (image, healthy):
        assert at(panel, 30, 10) == pytest.approx(0.5 * 255, abs=2)
    assert at(healthy, 14, 36) == pytest.approx(0.5 * 255, abs=2)
    # Saliency is in colour, and outlined where the model could not see.
    low, high = at(looked, 30, 10), at(looked, 14, 36)
    assert low[2] > low[1]
    assert high[1] > high[2] + 40
    outline = (looked > 200).all(axis=2)
    drawn_rows, drawn_columns = np.nonzero(outline)
    places = (drawn_rows.min(), drawn_rows.max(), drawn_columns.min(), drawn_columns.max())
    scale = looked.shape[0] / 40
    assert np.array(places) / scale == pytest.approx([10, 20, 30, 45], abs=1)
    # Error is dark where the model was right, and bright where it was wrong.
    assert at(error, 14, 36).sum() > at(error, 30, 10).sum() + 200


def test_calibrated_colours_are_the_same_for_all_images(maps, tmp_path):
    scaled, anomaly_map, saliency, _ = maps
    faint = np.where(anomaly_map > THRESHOLD, np.float32(2.5), anomaly_map)
    shown = [
        at(panels(write(tmp_path / "p.png", seen_image(scaled), values, {"saliency": saliency}))[-1], 14, 36).sum()
        for values in (anomaly_map, faint)
    ]
    assert shown[0] > shown[1] + 80
    relative = [
        at(panels(write(tmp_path / "p.png", seen_image(scaled), values, {"saliency": saliency}, False))[-1], 14, 36)
        for values in (anomaly_map, faint)
    ]
    np.testing.assert_allclose(*relative, atol=3)


@pytest.mark.parametrize("name", ["saliency", "reconstruction"])
def test_a_map_that_is_not_there_has_no_panel(maps, tmp_path, name):
    scaled, anomaly_map, saliency, restored = maps
    only = {"saliency": saliency, "reconstruction": restored}[name]
    assert len(panels(write(tmp_path / "p.png", seen_image(scaled), anomaly_map, {name: only}))) == 3


def test_of_a_volume_the_acquisition_slice_of_the_highest_error_is_shown(tmp_path):
    scaled = np.full((4, 40, 60), 0.5, dtype=np.float32)
    scaled[2] = 0.8
    anomaly_map = np.full(scaled.shape, np.nan, dtype=np.float32)
    anomaly_map[1:3] = 1.0
    anomaly_map[2, 5, 50] = 4.0
    restored = np.full(scaled.shape, np.nan, dtype=np.float32)
    restored[1:3] = 0.3
    # Indices grow to the left and backwards, so that an axial slice is shown as it is stored; rows are twice as far
    # apart as columns.
    seen = seen_image(scaled, np.diag([-1.0, -2.0, 5.0, 1.0]))
    image, healthy, error = panels(write(tmp_path / "p.png", seen, anomaly_map, {"reconstruction": restored}))
    assert image.shape[1] / image.shape[0] == pytest.approx(60 / 80, rel=0.03)
    assert at(image, 20, 30) == pytest.approx(0.8 * 255, abs=2)
    assert at(healthy, 20, 30) == pytest.approx(0.3 * 255, abs=2)
    assert at(error, 5, 50).sum() > at(error, 30, 10).sum() + 200


def test_unseen_pixels_and_a_saliency_without_a_region(maps, tmp_path):
    scaled, anomaly_map, _, restored = maps
    saliency = np.full(SHAPE, np.nan, dtype=np.float32)
    extra_maps = {"saliency": saliency, "reconstruction": restored}
    _, looked, _, _ = panels(write(tmp_path / "p.png", seen_image(scaled), anomaly_map, extra_maps))
    assert at(looked, 14, 36) == pytest.approx(0.9 * 255, abs=2)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
