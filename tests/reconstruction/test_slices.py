"""Slices in the network's input: where they sit, what is inside, and which region is hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.config import ForegroundSettings, HistogramEqualisation, PreprocessingSettings
from anomalabel.localization.patch_features import CutSlice
from anomalabel.reconstruction.region import suspected_regions
from anomalabel.reconstruction.slices import batch_of, restorable_slice

BODY = PreprocessingSettings()
NO_BODY = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
SALIENCY = np.arange(16, dtype=np.float32).reshape(4, 4)


def sector() -> tuple[np.ndarray, np.ndarray]:
    """A triangle of speckle whose tip is at the top, 48 rows of 64 columns, black around it."""
    rows, columns = np.mgrid[:48, :64]
    inside = np.abs(columns - 31.5) <= 0.6 * rows + 2
    speckle = np.random.default_rng(0).uniform(0.2, 0.9, (48, 64)).astype(np.float32)
    return np.where(inside, speckle, 0).astype(np.float32), inside


def test_what_is_inside_is_the_body_where_the_config_finds_one(settings):
    seen = np.zeros((32, 40), dtype=bool)
    seen[4:28, 10:30] = True
    scaled = np.where(seen, 0.6, 0).astype(np.float32)
    one = restorable_slice(CutSlice(scaled, seen, (2.0, 1.0)), SALIENCY, settings(), BODY)
    assert one.shown is seen
    assert one.saliency is SALIENCY
    assert (one.image.shape, one.image.dtype) == ((64, 64), np.float32)
    assert (one.inside.shape, one.inside.dtype) == ((64, 64), bool)
    # 24 rows of 2 mm and 5 % on either side fill the square: 52.8 mm on 64 pixels.
    pixel_mm = 52.8 / 64
    rows, columns = (np.flatnonzero(one.inside.any(axis=axis)) for axis in (1, 0))
    assert len(rows) * pixel_mm == pytest.approx(48, abs=pixel_mm)
    assert len(columns) * pixel_mm == pytest.approx(20, abs=pixel_mm)
    assert one.inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert one.image[32, 32] == pytest.approx(0.6)


def test_without_a_body_black_around_a_sector_is_outside(settings):
    scaled, inside = sector()
    whole = np.ones(scaled.shape, dtype=bool)
    one = restorable_slice(CutSlice(scaled, whole, (0.5, 0.5)), SALIENCY, settings(), NO_BODY)
    # The square is 64 pixels wide like the slice, which fills its middle 48 rows.
    assert (one.shown != inside).mean() < 0.03
    assert not one.inside[:8].any()
    assert not one.inside[-8:].any()
    np.testing.assert_array_equal(one.inside[8:56], one.shown)


def test_what_the_image_does_not_have_is_outside_too(settings):
    scaled = np.random.default_rng(1).uniform(0.3, 0.8, (48, 64)).astype(np.float32)
    seen = np.ones(scaled.shape, dtype=bool)
    seen[:, 50:] = False
    scaled[:, 50:] = 0
    one = restorable_slice(CutSlice(scaled, seen, (1.0, 1.0)), SALIENCY, settings(), NO_BODY)
    np.testing.assert_array_equal(one.shown, seen)
    assert not one.inside[one.frame.to_model(seen.astype(np.float32)) < 0.5].any()


def test_the_field_of_view_is_found_before_equalisation_lights_up_the_black(settings):
    scaled, _ = sector()
    whole = np.ones(scaled.shape, dtype=bool)
    equalised = PreprocessingSettings(
        foreground=ForegroundSettings(enabled=False), equalisation=HistogramEqualisation()
    )
    plain, bright = (
        restorable_slice(CutSlice(scaled, whole, (1.0, 1.0)), SALIENCY, settings(), chosen)
        for chosen in (NO_BODY, equalised)
    )
    np.testing.assert_array_equal(plain.inside, bright.inside)
    assert float(np.abs(plain.image - bright.image).max()) > 0.1


def test_each_slice_of_a_batch_has_its_own_region(settings):
    scaled, _ = sector()
    whole = np.ones(scaled.shape, dtype=bool)
    slices = [
        restorable_slice(CutSlice(picture, whole, (1.0, 1.0)), saliency, settings(), NO_BODY)
        for picture, saliency in ((scaled, SALIENCY), (1 - scaled, 100 * SALIENCY.T), (scaled, 0 * SALIENCY))
    ]
    batch = batch_of(slices, 0.674, torch.device("cpu"))
    assert (batch.images.shape, batch.images.dtype) == ((3, 1, 64, 64), torch.float32)
    for number, one in enumerate(slices):
        np.testing.assert_array_equal(batch.images[number, 0], one.image)
        np.testing.assert_array_equal(batch.inside[number], one.inside)
        alone = suspected_regions(torch.from_numpy(one.saliency)[None], torch.from_numpy(one.inside)[None], 0.674)
        assert torch.equal(batch.hidden[number], alone[0])
    assert [bool(hidden.any()) for hidden in batch.hidden] == [True, True, False]
    # The saliency rises downwards in the first, to the right in the second.
    rows, columns = (torch.nonzero(batch.hidden[number]).float().mean(0) for number in (0, 1))
    assert (float(rows[0]) > 40, float(columns[1]) > 40) == (True, True)
