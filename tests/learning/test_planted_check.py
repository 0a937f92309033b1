"""Numbers on planted anomalies, by an independent count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.errors import Cancelled
from anomalabel.learning.planted_check import check_on_planted

PLANTS = {"cutpaste": 1, "gaussian_intensity": 1, "source_deformation": 0, "identity": 1}
MANY = {"epochs": 3, "learning_rate": 0.01, "views": 12}


def silent(stage, done, total):
    """Nobody watches."""


def auroc(values, positive):
    """Share of pairs in the right order, ties half."""
    pairs = values[positive][:, None] - values[~positive][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_by_a_count_of_pairs(bench):
    fit = bench.fit(bench.make(tasks=PLANTS, training=MANY), seeds=(0, 1, 2, 3, 4, 5))
    metrics = check_on_planted(fit, 5, silent)
    values, places, spreads = [], [], []
    generator = torch.Generator().manual_seed(5)
    for held in fit.held_out:
        views = held.material.views
        raw = held.judge.raw_maps(views.patches)
        values.append(held.judge.fused(raw).ravel())
        spreads.append(held.judge.uncertainty_maps(views.patches, raw, fit.calibration.pixel.value, generator).ravel())
        places.append(views.place.numpy().ravel())
    value, place, spread = (np.concatenate(one) for one in (values, places, spreads))
    counted = (place >= 0.5) | (place <= 0.02)
    assert not counted.all()
    anomalous = place[counted] >= 0.5
    assert metrics["planted_patch_auroc"] == pytest.approx(auroc(value[counted], anomalous), abs=1e-6)
    wrong = (value[counted] > fit.calibration.pixel.value) != anomalous
    assert metrics["uncertainty_error_auroc"] == pytest.approx(auroc(spread[counted], wrong), abs=1e-6)
    assert metrics["held_out_score_mean"] == pytest.approx(np.mean(fit.calibration.scores))
    assert metrics["held_out_score_std"] == pytest.approx(np.std(fit.calibration.scores))


def test_a_plain_bank_tells_most_planted_patches_of_unseen_shots(bench):
    config = bench.make(tasks=PLANTS, training=MANY, text=False, alignment=False)
    assert check_on_planted(bench.fit(config, seeds=(0, 1, 2, 3, 4, 5)), 0, silent)["planted_patch_auroc"] > 0.7


def test_what_is_not_defined_is_left_out(bench):
    only = {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 1}
    metrics = check_on_planted(bench.fit(bench.make(tasks=only, uncertainty={"passes": 0})), 0, silent)
    assert set(metrics) == {"held_out_score_mean", "held_out_score_std"}


def test_it_can_be_cancelled(bench):
    def watch(stage, done, total):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        check_on_planted(bench.fit(), 0, watch)
