"""Patches against texts for health and disease (few_shot_localization.txt eq. 7 to 9).

Several texts of a class are pooled as CLIP's prompt ensembles are: the mean of their unit vectors, made a unit vector
again. So each class has one vector, and a class with many synonyms weighs no more than one with a single text; a sum of
exponentials over all texts, the other way, grows with their number and follows whichever text happens to lie nearest.
The loss pools the same way, so that what is trained is what is shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

LEAST_MASS = 1.0
"""Patches. A class that fills less of a batch than one patch does not get the weight of a whole class."""


def cosine_similarity(patches: Tensor, texts: Tensor) -> Tensor:
    """Cosine of the angle between each patch and each text (eq. 7).

    Args:
        patches: (N, P, D), any length; a vector of zeros has similarity 0 to everything.
        texts: (T, D), any length.

    Returns:
        (N, P, T) in [-1, 1].
    """
    return functional.normalize(patches, dim=-1) @ functional.normalize(texts, dim=-1).T


def distance_to_healthy(similarity: Tensor) -> Tensor:
    """Anomaly score of patches: 1 - similarity to the nearest text for health (eq. 9).

    Args:
        similarity: (..., H) to each text for health.

    Returns:
        (...) in [0, 2].
    """
    return 1 - similarity.amax(dim=-1)


def class_vector(texts: Tensor) -> Tensor:
    """(D,) unit vector of a class from its texts (T, D), each counting the same whatever its length."""
    return functional.normalize(functional.normalize(texts, dim=-1).mean(dim=0), dim=-1)


def abnormal_logit(patches: Tensor, healthy: Tensor, diseased: Tensor, temperature: float) -> Tensor:
    """(N, P), how much nearer patches are to disease than to health, over the temperature; a probability's logit.

    Arguments as of `abnormal_probability`.
    """
    # The difference of both similarities, as one product.
    toward = (class_vector(diseased) - class_vector(healthy)) / temperature
    return functional.normalize(patches, dim=-1) @ toward


def abnormal_probability(patches: Tensor, healthy: Tensor, diseased: Tensor, temperature: float) -> Tensor:
    """Softmax over health and disease of the similarities divided by the temperature, of which disease's share.

    Args:
        patches: (N, P, D).
        healthy: (H, D), at least one text. diseased: (T, D), at least one text.
        temperature: tau of eq. 8, above 0.

    Returns:
        (N, P) in [0, 1]; 0.5 where both classes are equally near.
    """
    return abnormal_logit(patches, healthy, diseased, temperature).sigmoid()


def alignment_loss(patches: Tensor, healthy: Tensor, diseased: Tensor, place: Tensor, temperature: float) -> Tensor:
    """Patches choose between the texts for health and for disease: cross entropy (eq. 8), balanced by class.

    Anomalies fill a few patches of an image; averaged over all patches they would drown, and "everything is healthy"
    would be nearly right. So the loss is half the mean over healthy mass plus half the mean over anomalous mass, where
    a patch of which a share y is anomalous gives y to one and 1 - y to the other. A class with less mass in the batch
    than one patch is divided by one patch instead, so that a sliver does not steer a step; absent, it adds 0.

    Args:
        patches: (N, P, D).
        healthy: (H, D). diseased: (T, D); each at least one text.
        place: (N, P) in [0, 1], share of the patch that is anomalous; NaN = not to be counted.
        temperature: tau, above 0.

    Returns:
        () at least 0; 0, with gradients of 0, where nothing counts.
    """
    logit = abnormal_logit(patches, healthy, diseased, temperature)
    counted = ~torch.isnan(place)
    anomalous = torch.where(counted, place, 0).to(logit.dtype)
    normal = torch.where(counted, 1 - place, 0).to(logit.dtype)
    missed = -(anomalous * functional.logsigmoid(logit)).sum() / anomalous.sum().clamp_min(LEAST_MASS)
    alarmed = -(normal * functional.logsigmoid(-logit)).sum() / normal.sum().clamp_min(LEAST_MASS)
    return (missed + alarmed) / 2
