"""Explanations on the grid of the volume, scaled over the whole of it, and their picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalabel.config import PreprocessingSettings
from anomalabel.errors import Cancelled, ImageReadError, OutputError
from anomalabel.explain.grad_cam import grad_cam, text_score
from anomalabel.explain.grad_cam_volume import SHOWN_FROM, SLICES_A_PASS, Explanation, explain_volume, write_explanation
from anomalabel.finding import PromptTexts
from anomalabel.localization.framed_slices import frame_position
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import Volume

SLICES = SLICES_A_PASS + 3
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
"""Indices grow to the left and backwards, so that an axial slice is shown as it is stored."""

PREPROCESSING = PreprocessingSettings()
POSITIONS = tuple(SlicePosition(0, index, "axial") for index in range(SLICES))


def untold(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def prepared() -> PreparedVolume:
    """Noise of 32 x 32 voxels a slice, brighter from slice to slice; the first eight columns are no body."""
    scaled = np.random.default_rng(0).random((SLICES, 32, 32), dtype=np.float32) * 0.5
    scaled += np.linspace(0, 0.5, SLICES, dtype=np.float32)[:, None, None]
    seen = np.ones(scaled.shape, dtype=bool)
    seen[..., :8] = False
    return PreparedVolume(scaled=np.where(seen, scaled, 0).astype(np.float32), seen=seen)


@pytest.fixture(scope="module")
def score(tiny_clip):
    return text_score(tiny_clip, ["glioma"], ["normal"])


def test_slices_are_scaled_together(tiny_clip, prepared, score) -> None:
    told: list[tuple[int, int]] = []
    explained = explain_volume(
        tiny_clip,
        prepared,
        AFFINE,
        POSITIONS,
        PREPROCESSING,
        score,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(0, SLICES), (SLICES_A_PASS, SLICES), (SLICES, SLICES)]
    expected = np.full(prepared.scaled.shape, np.nan, dtype=np.float32)
    scores = []
    for position in POSITIONS:
        framed = frame_position(prepared, AFFINE, position, tiny_clip.side, PREPROCESSING)
        alone = grad_cam(tiny_clip, torch.from_numpy(framed.image)[None], score)
        expected[position.index] = framed.frame.to_source(alone.maps[0])
        scores.append(alone.scores[0])
    expected[~prepared.seen] = np.nan
    expected /= np.nanmax(expected)
    np.testing.assert_allclose(explained.relevance, expected, rtol=1e-3, atol=1e-3)
    assert np.isnan(explained.relevance[..., :8]).all()
    assert np.nanmax(explained.relevance) == 1
    assert np.sum(np.nanmax(explained.relevance, axis=(1, 2)) < 0.999) == SLICES - 1, "one slice has the peak"
    assert explained.score == pytest.approx(max(scores), rel=1e-4)
    assert explained.variant == "grad_cam"


def test_where_nothing_speaks_for_disease_the_map_is_zero(tiny_clip, prepared) -> None:
    explained = explain_volume(
        tiny_clip, prepared, AFFINE, POSITIONS[:1], PREPROCESSING, lambda embeddings: 0 * embeddings.sum(1), untold
    )
    assert (explained.relevance[0, :, 8:] == 0).all()
    assert np.isnan(explained.relevance[1:]).all(), "slices that were not looked at"


def test_it_can_be_stopped(tiny_clip, prepared, score) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        explain_volume(tiny_clip, prepared, AFFINE, POSITIONS, PREPROCESSING, score, stop)


def test_nothing_seen(tiny_clip, prepared, score) -> None:
    blind = PreparedVolume(scaled=prepared.scaled, seen=np.zeros_like(prepared.seen))
    with pytest.raises(ImageReadError, match="Nothing was seen"):
        explain_volume(tiny_clip, blind, AFFINE, POSITIONS[:1], PREPROCESSING, score, untold)


def picture(path: Path, model, relevance: np.ndarray) -> np.ndarray:
    """(H, W, 3) of a picture of a grey image of one slice."""
    grey = np.tile(np.linspace(0, 1, relevance.shape[2], dtype=np.float32), (1, relevance.shape[1], 1))
    volume = Volume(grey, AFFINE, source="folder/a.png", spatial_dims=2)
    explanation = Explanation(relevance, 1.5, "grad_cam++")
    prompts = PromptTexts(positive=("glioma",), negative=("normal",))
    write_explanation(path, volume, explanation, model.identity, "brain_mri", prompts)
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def is_heat(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] - pixels[..., 2] > 40


def test_the_picture_colours_what_counts(tiny_clip, tmp_path) -> None:
    relevance = np.full((1, 40, 40), SHOWN_FROM / 2, dtype=np.float32)
    relevance[0, 20:30, 20:30] = 1
    pixels = picture(tmp_path / "a.png", tiny_clip, relevance)
    middle = pixels.shape[0] // 2
    assert not is_heat(pixels[:middle]).any(), "above, the image alone"
    rows, columns = np.nonzero(is_heat(pixels[middle:]))
    pixel = pixels.shape[1] / 40
    assert np.ptp(rows) + 1 == pytest.approx(10 * pixel, rel=0.15)
    assert np.ptp(columns) + 1 == pytest.approx(10 * pixel, rel=0.15)
    assert columns.mean() == pytest.approx(25 * pixel, rel=0.05)
    cyan = (pixels[..., 1] > 170) & (pixels[..., 2] > 170) & (pixels[..., 0] < 110)
    assert not cyan.any(), "no boxes"


def test_the_picture_of_an_empty_map_has_no_colour(tiny_clip, tmp_path) -> None:
    assert not is_heat(picture(tmp_path / "a.png", tiny_clip, np.zeros((1, 40, 40), dtype=np.float32))).any()


def test_a_folder_that_is_not_there(tiny_clip, tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        picture(tmp_path / "missing" / "a.png", tiny_clip, np.zeros((1, 8, 8), dtype=np.float32))
