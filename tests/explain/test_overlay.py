"""Pixels of the overlay picture: heat where the map is hot, a box around it, grey everywhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.explain.overlay import SHOWN_BOXES, verdict, write_overlay
from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.findings import extract_findings
from anomalabel.volume import Volume

THRESHOLD = 0.2
LEFT_POSTERIOR_SUPERIOR = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Indices grow to the left, backwards and upwards, so that an axial slice is shown as it is stored."""


def bright(shape: tuple[int, int, int], affine=LEFT_POSTERIOR_SUPERIOR, dims=3) -> Volume:
    """White; a black corner in the slices of each plane sets their grey scale."""
    array = np.ones(shape, dtype=np.float32)
    first = [np.arange(length).reshape(np.roll((-1, 1, 1), axis)) < length // 5 for axis, length in enumerate(shape)]
    array[(first[0] & first[1]) | (first[1] & first[2]) | (first[0] & first[2])] = 0
    return Volume(array, affine, source="a", spatial_dims=dims)


def heat(shape, inside: tuple[slice, slice, slice], peak: tuple[int, int, int]) -> np.ndarray:
    anomaly_map = np.full(shape, -0.5, dtype=np.float32)
    anomaly_map[inside] = 0.6
    anomaly_map[peak] = 1.0
    return anomaly_map


def write(path: Path, volume: Volume, anomaly_map: np.ndarray, findings: list[Finding] | None = None, name="a.nii"):
    """The picture (H, W, 3), int."""
    if findings is None:
        findings = extract_findings(anomaly_map, volume.affine_ras, THRESHOLD, 0, "spot", "run")
    report = FindingsReport(
        image=name,
        method="clap",
        model=ModelIdentity(name="tiny", weights_sha256="0" * 64),
        config="brain_mri",
        prompts=PromptTexts(positive=("tumor",), negative=("normal",)),
        image_score=0.5,
        calibrated=False,
        threshold=Threshold(value=THRESHOLD, rule="by hand"),
        prompt_specificity=0.3,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(grid=volume.shape[::-1], min=float(np.nanmin(anomaly_map)), max=float(np.nanmax(anomaly_map))),
        findings=tuple(findings),
    )
    write_overlay(path, volume, anomaly_map, report)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def is_heat(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] - pixels[..., 2] > 40


def is_box(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 1] > 170) & (pixels[..., 2] > 170) & (pixels[..., 0] < 110)


def runs(filled: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the stretches of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, filled, False].astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def panels(picture: np.ndarray, columns: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each column the image above and the overlay below, cut to the shown slice."""
    cut = []
    for part in np.array_split(picture, columns, axis=1):
        image = part.max(axis=2) > 90
        rows = sorted(sorted(runs(image.mean(axis=1) > 0.3), key=lambda run: run[0] - run[1])[:2])
        left, right = max(runs(image[slice(*rows[0])].mean(axis=0) > 0.3), key=lambda run: run[1] - run[0])
        above, below = (part[start:stop, left:right] for start, stop in rows)
        cut.append((above, below))
    return cut


def by_pixel(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A slice's mask at the pixels of a panel."""
    rows, columns = ((np.arange(length) + 0.5) / length for length in shape)
    height, width = mask.shape
    return mask[np.ix_((rows * height).astype(int), (columns * width).astype(int))]


def grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.any([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def shrunk(mask: np.ndarray) -> np.ndarray:
    return ~grown(~mask)


def assert_heat_in(panel: np.ndarray, mask: np.ndarray) -> None:
    """Heat all over the mask and nowhere beyond it, to one voxel; a box around it."""
    hot = is_heat(panel)
    assert hot[by_pixel(shrunk(mask), hot.shape)].all()
    assert not hot[~by_pixel(grown(mask), hot.shape)].any()
    pixel_rows, pixel_columns = panel.shape[0] / mask.shape[0], panel.shape[1] / mask.shape[1]
    drawn_rows, drawn_columns = np.nonzero(is_box(panel))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert drawn_rows.min() == pytest.approx(rows[0] * pixel_rows, abs=3)
    assert drawn_rows.max() == pytest.approx((rows[-1] + 1) * pixel_rows, abs=3)
    assert drawn_columns.min() == pytest.approx(columns[0] * pixel_columns, abs=3)
    assert drawn_columns.max() == pytest.approx((columns[-1] + 1) * pixel_columns, abs=3)


def test_a_picture(tmp_path):
    inside = (slice(0, 1), slice(12, 20), slice(30, 44))
    anomaly_map = heat((1, 40, 60), inside, (0, 15, 33))
    picture = write(tmp_path / "o.png", bright((1, 40, 60), dims=2), anomaly_map)
    ((above, below),) = panels(picture, 1)
    assert above.shape[1] / above.shape[0] == pytest.approx(60 / 40, rel=0.02)
    assert not is_heat(above).any()
    assert not is_box(above).any()
    assert_heat_in(below, anomaly_map[0] > THRESHOLD)


def test_three_planes_through_the_peak_of_a_volume(tmp_path):
    shape, peak = (20, 30, 40), (6, 12, 25)
    inside = (slice(4, 10), slice(9, 14), slice(22, 33))
    anomaly_map = heat(shape, inside, peak)
    picture = write(tmp_path / "o.png", bright(shape), anomaly_map)
    hot = anomaly_map > THRESHOLD
    axial, coronal, sagittal = panels(picture, 3)
    for (above, below), mask in (
        (axial, hot[peak[0]]),
        (coronal, hot[::-1, peak[1]]),
        (sagittal, hot[::-1, :, peak[2]]),
    ):
        assert above.shape[1] / above.shape[0] == pytest.approx(mask.shape[1] / mask.shape[0], rel=0.03)
        assert not is_heat(above).any()
        assert_heat_in(below, mask)


def test_thick_slices_are_drawn_in_millimetres_and_first(tmp_path):
    shape = (30, 6, 40)
    affine = np.diag([-1.0, -5.0, 1.0, 1.0])
    anomaly_map = heat(shape, (slice(10, 20), slice(2, 5), slice(15, 30)), (12, 3, 20))
    picture = write(tmp_path / "o.png", bright(shape, affine), anomaly_map)
    (coronal, _), (axial, _), (sagittal, below) = panels(picture, 3)
    assert coronal.shape[1] / coronal.shape[0] == pytest.approx(40 / 30, rel=0.03)
    assert axial.shape[1] / axial.shape[0] == pytest.approx(40 / 30, rel=0.03)
    assert sagittal.shape[1] / sagittal.shape[0] == pytest.approx(30 / 30, rel=0.03)
    assert_heat_in(below, (anomaly_map > THRESHOLD)[::-1, :, 20])


def test_boxes_beyond_the_shown_slice_are_left_out(tmp_path):
    anomaly_map = heat((20, 30, 40), (slice(2, 4), slice(9, 14), slice(22, 33)), (3, 12, 25))
    volume = bright((20, 30, 40))
    findings = extract_findings(anomaly_map, volume.affine_ras, THRESHOLD, 0, "spot", "run")
    anomaly_map[15, 25, 5] = 1.5
    picture = write(tmp_path / "o.png", volume, anomaly_map, findings)
    assert len(findings) == 1
    assert not is_box(picture).any()


@pytest.mark.parametrize(("count", "shown"), [(3, 3), (SHOWN_BOXES + 2, SHOWN_BOXES)])
def test_the_highest_boxes_are_drawn(tmp_path, count, shown):
    anomaly_map = np.full((1, 40, 120), -1.0, dtype=np.float32)
    for number in range(count):
        anomaly_map[0, 14:26, 5 + 16 * number : 15 + 16 * number] = 0.5 + number / 20
    picture = write(tmp_path / "o.png", bright((1, 40, 120), dims=2), anomaly_map)
    ((_, below),) = panels(picture, 1)
    across = is_box(below)[int(below.shape[0] * 20 / 40)]
    places = [start / below.shape[1] * 120 for start, _ in runs(across)]
    expected = [edge + 16 * number for number in range(count)[-shown:] for edge in (5, 15)]
    assert places == pytest.approx(expected, abs=1.5)


def test_unseen_voxels_and_a_map_without_findings_stay_grey(tmp_path):
    anomaly_map = np.full((20, 30, 40), np.nan, dtype=np.float32)
    anomaly_map[5:15, 5:25, 5:35] = 0.1
    picture = write(tmp_path / "o.png", bright((20, 30, 40)), anomaly_map)
    assert not is_heat(picture).any()
    assert not is_box(picture).any()


@pytest.mark.parametrize("name", ["cost $x_$ [1].nii", "tumor^{.nii", "back\\slash.nii"])
def test_any_name_may_stand_in_the_title(tmp_path, name):
    anomaly_map = heat((1, 20, 20), (slice(0, 1), slice(5, 9), slice(5, 9)), (0, 6, 6))
    assert write(tmp_path / "o.png", bright((1, 20, 20), dims=2), anomaly_map, name=name).size
    assert [path.name for path in tmp_path.iterdir()] == ["o.png"]


def test_the_image_score_is_told_beside_its_threshold():
    told = {
        "image": "a",
        "method": "few_shot",
        "model": {"name": "m", "weights_sha256": "0" * 64},
        "config": "c",
        "prompts": {"positive": [], "negative": []},
        "image_score": 3.1,
        "calibrated": True,
        "threshold": {"value": 2.0, "rule": "r"},
        "image_threshold": {"value": 2.4, "rule": "r"},
        "prompt_specificity": None,
        "nonfinite_voxels": 0,
        "spacing_known": True,
        "heatmap": {"grid": (4, 4, 1), "min": 0.0, "max": 3.5},
        "findings": [],
    }
    report = FindingsReport(**told)
    assert verdict(report) == "image score 3.10, ABOVE the healthy images' threshold of 2.40"
    low = report.model_copy(update={"image_score": 2.4})
    assert verdict(low) == "image score 2.40, not above the healthy images' threshold of 2.40"
    assert verdict(low.model_copy(update={"image_threshold": None, "calibrated": False})).endswith(
        "2.40, not calibrated"
    )
