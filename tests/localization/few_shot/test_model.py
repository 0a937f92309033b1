"""How the parts become one map, its uncertainty and a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from anomalabel.localization.dropout import drop
from anomalabel.localization.few_shot.grid import grid_features
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.scales import multi_scale
from anomalabel.localization.suppression import suppress_specks

GRID = (3, 4)


def on_grid(values, several):
    """(N, P) as maps with NaN where nothing was seen."""
    maps = np.asarray(values, dtype=np.float64).reshape(-1, *GRID)
    return np.where(np.stack([one.seen for one in several]), maps, np.nan)


def test_eq_9_by_hand(drawn_model, slices):
    model, several = drawn_model(bank=False, alignment=False), slices(0)
    features = grid_features(several)
    expected = []
    for slice_number in range(2):
        for patch in features.levels[2][slice_number]:
            similar = [float(functional.cosine_similarity(patch, text, dim=0)) for text in model.texts.healthy]
            expected.append(1 - max(similar))
    raw = model.raw_maps(several)
    assert set(raw) == {"text"}
    np.testing.assert_allclose(raw["text"], on_grid(expected, several), atol=1e-6)


def test_the_softmax_variant_looks_at_both_classes(drawn_model, slices):
    several = slices(0)
    model = drawn_model(bank=False, alignment=False, text_score="softmax", temperature=0.5)
    patches = grid_features(several).levels[2].double()

    def class_of(texts):
        units = functional.normalize(texts.double(), dim=1)
        return functional.normalize(units.mean(0), dim=0)

    similar = [
        functional.normalize(patches, dim=-1) @ class_of(one) for one in (model.texts.diseased, model.texts.healthy)
    ]
    logit = (similar[0] - similar[1]) / 0.5
    np.testing.assert_allclose(model.raw_maps(several)["text"], on_grid(logit, several), atol=1e-5)


def test_maps_are_standardised_and_averaged_by_weight(drawn_model, slices):
    several = slices(0)
    model = drawn_model(weights={"bank": 2.0, "text": 0.5, "head": 1.5})
    raw = model.raw_maps(several)
    assert set(raw) == {"bank", "text", "head"}
    expected = (2.0 * (raw["bank"] - 3.0) / 0.7 + 0.5 * (raw["text"] - 0.4) / 0.2 + 1.5 * raw["head"]) / 4.0
    maps = model.anomaly_maps(several)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(maps[0]), ~several[0].seen)


def test_a_weight_of_zero_takes_a_part_out(drawn_model, slices):
    several = slices(0)
    without = drawn_model(weights={"bank": 1.0, "text": 0.0, "head": 0.0}).anomaly_maps(several)
    alone = drawn_model(text=False, alignment=False).anomaly_maps(several)
    np.testing.assert_allclose(without, alone, atol=1e-6)


def test_heads_are_averaged_each_in_its_own_deviations(drawn_model, slices):
    several = slices(0)
    model = drawn_model(bank=False, text=False)
    features = grid_features(several)
    each = []
    for one in model.heads:
        logit = one.head(one.head.scaled(features), features.seen, one.texts.healthy, one.texts.diseased, 0.1)
        each.append((logit.numpy() - one.scale.mean) / one.scale.deviation)
    np.testing.assert_allclose(model.raw_maps(several)["head"], on_grid(np.mean(each, axis=0), several), atol=1e-4)


def test_scales_average_the_fused_map_over_neighbourhoods(drawn_model, slices):
    several = slices(0)
    plain = drawn_model().anomaly_maps(several)
    model = drawn_model(scales=(1, 3))
    seen = np.isfinite(plain)
    np.testing.assert_array_equal(model.anomaly_maps(several), multi_scale(plain, seen, (1, 3)))
    # One patch by hand: row 1, column 0 of the first slice, whose row 0 is unseen.
    neighbours = plain[0, 1:3, 0:2].astype(np.float64).mean()
    assert model.anomaly_maps(several)[0, 1, 0] == pytest.approx((plain[0, 1, 0] + neighbours) / 2, abs=1e-5)


def test_suppression_cuts_specks_after_the_fusion(drawn_model, slices):
    several = slices(0)
    plain = drawn_model().anomaly_maps(several)
    cut = drawn_model(suppression={"enabled": True, "minimum_area": 0.3}).anomaly_maps(several)
    np.testing.assert_array_equal(cut, suppress_specks(plain, 0.3))
    assert (cut[np.isfinite(cut)] < plain[np.isfinite(plain)]).any()
    np.testing.assert_array_equal(drawn_model(suppression={"enabled": False}).anomaly_maps(several), plain)


def test_one_slice_has_the_same_map_in_any_batch(drawn_model, slices):
    several = slices(0, 3)
    model = drawn_model(scales=(1, 3), suppression={"enabled": True, "minimum_area": 0.2})
    together = model.anomaly_maps(several)
    for number, one in enumerate(several):
        np.testing.assert_allclose(model.anomaly_maps([one])[0], together[number], atol=1e-5)


def unsure(model, several, threshold=0.5, seed=11):
    generator = torch.Generator().manual_seed(seed)
    return model.uncertainty_maps(several, model.raw_maps(several), threshold, generator)


@pytest.mark.parametrize("uncertainty", [{"passes": 0}, {"dropout": 0.0}])
def test_no_passes_or_no_dropout_give_no_uncertainty(drawn_model, slices, uncertainty):
    assert unsure(drawn_model(uncertainty=uncertainty), slices(0)) is None


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"bank": False},
        {"text": False},
        {"alignment": False},
        {"text_score": "softmax"},
        {"weights": {"bank": 1.0, "text": 2.0, "head": 0.25}},
    ],
)
def test_eq_10_on_the_bounded_score_by_a_slow_loop(drawn_model, slices, parts):
    several = slices(4)
    model = drawn_model(uncertainty={"passes": 7, "dropout": 0.3, "softness": 0.8}, **parts)
    features, weights, raw = grid_features(several), model.weights, model.raw_maps(several)
    generator = torch.Generator().manual_seed(11)
    passes = []
    for number in range(7):
        value = np.zeros((2, 12))
        if model.bank is not None:
            value += weights["bank"] * (raw["bank"].reshape(2, 12) - 3.0) / 0.7
        if model.texts is not None:
            dropped = drop(features.levels[2], 0.3, generator)
            value += weights["text"] * (model.text_scores(features, dropped).numpy() - 0.4) / 0.2
        if model.heads:
            one = model.heads[number % 2]
            scaled = [drop(level, 0.3, generator) for level in one.head.scaled(features)]
            logit = one.head(scaled, features.seen, one.texts.healthy, one.texts.diseased, 0.1).numpy()
            value += weights["head"] * (logit - one.scale.mean) / one.scale.deviation
        passes.append(1 / (1 + np.exp((0.5 - value / sum(weights.values())) / 0.8)))
    spread = unsure(model, several)
    assert spread.dtype == np.float32
    np.testing.assert_allclose(spread, on_grid(np.std(passes, axis=0), several), atol=1e-4)
    assert 0 < np.nanmax(spread) <= 0.5


def test_a_bank_alone_is_asked_with_dropout(drawn_model, slices):
    several = slices(4)
    model = drawn_model(text=False, alignment=False, uncertainty={"passes": 5, "dropout": 0.3})
    generator = torch.Generator().manual_seed(11)
    passes = []
    for _ in range(5):
        dropped = [
            type(one)(one.frame, one.seen, tuple(drop(level, 0.3, generator) for level in one.levels))
            for one in several
        ]
        passes.append(1 / (1 + np.exp((0.5 - (model.bank.distances(dropped).astype(np.float64) - 3.0) / 0.7) / 0.5)))
    np.testing.assert_allclose(unsure(model, several), np.std(passes, axis=0), atol=1e-4)


def test_what_is_far_from_the_threshold_is_sure(drawn_model, slices):
    model, several = drawn_model(), slices(0)
    maps = model.anomaly_maps(several)
    assert np.nanmax(unsure(model, several, threshold=float(np.nanmax(maps)) + 50)) < 1e-6
    assert np.nanmax(unsure(model, several, threshold=float(np.nanmedian(maps)))) > 0.05


def test_uncertainty_repeats_with_the_generator(drawn_model, slices):
    model, several = drawn_model(), slices(0)
    np.testing.assert_array_equal(unsure(model, several, seed=1), unsure(model, several, seed=1))
    assert not np.array_equal(unsure(model, several, seed=1), unsure(model, several, seed=2), equal_nan=True)


def test_the_score_is_the_highest_slices_mean_over_its_highest_patches(drawn_model):
    model = drawn_model()
    maps = np.full((3, *GRID), np.nan, dtype=np.float32)
    maps[0] = np.arange(12).reshape(GRID)
    maps[1, :2] = [[9, 9, 9, 9], [0, 30, 0, 0]]
    # A quarter of 12 patches and of 8.
    assert model.image_score(maps) == pytest.approx(max((9 + 10 + 11) / 3, (30 + 9) / 2))


def test_texts_cannot_be_compared_with_where_there_are_none(drawn_model, slices):
    with pytest.raises(ValueError, match="plain texts"):
        drawn_model(text=False).text_scores(grid_features(slices(0)))


def test_a_bank_comes_back_from_its_tensors(slices):
    from anomalabel.config import NormalBankSettings

    for settings in (
        NormalBankSettings(),
        NormalBankSettings(metric="cosine", standardise=False, pooling=3),
        NormalBankSettings(balance_levels=not NormalBankSettings().balance_levels, standardise=True, maximum_patches=9),
    ):
        bank = NormalBank(slices(1, 3), settings, 4, (1.0, 0.0, 2.5))
        again = NormalBank.from_tensors(bank.tensors(), settings)
        assert len(again) == len(bank)
        np.testing.assert_array_equal(again.distances(slices(2)), bank.distances(slices(2)))
    lacking = bank.tensors()
    lacking.pop("std_1")
    with pytest.raises(KeyError, match="std_1"):
        NormalBank.from_tensors(lacking, settings)
