"""What a few-shot model says of anomalies planted into healthy images that it did not learn from.

Planted anomalies are no disease: these numbers tell whether a training went wrong, not how good a model is on patients.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from anomalabel.training.few_shot.fit import FewShotFit, Watch

ANOMALOUS, HEALTHY = 0.5, 0.02
"""Share of a patch from which on it counts as anomalous, and up to which as healthy; others are not counted."""


def check_on_planted(fit: FewShotFit, seed: int, watch: Watch) -> dict[str, float]:
    """Each shot's views, judged by what learned neither from the shot nor from them.

    Args:
        fit: what was learned.
        seed: of dropout.
        watch: told what is done.

    Returns:
        Whatever is defined of

        - `planted_patch_auroc`: do anomalous patches get higher values than healthy ones;
        - `uncertainty_error_auroc`: is the uncertainty higher where the map, cut at the pixel threshold, is wrong;
        - `held_out_score_mean`, `held_out_score_std`: of the healthy images' scores.
    """
    generator = torch.Generator().manual_seed(seed)
    values, spreads, places = [], [], []
    for number, one in enumerate(fit.held_out):
        watch("checking on planted anomalies", number, len(fit.held_out))
        views = one.material.views
        raw = one.judge.raw_maps(views.patches)
        maps = one.judge.fused(raw)
        spread = one.judge.uncertainty_maps(views.patches, raw, fit.calibration.pixel.value, generator)
        place = views.place.reshape(maps.shape).cpu().numpy()
        counted = np.isfinite(maps) & ((place >= ANOMALOUS) | (place <= HEALTHY))
        values.append(maps[counted])
        places.append(place[counted] >= ANOMALOUS)
        if spread is not None:
            spreads.append(spread[counted])
    watch("checking on planted anomalies", len(fit.held_out), len(fit.held_out))
    value, anomalous = np.concatenate(values), np.concatenate(places)
    scores = np.array(fit.calibration.scores)
    metrics = {"held_out_score_mean": float(scores.mean()), "held_out_score_std": float(scores.std())}
    if 0 < anomalous.sum() < len(anomalous):
        metrics["planted_patch_auroc"] = float(roc_auc_score(anomalous, value))
    wrong = (value > fit.calibration.pixel.value) != anomalous
    if spreads and 0 < wrong.sum() < len(wrong):
        metrics["uncertainty_error_auroc"] = float(roc_auc_score(wrong, np.concatenate(spreads)))
    return metrics
